//! The messages of one channel, oldest first, by their keys.
//!
//! Owns their order, how many readers need each of them next, and the mean interval between them.
//! It knows stored messages only by their keys and sizes.
//!
//! Invariants: numbers rise from front to back; the end of the channel is the last entry, or there
//! is none.

use std::collections::{HashMap, VecDeque};

use crate::base::time::Time;
use crate::message::Seq;

/// The messages of a channel, oldest first.
#[derive(Default)]
pub(super) struct Ring {
    pub(super) entries: VecDeque<Entry>,
    bytes: usize,
    /// Whether the last entry is the end of the channel.
    has_end: bool,
    by_idempotency_key: HashMap<Box<str>, u32>,
    pub(super) newest_at: Option<Time>,
    pub(super) mean_interval_ms: u32,
}

/// The place of a message, or of the end of the channel, in a ring.
pub(super) struct Entry {
    pub(super) seq: Seq,
    /// Where it is stored; of an end with [`Entry::END`].
    tagged_key: u32,
    /// Queued readers that need this next.
    pub(super) pending: u32,
}

impl Entry {
    /// The bit that tells an end from a message: there are never so many messages.
    const END: u32 = 1 << 31;

    /// Where it is stored.
    pub(super) fn key(&self) -> u32 {
        self.tagged_key & !Entry::END
    }

    /// Whether it is the end of the channel.
    pub(super) fn is_end(&self) -> bool {
        self.tagged_key & Entry::END != 0
    }
}

impl Ring {
    /// The bytes that a message takes in a ring.
    pub(super) const ENTRY_BYTES: usize = 2 * size_of::<Entry>();

    /// Appends a message.
    pub(super) fn push(
        &mut self,
        seq: Seq,
        key: u32,
        bytes: usize,
        idempotency_key: Option<Box<str>>,
    ) {
        debug_assert!(key < Entry::END);
        self.push_tagged(seq, key, bytes, idempotency_key);
    }

    /// Appends the end of the channel, which is stored like a message.
    pub(super) fn push_end(
        &mut self,
        seq: Seq,
        key: u32,
        bytes: usize,
        idempotency_key: Option<Box<str>>,
    ) {
        debug_assert!(!self.has_end);
        self.push_tagged(seq, key | Entry::END, bytes, idempotency_key);
        self.has_end = true;
    }

    /// On the path of every message.
    #[inline(always)]
    fn push_tagged(
        &mut self,
        seq: Seq,
        tagged_key: u32,
        bytes: usize,
        idempotency_key: Option<Box<str>>,
    ) {
        debug_assert!(self.entries.back().is_none_or(|last| last.seq < seq));
        let key = tagged_key & !Entry::END;
        self.entries.push_back(Entry {
            seq,
            tagged_key,
            pending: 0,
        });
        self.bytes += bytes;
        if let Some(idempotency_key) = idempotency_key {
            self.by_idempotency_key.insert(idempotency_key, key);
        }
    }

    /// Removes the end of the channel, which is before the last entry: that is a message that opens
    /// the channel again, and the readers that needed the end next need it instead. Returns the key
    /// of the end; `None` if it was evicted.
    pub(super) fn pop_superseded_end(&mut self) -> Option<u32> {
        let place = self.entries.len().checked_sub(2)?;
        if !self.entries[place].is_end() {
            return None;
        }
        let end = self.entries.remove(place)?;
        self.has_end = false;
        // fault: reader-of-the-end-is-forgotten
        self.entries[place].pending += end.pending;
        Some(end.key())
    }

    /// Removes the oldest entry.
    pub(super) fn pop_front(&mut self) -> Option<Entry> {
        let oldest = self.entries.pop_front()?;
        self.has_end &= !oldest.is_end();
        Some(oldest)
    }

    /// Whether its last entry is the end of the channel.
    pub(super) fn has_end(&self) -> bool {
        self.has_end
    }

    /// How many messages it has: the end of the channel is none.
    pub(super) fn message_count(&self) -> usize {
        self.entries.len() - usize::from(self.has_end)
    }

    /// The newest message.
    pub(super) fn newest_message(&self) -> Option<&Entry> {
        self.entries.get(self.message_count().checked_sub(1)?)
    }

    /// Releases the bytes and the idempotency key of a message that is no longer an entry.
    pub(super) fn release(&mut self, bytes: usize, idempotency_key: Option<&str>) {
        self.bytes -= bytes;
        if let Some(idempotency_key) = idempotency_key {
            // fault: key-outlives-its-message
            self.by_idempotency_key.remove(idempotency_key);
        }
    }

    /// The mean time between messages, and when the newest came.
    pub(super) fn publish_interval(&self) -> Option<(u32, Time)> {
        Some((self.mean_interval_ms, self.newest_at?))
    }

    /// The bytes of all messages.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The slab key of the message published with this idempotency key.
    pub(super) fn find_by_idempotency_key(&self, idempotency_key: &str) -> Option<u32> {
        self.by_idempotency_key.get(idempotency_key).copied()
    }

    /// The index of the first message after a cursor; the length if there is none.
    pub(super) fn after(&self, cursor: Seq) -> usize {
        let len = self.entries.len();
        // Nearly every reader needs the newest message alone.
        match (self.entries.get(len.wrapping_sub(2)), self.entries.back()) {
            (_, Some(last)) if last.seq <= cursor => len,
            (Some(before), Some(_)) if before.seq <= cursor => len - 1,
            // fault: ring-off-by-one
            _ => self.entries.partition_point(|entry| entry.seq <= cursor),
        }
    }

    /// The entry with this number.
    pub(super) fn find(&self, seq: Seq) -> Option<&Entry> {
        let entry = self.entries.get(self.after(seq).checked_sub(1)?)?;
        (entry.seq == seq).then_some(entry)
    }

    /// Records that a message came: the interval is an exponential mean over about eight messages.
    pub(super) fn record_arrival(&mut self, now: Time) {
        if let Some(before) = self.newest_at {
            let interval_ms = u32::try_from(now.since_ms(before)).unwrap_or(u32::MAX);
            let mean = u64::from(self.mean_interval_ms);
            self.mean_interval_ms = ((mean * 7 + u64::from(interval_ms)) / 8) as u32;
        }
        self.newest_at = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_is_found_by_its_number_alone() {
        let mut ring = Ring::default();
        assert!(ring.find(Seq(1)).is_none());
        let numbers = [2, 3, 5, 8, 13];
        for (key, number) in (0..).zip(numbers) {
            ring.push(Seq(number), key, 0, None);
        }
        for number in 0..15 {
            let key = ring.find(Seq(number)).map(Entry::key);
            let place = numbers.iter().position(|&one| one == number);
            assert_eq!(key, place.map(|place| place as u32), "{number}");
        }
    }
}
