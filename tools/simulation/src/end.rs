//! The end of a world: everything comes to rest, is drained or runs out, and is given back.
//!
//! Owns these checks. They look at the engine from outside alone.

use encke_core::base::time::millis;
use encke_core::engine::{State, Stats};

use crate::policy::LONGEST_AGE_MS;
use crate::rule::ensure;
use crate::world::World;

impl World {
    /// Lets everything come to rest: every socket takes all, everything written is read.
    pub(crate) fn quiesce(&mut self) {
        self.say(|| "quiesce".into());
        for index in self.indexes(|client| !client.broken) {
            let socket = self.wire.socket(index);
            socket.room = None;
            if !socket.rest.is_empty() {
                self.writable(index);
            }
        }
        for index in self.indexes(|client| !client.unsent.is_empty()) {
            let client = self.client(index);
            let bytes = std::mem::take(&mut client.unsent);
            client.kernel.extend(bytes);
            client.unread = true;
        }
        for round in 0.. {
            assert!(round < 10_000, "reading never ends");
            self.save_all();
            self.settle();
            let unread = self.indexes(|client| client.unread);
            if unread.is_empty() && !self.engine.has_waiting_publishers() {
                break;
            }
            for index in unread {
                if self.clients[index as usize].is_some() {
                    self.read(index, 70_000);
                }
            }
        }
        for index in
            self.indexes(|client| !client.kernel.is_empty() || client.fin != client.fin_told)
        {
            let id = self.client(index).id;
            ensure!(
                !self.engine.wants_input(id),
                Undelivered,
                "{index} has bytes that are never read"
            );
        }
        for index in self.indexes(|client| client.kernel.is_empty() && !client.broken) {
            let (parked, client) = (self.state(index), self.client(index));
            let is_parked = matches!(parked, State::Held | State::Streaming);
            let answers = client.requests.len() - client.answered - usize::from(is_parked);
            ensure!(
                answers == 0 || client.said_close || client.fin,
                Undelivered,
                "{index} waits for {answers} answers ({parked:?})"
            );
        }
    }

    /// Drains, and checks that it ends when it should.
    pub(crate) fn drain(&mut self) {
        self.say(|| "drain".into());
        self.tally.drains += 1;
        let config = &self.setup.config;
        // The last half second is for the last connections to take their answers, in a shorter
        // drain too.
        let (delay, window) = (millis(config.drain_delay), millis(config.drain).max(500));
        self.engine.begin_drain();
        self.save_all();
        let started = self.now;
        while !self.engine.is_drained() {
            ensure!(
                self.now <= started + delay + window,
                Deadline,
                "the drain does not end"
            );
            if self.chance.u8(..3) == 0 {
                self.hand_over(false);
            }
            self.settle();
            if self.engine.is_drained() {
                break;
            }
            let ms = self.chance.u64(1..=window.max(2) / 2 + 1);
            let left = (started + delay + window).saturating_sub(self.now);
            self.advance(ms.min(left.max(1)));
        }
        if self.now < started + delay + window {
            ensure!(
                self.engine.connection_count() == 0,
                Dropped,
                "the drain ended before its time, with connections"
            );
        }
        let has_time = window >= 1_000;
        self.settle();
        if has_time {
            for index in self.all_parked() {
                ensure!(self.is_blocked(index), Deadline, "{index} was not released");
            }
        }
    }

    /// All clients leave, and everything must be given back.
    ///
    /// # Panics
    ///
    /// A rule is broken.
    pub fn end(&mut self) {
        self.quiesce();
        let stats = self.engine.stats().clone();
        self.note(&stats);
        if self.chance.bool() {
            self.drain();
        }
        match self.chance.u8(..3) {
            0 => {
                for index in self.indexes(|client| !client.broken) {
                    let id = self.client(index).id;
                    self.wire.socket(index).broken = true;
                    self.client(index).broken = true;
                    self.engine.broken(id);
                    self.after();
                }
            }
            1 => {
                for index in self.indexes(|client| !client.fin && !client.broken) {
                    let client = self.client(index);
                    client.fin = true;
                    client.unread = true;
                }
                self.quiesce();
                self.run_out();
            }
            _ => self.run_out(),
        }
        self.settle();
        self.check_end();
    }

    /// Time passes until all connections are closed for their age.
    fn run_out(&mut self) {
        let longest = 4_000_000;
        for _ in 0..40 {
            if self.engine.connection_count() == 0 {
                return;
            }
            self.settle();
            self.advance(longest / 10);
        }
        self.settle();
    }

    fn check_end(&mut self) {
        let connections = self.engine.connection_count();
        ensure!(connections == 0, Leak, "{connections} connections are left");
        let readers = self.engine.hub().readers().total();
        ensure!(readers == 0, Leak, "{readers} readers are left");
        self.tally.left_buffered = self
            .tally
            .left_buffered
            .max(self.engine.buffered_bytes() as u64);
        for _ in 0..4 {
            self.advance(LONGEST_AGE_MS + 6_000);
            self.settle();
        }
        let hub = self.engine.hub();
        for (left, name) in [
            (hub.message_count(), "messages"),
            (hub.channel_count(), "channels"),
            (hub.meter().used(), "bytes"),
        ] {
            ensure!(left == 0, Leak, "{left} {name} are left");
        }
        let due = self.engine.next_due();
        ensure!(due.is_none(), Leak, "a deadline is left: {due:?}");
        ensure!(
            !self.engine.has_work(),
            Leak,
            "work is left without connections"
        );
    }

    fn note(&mut self, stats: &Stats) {
        use encke_core::engine::CloseReason;
        self.tally.blocks += stats.blocked;
        self.tally.recycled += stats.recycled;
        self.tally.stalled += stats.ends(CloseReason::Stalled);
        self.tally.no_room += stats.ends(CloseReason::NoRoom);
        self.tally.empty += stats.holds_expired;
        self.tally.replaced += self.engine.hub().counts().replaced;
    }
}
