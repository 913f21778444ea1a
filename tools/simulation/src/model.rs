//! What the server should know: every message accepted, in order, and what was deleted.
//!
//! Owns the plain truth that clients are compared with. Of the server it is told only what the
//! server itself answered to publishers.

use std::collections::HashMap;

use encke_core::message::Data;

use crate::decode::{Message, Payload};

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
    pub(crate) at: u64,
}

/// All messages: the one with number `n` is at `n - 1`.
#[derive(Default)]
pub(crate) struct Model {
    messages: Vec<Accepted>,
    by_channel: Vec<Vec<u64>>,
    /// The newest message of each channel when it was last deleted.
    deleted: Vec<u64>,
    /// The newest message published with a key, by channel and key.
    keys: HashMap<(usize, String), u64>,
}

impl Model {
    pub(crate) fn new(channels: usize) -> Model {
        Model {
            by_channel: vec![Vec::new(); channels],
            deleted: vec![0; channels],
            ..Model::default()
        }
    }

    pub(crate) fn head(&self) -> u64 {
        self.messages.len() as u64
    }

    pub(crate) fn message(&self, seq: u64) -> &Accepted {
        &self.messages[seq as usize - 1]
    }

    /// The bytes of a message's data; none of one that was never accepted.
    pub(crate) fn bytes(&self, seq: u64) -> usize {
        let place = (seq as usize).wrapping_sub(1);
        self.messages
            .get(place)
            .map_or(0, |message| message.said.data.len())
    }

    /// The next message was accepted under this number.
    pub(crate) fn accept(&mut self, seq: u64, said: Said, at: u64) {
        assert_eq!(seq, self.head() + 1, "a number was left out or given twice");
        self.by_channel[said.channel].push(seq);
        self.messages.push(Accepted { said, at });
    }

    pub(crate) fn key(&self, channel: usize, key: &str) -> Option<u64> {
        self.keys.get(&(channel, key.to_owned())).copied()
    }

    pub(crate) fn set_key(&mut self, channel: usize, key: &str, seq: u64) {
        self.keys.insert((channel, key.to_owned()), seq);
    }

    pub(crate) fn delete(&mut self, channel: usize) {
        self.deleted[channel] = self.head();
    }

    /// Whether a message was there when its channel was last deleted.
    pub(crate) fn is_deleted(&self, channel: usize, seq: u64) -> bool {
        seq <= self.deleted[channel]
    }

    /// The numbers of a channel's messages after `from`, up to and with `to`.
    pub(crate) fn between(&self, channel: usize, from: u64, to: u64) -> &[u64] {
        let all = &self.by_channel[channel];
        let start = all.partition_point(|&seq| seq <= from);
        let end = all.partition_point(|&seq| seq <= to).max(start);
        &all[start..end]
    }

    /// Panics unless a received message says what was published.
    pub(crate) fn compare(&self, name: &str, received: &Message) {
        let said = &self.message(received.seq).said;
        if let Some(channel) = &received.channel {
            assert_eq!(channel, name, "a message under the name of another channel");
        }
        assert_eq!(received.event, said.event, "of message {}", received.seq);
        let same = match (&said.data, &received.payload) {
            (Data::Text(text), Payload::Text(got)) => **text == **got,
            (Data::Text(text), Payload::Event(got)) => lines(text) == *got,
            (Data::Json(json), Payload::Json(got)) => **json == **got || escaped(json) == *got,
            (Data::Json(json), Payload::Text(got)) => {
                serde_json::from_str::<String>(json).is_ok_and(|text| text == **got)
            }
            (Data::Json(json), Payload::Event(got)) => **json == **got,
            (Data::Binary(bytes), Payload::Binary(got)) => **bytes == **got,
            (Data::Binary(bytes), Payload::Event(got)) => {
                use base64::Engine;
                base64::engine::general_purpose::STANDARD.encode(bytes) == *got
            }
            _ => false,
        };
        assert!(same, "published {said:?}, received {received:?}");
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
