//! The vocabulary of the domain: ids, names, data, and a message before and after it has an id.
//!
//! Owns the rules for what may be published. A value of one of these types satisfies them, so no
//! other module checks a name, an event or JSON again. It never publishes, and writes no wire
//! format except that of an id.
//!
//! Invariants:
//! - *Valid by construction.* The fields of names, keys and [`Json`] are private; the only way to
//!   make one is the parser that checks it. JSON of a frozen state was checked by the server that
//!   froze it.
//! - *One set of rules.* HTTP, batch lines, WebSockets, standard input and threads all make a [`Draft`], and
//!   the hub takes nothing else.
//! - *JSON is kept as its text.* Digits, escapes and blanks arrive as they were sent; see [`Json`]
//!   for the two exceptions.

mod cursor;
mod data;
mod frozen;
mod id;
mod json;
pub mod lines;
mod names;
mod numbering;
mod place;
mod terms;

pub use cursor::Cursor;
pub use data::{Data, is_json};
pub use frozen::FrozenData;
pub use id::{EntryId, Epoch, MessageId, Seq};
pub(crate) use json::json_depth;
pub use json::{Json, JsonError, MAX_JSON_DEPTH, UnpairedSurrogate, escape_separators};
pub use names::{
    ChannelName, EventError, EventName, IdempotencyKey, IdempotencyKeyError,
    MAX_KEY_BYTES_WITH_PARTS, NameError,
};
pub use numbering::Numbering;
pub use place::Place;
pub use terms::{FrozenTerms, MAX_TERM, TermError, Terms};

/// A message to be published. It has no id yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft<'a> {
    /// Its channel. Borrowed from the request if possible, because a channel that exists needs
    /// no copy.
    pub channel: ChannelName<'a>,
    /// Its data.
    pub data: Data,
    /// Its event name.
    pub event: Option<EventName>,
    /// The key that makes a retry harmless.
    pub key: Option<IdempotencyKey>,
    /// Whether it ends its channel.
    pub kind: DraftKind,
}

/// Whether a [`Draft`] publishes a message, the end of a channel, or both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DraftKind {
    /// A message.
    #[default]
    Message,
    /// A message, and after it the end of its channel.
    Last,
    /// The end of its channel alone: its data is empty, and it has no event name.
    End,
}

impl<'a> Draft<'a> {
    /// A message without event name or key.
    pub fn new(channel: ChannelName<'a>, data: Data) -> Draft<'a> {
        Draft {
            channel,
            data,
            event: None,
            key: None,
            kind: DraftKind::Message,
        }
    }

    /// The end of a channel, without a message.
    pub fn end(channel: ChannelName<'a>) -> Draft<'a> {
        Draft {
            kind: DraftKind::End,
            ..Draft::new(channel, Data::Text("".into()))
        }
    }
}

/// A published message, borrowed from the history: everything that an encoder needs.
#[derive(Clone, Copy, Debug)]
pub struct MessageRef<'a> {
    /// Its id.
    pub id: MessageId,
    /// The name of its channel.
    pub channel: &'a str,
    /// Its event name.
    pub event: Option<&'a EventName>,
    /// Its data.
    pub data: &'a Data,
}
