//! Applying what the log has numbered: a message, or the end of a channel.
//!
//! Owns the order of what that does, and the results that publishers are told.

use serde::{Deserialize, Serialize};

use super::Hub;
use super::room::Room;
use super::stored::Stored;
use crate::base::time::Time;
use crate::message::{Draft, DraftKind, MessageId, Seq};

/// The result of a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// The id that the message got.
    pub id: MessageId,
    /// Connections that were parked on the channel.
    pub subscribers: u32,
}

impl Hub {
    /// The result of an earlier publish with the same key, while its message is in history.
    // Nearly no message has a key.
    #[inline(always)]
    pub fn published_before(&self, message: &Draft<'_>) -> Option<Published> {
        let key = message.key.as_deref()?;
        self.published_with_key(&message.channel, key)
    }

    fn published_with_key(&self, channel: &str, key: &str) -> Option<Published> {
        let ring = self.channels[self.find(channel)? as usize].ring()?;
        let stored = &self.messages[ring.find_by_idempotency_key(key)? as usize];
        Some(Published {
            id: self.id(stored.seq()),
            subscribers: stored.subscribers(),
        })
    }

    /// The end of a channel that has ended already, for a publish of nothing but its end; `None`
    /// for every other publish.
    #[inline]
    pub fn ended_before(&self, message: &Draft<'_>) -> Option<Published> {
        match message.kind {
            DraftKind::Message | DraftKind::Last => None,
            DraftKind::End => self.end_of(self.find(&message.channel)?),
        }
    }

    /// The end of a channel, if it has ended.
    pub fn end_of(&self, index: u32) -> Option<Published> {
        let channel = &self.channels[index as usize];
        channel.has_ended.then(|| Published {
            id: self.id(channel.newest_item()),
            subscribers: channel.reader_counts().total(),
        })
    }

    /// Applies a message that the log has given its number: stores it, and makes every waiting
    /// reader of its channel ready. It cannot fail, as room was made for it.
    ///
    /// `seq` is above [`Hub::head`], and becomes it. `at` is when it was published, not before any
    /// earlier message.
    // A function of its own in every build: each one around it would copy the message once more.
    #[inline(never)]
    pub fn apply(&mut self, at: Time, seq: Seq, room: Room, message: Draft<'_>) -> Published {
        debug_assert!(seq > self.head, "the log gave a number twice, or went back");
        debug_assert!(message.kind == DraftKind::Message);
        let Room {
            channel: index,
            bytes,
        } = room;
        self.head = seq;
        self.counts.published += 1;
        let channel = &mut self.channels[index as usize];
        debug_assert_eq!(
            channel.name(),
            &*message.channel,
            "room for another channel"
        );
        let subscribers = channel.reader_counts().total();
        let ring = channel.ring_mut();
        ring.record_arrival(at);
        self.meter.charge(bytes);
        let idempotency_key = message.key.as_deref().map(Box::from);
        let stored = Stored::new(message, bytes, seq, index, at, subscribers);
        let key = self.messages.insert(stored) as u32;
        self.ages.push(&mut self.messages, key);
        ring.push(seq, key, bytes, idempotency_key);
        if channel.has_ended {
            self.reopen(index);
        }
        self.wake(index);
        self.trim(index);
        let id = self.id(seq);
        Published { id, subscribers }
    }

    /// Applies the end of a channel that has not ended, as [`Hub::apply`] does a message: it is
    /// stored like one.
    #[cold]
    pub fn apply_end(&mut self, at: Time, seq: Seq, room: Room, end: Draft<'_>) -> Published {
        debug_assert!(seq > self.head, "the log gave a number twice, or went back");
        debug_assert!(end.kind == DraftKind::End);
        let Room {
            channel: index,
            bytes,
        } = room;
        self.head = seq;
        self.counts.ended += 1;
        self.ends += 1;
        self.meter.charge(bytes);
        let channel = &mut self.channels[index as usize];
        channel.has_ended = true;
        let subscribers = channel.reader_counts().total();
        let idempotency_key = end.key.as_deref().map(Box::from);
        let mut stored = Stored::new(end, bytes, seq, index, at, subscribers);
        stored.set_end();
        let key = self.messages.insert(stored) as u32;
        self.ages.push(&mut self.messages, key);
        let channel = &mut self.channels[index as usize];
        channel
            .ring_mut()
            .push_end(seq, key, bytes, idempotency_key);
        self.wake(index);
        self.trim(index);
        Published {
            id: self.id(seq),
            subscribers,
        }
    }

    /// Splices all waiting readers onto the ready list: O(1) however many they are. It is on the
    /// path of every message.
    #[inline(always)]
    fn wake(&mut self, index: u32) {
        let channel = &mut self.channels[index as usize];
        if channel.make_ready(&mut self.subscriptions) {
            // fault: lost-wake-up
            self.run.push_back(index);
        }
    }
}
