//! Room for messages that are to be applied.
//!
//! Owns how many bytes storing a message takes, and the making of room for one, or for several
//! together.

use super::ring::Ring;
use super::stored::Stored;
use super::{Hub, Refusal};
use crate::message::{Data, Draft, DraftKind, EventName, IdempotencyKey};

/// Room for one message, which [`Hub::make_room`] has made: with it [`Hub::apply`] cannot fail.
///
/// It is valid until room is made again, old messages are dropped or idle channels are forgotten:
/// all of these may free what it stands for.
#[derive(Debug)]
#[must_use = "room that is made is for a message that is applied"]
pub struct Room {
    pub(super) channel: u32,
    /// The message's footprint.
    pub(super) bytes: usize,
}

impl Room {
    /// The channel of the message.
    pub fn channel(&self) -> u32 {
        self.channel
    }

    /// The parts of a message that ends its channel: itself and the end, each with its room.
    #[cold]
    pub fn split<'n>(self, message: Draft<'n>) -> ((Room, Draft<'n>), (Room, Draft<'n>)) {
        debug_assert!(message.kind == DraftKind::Last);
        let end = Draft::end(message.channel.clone());
        let message = Draft {
            kind: DraftKind::Message,
            ..message
        };
        let part = |draft: &Draft<'_>| Room {
            channel: self.channel,
            bytes: footprint(draft),
        };
        ((part(&message), message), (part(&end), end))
    }
}

impl Hub {
    /// Makes room for a message, at the cost of unused channels and of the oldest messages.
    ///
    /// # Errors
    ///
    /// See [`Refusal`]. Old messages may have been evicted, idle channels forgotten, and the
    /// channel created; it is then idle.
    #[inline]
    pub fn make_room(&mut self, message: &Draft<'_>) -> Result<Room, Refusal> {
        self.make_room_of(message, footprint(message))
    }

    /// As [`Hub::make_room`], for a publish that ends its channel.
    ///
    /// # Errors
    ///
    /// As [`Hub::make_room`].
    #[cold]
    pub fn make_room_to_end(&mut self, draft: &Draft<'_>) -> Result<Room, Refusal> {
        self.make_room_of(draft, footprint_with_end(draft))
    }

    // Always inline, as `make_room` is hot and its sibling is not.
    #[inline(always)]
    fn make_room_of(&mut self, message: &Draft<'_>, bytes: usize) -> Result<Room, Refusal> {
        let channel = self.open(&message.channel)?;
        let checked = self.check_size(channel, message, 0);
        match checked.and_then(|()| self.ensure_room(bytes)) {
            Ok(()) => Ok(Room { channel, bytes }),
            Err(refusal) => {
                self.enqueue_idle(channel);
                Err(refusal)
            }
        }
    }

    /// Makes room for several messages together and returns each one's.
    ///
    /// # Errors
    ///
    /// As [`Hub::make_room`]: there is room for all of them, or for none.
    pub fn make_room_for_all(&mut self, messages: &[Draft<'_>]) -> Result<Vec<Room>, Refusal> {
        let channels = self.open_all(messages.iter().map(|message| &message.channel))?;
        let places = || channels.iter().zip(messages);
        let rooms: Vec<Room> = places()
            .map(|(&channel, message)| Room {
                channel,
                bytes: footprint_with_end(message),
            })
            .collect();
        let mut each = places().enumerate();
        let checked = each
            .try_for_each(|(place, (&channel, message))| self.check_size(channel, message, place));
        let total = rooms.iter().map(|room| room.bytes).sum();
        if let Err(refusal) = checked.and_then(|()| self.ensure_room(total)) {
            for channel in channels {
                self.enqueue_idle(channel);
            }
            return Err(refusal);
        }
        Ok(rooms)
    }

    /// Gives back room that is not used: its channel may have been made for it.
    pub fn give_back(&mut self, room: Room) {
        self.enqueue_idle(room.channel);
    }
}

/// The bytes that storing a message takes, overhead included.
pub(super) fn footprint(message: &Draft<'_>) -> usize {
    footprint_of(&message.data, message.event.as_ref(), message.key.as_ref())
}

/// The same, of its parts.
#[inline(always)]
pub(super) fn footprint_of(
    data: &Data,
    event: Option<&EventName>,
    key: Option<&IdempotencyKey>,
) -> usize {
    let event_bytes = event.map_or(0, |event| event.len());
    let key_bytes = key.map_or(0, |key| 2 * key.len() + 48);
    data.len() + event_bytes + key_bytes + Stored::OVERHEAD_BYTES + Ring::ENTRY_BYTES
}

/// The same, and the bytes of the end after it.
pub(super) fn footprint_with_end(message: &Draft<'_>) -> usize {
    let end = match message.kind {
        DraftKind::Message | DraftKind::End => 0,
        DraftKind::Last => Stored::OVERHEAD_BYTES + Ring::ENTRY_BYTES,
    };
    footprint(message) + end
}
