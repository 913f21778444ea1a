//! The steps of a world, chosen at random.
//!
//! Owns the choice. What a thing does is in `world`, whether it may be is in the checks.

use encke_core::engine::{Access, State};
use encke_core::hub::Refusal;
use encke_core::message::{ChannelName, Data, Draft, DraftKind, EventName, IdempotencyKey, Seq};
use encke_oracle::log::{Since, Transport};

use crate::client::Client;
use crate::command::{self, Command};
use crate::model::Said;
use crate::request::{self, Cursor, Manner, Receive, Way};
use crate::rule::ensure;
use crate::session::Session;
use crate::setup::pick;
use crate::token::{Card, Cards};
use crate::world::World;

/// The last millisecond of the year 9999, the last that a date in HTTP has room for.
const LATEST_MS: u64 = 253_402_300_799_999;

impl World {
    /// One thing happens.
    ///
    /// # Panics
    ///
    /// A rule is broken.
    pub fn step(&mut self) {
        self.tally.steps += 1;
        if self.is_saved() && self.chance.u8(..6) == 0 {
            return self.disk_step();
        }
        match self.chance.u8(..100) {
            0..6 => self.accept(),
            6..19 => self.ask(),
            19..22 => self.command(),
            22..43 => self.transfer(),
            43 => self.hand_over(false),
            44..54 => self.read_some(),
            54..62 => self.publish(),
            62..70 => self.tick(),
            70..80 => self.work(),
            80..87 => self.socket(),
            87..94 => self.pass_time(),
            94 => self.leave(),
            95 => match self.chance.bool() {
                true => self.reload(),
                false => self.change_rights(),
            },
            96..98 => self.settle(),
            _ => self.be_quiet(),
        }
    }

    fn accept(&mut self) {
        let access = pick(
            &mut self.chance,
            &[Access::Trusted, Access::Guarded, Access::Public],
        );
        let Some(id) = self.engine.accept(access) else {
            let (open, most) = (self.engine.connection_count(), self.setup.max_connections);
            ensure!(
                open == most,
                Refused,
                "refused with {open} of {most} connections"
            );
            self.tally.full += 1;
            return;
        };
        let index = id.index;
        self.tally.accepted += 1;
        self.say(|| format!("{index} accepted, {access:?}"));
        let blocks = !self.setup.smooth && self.chance.u8(..6) == 0;
        let room = blocks.then(|| self.chance.usize(..300));
        self.wire.open(index, room);
        let place = index as usize;
        if self.clients.len() <= place {
            self.clients.resize_with(place + 1, || None);
        }
        self.clients[place] = Some(Client::new(id, access, self.now));
    }

    /// Some connection for which `wanted` holds.
    fn some(&mut self, wanted: impl Fn(&Client) -> bool) -> Option<u32> {
        let all = self.indexes(wanted);
        (!all.is_empty()).then(|| pick(&mut self.chance, &all))
    }

    /// The client of a socket writes a command, or another frame.
    fn command(&mut self) {
        let Some(index) = self.some(Client::is_socket) else {
            return;
        };
        let bytes = match self.chance.u8(..20) {
            0 => {
                let commands = self.client(index).commands.as_mut();
                commands.expect("a socket").has_closed = true;
                command::close(&mut self.chance)
            }
            1..4 => command::ping(&mut self.chance),
            4..12 => match self.follow(index) {
                Some(bytes) => bytes,
                None => return,
            },
            _ => {
                let command = Command::Publish(self.said().into_line(), self.key());
                match self.command_frames(index, command, None) {
                    Some(bytes) => bytes,
                    None => return,
                }
            }
        };
        self.client(index).write_frames(&bytes);
        if self.chance.bool() {
            self.send(index, usize::MAX);
            self.read(index, 70_000);
        }
    }

    /// The frames with which a socket asks for other channels.
    fn follow(&mut self, index: u32) -> Option<Vec<u8>> {
        let client = self.client(index);
        let is_free = client.commands.as_ref().is_some_and(|c| c.may_follow());
        let receive = client.parked()?;
        let (follower, is_exact) = (receive.follower, receive.session.is_exact);
        if !is_free {
            return None;
        }
        let mut channels: Vec<usize> = (0..self.setup.names.len()).collect();
        self.chance.shuffle(&mut channels);
        channels.truncate(self.chance.usize(..=channels.len()));
        let (since, text) = match is_exact && self.chance.bool() {
            true => (None, None),
            false => {
                let (since, text) = self.since(follower);
                (Some(since), Some(text.unwrap_or_else(|| "now".into())))
            }
        };
        let at = self.model.tick();
        let command = Command::Follow {
            channels,
            since,
            at,
        };
        self.command_frames(index, command, text)
    }

    /// The frames of a command, unless it is larger than allowed.
    fn command_frames(
        &mut self,
        index: u32,
        command: Command,
        since: Option<String>,
    ) -> Option<Vec<u8>> {
        let text = command::text(&command, since.as_deref(), &self.setup.names);
        if text.len() > self.setup.config.max_body_bytes {
            return None;
        }
        self.tally.commands += 1;
        self.client(index).commands.as_mut()?.push(command);
        Some(command::frames(&mut self.chance, &text))
    }

    /// A client writes a request, or several.
    fn ask(&mut self) {
        let open = |client: &Client| !client.fin && !client.broken && !client.is_last_written();
        let Some(index) = self.some(open) else { return };
        if self.chance.u8(..100) == 0 {
            self.ask_much(index);
        } else {
            let count = match self.chance.u8(..5) {
                0 => self.chance.usize(2..6),
                _ => 1,
            };
            for _ in 0..count {
                if self.client(index).is_last_written() {
                    break;
                }
                let mut manner = Manner::by_chance(&mut self.chance);
                let asked = match self.chance.u8(..12) {
                    0..7 => {
                        self.dress(&mut manner, true);
                        self.receive(&manner)
                    }
                    what @ 7..10 => {
                        self.dress(&mut manner, false);
                        match what {
                            9 if self.chance.u8(..3) == 0 && !self.is_saved() => {
                                // Its rights are judged more than once.
                                manner.cards = Manner::by_chance(&mut self.chance).cards;
                                self.request_by_lines(&manner)
                            }
                            9 => self.lines_request(&manner),
                            _ => self.publish_request(&manner),
                        }
                    }
                    10 if self.setup.has_rights => {
                        if self.chance.bool() {
                            manner.cards = Cards {
                                bearer: Some(Card::Key("secret")),
                                ..Cards::default()
                            };
                        }
                        self.search(&manner)
                    }
                    _ => self.other(&manner),
                };
                self.write(index, asked);
            }
        }
        if self.chance.bool() {
            self.send(index, usize::MAX);
            self.read(index, 70_000);
        }
    }

    /// More requests than are served in one go, none of which ends the connection.
    fn ask_much(&mut self, index: u32) {
        self.tally.pipelines += 1;
        for _ in 0..100 {
            let manner = Manner {
                http10: false,
                keep_alive: true,
                ..Manner::by_chance(&mut self.chance)
            };
            let asked = match self.chance.u8(..8) {
                0 => self.publish_request(&manner),
                _ => self.other(&manner),
            };
            self.write(index, asked);
        }
    }

    fn write(&mut self, index: u32, (request, bytes): (request::Request, Vec<u8>)) {
        self.tally.asked += 1;
        self.client(index).write(request, &bytes);
    }

    fn other(&mut self, manner: &Manner) -> (request::Request, Vec<u8>) {
        let channel = self.chance.usize(..self.setup.names.len());
        let name = &self.setup.names[channel];
        // What has never had a message has nothing to be deleted, and a deletion then has no
        // record.
        let hub = self.engine.hub();
        let items = hub
            .find(name)
            .map(|channel| hub.channel(channel).newest_item());
        let records = match items.is_some_and(|newest| newest > Seq::ZERO) {
            true => self.records(),
            false => usize::MAX,
        };
        request::other(&mut self.chance, manner, name, channel, records)
    }

    fn receive(&mut self, manner: &Manner) -> (request::Request, Vec<u8>) {
        let follower = self.chance.usize(..self.followers.len());
        let way = pick(&mut self.chance, &Way::ALL);
        let often = if self.setup.polls { 11 } else { 4 };
        let way = match self.chance.u8(..12) < often {
            true => Way::LongPoll,
            false => way,
        };
        // Only an EventSource is told not to come back.
        let mut channels = self.followers[follower].channels.iter();
        let way = match channels.all(|&channel| self.model.end_of(channel).is_some()) {
            true if self.chance.bool() => Way::Sse,
            _ => way,
        };
        let (since, text) = self.since(follower);
        let since = match since {
            Since::Now if way == Way::Poll && text.is_none() => Since::Earliest,
            since => since,
        };
        let chance = &mut self.chance;
        let cursor = match text {
            None => Cursor::None,
            Some(text) if chance.bool() && since != Since::Earliest => Cursor::Query(text),
            Some(text) => match since {
                Since::Unknown if chance.bool() => Cursor::Header("nonsense".into()),
                _ => Cursor::Header(text),
            },
        };
        let is_poll = !way.is_stream();
        let is_long = way == Way::LongPoll;
        let channels = self.followers[follower].channels.clone();
        let linger_ms = if is_long && chance.u8(..4) == 0 {
            pick(chance, &[1, 50, 1_000])
        } else {
            0
        };
        let transport = match linger_ms {
            0 => way.transport(),
            _ => Transport::Linger,
        };
        let followed = channels.clone();
        let mut cards = manner.cards.clone();
        if way == Way::WebSocket && !self.setup.has_rights && chance.bool() {
            // What a socket may publish depends on the key that it was opened with.
            cards.bearer = Some(Card::Key("secret"));
        }
        let manner = &Manner { cards, ..*manner };
        let session = Session::new(
            channels.clone(),
            transport,
            since,
            &mut self.model,
            &mut self.tally,
        );
        let receive = Receive {
            way,
            follower,
            session,
            hold_ms: (is_long && chance.bool())
                .then(|| pick(chance, &[0, 20, 100, 1_000, 200_000])),
            limit: (is_poll && chance.u8(..4) == 0).then(|| chance.usize(1..4)),
            linger_ms,
            early: is_long && chance.u8(..4) == 0,
            envelope: way == Way::Sse && chance.bool(),
            pace_ms: match way.is_stream() && chance.u8(..4) == 0 {
                true => pick(chance, &[1, 40, 500, 60_000]),
                false => 0,
            },
            callback: (is_poll && chance.u8(..6) == 0).then(|| "a.b$1".to_owned()),
            followed,
        };
        let mut names: Vec<&str> = channels.iter().map(|&c| &*self.setup.names[c]).collect();
        if chance.u8(..8) == 0 {
            // A name that is given twice counts once.
            names.push(names[0]);
        }
        request::receive(chance, manner, receive, &names, cursor)
    }

    fn said(&mut self) -> Said {
        let channel = self.chance.usize(..self.setup.names.len());
        self.published += 1;
        let most = self.setup.config.max_body_bytes.min(3_000) / 3;
        let said = Said {
            channel,
            data: request::data(&mut self.chance, self.published, most),
            event: match self.chance.u8(..6) {
                0 => Some("tick".to_owned()),
                1 => Some("message".to_owned()),
                _ => None,
            },
            // What a crash does to the end of a channel is judged by the tests of the log.
            kind: match self.chance.u8(..12) {
                _ if self.is_saved() => DraftKind::Message,
                0 => DraftKind::Last,
                1 => DraftKind::End,
                _ => DraftKind::Message,
            },
        };
        match said.kind {
            DraftKind::Message => said,
            // Without a body a channel ends without a message.
            DraftKind::Last if !said.data.is_empty() => said,
            DraftKind::Last | DraftKind::End => Said {
                data: Data::Text("".into()),
                event: None,
                kind: DraftKind::End,
                ..said
            },
        }
    }

    fn request_by_lines(&mut self, manner: &Manner) -> (request::Request, Vec<u8>) {
        let said = (0..self.chance.usize(1..8)).map(|_| self.said().into_line());
        let mut said: Vec<Said> = said.collect();
        if self.chance.bool() {
            let channel = said[0].channel;
            said.iter_mut().for_each(|each| each.channel = channel);
        }
        let key = self.key();
        let may_repeat = self.model.is_short_of_channels;
        let names = &self.setup.names;
        request::publish_by_lines(&mut self.chance, manner, said, key, names, may_repeat)
    }

    fn key(&mut self) -> Option<String> {
        (self.chance.u8(..3) == 0).then(|| format!("k{}", self.chance.u8(..4)))
    }

    fn publish_request(&mut self, manner: &Manner) -> (request::Request, Vec<u8>) {
        let (said, key) = (self.said(), self.key());
        let name = &self.setup.names[said.channel];
        request::publish(&mut self.chance, manner, said, name, key)
    }

    fn lines_request(&mut self, manner: &Manner) -> (request::Request, Vec<u8>) {
        let lines = (0..self.chance.usize(1..5)).map(|_| self.said().into_line());
        let lines = lines.collect();
        request::publish_lines(&mut self.chance, manner, lines, &self.setup.names)
    }

    /// A producer's messages.
    fn publish(&mut self) {
        if self.chance.u8(..self.setup.publish_one_in) > 0 {
            return;
        }
        let count = match self.chance.u8(..200) {
            0 => 1_000,
            1..20 => self.chance.usize(..80),
            _ => 1,
        };
        self.tally.floods += u64::from(count >= 1_000);
        for _ in 0..count {
            let (said, key) = (self.said(), self.key());
            let event = said.event.as_deref().unwrap_or_default();
            let key_of = |key: &String| IdempotencyKey::parse(key.as_bytes()).expect("a key");
            let name = self.setup.names[said.channel].clone();
            let draft = Draft {
                channel: ChannelName::parse(name.as_bytes()).expect("a name"),
                data: said.data.clone(),
                event: EventName::parse(event.as_bytes()).expect("a name"),
                key: key.as_ref().map(key_of),
                kind: said.kind,
            };
            let expected = self.audience(said.channel);
            let done = self.engine.submit(draft);
            self.watch_history();
            self.say(|| format!("publish {said:?} as {key:?}: {done:?}"));
            if let Err((Refusal::TooLargeForChannel { max_bytes, .. }, draft)) = &done {
                self.tally.too_large += 1;
                let max = self.rules(said.channel).max_message_bytes;
                ensure!(
                    *max_bytes as usize == max && draft.data.len() > max,
                    Refused,
                    "{} bytes are refused, and {max} are allowed",
                    draft.data.len()
                );
            }
            if let Ok(published) = done {
                if published.id.seq.0 > self.model.head() {
                    ensure!(
                        published.subscribers == expected,
                        Miscounted,
                        "{name} has {expected} subscribers, and not {}",
                        published.subscribers
                    );
                }
                self.accepted_as(published.id.seq.0, &said, key.as_deref());
            }
            self.after();
        }
        if self.chance.u8(..16) == 0 {
            self.delete_at_once();
        }
    }

    /// A history is deleted, most often before what was just published is delivered.
    fn delete_at_once(&mut self) {
        let is_free = |client: &Client| {
            let is_done = client.answered == client.requests.len() && client.unsent.is_empty();
            is_done && !client.fin && !client.broken && !client.is_last_written()
        };
        let Some(index) = self.some(is_free) else {
            return;
        };
        let manner = Manner {
            http10: false,
            keep_alive: true,
            cards: Cards {
                bearer: Some(Card::Key("secret")),
                ..Cards::default()
            },
        };
        let channel = self.chance.usize(..self.setup.names.len());
        let asked = request::delete(&manner, &self.setup.names[channel], channel, self.records());
        self.write(index, asked);
        self.send(index, usize::MAX);
        self.read(index, 70_000);
        self.deleted(index);
    }

    /// So much of what a client wrote arrives in the server's kernel.
    fn send(&mut self, index: u32, most: usize) {
        let client = self.client(index);
        let length = client.unsent.len().min(most);
        let bytes: Vec<u8> = client.unsent.drain(..length).collect();
        client.kernel.extend(bytes);
        client.unread = true;
    }

    /// Bytes travel to the server.
    fn transfer(&mut self) {
        let ready = |client: &Client| !client.unsent.is_empty() && !client.broken;
        let Some(index) = self.some(ready) else {
            return;
        };
        let how = self.chance.u8(..8);
        let some = self.chance.usize(1..200);
        let length = match how {
            0 => 1,
            1 => some,
            _ => usize::MAX,
        };
        self.send(index, length);
        if self.chance.bool() {
            self.read(index, 70_000);
        }
    }

    fn read_some(&mut self) {
        if let Some(index) = self.some(|client| client.unread) {
            let most = pick(
                &mut self.chance,
                &[1, 7, 100, 70_000, 70_000, 70_000, 70_000],
            );
            self.read(index, most);
        }
    }

    /// One tick of the reactor, with small budgets.
    fn tick(&mut self) {
        for index in self.indexes(|client| client.unread) {
            if self.clients[index as usize].is_some() {
                self.read(index, 70_000);
            }
        }
        self.again();
        self.list_on();
        let budget = self.chance.usize(1..20);
        self.deliver(budget);
        self.expire(budget);
        self.release(budget);
        self.close(budget);
    }

    /// One step of the engine.
    fn work(&mut self) {
        let budget = self.chance.usize(1..4);
        match self.chance.u8(..6) {
            0 | 1 => self.deliver(budget),
            2 => self.expire(budget),
            3 => {
                self.again();
            }
            4 => self.list_on(),
            _ => {
                self.close(budget);
            }
        }
    }

    pub(crate) fn release(&mut self, budget: usize) {
        self.engine.release_drained(budget);
        self.after();
    }

    /// A socket takes more, or less.
    fn socket(&mut self) {
        let Some(index) = self.some(|client| !client.broken) else {
            return;
        };
        let chance = &mut self.chance;
        let socket = self.wire.socket(index);
        let how = chance.u8(..20);
        match how {
            _ if self.setup.smooth => {}
            0 => socket.broken = true,
            1..5 => socket.room = Some(chance.usize(..200)),
            5..9 => socket.room = Some(socket.room.unwrap_or(0) + chance.usize(..2_000)),
            _ => socket.room = None,
        }
        let (is_waiting, room) = (!socket.rest.is_empty(), socket.room);
        self.say(|| format!("{index} takes {room:?} ({how})"));
        if (is_waiting && room != Some(0)) || how == 19 {
            self.writable(index);
        }
    }

    fn pass_time(&mut self) {
        let slow = self.setup.slow_clock;
        let ms = match self.chance.u8(..40) {
            0 if !slow || self.chance.u8(..4) == 0 => self.chance.u64(..10_000_000),
            1..4 if !slow => self.chance.u64(..100_000),
            4..12 if !slow => self.chance.u64(..5_000),
            _ => self.chance.u64(..60),
        };
        self.tally.jumps += u64::from(ms >= 1_000_000);
        if self.chance.u8(..20) == 0 {
            // The calendar is set, back as well as forth: deadlines go by another clock.
            self.wall_ms = match self.chance.u8(..4) {
                0 => self.chance.u64(..LATEST_MS),
                // A step by which some tokens expire, and others are good again.
                _ => self.wall_ms - 20_000 + self.chance.u64(..40_000),
            };
            self.note_wall();
            self.tally.wall_steps += 1;
        }
        self.advance(ms);
    }

    /// A client leaves.
    fn leave(&mut self) {
        let Some(index) = self.some(|client| !client.fin && !client.broken) else {
            return;
        };
        let abrupt = self.chance.bool();
        self.say(|| format!("{index} leaves (abruptly: {abrupt})"));
        let client = self.client(index);
        if !abrupt {
            client.unsent.clear();
            client.fin = true;
            client.unread = true;
            return;
        }
        client.broken = true;
        client.unread = false;
        let id = client.id;
        self.wire.socket(index).broken = true;
        self.engine.broken(id);
        self.after();
    }

    /// While nothing is due, nothing is sent, whatever is tried.
    fn be_quiet(&mut self) {
        self.settle();
        let due = self.engine.next_due().map(|due| self.world_time(due));
        let until = due.unwrap_or(self.now + 10_000_000);
        if until <= self.now + 1 {
            return;
        }
        let ms = if self.chance.bool() {
            until - 1 - self.now
        } else {
            1
        };
        let sends = self.wire.sends;
        let states: Vec<State> = self
            .indexes(|_| true)
            .iter()
            .map(|&i| self.state(i))
            .collect();
        self.say(|| format!("nothing for {ms} ms"));
        self.advance(ms);
        ensure!(
            !self.engine.has_work(),
            Deadline,
            "work before the time that was told"
        );
        self.again();
        self.list_on();
        self.deliver(1_000);
        self.expire(1_000);
        self.release(1_000);
        let closed = self.close(1_000);
        let after: Vec<State> = self
            .indexes(|_| true)
            .iter()
            .map(|&i| self.state(i))
            .collect();
        ensure!(
            (self.wire.sends, closed, &after) == (sends, 0, &states),
            Deadline,
            "something happened before it was due: {states:?}, then {after:?}"
        );
        self.tally.quiet += 1;
    }
}
