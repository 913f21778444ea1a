//! The checks after every call of the engine.
//!
//! Owns the order: first what the engine offered tells the model which publishes it accepted, then
//! parked requests are noted, then what arrived at the clients is judged.

use encke_core::base::time::millis;
use encke_core::engine::{CloseReason, State};
use encke_core::message::DraftKind;
use encke_oracle::log::{Event, Parked};

use crate::client::{Answer, Desk};
use crate::command::Command;
use crate::model::Said;
use crate::request::Kind;
use crate::rule::ensure;
use crate::session::ParkedAt;
use crate::world::World;

impl World {
    /// Checks the result of a call: the model is updated first, then the clients are judged.
    pub(crate) fn after(&mut self) {
        self.learn();
        self.watch_history();
        let dirty: Vec<u32> = std::iter::from_fn(|| self.wire.next_dirty()).collect();
        for &index in &dirty {
            self.tap(index);
        }
        let head = self.engine.hub().head().0;
        ensure!(
            self.model.head() == head,
            Invented,
            "the newest message is {head}, and {} were accepted",
            self.model.head()
        );
        for &index in &dirty {
            self.observe(index);
        }
        for &index in &dirty {
            self.hear(index);
        }
        let hub = self.engine.hub().meter();
        let over = hub.used().saturating_sub(hub.limit()) as u64;
        self.tally.over_history = self.tally.over_history.max(over);
        let over = self.engine.buffered_bytes() as u64;
        let over = over.saturating_sub(self.setup.config.max_buffer_bytes as u64);
        self.tally.over_buffers = self.tally.over_buffers.max(over);
    }

    /// Tells the model what history keeps and has dropped.
    pub(crate) fn watch_history(&mut self) {
        let hub = self.engine.hub();
        for (channel, name) in self.setup.names.iter().enumerate() {
            let found = hub.find(name);
            let (oldest, lost) = match found {
                Some(found) => {
                    let found = hub.channel(found);
                    (found.oldest(), found.evicted_up_to())
                }
                None => (None, hub.evicted_up_to(name)),
            };
            let oldest = oldest.map(|oldest| oldest.0);
            self.model.truth.observe(channel as u32, oldest, lost.0);
            if self.known[channel] && found.is_none() {
                self.model.truth.forget();
                self.model.forget_end(channel);
            }
            self.known[channel] = found.is_some();
        }
    }

    pub(crate) fn tap(&mut self, index: u32) {
        let bytes = std::mem::take(&mut self.wire.socket(index).offered);
        if self.clients[index as usize].is_none() {
            return;
        }
        for answer in self.client(index).tap(&bytes) {
            self.check_answer(index, &answer);
            self.check_empty(index, &answer);
            self.check_refused(index, &answer);
            self.answered(index, &answer);
        }
        for (place, said) in std::mem::take(&mut self.client(index).acknowledged) {
            self.acknowledged(index, place, &said);
        }
        for (command, answer) in std::mem::take(&mut self.client(index).executed) {
            self.executed(index, command, &answer);
        }
    }

    /// The engine answered a request, though the client may not know yet.
    fn answered(&mut self, index: u32, answer: &Answer) {
        let kind = &mut self.client(index).requests[answer.place].kind;
        if matches!(kind, Kind::Receive(_)) {
            return;
        }
        let body = || serde_json::from_slice::<serde_json::Value>(&answer.body).expect("JSON");
        match (std::mem::replace(kind, Kind::Other), answer.status) {
            (Kind::Publish(said, key), 200) => self.accepted(&body(), &said, key.as_deref()),
            // The acknowledgements say it.
            (Kind::Lines(lines), 200) if lines.has_acks => {
                self.client(index).requests[answer.place].kind = Kind::Lines(lines);
            }
            (Kind::Lines(lines), _) => self.lines_answered(lines, answer),
            (Kind::Batch(lines), 200) => {
                let body = body();
                let published = body["published"].as_array().expect("a list");
                ensure!(
                    published.len() == lines.len(),
                    TornBatch,
                    "{} of {} lines were published",
                    published.len(),
                    lines.len()
                );
                for (published, said) in published.iter().zip(&lines) {
                    self.accepted(published, said, None);
                }
            }
            (Kind::Search(search), 200) if !answer.body.is_empty() => {
                let member = if search.ends { "ended" } else { "connections" };
                let count = body()[member].as_u64().expect("a number");
                self.found(&search, count);
            }
            (Kind::Delete(channel, records), 204) => {
                match self.is_saved() {
                    true => self.check_deletion_saved(channel, &records),
                    false => self.model.delete(channel),
                }
                self.tally.deletes += 1;
            }
            _ => {}
        }
    }

    /// The engine answered a command, though the client may not know yet.
    fn executed(&mut self, index: u32, command: Command, answer: &serde_json::Value) {
        self.check_command(index, &command, answer);
        if answer.get("error").is_some() {
            self.tally.commands_refused += 1;
            self.check_command_refused(index, &command, answer);
            return;
        }
        match command {
            Command::Publish(said, key) => {
                self.accepted(&answer["published"], &said, key.as_deref());
            }
            Command::Follow { channels, .. } => {
                self.tally.changes += 1;
                let changes = self.changes;
                let receive = self.client(index).parked();
                let receive = receive.expect("a socket is parked");
                let before = std::mem::replace(&mut receive.followed, channels);
                if let Some(term) = &mut receive.session.term {
                    term.note_judged(changes);
                }
                self.check_followed(index, &before);
            }
        }
    }

    pub(crate) fn accepted(
        &mut self,
        published: &serde_json::Value,
        said: &Said,
        key: Option<&str>,
    ) {
        let id = published["id"].as_str().expect("an id");
        ensure!(
            published["channel"] == self.setup.names[said.channel],
            Misrouted,
            "{published} is an answer of another channel"
        );
        ensure!(
            published["subscribers"].is_u64(),
            Nonsense,
            "no subscribers in {published}"
        );
        let seq = self.model.parse(id).seq;
        self.check_saved(seq);
        self.accepted_as(seq, said, key);
    }

    /// A publisher was told that its message has this number.
    pub(crate) fn accepted_as(&mut self, seq: u64, said: &Said, key: Option<&str>) {
        self.learn();
        if self.is_saved() && self.model.claim(seq, said) {
            self.tally.messages += 1;
            return;
        }
        let first = key.and_then(|key| self.model.key(said.channel, key));
        if seq <= self.model.head() {
            let is_end = said.kind == DraftKind::End && self.model.may_be_end(said.channel, seq);
            let has_key = |key| self.model.had_key(said.channel, key, seq);
            ensure!(
                key.is_some_and(has_key) || is_end,
                OneIdForTwo,
                "the answer is {seq}, and the key is that of {first:?}"
            );
            self.tally.retries += 1;
            if said.kind == DraftKind::Last && self.model.is_newest(said.channel, seq) {
                // The first was published without the end.
                let end = self.model.head() + 1;
                self.model.end(end, said.channel);
                self.tally.ends += 1;
            }
            return;
        }
        if let Some(first) = first {
            ensure!(
                self.model.is_gone(said.channel, first),
                PublishedTwice,
                "{first} and {seq} have one key, and the first is in history"
            );
        }
        if said.kind == DraftKind::End {
            self.model.end(seq, said.channel);
            self.tally.ends += 1;
        } else {
            self.tally.messages += 1;
            self.check_size(said.channel, said.data.len());
            self.model.accept(seq, said.clone());
        }
        if said.kind == DraftKind::Last {
            self.model.end(seq + 1, said.channel);
            self.tally.ends += 1;
        }
        if let Some(key) = key {
            self.model.set_key(said.channel, key, seq);
        }
    }

    /// Notes that a request was parked.
    pub(crate) fn observe(&mut self, index: u32) {
        let state = self.state(index);
        if !matches!(state, State::Held | State::Streaming) {
            self.note_end(index);
            return;
        }
        let blocks = self.wire.sockets[index as usize].blocks;
        let is_writable = !self.is_blocked(index);
        let client = self.clients[index as usize].as_mut();
        let client = client.expect("parked is open");
        let receive = client.parked();
        let receive = receive.expect("only a request to receive is parked");
        // A reader that pauses keeps no message from eviction, as if it were blocked.
        let is_writable = is_writable && receive.pace_ms == 0;
        if receive.session.parked.is_some() {
            return;
        }
        self.check_parked(index);
        let term = self.new_term(index);
        let client = self.clients[index as usize].as_mut();
        let receive = client.and_then(|client| client.parked());
        let receive = receive.expect("it is parked");
        receive.session.term = Some(term);
        let hub = self.engine.hub();
        let is_empty = |&channel: &usize| {
            let known = hub.find(&self.setup.names[channel]);
            known.is_none_or(|known| hub.channel(known).newest_item().0 == 0)
        };
        let (head, is_held) = (self.model.head(), state == State::Held);
        receive.session.parked = Some(ParkedAt {
            at: self.now,
            head,
            // One whose opening is not taken whole is blocked from the start.
            blocks: if is_writable { blocks } else { u64::MAX },
        });
        let parked = Event::Parked(Parked {
            head: self.model.id(head),
            is_held,
            is_writable,
            is_empty: receive.session.channels.iter().all(is_empty),
        });
        let (model, tally) = (&mut self.model, &mut self.tally);
        receive.session.record(parked, model, tally);
        tally.held += u64::from(is_held);
        tally.early += u64::from(is_held && receive.early);
    }

    /// Notes when the server ended a stream.
    fn note_end(&mut self, index: u32) {
        let now = self.now;
        let client = self.clients[index as usize].as_mut();
        let receive = client.and_then(|client| client.parked());
        if let Some(term) = receive.and_then(|receive| receive.session.term.as_mut()) {
            term.ended_at.get_or_insert(now);
        }
    }

    /// The client reads what arrived.
    fn hear(&mut self, index: u32) {
        let socket = &mut self.wire.sockets[index as usize];
        let bytes = std::mem::take(&mut socket.taken);
        let (blocks, shut, now) = (socket.blocks, socket.shut, self.now);
        let Some(client) = &mut self.clients[index as usize] else {
            return;
        };
        let mut desk = Desk {
            model: &mut self.model,
            tally: &mut self.tally,
            config: &self.setup.config,
            blocks,
        };
        if !bytes.is_empty() {
            let last_at = std::mem::replace(&mut client.heard_at, now);
            client.receive(&bytes, &mut desk);
            client.check_pace(last_at, &mut desk);
        }
        if shut {
            client.finish(&mut desk);
        }
        let is_draining = self.engine.is_draining();
        for request in &mut client.requests {
            if let Kind::Receive(receive) = &mut request.kind {
                if let Some(has_expired) = receive.session.last_words.take() {
                    self.tally.expired += u64::from(has_expired);
                    match &receive.session.term {
                        Some(term) => term.check_last_words(has_expired, is_draining, now),
                        None => ensure!(!has_expired, Nonsense, "expired, and never parked"),
                    }
                }
                // The cursor of the request answered last is the one it comes back with.
                let follower = &mut self.followers[receive.follower];
                follower.cursor = receive.session.cursor().or(follower.cursor);
            }
        }
    }

    /// The engine has closed a connection, for which it must have had a reason.
    pub(crate) fn closed(&mut self, index: u32) {
        let client = self.clients[index as usize].take().expect("closed twice");
        let socket = self.wire.socket(index);
        socket.open = false;
        // Where there is no room for what a client sends, it may be cut off.
        let is_cut = self.engine.stats().ends(CloseReason::NoRoom) > 0;
        let in_trouble =
            socket.blocks > 0 || socket.failed || client.broken || client.fin || is_cut;
        let (shut, was_silent) = (socket.shut, socket.was_silent);
        self.say(|| format!("{index} closed"));
        if in_trouble || shut {
            return;
        }
        let client_is_stray = client.decoder.is_some();
        ensure!(
            client.is_at_boundary() || client_is_stray,
            Dropped,
            "closed in the middle of an answer"
        );
        let owed = client
            .requests
            .get(client.answered)
            .is_some_and(|r| client.read >= r.end);
        ensure!(
            !owed || client.said_close || client_is_stray,
            Dropped,
            "closed with a request unanswered"
        );
        let asked = client.requests[..client.answered]
            .last()
            .map_or(0, |r| r.end);
        if client.said_close || client_is_stray || client.read > asked || self.engine.is_draining()
        {
            return;
        }
        let config = &self.setup.config;
        let patience = match client.answered {
            0 => config.head_timeout,
            _ => config.idle_timeout,
        };
        ensure!(
            self.now >= client.heard_at + millis(patience),
            Deadline,
            "closed before its time"
        );
        ensure!(
            was_silent,
            Dropped,
            "closed for its silence, and what it said was not read"
        );
    }

    /// How many connections are parked on a channel.
    pub(crate) fn audience(&mut self, channel: usize) -> u32 {
        let mut count = 0;
        for index in self.all_parked() {
            let parked = self.client(index).parked().expect("parked");
            count += u32::from(parked.followed.contains(&channel));
        }
        count
    }
}
