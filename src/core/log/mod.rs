//! The log: it gives every message its number, and the hub holds what the log says.
//!
//! Owns the kinds of log, and the one way of a message from a publisher into the hub, for HTTP and
//! producers alike. Whether a publisher has the right to publish is decided before. It has no
//! socket, file, thread or clock.
//!
//! Invariants:
//! - *Refused before numbered.* An earlier publish with the same key, and room for the message, are
//!   looked at first. A message that has a number is applied: applying it cannot fail. A refused
//!   publish takes no number.
//! - *Dense.* Numbers of an epoch are 1, 2, 3, …, in the order in which the hub applies them. The
//!   messages of a batch have consecutive numbers.
//! - *The log is ahead of the hub, never behind.* [`Log::newest`] is the number given last;
//!   [`Hub::head`] is the number applied last. With a log in memory they are equal whenever no
//!   publish is under way. Readers and cursors are judged by the hub's.

pub mod entry;
mod memory;
pub mod record;
#[cfg(test)]
mod tests;

pub use memory::Memory;

use crate::hub::{Hub, Published, Refusal};
use crate::message::{ChannelName, Draft, Epoch, Seq};

/// A log, by its kind. It is an enum and not a trait object, so that a log in memory costs no
/// indirect call.
pub enum Log {
    /// In memory: a message is numbered, applied and answered at once.
    Memory(Memory),
}

impl Log {
    /// The epoch of the numbers that it gives.
    pub fn epoch(&self) -> Epoch {
        match self {
            Log::Memory(memory) => memory.epoch(),
        }
    }

    /// The number of the newest message that it has numbered.
    pub fn newest(&self) -> Seq {
        match self {
            Log::Memory(memory) => memory.newest(),
        }
    }

    /// Publishes one message to a hub that follows this log. A message with the key of a stored one
    /// is not published again: the result of the first is returned.
    ///
    /// # Errors
    ///
    /// See [`Refusal`]; the message is handed back.
    pub fn publish<'n>(
        &mut self,
        hub: &mut Hub,
        draft: Draft<'n>,
    ) -> Result<Published, (Refusal, Draft<'n>)> {
        if let Some(first) = hub.published_before(&draft) {
            return Ok(first);
        }
        let room = match hub.make_room(&draft) {
            Ok(room) => room,
            Err(refusal) => return Err((refusal, draft)),
        };
        Ok(match self {
            Log::Memory(memory) => hub.apply(memory.next(), room, draft),
        })
    }

    /// Publishes several messages in order, all or none, and returns for each the name of its
    /// channel and its result. Keys are not looked at: lines of a batch have none.
    ///
    /// # Errors
    ///
    /// See [`Refusal`]; no message is published then.
    pub fn publish_all<'n>(
        &mut self,
        hub: &mut Hub,
        drafts: Vec<Draft<'n>>,
    ) -> Result<Vec<(ChannelName<'n>, Published)>, Refusal> {
        let rooms = hub.make_room_for_all(&drafts)?;
        let published = drafts.into_iter().zip(rooms).map(|(draft, room)| {
            let channel = draft.channel.clone();
            let published = match self {
                Log::Memory(memory) => hub.apply(memory.next(), room, draft),
            };
            (channel, published)
        });
        Ok(published.collect())
    }
}
