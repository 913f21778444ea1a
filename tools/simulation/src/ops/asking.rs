//! Requests and commands of clients, chosen at random.

use crate::client::Client;
use crate::command::{self, Command};
use crate::request::{self, Cursor, Manner, Receive};
use crate::session::Session;
use crate::tally::ENDPOINTS;
use crate::token::{Card, Cards};
use crate::world::World;
use encke_core::message::Seq;
use encke_oracle::log::{Since, Transport};

impl World {
    /// The client of a socket writes a command, or another frame.
    pub(super) fn command(&mut self) {
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
    pub(super) fn follow(&mut self, index: u32) -> Option<Vec<u8>> {
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
    pub(super) fn command_frames(
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
    pub(super) fn ask(&mut self) {
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
                            manner.cards = Cards::publisher();
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
    pub(super) fn ask_much(&mut self, index: u32) {
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

    pub(super) fn write(&mut self, index: u32, (request, bytes): (request::Request, Vec<u8>)) {
        self.tally.asked += 1;
        self.client(index).write(request, &bytes);
    }

    pub(super) fn other(&mut self, manner: &Manner) -> (request::Request, Vec<u8>) {
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

    pub(super) fn receive(&mut self, manner: &Manner) -> (request::Request, Vec<u8>) {
        let follower = self.chance.usize(..self.followers.len());
        let endpoint = self.chance.pick(&ENDPOINTS);
        let often = if self.setup.polls { 11 } else { 4 };
        let endpoint = match self.chance.u8(..12) < often {
            true => Transport::LongPoll,
            false => endpoint,
        };
        // Only an EventSource is told not to come back.
        let mut channels = self.followers[follower].channels.iter();
        let endpoint = match channels.all(|&channel| self.model.end_of(channel).is_some()) {
            true if self.chance.bool() => Transport::Sse,
            _ => endpoint,
        };
        let (since, text) = self.since(follower);
        let since = match since {
            Since::Now if endpoint == Transport::Poll && text.is_none() => Since::Earliest,
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
        let is_poll = !endpoint.is_stream();
        let is_long = endpoint == Transport::LongPoll;
        let channels = self.followers[follower].channels.clone();
        let linger_ms = if is_long && chance.u8(..4) == 0 {
            chance.pick(&[1, 50, 1_000])
        } else {
            0
        };
        let transport = match linger_ms {
            0 => endpoint,
            _ => Transport::Linger,
        };
        let followed = channels.clone();
        let mut cards = manner.cards.clone();
        if endpoint == Transport::WebSocket && !self.setup.has_rights && chance.bool() {
            // What a socket may publish depends on the key that it was opened with.
            cards.bearer = Some(Card::Key("secret"));
        }
        let manner = &Manner { cards, ..*manner };
        let session = Session::asked_at(
            self.model.tick(),
            channels.clone(),
            transport,
            since,
            &mut self.model,
            &mut self.tally,
        );
        let receive = Receive {
            endpoint,
            follower,
            session,
            hold_ms: (is_long && chance.bool()).then(|| chance.pick(&[0, 20, 100, 1_000, 200_000])),
            limit: (is_poll && chance.u8(..4) == 0).then(|| chance.usize(1..4)),
            linger_ms,
            early: is_long && chance.u8(..4) == 0,
            envelope: endpoint == Transport::Sse && chance.bool(),
            pace_ms: match endpoint.is_stream() && chance.u8(..4) == 0 {
                true => chance.pick(&[1, 40, 500, 60_000]),
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
}
