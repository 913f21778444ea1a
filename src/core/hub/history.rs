//! Eviction from history: by count, bytes, age and the total of all channels.
//!
//! Owns the rule *retention is not delivery*: a message that a queued reader needs next is kept,
//! whatever the limits say, until the reader has it. A publisher is refused only when the memory
//! for all messages is spent on such messages.

use super::policies::Rules;
use super::ring::Ring;
use super::{Hub, Refusal};
use crate::base::time::Time;

/// How many of the oldest messages are examined for one that may be evicted. The oldest are pending
/// only while they are being delivered, so a few are enough.
const EVICTION_REACH: usize = 64;

/// Messages of one channel that are evicted together: what is over is evicted within the budget of
/// [`Hub::expire_history`].
const TRIM_REACH: usize = 1_024;

impl Hub {
    /// Evicts a channel's oldest messages while it exceeds its limits.
    #[inline]
    pub(super) fn trim(&mut self, index: u32) {
        if self.exceeds_limits(index) {
            self.trim_excess(index);
        }
    }

    #[inline]
    fn exceeds_limits(&self, index: u32) -> bool {
        let ring = self.channels[index as usize].ring();
        ring.is_some_and(|ring| exceeds(ring, self.rules(index)))
    }

    #[inline(never)]
    fn trim_excess(&mut self, index: u32) {
        let latest = self.rules(index).latest;
        for _ in 0..TRIM_REACH {
            if !self.drop_oldest(index, latest) || !self.exceeds_limits(index) {
                return;
            }
        }
        self.ages.arm_now(index, self.now);
    }

    /// Evicts messages past their age, and what channels still keep beyond their limits. Each
    /// message that is evicted takes 1 of the budget, and so does each channel that is looked at in
    /// vain.
    pub fn expire_history(&mut self, mut budget: usize) {
        let mut held = Vec::new();
        while budget > 0
            && let Some(key) = self.ages.next()
        {
            let message = &self.messages[key as usize];
            let channel = message.channel();
            if message.at().after_ms(self.policies.min_age_ms()) > self.now {
                break;
            }
            self.ages.advance(&self.messages);
            let before = budget;
            if !self.expire_channel(channel, &mut budget) {
                held.push(channel);
            }
            budget -= usize::from(budget == before);
        }
        while let Some(channel) = self.ages.next_due_channel(self.now, &mut budget) {
            if !self.expire_channel(channel, &mut budget) {
                held.push(channel);
            }
        }
        for channel in held {
            self.ages.arm_now(channel, self.now);
        }
    }

    /// When [`Hub::expire_history`] may have something to do.
    pub fn next_history_expiry(&self) -> Option<Time> {
        let next = self.ages.next().map(|key| {
            let message = &self.messages[key as usize];
            message.at().after_ms(self.policies.min_age_ms())
        });
        [next, self.ages.next_deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Evicts what a channel need not keep, within the budget, and sets the channel's deadline.
    /// Returns false where a pending message is in the way: its readers are served first.
    fn expire_channel(&mut self, index: u32, budget: &mut usize) -> bool {
        let rules = *self.rules(index);
        loop {
            let ring = self.channels[index as usize].ring();
            let Some((ring, oldest)) = ring.and_then(|ring| Some((ring, ring.entries.front()?)))
            else {
                return true;
            };
            let at = self.messages[oldest.key() as usize].at();
            // fault: age-of-another-policy
            let due = at.after_ms(rules.max_age_ms);
            if due > self.now && !exceeds(ring, &rules) {
                if self.ages.is_examined(&self.messages, oldest.seq) {
                    // fault: deadline-is-not-moved
                    self.ages.arm(index, due);
                }
                return true;
            }
            if *budget == 0 {
                self.ages.arm_now(index, self.now);
                return true;
            }
            if !self.drop_oldest(index, rules.latest) {
                return false;
            }
            *budget -= 1;
        }
    }

    /// Removes the oldest message of a channel: because it is replaced, or else it is evicted
    /// unless it is pending. Returns whether it was removed.
    fn drop_oldest(&mut self, index: u32, latest: bool) -> bool {
        if latest && let Some(key) = self.channels[index as usize].pop_replaced() {
            self.counts.replaced += 1;
            self.remove(key);
            return true;
        }
        self.evict(index)
    }

    /// Makes room for `bytes` more, at the cost of the oldest messages of all channels.
    ///
    /// # Errors
    ///
    /// [`Refusal::ExceedsTotalMemory`] where the limit is below `bytes`; [`Refusal::Busy`] where
    /// the oldest messages are pending.
    pub(super) fn ensure_room(&mut self, bytes: usize) -> Result<(), Refusal> {
        if bytes > self.meter.limit() {
            return Err(Refusal::ExceedsTotalMemory);
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
    pub(super) fn evict_oldest(&mut self) -> bool {
        let mut at = self.ages.oldest();
        for _ in 0..EVICTION_REACH {
            let Some(key) = at else { return false };
            let channel = self.messages[key as usize].channel();
            if self.evict(channel) {
                return true;
            }
            at = self.ages.after(&self.messages, key);
        }
        false
    }

    /// Deletes the messages of a channel, pending ones too. Readers that had not received all of
    /// them get a gap.
    pub fn delete_history(&mut self, channel: u32) {
        let keys = self.channels[channel as usize].clear();
        for key in keys {
            let is_end = self.remove(key);
            self.counts.evicted += u64::from(!is_end);
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
        let is_end = self.remove(key);
        self.counts.evicted += u64::from(!is_end);
        if self.channels[channel as usize].is_unused() {
            self.enqueue_idle(channel);
        }
        true
    }

    /// Removes the end of a channel to which a message was published: the channel is open again.
    #[cold]
    pub(super) fn reopen(&mut self, index: u32) {
        let channel = &mut self.channels[index as usize];
        // fault: channel-stays-ended
        channel.has_ended = false;
        if let Some(key) = channel.ring_mut().pop_superseded_end() {
            self.remove(key);
        }
    }

    /// Removes a message or an end that is no longer in the ring of its channel. Returns whether it
    /// is an end.
    pub(super) fn remove(&mut self, key: u32) -> bool {
        self.ages.remove(&mut self.messages, key);
        let gone = self.messages.remove(key as usize);
        // fault: bytes-not-given-back
        self.meter.release(gone.footprint());
        let channel = &mut self.channels[gone.channel() as usize];
        channel.release(gone.footprint(), gone.idempotency_key());
        self.ends -= usize::from(gone.is_end());
        if channel.has_no_entry() {
            self.ages.cancel(gone.channel());
        }
        gone.is_end()
    }
}

/// Whether a channel keeps more than it may. Its end takes no place among its messages.
#[inline]
pub(super) fn exceeds(ring: &Ring, rules: &Rules) -> bool {
    // fault: history-off-by-one
    ring.message_count() > rules.max_messages || ring.bytes() > rules.max_bytes
}
