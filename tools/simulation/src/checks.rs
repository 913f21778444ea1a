//! The rules for a settled world: the engine has done all it can do at this time.
//!
//! Owns these checks. They look at the engine from outside alone.

use encke_core::base::time::millis;
use encke_core::engine::State;

use crate::client::Answer;
use crate::request::Kind;
use crate::rule::ensure;
use crate::world::World;

/// How long a publisher waits for the log.
const SAVE_MS: u64 = 5_000;

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
            if !self.engine.has_work() && due.is_none_or(|due| self.world_time(due) > self.now) {
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
        let is_blocked = self.is_blocked(index);
        if is_blocked && matches!(state, State::Held | State::Streaming) {
            self.check_term(index);
        }
        let config = &self.setup.config;
        let socket = &self.wire.sockets[index as usize];
        if !socket.rest.is_empty() {
            let limit = socket.progress_at + millis(config.write_timeout) + ROUNDING_MS;
            ensure!(
                now < limit,
                Deadline,
                "{index} takes nothing and is still there"
            );
            return;
        }
        let is_parked = matches!(state, State::Held | State::Streaming);
        let has_left = self.client(index).fin_told;
        ensure!(
            !is_parked || !has_left,
            Leak,
            "{index} has left and is parked"
        );
        match state {
            State::Held => self.check_held(index),
            State::Streaming => self.check_stream(index),
            _ => {}
        }
        if is_parked {
            self.check_term(index);
            self.check_not_done(index);
        }
    }

    /// A reader that has the ends of all its channels is not parked any more.
    fn check_not_done(&mut self, index: u32) {
        let (now, head) = (self.now, self.model.head());
        let client = self.client(index);
        let heard_at = client.heard_at;
        let receive = client.parked().expect("it is parked");
        let (followed, pace_ms) = (receive.followed.clone(), receive.pace_ms);
        let is_paused = pace_ms > 0 && now < heard_at + pace_ms + ROUNDING_MS;
        ensure!(
            is_paused || !self.model.is_done(&followed, head),
            Undelivered,
            "{index} waits, and all its channels have ended"
        );
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
        let says_ends = text.contains("\"end\":true") || text.contains("\"ended\":");
        let is_empty = text.contains("messages\":[]") && !text.contains("\"gap\"") && !says_ends;
        self.tally.given_up += u64::from(answer.is_followed);
        let term = receive.session.term.as_ref();
        let has_ended = term.is_some_and(|term| term.may_have_ended(self.now));
        self.tally.ended_holds += u64::from(is_empty && has_ended);
        let may_be = answer.is_followed || has_ended || self.engine.is_draining();
        ensure!(
            may_be || !is_empty || self.now >= parked.at + least,
            EarlyEnd,
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
        ensure!(
            heard_all,
            Undelivered,
            "{index} is held, and earlier answers are not there"
        );
        let first_owed = client.owed_at;
        let request = &client.requests[client.tapped];
        let more = client.requests.get(client.tapped + 1);
        let is_further = more.is_some_and(|next| next.has_head(client.read));
        ensure!(
            !is_further,
            LateHold,
            "{index} is held, and a further request is here"
        );
        let Kind::Receive(receive) = &request.kind else {
            unreachable!("only a request to receive is held");
        };
        let parked = receive.session.parked.as_ref().expect("observed");
        let most = receive.hold_ms.map_or(hold, |ms| ms.min(max));
        ensure!(
            now < parked.at + most + ROUNDING_MS,
            LateHold,
            "{index} is held for longer than its hold"
        );
        let channels = receive.session.channels.iter();
        let owed = channels
            .map(|&channel| self.model.owed(channel, parked.head, head))
            .sum::<usize>();
        if owed == 0 {
            return;
        }
        ensure!(
            receive.linger_ms > 0,
            Undelivered,
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
        ensure!(
            owed < limit || !is_whole,
            LateMessage,
            "{index} lingers, and its batch is full"
        );
        let linger_ms = receive.linger_ms;
        match first_owed {
            None => client.owed_at = Some(now),
            Some(first) => ensure!(
                now < first + linger_ms + ROUNDING_MS,
                LateMessage,
                "{index} lingers for too long"
            ),
        }
    }

    fn check_stream(&mut self, index: u32) {
        let now = self.now;
        let config = &self.setup.config;
        let (heartbeat, age) = (millis(config.heartbeat), millis(config.stream_max_age));
        let max_bytes = u64::from(config.stream_max_bytes);
        let save_ms = if self.disk.is_some() { SAVE_MS } else { 0 };
        let is_way_over = max_bytes > 10_000;
        let client = self.clients[index as usize]
            .as_mut()
            .expect("a stream is open");
        let pace_ms = client.parked().map_or(0, |receive| receive.pace_ms);
        if now <= client.heard_at + heartbeat.max(pace_ms) + ROUNDING_MS {
            client.late_at = None;
        } else {
            // One that was owed something when it was due looks again a tick later.
            let late_at = *client.late_at.get_or_insert(now);
            ensure!(
                now < late_at + ROUNDING_MS,
                Silence,
                "{index} hears no heartbeat"
            );
        }
        let stream_bytes = client.stream_bytes;
        let is_socket = client.commands.is_some();
        let (heard_at, read_at) = (client.heard_at, client.read_at);
        let parked = client.parked().expect("a stream");
        let pace_ms = parked.pace_ms;
        // What its client has published is answered first, and it may have done so when it was
        // late.
        let answered_at = if is_socket { read_at + save_ms } else { 0 };
        let opened_at = parked.session.parked.as_ref().expect("observed").at;
        ensure!(
            now < (opened_at + age).max(answered_at) + ROUNDING_MS,
            Deadline,
            "{index} is an old stream"
        );
        // The opening does not count.
        ensure!(
            is_way_over || is_socket || stream_bytes <= max_bytes + 4_000,
            Oversized,
            "{index} has had {stream_bytes} bytes"
        );
        if pace_ms == 0 || now >= heard_at + pace_ms + ROUNDING_MS {
            parked.session.settle(&mut self.model, &mut self.tally);
        }
    }

    /// Checks how many messages history keeps, where only count and age limit it.
    pub(crate) fn check_history(&mut self) {
        // A start may bring a forgotten channel back, for which another has to go.
        let may_lack_room = self.is_saved() && self.model.is_short_of_channels;
        if !self.setup.exact_history || may_lack_room {
            return;
        }
        for (channel, name) in self.setup.names.iter().enumerate() {
            let rules = self.rules(channel);
            // After a reload, older messages may have gone by the limits of before.
            let expected = |from: u64, now: u64| {
                let all = self.model.between(channel, from, self.model.head());
                let alive = all.iter().filter(|known| {
                    let is_young = self.model.message(known.seq).at + rules.max_age_ms > now;
                    is_young && !self.model.is_deleted(channel, known.seq)
                });
                alive.count().min(rules.max_messages)
            };
            // Where ages differ, deadlines round up.
            let rounding = match self.setup.reloads || self.setup.has_rights {
                true => ROUNDING_MS,
                false => 0,
            };
            // A start takes ages by the calendar.
            let ahead = if self.is_saved() { ROUNDING_MS } else { 0 };
            let rounding = rounding.max(ahead);
            let least = expected(self.model.reloaded_at, self.now + ahead);
            let most = expected(0, self.now.saturating_sub(rounding));
            let known = self.engine.hub().find(name);
            let kept = known.map_or(0, |known| self.engine.hub().channel(known).len());
            ensure!(
                (least..=most).contains(&kept),
                Miscounted,
                "{name} keeps {kept} messages, and not {least} to {most}"
            );
        }
    }
}
