//! What history keeps: eviction by count, bytes, age and the total of all channels.
//!
//! Owns the rule *retention is not delivery*: a message that a listed reader needs next stays,
//! whatever the limits say, until the reader has it; only when the memory for all messages is
//! spent on such messages is a publisher refused.

use super::{Hub, Refusal};
use crate::base::time::Time;

/// How many of the oldest messages are looked at for one that may go. The oldest are owed to
/// somebody only while they are being delivered, so a few are enough.
const EVICTION_REACH: usize = 64;

impl Hub {
    /// Drops a channel's oldest messages while it keeps more than its share.
    pub(super) fn trim(&mut self, channel: u32) {
        loop {
            let home = &mut self.channels[channel as usize];
            let Some(ring) = home.ring() else { return };
            // fault: history-off-by-one
            let over = ring.entries.len() > self.limits.max_messages
                || ring.bytes() > self.limits.max_bytes;
            if !over || !self.evict(channel) {
                return;
            }
        }
    }

    /// Drops messages past their age, at most `budget` of them.
    pub fn expire_history(&mut self, budget: usize) {
        for _ in 0..budget {
            let Some(oldest) = self.order.front() else {
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
        let oldest = &self.messages[self.order.front()? as usize];
        Some(oldest.at().after_ms(self.limits.max_age_ms))
    }

    /// Makes room for `bytes` more, at the cost of the oldest messages of all channels.
    ///
    /// # Errors
    ///
    /// [`Refusal::TooLarge`] where no room would be enough; [`Refusal::Busy`] where the oldest are
    /// owed to readers.
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

    /// Drops the oldest message that nobody is owed, if it is among the first few.
    fn evict_oldest(&mut self) -> bool {
        let mut at = self.order.front();
        for _ in 0..EVICTION_REACH {
            let Some(key) = at else { return false };
            let channel = self.messages[key as usize].channel();
            if self.evict(channel) {
                return true;
            }
            at = self.order.after(&self.messages, key);
        }
        false
    }

    /// Forgets the messages of a channel, pending ones too: their readers get a gap instead.
    pub fn forget(&mut self, channel: u32) {
        let keys = self.channels[channel as usize].take_all();
        for key in keys {
            self.remove(key);
        }
        if self.channels[channel as usize].is_unused() {
            self.watch_idle(channel);
        }
    }

    /// Drops the oldest message of a channel unless a reader is owed it.
    fn evict(&mut self, channel: u32) -> bool {
        let Some(key) = self.channels[channel as usize].pop_oldest() else {
            return false;
        };
        self.remove(key);
        if self.channels[channel as usize].is_unused() {
            self.watch_idle(channel);
        }
        true
    }

    fn remove(&mut self, key: u32) {
        self.order.unlink(&mut self.messages, key);
        let gone = self.messages.remove(key as usize);
        // fault: bytes-not-given-back
        self.meter.release(gone.footprint());
        self.counts.evicted += 1;
        self.channels[gone.channel() as usize].discount(gone.footprint(), gone.idempotency_key());
    }
}
