//! The messages that the server has accepted, in order, and their data.
//!
//! Owns the data that clients' messages are compared with, the keys of publishes, and the truth
//! that the judge is told. Of the server it is told what the server itself answered to publishers,
//! and what history keeps.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use encke_core::message::Data;
use encke_oracle::id::Id;
use encke_oracle::log::Receipt;
use encke_oracle::run::{Outcome, Publish};
use encke_oracle::truth::{Known, Truth};
use encke_test_client as client;

use crate::rule::{broken, ensure};

/// The number of a channel that does not exist.
const NO_CHANNEL: u32 = u32::MAX;

/// A message as a publisher handed it in.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) channel: usize,
    pub(crate) data: Data,
    pub(crate) event: Option<String>,
}

impl Said {
    /// The same as a line of a batch says it: there, a JSON string is text.
    pub(crate) fn into_line(mut self) -> Said {
        if let Data::Json(json) = &self.data
            && let Ok(text) = serde_json::from_str::<String>(json)
        {
            self.data = Data::Text(text.into());
        }
        self
    }
}

/// A message that was accepted.
pub(crate) struct Accepted {
    pub(crate) said: Said,
    /// When, in milliseconds.
    pub(crate) at: u64,
}

/// All messages: the one with number `n` is at `n - 1`.
pub(crate) struct Model {
    pub(crate) truth: Truth,
    epoch: u64,
    names: Vec<String>,
    messages: Vec<Accepted>,
    /// The newest message published with a key, by channel and key.
    keys: HashMap<(usize, String), u64>,
    /// For each channel that owes only its newest message: the newest of all when that began.
    latest_since: Vec<Option<u64>>,
    /// The newest message at the last reload.
    pub(crate) reloaded_at: u64,
    now: u64,
    clock: u64,
}

impl Model {
    pub(crate) fn new(names: &[String], epoch: &str) -> Model {
        let epoch = Id::parse(&format!("{epoch}-0")).expect("an epoch of the server");
        Model {
            truth: Truth::exact(names.len()),
            epoch: epoch.epoch,
            names: names.to_vec(),
            messages: Vec::new(),
            keys: HashMap::new(),
            latest_since: vec![None; names.len()],
            reloaded_at: 0,
            now: 0,
            clock: 0,
        }
    }

    pub(crate) fn set_now(&mut self, now_ms: u64) {
        self.now = now_ms;
    }

    /// A time in microseconds for the next thing that is written down, later than all before it.
    pub(crate) fn tick(&mut self) -> u64 {
        self.clock = (self.clock + 1).max(self.now * 1_000);
        self.clock
    }

    pub(crate) fn head(&self) -> u64 {
        self.messages.len() as u64
    }

    pub(crate) fn message(&self, seq: u64) -> &Accepted {
        &self.messages[seq as usize - 1]
    }

    fn find(&self, seq: u64) -> Option<&Accepted> {
        self.messages.get((seq as usize).checked_sub(1)?)
    }

    /// The bytes of a message's data; none of one that was never accepted.
    pub(crate) fn bytes(&self, seq: u64) -> usize {
        self.find(seq).map_or(0, |message| message.said.data.len())
    }

    /// The next message was accepted under this number.
    pub(crate) fn accept(&mut self, seq: u64, said: Said) {
        ensure!(
            seq == self.head() + 1,
            OneIdForTwo,
            "{seq} after {}: a number was left out or given twice",
            self.head()
        );
        let at = self.tick();
        self.truth.accept(Publish {
            channel: said.channel as u32,
            number: seq,
            length: said.data.len() as u32,
            begun: at,
            done: at,
            batch: 0,
            keyed: false,
            outcome: Outcome::Accepted(self.id(seq)),
            again: None,
        });
        let at = self.now;
        self.messages.push(Accepted { said, at });
    }

    /// From here on a channel owes only its newest message, or all again.
    pub(crate) fn set_latest(&mut self, channel: usize, latest: bool) {
        let since = self.latest_since[channel];
        if since.is_some() == latest {
            return;
        }
        self.latest_since[channel] = latest.then_some(self.head());
        self.truth.set_latest(self.epoch, channel as u32, latest);
    }

    /// A batch holds at most one message of a channel that owes only its newest.
    pub(crate) fn check_latest(&self, receipts: &[Receipt]) {
        for (channel, since) in self.latest_since.iter().enumerate() {
            let Some(since) = *since else { continue };
            let mut of_channel = receipts
                .iter()
                .filter(|receipt| receipt.channel == channel as u32 && receipt.id.seq > since);
            let (first, second) = (of_channel.next(), of_channel.next());
            ensure!(
                second.is_none(),
                Oversized,
                "{first:?} is in a batch with {second:?}, which replaces it"
            );
        }
    }

    /// How many messages of a channel after `from`, up to and with `to`, no newer one has replaced.
    pub(crate) fn owed(&self, channel: usize, from: u64, to: u64) -> usize {
        let all = self.between(channel, from, to).iter();
        all.filter(|known| !self.truth.is_replaced(channel as u32, known.seq))
            .count()
    }

    pub(crate) fn key(&self, channel: usize, key: &str) -> Option<u64> {
        self.keys.get(&(channel, key.to_owned())).copied()
    }

    pub(crate) fn set_key(&mut self, channel: usize, key: &str, seq: u64) {
        self.keys.insert((channel, key.to_owned()), seq);
    }

    pub(crate) fn delete(&mut self, channel: usize) {
        self.truth.delete(channel as u32, self.head());
    }

    /// Whether a message was there when its channel was last deleted.
    pub(crate) fn is_deleted(&self, channel: usize, seq: u64) -> bool {
        self.truth.is_deleted(channel as u32, seq)
    }

    /// Whether a message is not in history any more.
    pub(crate) fn is_gone(&self, channel: usize, seq: u64) -> bool {
        let mut found = self.between(channel, seq - 1, seq).iter();
        found.all(|known| {
            self.truth
                .may_be_gone(self.epoch, channel as u32, known, self.clock)
        })
    }

    /// A channel's messages after `from`, up to and with `to`.
    pub(crate) fn between(&self, channel: usize, from: u64, to: u64) -> &[Known] {
        let channel = channel as u32;
        self.truth
            .between(self.epoch, channel, from, to.saturating_add(1))
    }

    /// The id with this number.
    pub(crate) fn id(&self, seq: u64) -> Id {
        let epoch = self.epoch;
        Id { epoch, seq }
    }

    /// The id or cursor that a text is, which must be of this server's epoch.
    pub(crate) fn parse(&self, text: &str) -> Id {
        match Id::parse(text) {
            Some(id) if id.epoch == self.epoch && id.to_string() == text => id,
            Some(Id::UNKNOWN) => Id::UNKNOWN,
            _ => broken(
                encke_oracle::finding::Kind::Nonsense,
                format!("the id {text:?}"),
            ),
        }
    }

    /// The receipt for a message, which must say what was published under its id.
    pub(crate) fn receipt(&self, message: &client::Message) -> Receipt {
        let id = self.parse(&message.id);
        let named = message.channel.as_ref();
        let named = named.map(|name| self.names.iter().position(|each| each == name));
        let named = named.map(|place| place.map_or(NO_CHANNEL, |place| place as u32));
        let Some(Accepted { said, .. }) = self.find(id.seq) else {
            // The judge finds that it was never published.
            return Receipt {
                id,
                channel: named.unwrap_or(NO_CHANNEL),
                number: id.seq,
                length: 0,
            };
        };
        ensure!(
            message.event == said.event && is_same(&said.data, &message.data),
            Mangled,
            "published {said:?}, received {message:?}"
        );
        Receipt {
            id,
            channel: named.unwrap_or(said.channel as u32),
            number: id.seq,
            length: said.data.len() as u32,
        }
    }
}

/// Whether data is received as it was published, as far as the format tells.
fn is_same(said: &Data, received: &client::Data) -> bool {
    use client::Data::{Binary, Json, Text, Untyped};
    match (said, received) {
        (Data::Text(text), Text(got)) => **text == **got,
        (Data::Text(text), Untyped(got)) => lines(text) == *got,
        (Data::Json(json), Json(got)) => **json == **got || escaped(json) == *got,
        (Data::Json(json), Text(got)) => {
            serde_json::from_str::<String>(json).is_ok_and(|text| text == **got)
        }
        (Data::Json(json), Untyped(got)) => **json == **got,
        (Data::Binary(bytes), Binary(got)) => **bytes == **got,
        (Data::Binary(bytes), Untyped(got)) => STANDARD.encode(bytes) == *got,
        _ => false,
    }
}

/// A text with its line ends as an event stream gives them back.
fn lines(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}

/// JSON as it stands inside a script.
fn escaped(json: &str) -> String {
    json.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}
