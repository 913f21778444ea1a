//! A hashed timer wheel: one deadline per `u32` key, with one key per connection.
//!
//! Owns the deadlines and their order. It never reads a clock (the time is an argument, in
//! milliseconds since the server's start) and never calls back: [`Wheel::expire`] returns due
//! keys one by one, within the caller's budget.
//!
//! In this module a *tick* is a unit of time, 16 ms, and not a pass of the reactor's loop. There is
//! one level of 4,096 slots of one tick each: a revolution takes 65.5 s. A key with a later
//! deadline is in the last slot and is visited once per revolution. If a deadline is postponed,
//! only its number changes: the key stays in its slot and is relinked when that slot fires. A
//! connection whose deadline is postponed at each read therefore costs one relink per revolution,
//! not one per read.
//!
//! Invariants:
//! - *Never early*: a deadline is rounded up to its tick, the current time is rounded down. A key
//!   is therefore late by less than a tick, plus the delay by the budget and between the caller's
//!   calls.
//! - *One revolution*: a key in slot `s` is visited in the one tick among `cursor` and the
//!   4,095 ticks after it that maps to `s`. This is its *visit*; it is not after the deadline,
//!   unless the deadline was past when armed or the clock jumped by more than a revolution.
//! - *Cursor*: slots of ticks before `cursor` are empty, and `cursor` is never after the latest
//!   time given to `expire`.
//! - *Map*: a bit of `occupied` is set if and only if its slot has members.

mod frozen;

pub use frozen::FrozenDeadline;

use super::list::{LinkTable, Links, List};

/// The time that a slot of the wheel covers, one of its ticks: its resolution.
pub const SLOT_MS: u64 = 16;

const SLOTS: usize = 4096;
const REVOLUTION_TICKS: u64 = SLOTS as u64;
const WORDS: usize = SLOTS / 64;

/// The last tick that fits into a node, some 142,000 years from the start. With this limit no
/// arithmetic on ticks overflows.
const MAX_TICK: u64 = (1 << 48) - 1;

/// Slot of a key that is not armed.
const NOT_ARMED: u16 = u16::MAX;

const _: () = assert!(size_of::<Node>() == 16);
const _: () = assert!(SLOTS.is_power_of_two() && SLOTS.is_multiple_of(64));
const _: () = assert!(SLOTS <= NOT_ARMED as usize);

/// Deadlines by key. The module documentation lists its invariants.
#[derive(Debug)]
pub struct Wheel {
    /// The next tick to visit.
    cursor: u64,
    occupied: [u64; WORDS],
    slots: Box<[List; SLOTS]>,
    nodes: Nodes,
}

impl Wheel {
    /// A wheel with capacity for the keys below `keys`. Its memory is not touched until the
    /// keys are armed. Higher keys are allowed, but arming one may move all nodes.
    pub fn with_capacity(keys: usize) -> Wheel {
        Wheel {
            cursor: 0,
            occupied: [0; WORDS],
            slots: Box::new([const { List::new() }; SLOTS]),
            nodes: Nodes(Vec::with_capacity(keys)),
        }
    }

    /// Sets or replaces the deadline of `key`, in ms since the server's start. O(1), except for the
    /// first use of a key higher than any before, which creates the nodes up to it. A past deadline
    /// is due in the next [`Wheel::expire`]; one beyond some 142,000 years is reduced to that.
    ///
    /// `key` must be less than `u32::MAX`.
    pub fn arm(&mut self, key: u32, deadline_ms: u64) {
        assert!(key < u32::MAX, "u32::MAX is not a key");
        // fault: deadline-rounds-down
        let deadline = deadline_ms.div_ceil(SLOT_MS).min(MAX_TICK);
        self.nodes.grow_to_hold(key);

        let slot = self.nodes.at(key).slot;
        if slot == NOT_ARMED {
            self.link(key, deadline);
        } else if self.visit_of(slot.into()) <= deadline {
            self.nodes.at_mut(key).set_deadline(deadline);
        } else {
            self.unlink(key);
            self.link(key, deadline);
        }
    }

    /// Removes the deadline of `key`, if it has one. O(1).
    pub fn cancel(&mut self, key: u32) {
        if self.is_armed(key) {
            self.unlink(key);
        }
    }

    /// Whether `key` has a deadline.
    pub fn is_armed(&self, key: u32) -> bool {
        self.armed_node(key).is_some()
    }

    /// The deadline of `key` in ms since the server's start, rounded up to its tick.
    pub fn deadline_ms(&self, key: u32) -> Option<u64> {
        Some(self.armed_node(key)?.deadline() * SLOT_MS)
    }

    /// As [`Wheel::deadline_ms`]; of a key that [`Wheel::expire`] has returned and that is not
    /// armed again, the deadline for which it was returned.
    pub fn last_deadline_ms(&self, key: u32) -> Option<u64> {
        Some(self.nodes.0.get(key as usize)?.deadline() * SLOT_MS)
    }

    /// The earliest time, in ms since the server's start, at which [`Wheel::expire`] may
    /// have a key to return or to relink; past if a key is due. `None` if no key is armed.
    ///
    /// Reads at most 65 words, however many keys are armed.
    pub fn next_due_ms(&self) -> Option<u64> {
        Some(self.next_visit()?.saturating_mul(SLOT_MS))
    }

    /// Whether [`Wheel::expire`] would have a key to return or to relink at `now_ms`. After a call
    /// that returned `None`, this tells whether the budget was the reason.
    pub fn has_due(&self, now_ms: u64) -> bool {
        self.next_visit()
            .is_some_and(|visit| visit <= now_ms / SLOT_MS)
    }

    /// Disarms and returns the next key whose deadline is not after `now_ms`; `None` if there is no
    /// further one, or `budget` is used up. Each key that is returned or, because its deadline was
    /// postponed, relinked takes 1 of the budget. The next call continues from there.
    ///
    /// Between two calls any key may be armed or cancelled. A key that is armed for a time not
    /// after `now_ms` is returned again by a following call. `now_ms` should never go back;
    /// if it does, no key is returned early.
    pub fn expire(&mut self, now_ms: u64, budget: &mut usize) -> Option<u32> {
        let now = now_ms / SLOT_MS;
        if now >= self.cursor + REVOLUTION_TICKS {
            // More than a revolution behind: one revolution visits every slot. The order of the
            // slots no longer follows time; nothing depends on it.
            self.cursor = now - (REVOLUTION_TICKS - 1);
        }
        while *budget > 0 {
            let Some(visit) = self.next_visit().filter(|&visit| visit <= now) else {
                self.cursor = now;
                return None;
            };
            self.cursor = visit;
            *budget -= 1;

            let key = self.slots[slot_of(visit)].front();
            let key = key.expect("a slot on the map has members");
            let deadline = self.nodes.at(key).deadline();
            self.unlink(key);
            if deadline <= now {
                return Some(key);
            }
            self.link(key, deadline);
        }
        None
    }

    fn armed_node(&self, key: u32) -> Option<&Node> {
        let node = self.nodes.0.get(key as usize)?;
        (node.slot != NOT_ARMED).then_some(node)
    }

    /// Puts `key`, which is in no slot, into the slot that is visited at `deadline` (a tick), or
    /// into the last slot of the revolution if that is earlier.
    fn link(&mut self, key: u32, deadline: u64) {
        let visit = deadline.clamp(self.cursor, self.cursor + (REVOLUTION_TICKS - 1));
        self.put(key, slot_of(visit), deadline);
    }

    /// Puts `key`, which is in no slot, into a slot.
    #[inline(always)]
    fn put(&mut self, key: u32, slot: usize, deadline: u64) {
        let node = self.nodes.at_mut(key);
        node.set_deadline(deadline);
        node.slot = slot as u16;
        self.slots[slot].push_back(&mut self.nodes, key);
        self.occupied[slot / 64] |= 1 << (slot % 64);
    }

    /// Removes `key` from its slot.
    fn unlink(&mut self, key: u32) {
        let node = self.nodes.at_mut(key);
        let slot = usize::from(node.slot);
        node.slot = NOT_ARMED;
        self.slots[slot].unlink(&mut self.nodes, key);
        if self.slots[slot].is_empty() {
            self.occupied[slot / 64] &= !(1 << (slot % 64));
        }
    }

    /// The tick, from the cursor on, in which `slot` is visited.
    fn visit_of(&self, slot: usize) -> u64 {
        let ahead = slot.wrapping_sub(slot_of(self.cursor)) % SLOTS;
        self.cursor + ahead as u64
    }

    /// The tick in which the next slot with members is visited.
    fn next_visit(&self) -> Option<u64> {
        let start = slot_of(self.cursor);
        let (word, bit) = (start / 64, start % 64);
        let from_start = self.occupied[word] & (u64::MAX << bit);
        if from_start != 0 {
            return Some(self.visit_of(first_slot(word, from_start)));
        }
        // The first word is examined again at the end, for the slots before the start.
        (1..=WORDS)
            .map(|step| (word + step) % WORDS)
            .find(|&word| self.occupied[word] != 0)
            .map(|word| self.visit_of(first_slot(word, self.occupied[word])))
    }
}

fn slot_of(tick: u64) -> usize {
    (tick % REVOLUTION_TICKS) as usize
}

/// The lowest slot in a word of the map, of which at least one bit is set.
fn first_slot(word: usize, bits: u64) -> usize {
    word * 64 + bits.trailing_zeros() as usize
}

/// The entry of a key.
#[derive(Clone, Copy, Debug)]
struct Node {
    links: Links,
    /// The low and high part of the deadline, a tick; while not armed, of the last one.
    deadline_low: u32,
    deadline_high: u16,
    slot: u16,
}

impl Node {
    const IDLE: Node = Node {
        links: Links::UNLINKED,
        deadline_low: 0,
        deadline_high: 0,
        slot: NOT_ARMED,
    };

    fn deadline(&self) -> u64 {
        u64::from(self.deadline_high) << 32 | u64::from(self.deadline_low)
    }

    fn set_deadline(&mut self, tick: u64) {
        debug_assert!(tick <= MAX_TICK);
        self.deadline_low = tick as u32;
        self.deadline_high = (tick >> 32) as u16;
    }
}

/// Nodes by key, up to the highest key ever armed.
#[derive(Debug)]
struct Nodes(Vec<Node>);

impl Nodes {
    fn grow_to_hold(&mut self, key: u32) {
        if key as usize >= self.0.len() {
            self.0.resize(key as usize + 1, Node::IDLE);
        }
    }

    fn at(&self, key: u32) -> &Node {
        &self.0[key as usize]
    }

    fn at_mut(&mut self, key: u32) -> &mut Node {
        &mut self.0[key as usize]
    }
}

impl LinkTable for Nodes {
    fn links(&self, index: u32) -> Links {
        self.at(index).links
    }

    fn links_mut(&mut self, index: u32) -> &mut Links {
        &mut self.at_mut(index).links
    }
}

#[cfg(test)]
mod tests;
