//! The troubles of a world: of connections, nodes, clocks and servers.

use encke_core::log::cluster::Lane;

use super::super::link::Break;
use super::{CENSUS_MS, DAY_MS, Kind, MOURNING_MS, ROLLED_MS, START_MS, World};

impl World {
    fn cut(&mut self, number: u64, lane: Lane, how: Break, reconnect_ms: u64) {
        let unix_ms = self.unix_ms();
        let Some(peer) = self.peers.get_mut(&number) else {
            return;
        };
        let later = peer.cut(
            lane,
            how,
            &mut self.servers,
            self.now,
            reconnect_ms,
            unix_ms,
        );
        // A connection keeps the order of what was sent.
        let mut at = self.now;
        for (server, command) in later {
            at += self.chance.u64(0..1_000);
            self.late.push((at, server, command));
        }
    }

    fn cut_both(&mut self, number: u64, how: Break) {
        for lane in [Lane::Publish, Lane::Follow] {
            let reconnect_ms = self.chance.u64(0..1_500);
            self.cut(number, lane, how, reconnect_ms);
        }
    }

    /// All connections to a server break.
    fn cut_all(&mut self, server: usize) {
        self.late.retain(|(_, at, _)| *at != server);
        for number in self.numbers() {
            if self.peers[&number].is_with(server) {
                self.cut_both(number, Break::Before);
            }
        }
    }

    pub(super) fn trouble(&mut self) {
        let what = self.chance.u8(0..13);
        if self.now < self.rolled_until {
            return;
        }
        if self.kind == Kind::Forgetful && self.now < self.census_until && (4..9).contains(&what) {
            return;
        }
        match what {
            0 => self.step_a_clock(),
            1..4 => self.break_connection(),
            4 => self.stop_server(),
            5 if self.peers.len() < 5 => self.add_peer(),
            6 if self.staying() > 2 => self.leave(),
            7 if self.staying() > 2 => self.kill_peer(),
            8 => self.stall(),
            12 => self.hand_over(),
            9.. if self.kind != Kind::Calm && self.now >= self.mourning_until => self.forget(),
            _ => {}
        }
    }

    /// The clock of the server, or of a node, is set.
    fn step_a_clock(&mut self) {
        let skew_ms = self.chance.u64(0..2 * DAY_MS);
        match self.some_peer().filter(|_| self.chance.bool()) {
            Some(number) => {
                let peer = self.peer(number);
                peer.skew_ms = skew_ms;
            }
            None => self.skew_ms = skew_ms,
        }
    }

    fn break_connection(&mut self) {
        let Some(number) = self.some_peer() else {
            return;
        };
        let how = Break::by_chance(&mut self.chance);
        let lane = self.chance.pick(&[Lane::Publish, Lane::Follow]);
        let reconnect_ms = self.chance.u64(0..1_500);
        self.note(|_| format!("node {number}: {lane:?} breaks"));
        self.cut(number, lane, how, reconnect_ms);
    }

    /// A node is to be handed over to another process, whatever its connections do.
    fn hand_over(&mut self) {
        let Some(number) = self.some_peer() else {
            return;
        };
        self.note(|_| format!("node {number} is to be handed over"));
        if self.chance.u8(0..3) == 0 {
            let how = Break::by_chance(&mut self.chance);
            self.cut_both(number, how);
        }
        let until = self.now + self.chance.u64(1..2_000);
        let peer = self.peer(number);
        peer.hands_over_until = Some(until);
    }

    fn stop_server(&mut self) {
        let ms = match self.kind {
            Kind::Wild => self.chance.u64(0..9_000),
            _ => self.chance.u64(0..2_000),
        };
        self.note(|_| format!("the server stops for {ms} ms"));
        self.servers[self.current].stopped_until = self.now + ms;
    }

    /// How many nodes were not told to leave.
    fn staying(&self) -> usize {
        self.peers.values().filter(|peer| !peer.is_leaving).count()
    }

    fn leave(&mut self) {
        if let Some(number) = self.some_peer() {
            self.note(|_| format!("node {number} leaves"));
            let peer = self.peer(number);
            peer.node.leave();
            peer.is_leaving = true;
        }
    }

    /// The node that has read most dies, and the server forgets what others may not have read. At the
    /// end of troubles, as a gap that was told for another reason later would be taken for that of this.
    pub(super) fn lose_furthest_and_tail(&mut self) {
        let furthest = self.peers.iter().max_by_key(|(_, peer)| peer.replica.head);
        let Some(number) = furthest.map(|(&number, _)| number) else {
            return;
        };
        if self.kind != Kind::Wild || self.staying() <= 2 || self.now < self.rolled_until {
            return;
        }
        self.kill(number);
        let (run, now) = (self.next_run, self.now);
        self.next_run += 1;
        self.note(|_| format!("and the server forgets its tail, run {run}"));
        let server = &mut self.servers[self.current];
        server.lose_tail(self.chance.usize(1..9));
        server.restart(run, now);
        self.cut_all(self.current);
    }

    fn kill_peer(&mut self) {
        if let Some(number) = self.some_peer() {
            self.kill(number);
        }
    }

    fn kill(&mut self, number: u64) {
        self.note(|_| format!("node {number} dies"));
        if self.kind != Kind::Wild {
            self.mourning_until = self.now + MOURNING_MS;
        }
        let how = Break::by_chance(&mut self.chance);
        self.cut(number, Lane::Publish, how, 0);
        self.remove_peer(number);
    }

    pub(super) fn remove_peer(&mut self, number: u64) {
        let peer = self.peers.remove(&number).expect("it is there");
        for publish in &mut self.publishes {
            // It alone can tell what the old server has that it sat with.
            if publish.taken_by_old == Some(number) {
                publish.id = None;
            }
        }
        let counts = *peer.node.counts();
        self.tally.retold += counts.retold;
        self.tally.resent += counts.resent;
        self.tally.terms += counts.terms;
        self.tally.losses_some += counts.losses_some;
        self.tally.losses_all += counts.losses_all;
        self.tally.handed_over += peer.handed_over;
        self.tickets.retain(|(peer, _), _| *peer != number);
        self.check_contents(&peer);
    }

    fn stall(&mut self) {
        let ms = match self.kind {
            Kind::Wild => self.chance.u64(0..12_000),
            _ => self.chance.u64(0..800),
        };
        if let Some(number) = self.some_peer() {
            self.note(|_| format!("node {number} stalls for {ms} ms"));
            self.peer(number).stalled_until = self.now + ms;
        }
    }

    /// The server forgets something, or another one takes its place.
    fn forget(&mut self) {
        let run = self.next_run;
        self.next_run += 1;
        self.census_until = self.now + CENSUS_MS;
        let most = if self.kind == Kind::Wild { 16 } else { 9 };
        let what = self.chance.u8(0..most);
        self.note(|_| format!("the server forgets: {what}, run {run}"));
        let now = self.now;
        let server = &mut self.servers[self.current];
        let some = self.chance.usize(0..40);
        let unix_ms = START_MS + self.now + self.skew_ms;
        match what {
            0 => server.flush(),
            1 => server.delete_log(),
            2 => server.restart(run, now),
            3 | 4 => {
                server.flush();
                server.restart(run, now);
            }
            5 => {
                server.lose_tail(some);
                server.restart(run, now);
            }
            6 | 7 => return self.fail_over(run, some, false),
            8 => server.append_foreign(unix_ms, [&b""[..], b"{}"][some % 2]),
            9 | 10 => return self.fail_over(run, some, true),
            11 => server.trim(some),
            12 => server.remove(some),
            13 => {
                server.is_full = !server.is_full;
                return;
            }
            14 => {
                self.rolled.extend(server.roll_back(some));
                self.rolled_until = self.now + ROLLED_MS;
            }
            _ => server.forget_keys(),
        }
        if (2..6).contains(&what) {
            self.cut_all(self.current);
        }
    }

    /// A replica takes the place of the server. Some nodes may stay with the old one.
    fn fail_over(&mut self, run: u64, lost: usize, is_split: bool) {
        let mut server = self.servers[self.current].clone();
        server.lose_tail(lost);
        // It was running as a replica.
        let started_at = server.started_at;
        server.restart(run, started_at);
        server.place = self.servers.len() as u64 % 64;
        let old = self.current;
        self.servers.push(server);
        self.current = self.servers.len() - 1;
        for number in self.numbers() {
            if is_split && self.chance.bool() {
                self.peer(number).sits_with = Some(old);
                continue;
            }
            let how = if is_split {
                Break::After
            } else {
                Break::Before
            };
            self.cut_both(number, how);
        }
        if !is_split {
            self.cut_all(old);
        }
    }

    /// Nodes that stayed with an old server come to the current one.
    pub(super) fn reunite(&mut self) {
        for number in self.numbers() {
            let peer = self.peer(number);
            if peer.sits_with.take().is_some() {
                self.cut_both(number, Break::Before);
            }
        }
    }
}
