//! The results that publishers get, and results whose messages have no ids yet.
//!
//! Owns the JSON of results. In a cluster the log gives the ids, so the parts of a response are
//! kept until the ids are known.

use smallvec::{SmallVec, smallvec};

mod frozen;

pub(super) use frozen::FrozenUnnumbered;

use crate::encode::write_json_string;
use crate::hub::{Hub, Published};
use crate::log::First;
use crate::message::{Draft, DraftKind};

/// Appends the result of one message.
pub(in crate::engine) fn write_published(out: &mut Vec<u8>, channel: &str, published: &Published) {
    out.extend_from_slice(b"{\"id\":\"");
    published.id.write(out);
    out.extend_from_slice(b"\",\"channel\":");
    write_json_string(out, channel);
    out.extend_from_slice(b",\"subscribers\":");
    out.extend_from_slice(itoa::Buffer::new().format(published.subscribers).as_bytes());
    out.push(b'}');
}

/// The bytes of the result of one message beside the name of its channel: seldom more.
const RESULT_BYTES: usize = 80;

/// The form of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Form {
    /// The object of one message.
    One,
    /// The list of a batch.
    Batch,
    /// The object of a command of a WebSocket, without its last members.
    Command,
}

/// A result whose messages have no ids yet.
pub(in crate::engine) struct Unnumbered {
    form: Form,
    messages: SmallVec<[Message; 1]>,
}

/// A message without an id.
struct Message {
    channel: Box<str>,
    /// Its place among the messages that were handed to the log together; that of the first is 0.
    place: u16,
    /// Its result, if it was published before and only its end is new.
    before: Option<Published>,
}

impl Unnumbered {
    /// The result of messages that are handed over together.
    pub(in crate::engine) fn of(form: Form, drafts: &[Draft<'_>]) -> Unnumbered {
        let mut place = 0;
        let messages = drafts.iter().map(|draft| {
            let message = Message {
                channel: (*draft.channel).into(),
                place,
                before: None,
            };
            place += 1 + u16::from(draft.kind == DraftKind::Last);
            message
        });
        Unnumbered {
            form,
            messages: messages.collect(),
        }
    }

    /// The result of one message; `before` as in [`crate::log::Placed::Later`].
    pub(in crate::engine) fn one(
        form: Form,
        channel: &str,
        before: Option<Published>,
    ) -> Unnumbered {
        Unnumbered {
            form,
            messages: smallvec![Message {
                channel: channel.into(),
                place: 0,
                before,
            }],
        }
    }

    /// Its memory in bytes.
    pub(super) fn bytes(&self) -> usize {
        let names: usize = self.messages.iter().map(|one| one.channel.len()).sum();
        let spilled = match self.messages.spilled() {
            true => self.messages.capacity() * size_of::<Message>(),
            false => 0,
        };
        size_of::<Unnumbered>() + spilled + names
    }

    /// Its JSON, with the ids that the log has given.
    pub(super) fn number(&self, hub: &Hub, first: First) -> Vec<u8> {
        let length = |one: &Message| one.channel.len() + RESULT_BYTES;
        let mut out = Vec::with_capacity(self.messages.iter().map(length).sum());
        out.extend_from_slice(match self.form {
            Form::One => b"",
            Form::Batch => b"{\"published\":[",
            Form::Command => b"{\"published\":",
        });
        for (index, message) in self.messages.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            let id = first.after(message.place);
            let published = message.before.unwrap_or_else(|| Published {
                id,
                subscribers: hub.subscribers_at(&message.channel, id.seq),
            });
            write_published(&mut out, &message.channel, &published);
        }
        if self.form == Form::Batch {
            out.extend_from_slice(b"]}");
        }
        out
    }
}
