//! One channel: its name, its ring of messages, and the two lists of its subscriptions.
//!
//! Owns the state of a channel and the arithmetic on it. It never touches another channel.
//!
//! Invariants: numbers in the ring rise; `evicted_up_to` is below the first of them; a channel
//! without a ring never had an item, or all its items are evicted; its end, if it has one, is its
//! newest item, in the ring or evicted. Numbers that are neither in
//! the ring nor up to `evicted_up_to` are of other channels, or of messages that a newer one
//! replaced.

use std::cmp::Ordering;

use slab::Slab;

use super::reader_counts::ReaderCounts;
use super::ring::{Entry, Ring};
use super::subscription::Subscription;
use crate::base::list::List;
use crate::base::time::Time;
use crate::message::Seq;

/// One channel.
pub struct Channel {
    pub(super) name: Box<str>,
    pub(super) ring: Option<Box<Ring>>,
    pub(super) evicted_up_to: Seq,
    /// Queued subscriptions whose reader has caught up.
    pub(super) waiting: List,
    /// Queued subscriptions whose reader has items pending.
    pub(super) ready: List,
    pub(super) waiting_count: u32,
    reader_counts: ReaderCounts,
    /// Whether it is in the hub's run queue.
    pub(super) running: bool,
    /// Whether a message made its readers ready since its turns began.
    pub(super) woken: bool,
    /// Whether it is in the hub's queue of idle channels.
    pub(super) idle: bool,
    /// Whether the log has a record of the number that `evicted_up_to` is now.
    pub(super) is_floor_saved: bool,
    /// Whether its newest item is its end, which may be evicted.
    pub(super) has_ended: bool,
    /// The index of its policy; see [`Hub::rules`](super::Hub::rules).
    pub(super) policy: u8,
}

impl Channel {
    pub(super) fn new(name: &str, evicted_up_to: Seq, policy: u8) -> Channel {
        Channel {
            name: name.into(),
            ring: None,
            evicted_up_to,
            waiting: List::new(),
            ready: List::new(),
            waiting_count: 0,
            reader_counts: ReaderCounts::default(),
            running: false,
            woken: false,
            idle: false,
            is_floor_saved: false,
            has_ended: false,
            policy,
        }
    }

    /// The bytes that a channel of this name takes, its place in the index included.
    pub(super) fn footprint(name: &str) -> usize {
        size_of::<Channel>() + name.len() + 32
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many readers follow it.
    pub fn reader_counts(&self) -> &ReaderCounts {
        &self.reader_counts
    }

    pub(super) fn reader_counts_mut(&mut self) -> &mut ReaderCounts {
        &mut self.reader_counts
    }

    /// The number of the newest message evicted from it. The loss stands in the sequence there: a
    /// reader with an older cursor gets a gap.
    pub fn evicted_up_to(&self) -> Seq {
        self.evicted_up_to
    }

    /// The number of its newest item: message, end or loss.
    pub fn newest_item(&self) -> Seq {
        let newest = self.ring().and_then(|ring| ring.entries.back());
        newest.map_or(self.evicted_up_to, |entry| entry.seq)
    }

    /// The number of the oldest item that it keeps: message or end.
    pub(super) fn oldest_item(&self) -> Option<Seq> {
        Some(self.ring()?.entries.front()?.seq)
    }

    /// The number of its oldest message.
    pub fn oldest(&self) -> Option<Seq> {
        let oldest = self.ring()?.entries.front();
        Some(oldest.filter(|entry| !entry.is_end())?.seq)
    }

    /// The number of its newest message.
    pub fn newest(&self) -> Option<Seq> {
        Some(self.ring()?.newest_message()?.seq)
    }

    /// Whether it has ended: nothing was published after its end.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Whether a reader with this cursor is done with it.
    pub(super) fn is_done(&self, cursor: Seq) -> bool {
        // fault: done-before-the-last-message
        self.has_ended && cursor >= self.newest_item()
    }

    /// How many messages it keeps.
    pub fn len(&self) -> usize {
        self.ring().map_or(0, Ring::message_count)
    }

    /// Whether it keeps no message.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it keeps neither a message nor its end.
    pub(super) fn has_no_entry(&self) -> bool {
        self.ring.is_none()
    }

    /// The bytes its messages and its end take, overhead included.
    pub fn bytes(&self) -> usize {
        self.ring().map_or(0, |ring| ring.bytes())
    }

    /// Whether it has neither reader nor message.
    pub(super) fn is_unused(&self) -> bool {
        self.ring.is_none() && self.reader_counts.total() == 0
    }

    /// The mean time between its messages, and the time of the newest.
    pub fn publish_interval(&self) -> Option<(u32, Time)> {
        let ring = self.ring()?;
        ring.publish_interval()
    }

    /// The numbers of its messages.
    #[cfg(test)]
    pub(crate) fn numbers(&self) -> impl Iterator<Item = Seq> {
        let entries = self.ring().map(|ring| &ring.entries);
        entries.into_iter().flatten().map(|entry| entry.seq)
    }

    pub(super) fn ring(&self) -> Option<&Ring> {
        self.ring.as_deref()
    }

    pub(super) fn ring_mut(&mut self) -> &mut Ring {
        self.ring.get_or_insert_default()
    }

    /// Moves all waiting subscriptions to the ready list, and returns whether the channel must join
    /// the run queue.
    ///
    /// Called right after a message was pushed: the message is then pending for each of them.
    #[inline(always)]
    pub(super) fn make_ready(&mut self, subscriptions: &mut Slab<Subscription>) -> bool {
        if self.waiting.is_empty() {
            return false;
        }
        let woken = std::mem::take(&mut self.waiting_count);
        if let Some(newest) = self.ring_mut().entries.back_mut() {
            newest.pending += woken;
        }
        self.ready.append(subscriptions, &mut self.waiting);
        self.woken = true;
        !std::mem::replace(&mut self.running, true)
    }

    /// As [`Channel::make_ready`], right after a loss: it is pending for each of them, and the
    /// channel keeps nothing.
    pub(super) fn make_ready_for_loss(&mut self, subscriptions: &mut Slab<Subscription>) -> bool {
        debug_assert!(self.ring.is_none());
        if self.waiting.is_empty() {
            return false;
        }
        self.waiting_count = 0;
        self.ready.append(subscriptions, &mut self.waiting);
        !std::mem::replace(&mut self.running, true)
    }

    /// Removes the oldest message unless it is pending, and returns its key.
    pub(super) fn pop_oldest(&mut self) -> Option<u32> {
        let ring = self.ring.as_deref_mut()?;
        // fault: owed-is-evicted
        if ring.entries.front()?.pending > 0 {
            return None;
        }
        let oldest = ring.pop_front()?;
        // fault: loss-is-not-noted
        self.evicted_up_to = oldest.seq;
        self.is_floor_saved = false;
        Some(oldest.key())
    }

    /// Removes the oldest message if there is a newer one, which replaces it: the readers that
    /// needed it next need the newer one, and nothing is lost. Returns its key. The end of the
    /// channel replaces no message.
    pub(super) fn pop_replaced(&mut self) -> Option<u32> {
        let ring = self.ring.as_deref_mut()?;
        // fault: end-replaces-the-newest
        if ring.message_count() < 2 {
            return None;
        }
        let entries = &mut ring.entries;
        let replaced = entries.pop_front()?;
        // fault: replaced-is-lost
        let newer = entries.front_mut()?;
        // fault: replaced-is-not-owed
        newer.pending += replaced.pending;
        Some(replaced.key())
    }

    /// Removes all messages and the end, pending or not, and returns their keys. Readers get a gap
    /// instead.
    pub(super) fn clear(&mut self) -> Vec<u32> {
        // fault: deletion-is-not-noted
        self.evicted_up_to = self.newest_item();
        self.is_floor_saved = false;
        // fault: end-outlives-its-deletion
        self.has_ended = false;
        let ring = self.ring.take();
        ring.map_or_else(Vec::new, |ring| {
            ring.entries.iter().map(Entry::key).collect()
        })
    }

    /// Raises the number up to which its messages are lost. `is_saved` says whether the log has a
    /// record of that number. It keeps no message up to it.
    pub(super) fn raise_floor(&mut self, up_to: Seq, is_saved: bool) {
        match up_to.cmp(&self.evicted_up_to) {
            Ordering::Less => {}
            Ordering::Equal => self.is_floor_saved |= is_saved,
            Ordering::Greater => {
                self.evicted_up_to = up_to;
                self.is_floor_saved = is_saved;
            }
        }
    }

    /// Gives a channel that is restored its messages.
    pub(super) fn set_ring(&mut self, ring: Ring) {
        debug_assert!(self.ring.is_none());
        self.ring = Some(Box::new(ring));
    }

    /// Whether it keeps the message of a number.
    pub(super) fn keeps(&self, seq: Seq) -> bool {
        self.ring().is_some_and(|ring| ring.find(seq).is_some())
    }

    /// Releases the bytes and the idempotency key of a message that is removed.
    pub(super) fn release(&mut self, bytes: usize, idempotency_key: Option<&str>) {
        let Some(ring) = self.ring.as_deref_mut() else {
            return;
        };
        ring.release(bytes, idempotency_key);
        if ring.entries.is_empty() {
            self.ring = None;
        }
    }

    /// Increments `pending` of the first message after `cursor`.
    pub(super) fn add_pending(&mut self, cursor: Seq) {
        if let Some(entry) = self.first_pending(cursor) {
            entry.pending += 1;
        }
    }

    /// Decrements `pending` of the first message after `cursor`.
    pub(super) fn remove_pending(&mut self, cursor: Seq) {
        if let Some(entry) = self.first_pending(cursor) {
            debug_assert!(
                entry.pending > 0,
                "a ready reader is counted at the message that it needs next"
            );
            entry.pending -= 1;
        }
    }

    /// The first message after `cursor`; `None` where an eviction comes before it. A reader that
    /// has to get a gap first, or that ignores it, keeps no message from eviction.
    fn first_pending(&mut self, cursor: Seq) -> Option<&mut Entry> {
        if cursor < self.evicted_up_to {
            return None;
        }
        let ring = self.ring.as_deref_mut()?;
        let place = ring.after(cursor);
        ring.entries.get_mut(place)
    }
}

const _: () = assert!(size_of::<Channel>() <= 80);
