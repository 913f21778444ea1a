//! The frozen form of a wheel: its next tick, and its deadlines in the order of their visits.

use serde::{Deserialize, Serialize};

use super::{MAX_TICK, NOT_ARMED, REVOLUTION_TICKS, SLOT_MS, Wheel, slot_of};
use crate::base::time::Time;

/// The frozen form of one deadline of a [`Wheel`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrozenDeadline {
    key: u32,
    /// A tick.
    deadline: u64,
    /// Ticks from the next one to the visit of the key.
    ahead: u16,
}

impl Wheel {
    /// The next tick to visit, for [`Wheel::thaw`].
    pub fn next_tick(&self) -> u64 {
        self.cursor
    }

    /// The frozen forms of all deadlines, for [`Wheel::thaw_deadline`], in the order in which their
    /// keys are visited.
    pub fn freeze(&self) -> impl Iterator<Item = FrozenDeadline> {
        (0..REVOLUTION_TICKS).flat_map(move |ahead| {
            let slot = &self.slots[slot_of(self.cursor + ahead)];
            slot.iter(&self.nodes).map(move |key| FrozenDeadline {
                key,
                deadline: self.nodes.at(key).deadline(),
                ahead: ahead as u16,
            })
        })
    }

    /// A wheel with capacity for the keys below `keys`, whose next tick is `next_tick`, at a time
    /// that is not before that tick. `None` where it is.
    pub fn thaw(keys: usize, next_tick: u64, now: Time) -> Option<Wheel> {
        let mut wheel = Wheel::with_capacity(keys);
        wheel.cursor = next_tick;
        (next_tick <= MAX_TICK.min(now.0 / SLOT_MS)).then_some(wheel)
    }

    /// Adds a deadline of a wheel that is thawed. Returns its key, which the caller checks before
    /// it relies on it; `None` where it is not below `keys`, has a deadline already, or the
    /// deadline is none.
    pub fn thaw_deadline(&mut self, keys: usize, frozen: FrozenDeadline) -> Option<u32> {
        let FrozenDeadline {
            key,
            deadline,
            ahead,
        } = frozen;
        let is_valid = (key as usize) < keys
            && key < u32::MAX
            && !self.is_armed(key)
            && deadline <= MAX_TICK
            && u64::from(ahead) < REVOLUTION_TICKS;
        if !is_valid {
            return None;
        }
        self.nodes.grow_to_hold(key);
        let slot = slot_of(self.cursor + u64::from(ahead));
        self.put(key, slot, deadline);
        Some(key)
    }
}

const _: () = assert!(REVOLUTION_TICKS <= NOT_ARMED as u64);
