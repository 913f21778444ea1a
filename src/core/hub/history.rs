//! Eviction from history: by count, bytes, age and the total of all channels.
//!
//! Owns the rule *retention is not delivery*: a message that a queued reader needs next is kept,
//! whatever the limits say, until the reader has it. A publisher is refused only when the memory
//! for all messages is spent on such messages.

use super::{Hub, Refusal};
use crate::base::time::Time;

/// How many of the oldest messages are examined for one that may be evicted. The oldest are pending
/// only while they are being delivered, so a few are enough.
const EVICTION_REACH: usize = 64;

impl Hub {
    /// Evicts a channel's oldest messages while it exceeds its limits.
    pub(super) fn trim(&mut self, index: u32) {
        loop {
            let channel = &mut self.channels[index as usize];
            let Some(ring) = channel.ring() else { return };
            // fault: history-off-by-one
            let over = ring.entries.len() > self.limits.max_messages
                || ring.bytes() > self.limits.max_bytes;
            if !over || !self.evict(index) {
                return;
            }
        }
    }

    /// Evicts messages past their age, at most `budget` of them.
    pub fn expire_history(&mut self, budget: usize) {
        for _ in 0..budget {
            let Some(oldest) = self.by_age.front() else {
                return;
            };
            let stored = &self.messages[oldest as usize];
            let due = stored.at().after_ms(self.limits.max_age_ms);
            let channel = stored.channel();
            if due > self.now || !self.evict(channel) {
                return;
            }
        }
    }

    /// When the oldest message is past its age.
    pub fn next_history_expiry(&self) -> Option<Time> {
        let oldest = &self.messages[self.by_age.front()? as usize];
        Some(oldest.at().after_ms(self.limits.max_age_ms))
    }

    /// Makes room for `bytes` more, at the cost of the oldest messages of all channels.
    ///
    /// # Errors
    ///
    /// [`Refusal::TooLarge`] where the limit is below `bytes`; [`Refusal::Busy`] where the oldest
    /// messages are pending.
    pub(super) fn ensure_room(&mut self, bytes: usize) -> Result<(), Refusal> {
        if bytes > self.meter.limit() {
            return Err(Refusal::TooLarge);
        }
        while !self.meter.has_room(bytes) {
            if !self.evict_oldest() {
                self.counts.busy += 1;
                return Err(Refusal::Busy);
            }
        }
        Ok(())
    }

    /// Evicts the oldest message that is not pending, if it is among the first few. Returns whether
    /// one was evicted.
    fn evict_oldest(&mut self) -> bool {
        let mut at = self.by_age.front();
        for _ in 0..EVICTION_REACH {
            let Some(key) = at else { return false };
            let channel = self.messages[key as usize].channel();
            if self.evict(channel) {
                return true;
            }
            at = self.by_age.after(&self.messages, key);
        }
        false
    }

    /// Forgets the messages of a channel, pending ones too: their readers get a gap instead.
    pub fn forget(&mut self, channel: u32) {
        let keys = self.channels[channel as usize].clear();
        for key in keys {
            self.remove(key);
        }
        if self.channels[channel as usize].is_unused() {
            self.enqueue_idle(channel);
        }
    }

    /// Evicts the oldest message of a channel unless it is pending. Returns whether it was evicted.
    fn evict(&mut self, channel: u32) -> bool {
        let Some(key) = self.channels[channel as usize].pop_oldest() else {
            return false;
        };
        self.remove(key);
        if self.channels[channel as usize].is_unused() {
            self.enqueue_idle(channel);
        }
        true
    }

    fn remove(&mut self, key: u32) {
        self.by_age.unlink(&mut self.messages, key);
        let gone = self.messages.remove(key as usize);
        // fault: bytes-not-given-back
        self.meter.release(gone.footprint());
        self.counts.evicted += 1;
        self.channels[gone.channel() as usize].release(gone.footprint(), gone.idempotency_key());
    }
}
