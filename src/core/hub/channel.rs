//! One channel: its name, its ring of messages, and the two lists of those who follow it.
//!
//! Owns the state of a channel and the arithmetic on it. It never reaches into another channel.
//!
//! Invariants: numbers in the ring rise; `lost` is below the first of them; a channel without a
//! ring never had a message, or has lost all of them.

use slab::Slab;

use super::audience::Audience;
use super::ring::{Entry, Ring};
use super::subscription::Subscription;
use crate::base::list::List;
use crate::base::time::Time;
use crate::message::Seq;

/// One channel.
pub struct Channel {
    name: Box<str>,
    ring: Option<Box<Ring>>,
    lost: Seq,
    /// Listed subscriptions whose cursor has reached the tip.
    pub(super) waiting: List,
    /// Listed subscriptions that are owed something.
    pub(super) ready: List,
    pub(super) waiting_count: u32,
    audience: Audience,
    /// Whether it is in the hub's run queue.
    pub(super) running: bool,
    /// Whether a message made its readers ready since its turns began.
    pub(super) woken: bool,
    /// Whether it is in the hub's queue of idle channels.
    pub(super) idle: bool,
}

impl Channel {
    pub(super) fn new(name: &str, lost: Seq) -> Channel {
        Channel {
            name: name.into(),
            ring: None,
            lost,
            waiting: List::new(),
            ready: List::new(),
            waiting_count: 0,
            audience: Audience::default(),
            running: false,
            woken: false,
            idle: false,
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

    /// Who follows it.
    pub fn audience(&self) -> &Audience {
        &self.audience
    }

    pub(super) fn audience_mut(&mut self) -> &mut Audience {
        &mut self.audience
    }

    /// The number of the newest message lost to it.
    pub fn lost(&self) -> Seq {
        self.lost
    }

    /// The number of its newest item, message or loss.
    pub fn tip(&self) -> Seq {
        self.newest().unwrap_or(self.lost)
    }

    /// The numbers of its oldest message.
    pub fn oldest(&self) -> Option<Seq> {
        Some(self.ring()?.entries.front()?.seq)
    }

    /// The number of its newest message.
    pub fn newest(&self) -> Option<Seq> {
        Some(self.ring()?.entries.back()?.seq)
    }

    /// How many messages it keeps.
    pub fn len(&self) -> usize {
        self.ring().map_or(0, |ring| ring.entries.len())
    }

    /// Whether it keeps no message.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes its messages take, overhead included.
    pub fn bytes(&self) -> usize {
        self.ring().map_or(0, |ring| ring.bytes())
    }

    /// Whether nobody follows it and nothing is in it.
    pub(super) fn is_unused(&self) -> bool {
        self.ring.is_none() && self.audience.total() == 0
    }

    /// The mean time between its messages, and the time of the newest.
    pub fn rhythm(&self) -> Option<(u32, Time)> {
        let ring = self.ring()?;
        ring.rhythm()
    }

    pub(super) fn ring(&self) -> Option<&Ring> {
        self.ring.as_deref()
    }

    pub(super) fn ring_mut(&mut self) -> &mut Ring {
        self.ring.get_or_insert_default()
    }

    /// Moves everyone who waits to the ready list; true if the channel must join the run queue.
    ///
    /// Called right after a message was pushed, for which each of them is then pending.
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

    /// Drops the oldest message unless a reader is owed it; its key.
    pub(super) fn pop_oldest(&mut self) -> Option<u32> {
        let ring = self.ring.as_deref_mut()?;
        // fault: owed-is-evicted
        if ring.entries.front()?.pending > 0 {
            return None;
        }
        let oldest = ring.entries.pop_front()?;
        // fault: loss-is-not-noted
        self.lost = oldest.seq;
        Some(oldest.key)
    }

    /// Forgets all messages, owed or not; those owed find a loss in their place.
    pub(super) fn take_all(&mut self) -> Vec<u32> {
        // fault: deletion-is-not-noted
        self.lost = self.tip();
        let ring = self.ring.take();
        ring.map_or_else(Vec::new, |ring| {
            ring.entries.iter().map(|e| e.key).collect()
        })
    }

    /// Gives back what a message took.
    pub(super) fn discount(&mut self, bytes: usize, idempotency_key: Option<&str>) {
        let Some(ring) = self.ring.as_deref_mut() else {
            return;
        };
        ring.discount(bytes, idempotency_key);
        if ring.entries.is_empty() {
            self.ring = None;
        }
    }

    /// Counts one more reader, with this cursor, that is owed something.
    pub(super) fn expect(&mut self, cursor: Seq) {
        if let Some(entry) = self.owed_first(cursor) {
            entry.pending += 1;
        }
    }

    /// Counts one reader less.
    pub(super) fn unexpect(&mut self, cursor: Seq) {
        if let Some(entry) = self.owed_first(cursor) {
            debug_assert!(
                entry.pending > 0,
                "a ready reader is counted where it reads on"
            );
            entry.pending -= 1;
        }
    }

    /// The first message after a cursor, unless a loss comes before it.
    fn owed_first(&mut self, cursor: Seq) -> Option<&mut Entry> {
        if cursor < self.lost {
            return None;
        }
        let ring = self.ring.as_deref_mut()?;
        let place = ring.after(cursor);
        ring.entries.get_mut(place)
    }
}

const _: () = assert!(size_of::<Channel>() <= 72);
