//! One channel: its name, its ring of messages, and the two lists of those who follow it.
//!
//! Owns the state of a channel and the arithmetic on it. It never reaches into another channel,
//! and knows stored messages only by their keys.
//!
//! Invariants: numbers in the ring rise; `lost` is below the first of them; a channel without a
//! ring never had a message, or has lost all of them.

use std::collections::{HashMap, VecDeque};

use slab::Slab;

use super::readers::Subscription;
use crate::base::list::List;
use crate::base::time::Time;
use crate::encode::Seq;

/// How a parked connection receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A held long poll.
    LongPoll,
    /// A stream of server-sent events.
    Sse,
    /// A stream of NDJSON lines.
    Ndjson,
    /// A forever frame.
    Frame,
}

impl Transport {
    /// All of them, in the order of their numbers.
    pub const ALL: [Transport; 4] = [
        Transport::LongPoll,
        Transport::Sse,
        Transport::Ndjson,
        Transport::Frame,
    ];

    /// Its name in answers and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Transport::LongPoll => "long-poll",
            Transport::Sse => "sse",
            Transport::Ndjson => "ndjson",
            Transport::Frame => "frame",
        }
    }
}

/// How many connections follow a channel, by transport.
#[derive(Clone, Copy, Debug, Default)]
pub struct Audience([u32; Transport::ALL.len()]);

impl Audience {
    /// All of them.
    pub fn total(&self) -> u32 {
        self.0.iter().sum()
    }

    /// Those of one transport.
    pub fn of(&self, transport: Transport) -> u32 {
        self.0[transport as usize]
    }

    pub(super) fn add(&mut self, transport: Transport) {
        self.0[transport as usize] += 1;
    }

    pub(super) fn remove(&mut self, transport: Transport) {
        self.0[transport as usize] -= 1;
    }
}

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
        self.ring().map_or(0, |ring| ring.bytes)
    }

    /// Whether nobody follows it and nothing is in it.
    pub(super) fn is_unused(&self) -> bool {
        self.ring.is_none() && self.audience.total() == 0
    }

    /// The mean time between its messages, and the time of the newest.
    pub fn rhythm(&self) -> Option<(u32, Time)> {
        let ring = self.ring()?;
        Some((ring.mean_ms, ring.beat_at?))
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
        !std::mem::replace(&mut self.running, true)
    }

    /// Drops the oldest message unless a reader is owed it; its key.
    pub(super) fn pop_oldest(&mut self) -> Option<u32> {
        let ring = self.ring.as_deref_mut()?;
        if ring.entries.front()?.pending > 0 {
            return None;
        }
        let oldest = ring.entries.pop_front()?;
        self.lost = oldest.seq;
        Some(oldest.key)
    }

    /// Forgets all messages, owed or not; those owed find a loss in their place.
    pub(super) fn take_all(&mut self) -> Vec<u32> {
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
        ring.bytes -= bytes;
        if let Some(key) = idempotency_key {
            ring.keys.remove(key);
        }
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
    /// Listed readers that need this message next.
    pub(super) pending: u32,
}

impl Ring {
    /// What a place costs.
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

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The message published with an idempotency key.
    pub(super) fn keyed(&self, name: &str) -> Option<u32> {
        self.keys.get(name).copied()
    }

    /// The place of the first message after a cursor; the length if there is none.
    pub(super) fn after(&self, cursor: Seq) -> usize {
        let len = self.entries.len();
        // Nearly everyone is owed the newest message alone.
        match (self.entries.get(len.wrapping_sub(2)), self.entries.back()) {
            (_, Some(last)) if last.seq <= cursor => len,
            (Some(before), Some(_)) if before.seq <= cursor => len - 1,
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

const _: () = assert!(size_of::<Channel>() <= 72);
