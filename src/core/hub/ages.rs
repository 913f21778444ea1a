//! The ages of messages: which of them are the oldest, and when a channel has to be looked at.
//!
//! Owns the order of all messages by age, and the deadlines of channels.
//!
//! Each message is examined once: when it has the lowest age at which any channel evicts. In a
//! server without policies on ages that is the age of all, so the message is evicted then. If its
//! channel keeps it for longer, the channel gets a deadline. So a publish pays nothing for ages,
//! and every message is examined in O(1), whatever the policies.
//!
//! Invariants:
//! - *Examined in order*: messages before `next` are examined, those from it on are not.
//! - *One deadline a channel*, if it has an examined message. It is not after the time at which the
//!   oldest message is due; where it is before, the channel gets a new one when that is noticed.

use slab::Slab;

use super::stored::Stored;
use crate::base::list::List;
use crate::base::time::Time;
use crate::base::wheel::{SLOT_MS, Wheel};
use crate::message::Seq;

/// All messages by age, and the deadlines of channels.
pub(super) struct Ages {
    /// All stored messages, oldest first.
    all: List,
    /// The oldest message that is not examined.
    pub(super) next: Option<u32>,
    /// Made when the first channel gets a deadline.
    pub(super) deadlines: Option<Wheel>,
    max_channels: usize,
}

impl Ages {
    /// No messages, of at most so many channels.
    pub(super) fn new(max_channels: usize) -> Ages {
        Ages {
            all: List::new(),
            next: None,
            deadlines: None,
            max_channels,
        }
    }

    /// Adds a message, which is the newest of all.
    pub(super) fn push(&mut self, messages: &mut Slab<Stored>, key: u32) {
        self.all.push_back(messages, key);
        self.next = self.next.or(Some(key));
    }

    /// Removes a message.
    pub(super) fn remove(&mut self, messages: &mut Slab<Stored>, key: u32) {
        if self.next == Some(key) {
            self.next = self.all.after(messages, key);
        }
        self.all.unlink(messages, key);
    }

    /// The oldest message.
    pub(super) fn oldest(&self) -> Option<u32> {
        self.all.front()
    }

    /// When the newest message was published.
    pub(super) fn newest(&self, messages: &Slab<Stored>) -> Option<Time> {
        Some(messages[self.all.back()? as usize].at())
    }

    /// The message after one that is stored.
    pub(super) fn after(&self, messages: &Slab<Stored>, key: u32) -> Option<u32> {
        self.all.after(messages, key)
    }

    /// The oldest message that is not examined.
    pub(super) fn next(&self) -> Option<u32> {
        self.next
    }

    /// The message that [`Ages::next`] returns is examined.
    pub(super) fn advance(&mut self, messages: &Slab<Stored>) {
        self.next = self.next.and_then(|key| self.all.after(messages, key));
    }

    /// Whether a stored message of this number is examined.
    pub(super) fn is_examined(&self, messages: &Slab<Stored>, seq: Seq) -> bool {
        self.next
            .is_none_or(|next| seq < messages[next as usize].seq())
    }

    /// Sets the deadline of a channel.
    pub(super) fn arm(&mut self, channel: u32, at: Time) {
        let deadlines = self
            .deadlines
            .get_or_insert_with(|| Wheel::with_capacity(self.max_channels));
        deadlines.arm(channel, at.0);
    }

    /// Makes a channel due at once.
    pub(super) fn arm_now(&mut self, channel: u32, now: Time) {
        // Deadlines are rounded up to a tick of the wheel.
        self.arm(channel, Time(now.0.saturating_sub(SLOT_MS)));
    }

    /// Removes the deadline of a channel, if it has one.
    pub(super) fn cancel(&mut self, channel: u32) {
        if let Some(deadlines) = &mut self.deadlines {
            deadlines.cancel(channel);
        }
    }

    /// Removes the deadline of the next channel that is due, and returns the channel. Each takes 1
    /// of the budget, as does each deadline that was only moved.
    pub(super) fn next_due_channel(&mut self, now: Time, budget: &mut usize) -> Option<u32> {
        self.deadlines.as_mut()?.expire(now.0, budget)
    }

    /// When the next deadline passes, or is moved.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.deadlines.as_ref()?.next_due_ms().map(Time)
    }

    /// The deadline of a channel, if it has one.
    pub(super) fn deadline(&self, channel: u32) -> Option<Time> {
        self.deadlines.as_ref()?.deadline_ms(channel).map(Time)
    }

    /// All messages, oldest first.
    pub(super) fn iter(&self, messages: &Slab<Stored>) -> impl Iterator<Item = u32> {
        self.all.iter(messages)
    }
}
