//! What must hold once everything that can be done is done, and when all is over.
//!
//! Owns these checks. They look at the engine from outside alone.

use encke_core::base::time::{Time, millis};
use encke_core::engine::State;
use encke_core::engine::Stats;

use crate::client::Answer;
use crate::request::Kind;
use crate::world::World;

/// Deadlines round up to a tick, and so does a noted moment.
const ROUNDING_MS: u64 = 32;

impl World {
    /// Does everything that can be done now, and checks what must hold then.
    pub(crate) fn settle(&mut self) {
        self.say(|| "settle".into());
        for round in 0.. {
            assert!(round < 20_000, "the engine has work for ever");
            while self.again() {}
            self.list_on();
            self.deliver(1_000);
            self.expire(1_000);
            self.release(1_000);
            self.close(1_000);
            let due = self.engine.next_due();
            if !self.engine.has_work() && due.is_none_or(|due| due > Time(self.now)) {
                break;
            }
        }
        for index in self.indexes(|_| true) {
            self.check_client(index);
        }
        self.check_history();
    }

    fn check_client(&mut self, index: u32) {
        let (state, now) = (self.state(index), self.now);
        let config = &self.setup.config;
        let socket = &self.wire.sockets[index as usize];
        if !socket.rest.is_empty() {
            let limit = socket.progress_at + millis(config.write_timeout) + ROUNDING_MS;
            assert!(now < limit, "{index} takes nothing and is still there");
            return;
        }
        let is_parked = matches!(state, State::Held | State::Streaming);
        let has_left = self.client(index).fin_told;
        assert!(!is_parked || !has_left, "{index} has left and is parked");
        match state {
            State::Held => self.check_held(index),
            State::Streaming => self.check_stream(index),
            _ => {}
        }
    }

    /// A hold is not given up before its time without a reason.
    pub(crate) fn check_empty(&mut self, index: u32, answer: &Answer) {
        let client = self.clients[index as usize].as_ref();
        let client = client.expect("an open connection answers");
        let Kind::Receive(receive) = &client.requests[answer.place].kind else {
            return;
        };
        let Some(parked) = receive.session.parked.as_ref() else {
            return;
        };
        let config = &self.setup.config;
        let (hold, max) = (millis(config.hold), millis(config.max_hold));
        let least = receive.hold_ms.map_or(hold - hold / 10, |ms| ms.min(max));
        let text = String::from_utf8_lossy(&answer.body);
        let is_empty = text.contains("messages\":[]") && !text.contains("\"gap\"");
        self.tally.given_up += u64::from(answer.is_followed);
        let may_be = answer.is_followed || self.engine.is_draining();
        assert!(
            may_be || !is_empty || self.now >= parked.at + least,
            "an empty answer before the end of the hold"
        );
    }

    fn check_held(&mut self, index: u32) {
        let (now, head) = (self.now, self.model.head());
        let (hold, max) = (
            millis(self.setup.config.hold),
            millis(self.setup.config.max_hold),
        );
        let client = self.clients[index as usize].as_mut().expect("held is open");
        let heard_all = client.answered == client.tapped;
        assert!(
            heard_all,
            "{index} is held, and earlier answers are not there"
        );
        let first_owed = client.owed_at;
        let request = &client.requests[client.tapped];
        let more = client.requests.get(client.tapped + 1);
        let is_further = more.is_some_and(|next| next.has_head(client.read));
        assert!(
            !is_further,
            "{index} is held, and a further request is here"
        );
        let Kind::Receive(receive) = &request.kind else {
            unreachable!("only a request to receive is held");
        };
        let parked = receive.session.parked.as_ref().expect("observed");
        let most = receive.hold_ms.map_or(hold, |ms| ms.min(max));
        assert!(
            now < parked.at + most + ROUNDING_MS,
            "{index} is held for longer than its hold"
        );
        let channels = receive.session.channels.iter();
        let owed = channels
            .map(|&channel| self.model.between(channel, parked.head, head).len())
            .sum::<usize>();
        if owed == 0 {
            return;
        }
        assert!(
            receive.linger_ms > 0,
            "{index} is held, and a message is here"
        );
        let limit = receive
            .limit
            .unwrap_or(usize::MAX)
            .min(self.setup.config.max_batch);
        // What was deleted before it was gathered takes no place in the batch.
        let is_deleted = |&channel: &usize| self.model.is_deleted(channel, parked.head + 1);
        let is_whole = parked.blocks == self.wire.sockets[index as usize].blocks
            && !receive.session.channels.iter().any(is_deleted);
        assert!(
            owed < limit || !is_whole,
            "{index} lingers, and its batch is full"
        );
        let linger_ms = receive.linger_ms;
        match first_owed {
            None => client.owed_at = Some(now),
            Some(first) => assert!(
                now < first + linger_ms + ROUNDING_MS,
                "{index} lingers for too long"
            ),
        }
    }

    fn check_stream(&mut self, index: u32) {
        let now = self.now;
        let config = &self.setup.config;
        let (heartbeat, age) = (millis(config.heartbeat), millis(config.stream_max_age));
        let max_bytes = u64::from(config.stream_max_bytes);
        let is_way_over = max_bytes > 10_000;
        let client = self.clients[index as usize]
            .as_mut()
            .expect("a stream is open");
        if now <= client.heard_at + heartbeat + ROUNDING_MS {
            client.late_at = None;
        } else {
            // One that was owed something when it was due looks again a tick later.
            let late_at = *client.late_at.get_or_insert(now);
            assert!(now < late_at + ROUNDING_MS, "{index} hears no heartbeat");
        }
        let stream_bytes = client.stream_bytes;
        let parked = client.parked().expect("a stream");
        let opened_at = parked.session.parked.as_ref().expect("observed").at;
        assert!(
            now < opened_at + age + ROUNDING_MS,
            "{index} is an old stream"
        );
        // The opening does not count.
        assert!(
            is_way_over || stream_bytes <= max_bytes + 4_000,
            "{index} has had {stream_bytes} bytes"
        );
        parked.session.settle(&mut self.model, &mut self.tally);
    }

    /// What history keeps, where nothing but count and age bound it.
    fn check_history(&mut self) {
        if !self.setup.exact_history {
            return;
        }
        let history = &self.setup.config.history;
        let (most, age) = (history.max_messages, millis(history.max_age));
        for (channel, name) in self.setup.names.iter().enumerate() {
            let all = self.model.between(channel, 0, self.model.head());
            let alive = all.iter().filter(|known| {
                let is_young = self.model.message(known.seq).at + age > self.now;
                is_young && !self.model.is_deleted(channel, known.seq)
            });
            let expected = alive.count().min(most);
            let known = self.engine.hub().find(name);
            let kept = known.map_or(0, |known| self.engine.hub().channel(known).len());
            assert_eq!(kept, expected, "messages that {name} keeps");
        }
    }

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
            self.settle();
            let unread = self.indexes(|client| client.unread);
            if unread.is_empty() {
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
            assert!(
                !self.engine.wants_input(id),
                "{index} has bytes that nobody reads"
            );
        }
        for index in self.indexes(|client| client.kernel.is_empty() && !client.broken) {
            let (parked, client) = (self.state(index), self.client(index));
            let is_parked = matches!(parked, State::Held | State::Streaming);
            let answers = client.requests.len() - client.answered - usize::from(is_parked);
            assert!(
                answers == 0 || client.said_close || client.fin,
                "{index} waits for {answers} answers ({parked:?})"
            );
        }
    }

    /// Drains, and checks that it ends when it should.
    pub(crate) fn drain(&mut self) {
        self.say(|| "drain".into());
        self.tally.drains += 1;
        let config = &self.setup.config;
        // The last half second is for the last connections to take their answers, in a shorter drain too.
        let (delay, window) = (millis(config.drain_delay), millis(config.drain).max(500));
        self.engine.begin_drain();
        let started = self.now;
        while !self.engine.is_drained() {
            assert!(
                self.now <= started + delay + window,
                "the drain does not end"
            );
            self.settle();
            if self.engine.is_drained() {
                break;
            }
            let ms = self.chance.u64(1..=window.max(2) / 2 + 1);
            let left = (started + delay + window).saturating_sub(self.now);
            self.advance(ms.min(left.max(1)));
        }
        if self.now < started + delay + window {
            assert_eq!(self.engine.connection_count(), 0, "left before its time");
        }
        let has_time = window >= 1_000;
        self.settle();
        if has_time {
            for index in self.indexes(|_| true) {
                let is_parked = matches!(self.state(index), State::Held | State::Streaming);
                assert!(
                    !is_parked || self.is_blocked(index),
                    "{index} was not released"
                );
            }
        }
    }

    /// Everyone leaves, and everything is given back.
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
        assert_eq!(self.engine.connection_count(), 0, "connections are left");
        assert_eq!(self.engine.hub().readers().total(), 0, "readers are left");
        self.tally.left_buffered = self
            .tally
            .left_buffered
            .max(self.engine.buffered_bytes() as u64);
        for _ in 0..4 {
            self.advance(millis(self.setup.config.history.max_age) + 6_000);
            self.settle();
        }
        let hub = self.engine.hub();
        assert_eq!(hub.message_count(), 0, "messages are left");
        assert_eq!(hub.channel_count(), 0, "channels are left");
        assert_eq!(hub.meter().used(), 0, "bytes are left");
        assert_eq!(self.engine.next_due(), None, "something is due for nobody");
        assert!(!self.engine.has_work(), "work is left for nobody");
    }

    fn note(&mut self, stats: &Stats) {
        use encke_core::engine::CloseReason;
        self.tally.blocks += stats.blocked;
        self.tally.recycled += stats.recycled;
        self.tally.stalled += stats.ends(CloseReason::Stalled);
        self.tally.no_room += stats.ends(CloseReason::NoRoom);
        self.tally.empty += stats.holds_expired;
    }
}
