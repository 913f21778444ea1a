//! Publishes and deletions, chosen at random.

use crate::client::Client;
use crate::model::Said;
use crate::request::{self, Manner};
use crate::rule::ensure;
use crate::token::Cards;
use crate::world::World;
use encke_core::hub::Refusal;
use encke_core::message::{ChannelName, Data, Draft, DraftKind, EventName, IdempotencyKey};

impl World {
    pub(super) fn said(&mut self) -> Said {
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

    pub(super) fn request_by_lines(&mut self, manner: &Manner) -> (request::Request, Vec<u8>) {
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

    pub(super) fn key(&mut self) -> Option<String> {
        (self.chance.u8(..3) == 0).then(|| format!("k{}", self.chance.u8(..4)))
    }

    pub(super) fn publish_request(&mut self, manner: &Manner) -> (request::Request, Vec<u8>) {
        let (said, key) = (self.said(), self.key());
        let name = &self.setup.names[said.channel];
        request::publish(&mut self.chance, manner, said, name, key)
    }

    pub(super) fn lines_request(&mut self, manner: &Manner) -> (request::Request, Vec<u8>) {
        let lines = (0..self.chance.usize(1..5)).map(|_| self.said().into_line());
        let lines = lines.collect();
        request::publish_lines(&mut self.chance, manner, lines, &self.setup.names)
    }

    /// A producer's messages.
    pub(super) fn publish(&mut self) {
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
    pub(super) fn delete_at_once(&mut self) {
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
            cards: Cards::publisher(),
        };
        let channel = self.chance.usize(..self.setup.names.len());
        let asked = request::delete(&manner, &self.setup.names[channel], channel, self.records());
        self.write(index, asked);
        self.send(index, usize::MAX);
        self.read(index, 70_000);
        self.deleted(index);
    }
}
