//! The messages of one channel, oldest first, by their keys.
//!
//! Owns their order, how many readers need each of them next, and the rhythm in which they came. It
//! knows stored messages only by their keys and sizes.
//!
//! Invariant: numbers rise from front to back.

use std::collections::{HashMap, VecDeque};

use crate::base::time::Time;
use crate::message::Seq;

/// The messages of a channel, oldest first.
#[derive(Default)]
pub(super) struct Ring {
    pub(super) entries: VecDeque<Entry>,
    bytes: usize,
    keys: HashMap<Box<str>, u32>,
    beat_at: Option<Time>,
    mean_ms: u32,
}

/// A message's place in a ring.
pub(super) struct Entry {
    pub(super) seq: Seq,
    pub(super) key: u32,
    /// Queued readers that need this message next.
    pub(super) pending: u32,
}

impl Ring {
    /// The bytes that a message takes in a ring.
    pub(super) const ENTRY_BYTES: usize = 2 * size_of::<Entry>();

    pub(super) fn push(&mut self, seq: Seq, key: u32, bytes: usize, named: Option<Box<str>>) {
        debug_assert!(self.entries.back().is_none_or(|last| last.seq < seq));
        self.entries.push_back(Entry {
            seq,
            key,
            pending: 0,
        });
        self.bytes += bytes;
        if let Some(name) = named {
            self.keys.insert(name, key);
        }
    }

    /// Releases the bytes and the key of a message that is no longer an entry.
    pub(super) fn release(&mut self, bytes: usize, named: Option<&str>) {
        self.bytes -= bytes;
        if let Some(name) = named {
            // fault: key-outlives-its-message
            self.keys.remove(name);
        }
    }

    /// The mean time between messages, and when the newest came.
    pub(super) fn rhythm(&self) -> Option<(u32, Time)> {
        Some((self.mean_ms, self.beat_at?))
    }

    /// The bytes of all messages.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The message published with an idempotency key.
    pub(super) fn find_by_key(&self, name: &str) -> Option<u32> {
        self.keys.get(name).copied()
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

    /// Learns the channel's rhythm: an exponential mean over about eight messages.
    pub(super) fn beat(&mut self, now: Time) {
        if let Some(before) = self.beat_at {
            let gap_ms = u32::try_from(now.since_ms(before)).unwrap_or(u32::MAX);
            let mean = u64::from(self.mean_ms);
            self.mean_ms = ((mean * 7 + u64::from(gap_ms)) / 8) as u32;
        }
        self.beat_at = Some(now);
    }
}
