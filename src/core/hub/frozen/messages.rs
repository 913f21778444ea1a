//! The frozen form of stored messages and ends, of all channels, oldest first.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use super::super::Hub;
use super::super::room::footprint_of;
use super::super::stored::Stored;
use crate::base::list::Links;
use crate::base::time::Time;
use crate::frozen::{Freezer, ThawError, Thawer};
use crate::message::{EventName, FrozenData, IdempotencyKey, Seq};

const MESSAGE: ThawError = ThawError::Damaged("a message is not valid");

/// The most messages, as their places are numbers of 31 bits.
const MAX_MESSAGES: usize = 1 << 31;

/// The frozen form of a [`Stored`].
#[derive(Serialize, Deserialize)]
struct FrozenMessage<'m> {
    seq: Seq,
    at: Time,
    channel: u32,
    subscribers: u32,
    is_end: bool,
    #[serde(borrow)]
    event: Option<&'m str>,
    key: Option<&'m str>,
    data: FrozenData<'m>,
}

impl Hub {
    pub(super) fn freeze_messages<W: Write>(&self, state: &mut Freezer<W>) -> io::Result<()> {
        state.put_all(self.ages.iter(&self.messages).map(|key| {
            let stored = &self.messages[key as usize];
            FrozenMessage {
                seq: stored.seq,
                at: stored.at,
                channel: stored.channel,
                subscribers: stored.subscribers,
                is_end: stored.is_end,
                event: stored.event.as_deref(),
                key: stored.key.as_deref(),
                data: stored.data.freeze(),
            }
        }))
    }

    /// Reads the messages, and makes the rings of their channels.
    pub(super) fn thaw_messages<R: Read>(
        &mut self,
        next_unexamined: Option<Seq>,
        state: &mut Thawer<R>,
    ) -> Result<(), ThawError> {
        let (mut newest, mut youngest) = (Seq::ZERO, Time::default());
        let mut next = None;
        let mut values = state.take_all();
        while let Some(frozen) = values.take::<FrozenMessage<'_>>()? {
            let FrozenMessage { seq, at, .. } = frozen;
            let is_in_order = seq > newest && seq <= self.head && at >= youngest && at <= self.now;
            if !is_in_order || self.messages.len() >= MAX_MESSAGES {
                return Err(MESSAGE);
            }
            (newest, youngest) = (seq, at);
            let key = self.thaw_message(frozen).ok_or(MESSAGE)?;
            if Some(seq) == next_unexamined {
                next = Some(key);
            }
        }
        if next.is_some() != next_unexamined.is_some() {
            return Err(ThawError::Damaged(
                "the next message to examine is not valid",
            ));
        }
        self.ages.next = next;
        self.check_channels()
    }

    /// Stores a message as the newest of its channel. Returns its key; `None` where it cannot be.
    fn thaw_message(&mut self, frozen: FrozenMessage<'_>) -> Option<u32> {
        let FrozenMessage {
            seq,
            at,
            channel: index,
            subscribers,
            is_end,
            event,
            key,
            data,
        } = frozen;
        let channel = self.channels.get_mut(index as usize)?;
        let is_after_end = channel.ring().is_some_and(|ring| ring.has_end());
        let has_content = event.is_some() || data != FrozenData::Text("");
        if seq <= channel.evicted_up_to || is_after_end || (is_end && has_content) {
            return None;
        }
        let data = data.thaw()?;
        let event = match event {
            None => None,
            Some(name) => Some(EventName::parse(name.as_bytes()).ok()??),
        };
        let key = match key {
            None => None,
            Some(key) => Some(IdempotencyKey::parse(key.as_bytes()).ok()?),
        };
        let bytes = footprint_of(&data, event.as_ref(), key.as_ref());
        let idempotency_key = key.as_deref().map(Box::from);
        let place = self.messages.insert(Stored {
            frames: Default::default(),
            data,
            event,
            key,
            seq,
            at,
            bytes,
            links: Links::default(),
            channel: index,
            subscribers,
            is_end,
        }) as u32;
        self.ages.push(&mut self.messages, place);
        self.meter.charge(bytes);
        self.ends += usize::from(is_end);
        match is_end {
            false => channel.ring_mut().push(seq, place, bytes, idempotency_key),
            true => channel
                .ring_mut()
                .push_end(seq, place, bytes, idempotency_key),
        }
        Some(place)
    }
}
