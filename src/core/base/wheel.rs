//! A hashed timer wheel: one deadline for each `u32` key, as many keys as there are connections.
//!
//! Owns the deadlines and the order in which they come due. It never reads a clock (the moment
//! is an argument, in milliseconds since the server's start) and never calls back: keys that
//! are due come out of [`Wheel::expire`], one by one, within the caller's budget.
//!
//! One level of 4,096 slots of one tick (16 ms) each: 65.5 s. A key whose deadline lies farther
//! ahead waits in the last slot and is looked at again once a turn. A deadline that is put off
//! is only noted: the key stays in its slot and is relinked when that slot fires. So a key that
//! is put off with each byte it reads costs one relink a turn, not one a byte.
//!
//! Invariants:
//! - *Never early*: a deadline rounds up to its tick, the present rounds down. So a key is late
//!   by less than a tick, besides what the budget and the caller's own calls add.
//! - *One turn*: a key in slot `s` is to be looked at in the one tick of `cursor` and the
//!   4,095 ticks after it that maps to `s`. This is its *visit*; it is not after the deadline,
//!   unless the deadline was past when armed or the clock jumped by more than a turn.
//! - *Cursor*: slots of ticks before `cursor` are empty, and `cursor` is never after the latest
//!   moment given to `expire`.
//! - *Map*: a bit of `occupied` is set if and only if its slot has members.

use super::list::{LinkTable, Links, List};

/// Length of a tick, the wheel's resolution.
pub const TICK_MS: u64 = 16;

const SLOTS: usize = 4096;
const TURN_TICKS: u64 = SLOTS as u64;
const WORDS: usize = SLOTS / 64;

/// The last tick that a node can note, some 142,000 years from the start. No reason to keep
/// fewer bits: the slot number leaves them free, and so no arithmetic ever wraps around.
const MAX_TICK: u64 = (1 << 48) - 1;

/// Slot of a key that is not armed.
const NOT_ARMED: u16 = u16::MAX;

const _: () = assert!(size_of::<Node>() == 16);
const _: () = assert!(SLOTS.is_power_of_two() && SLOTS.is_multiple_of(64));
const _: () = assert!(SLOTS <= NOT_ARMED as usize);

/// Deadlines by key. See the module's page for what it promises.
#[derive(Debug)]
pub struct Wheel {
    /// The next tick to be visited.
    cursor: u64,
    occupied: [u64; WORDS],
    slots: Box<[List; SLOTS]>,
    nodes: Nodes,
}

impl Wheel {
    /// A wheel with room for the keys below `keys`: address space that is not touched until the
    /// keys are armed. Higher keys are allowed, but to arm one may move all nodes.
    pub fn with_capacity(keys: usize) -> Wheel {
        Wheel {
            cursor: 0,
            occupied: [0; WORDS],
            slots: Box::new([const { List::new() }; SLOTS]),
            nodes: Nodes(Vec::with_capacity(keys)),
        }
    }

    /// Sets the deadline of `key`, in ms since the server's start, whether it has one or not.
    /// O(1), but for the first use of a key higher than any before, which makes the nodes up to
    /// it. A deadline already past is due in the next [`Wheel::expire`]; one beyond some 142,000
    /// years is cut to that.
    ///
    /// `key` is a table index and so less than `u32::MAX`.
    pub fn arm(&mut self, key: u32, deadline_ms: u64) {
        assert!(key < u32::MAX, "u32::MAX is no key");
        // fault: deadline-rounds-down
        let deadline = deadline_ms.div_ceil(TICK_MS).min(MAX_TICK);
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

    /// Forgets the deadline of `key`, if it has one. O(1).
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
        Some(self.armed_node(key)?.deadline() * TICK_MS)
    }

    /// The earliest moment, in ms since the server's start, at which [`Wheel::expire`] could
    /// have something to do; it may turn out to have none to return. Already past if something
    /// is due. `None` if nothing is armed.
    ///
    /// Costs at most a look at each of 65 words, however many keys are armed.
    pub fn next_due_ms(&self) -> Option<u64> {
        Some(self.next_visit()?.saturating_mul(TICK_MS))
    }

    /// Whether [`Wheel::expire`] would have something to do at `now_ms`: so after one that
    /// returned `None`, whether it was the budget that ended it.
    pub fn has_due(&self, now_ms: u64) -> bool {
        self.next_visit()
            .is_some_and(|visit| visit <= now_ms / TICK_MS)
    }

    /// The next key whose deadline has come by `now_ms`; it is not armed any more. `None` when
    /// there is no other, or `budget` is spent. Each key returned and each key relinked, because
    /// its deadline had been put off, takes 1 of the budget. The next call goes on from there.
    ///
    /// Between two calls any key may be armed or cancelled. One that is armed for a moment not
    /// after `now_ms` is returned again by the calls that follow. `now_ms` should never go back;
    /// if it does, nothing is early for it.
    pub fn expire(&mut self, now_ms: u64, budget: &mut usize) -> Option<u32> {
        let now = now_ms / TICK_MS;
        if now >= self.cursor + TURN_TICKS {
            // More than a turn behind: every key is to be looked at, and once is enough. The
            // order of the slots no longer follows time; nothing depends on it.
            self.cursor = now - (TURN_TICKS - 1);
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

    /// Puts `key`, which is in no slot, where it is visited at `deadline` (a tick), or as near
    /// before it as one turn reaches.
    fn link(&mut self, key: u32, deadline: u64) {
        let visit = deadline.clamp(self.cursor, self.cursor + (TURN_TICKS - 1));
        let slot = slot_of(visit);
        let node = self.nodes.at_mut(key);
        node.set_deadline(deadline);
        node.slot = slot as u16;
        self.slots[slot].push_back(&mut self.nodes, key);
        self.occupied[slot / 64] |= 1 << (slot % 64);
    }

    /// Takes `key` out of the slot it is in.
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
        // The word of the start comes once more at the end, for the slots before the start.
        (1..=WORDS)
            .map(|step| (word + step) % WORDS)
            .find(|&word| self.occupied[word] != 0)
            .map(|word| self.visit_of(first_slot(word, self.occupied[word])))
    }
}

fn slot_of(tick: u64) -> usize {
    (tick % TURN_TICKS) as usize
}

/// The lowest slot in a word of the map, of which at least one bit is set.
fn first_slot(word: usize, bits: u64) -> usize {
    word * 64 + bits.trailing_zeros() as usize
}

/// What there is of each key.
#[derive(Clone, Copy, Debug)]
struct Node {
    links: Links,
    /// The low and high part of the deadline, a tick; it means nothing while not armed.
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEYS: u32 = 40;
    const TURN_MS: u64 = TURN_TICKS * TICK_MS;
    const DAY_MS: u64 = 24 * 3600 * 1000;
    /// The moment at which ticks outgrow 32 bits, after some two years.
    const TICKS_OUTGROW_32_BITS_MS: u64 = (1 << 32) * TICK_MS;

    #[derive(Clone, Debug)]
    enum Op {
        /// A deadline relative to now, also before it.
        Arm(u32, i64),
        Cancel(u32),
        Advance(u64),
        Expire(usize),
    }

    fn op() -> impl Strategy<Value = Op> {
        let ahead = prop_oneof![
            1 => -(DAY_MS as i64)..0,
            4 => -40i64..200,
            4 => 0..TURN_MS as i64 + 100,
            2 => 0..4 * TURN_MS as i64,
            1 => 0..800 * DAY_MS as i64,
        ];
        let advance = prop_oneof![
            8 => 0u64..100,
            4 => 0..TURN_MS / 4,
            2 => TURN_MS - 40..TURN_MS + 40,
            1 => 0..3 * TURN_MS,
            1 => 0..20 * DAY_MS,
        ];
        let budget = prop_oneof![2 => 0usize..6, 1 => Just(usize::MAX)];
        prop_oneof![
            6 => (0..KEYS, ahead).prop_map(|(key, ahead_ms)| Op::Arm(key, ahead_ms)),
            1 => (0..KEYS).prop_map(Op::Cancel),
            3 => advance.prop_map(Op::Advance),
            4 => budget.prop_map(Op::Expire),
        ]
    }

    fn start_ms() -> impl Strategy<Value = u64> {
        prop_oneof![
            Just(0),
            0..10 * DAY_MS,
            (0..2 * TURN_MS).prop_map(|before| TICKS_OUTGROW_32_BITS_MS - before),
            (0..2 * TURN_MS).prop_map(|before| TICKS_OUTGROW_32_BITS_MS / 2 - before),
        ]
    }

    /// The wheel beside deadlines in a plain `Vec`, in ms, of which every one is looked at.
    struct Pair {
        wheel: Wheel,
        twin: Vec<Option<u64>>,
        now_ms: u64,
        expired_ms: u64,
    }

    impl Pair {
        fn new(start_ms: u64) -> Pair {
            let mut pair = Pair {
                wheel: Wheel::with_capacity(KEYS as usize),
                twin: vec![None; KEYS as usize],
                now_ms: start_ms,
                expired_ms: 0,
            };
            pair.expire(usize::MAX);
            pair
        }

        fn apply(&mut self, op: &Op) {
            match *op {
                Op::Arm(key, ahead_ms) => {
                    let deadline_ms = self.now_ms.saturating_add_signed(ahead_ms);
                    self.wheel.arm(key, deadline_ms);
                    self.twin[key as usize] = Some(deadline_ms);
                }
                Op::Cancel(key) => {
                    self.wheel.cancel(key);
                    self.twin[key as usize] = None;
                }
                Op::Advance(ms) => self.now_ms += ms,
                Op::Expire(budget) => self.expire(budget),
            }
        }

        fn expire(&mut self, mut budget: usize) {
            let now_ms = self.now_ms;
            let mut unspent = budget;
            while let Some(key) = self.wheel.expire(now_ms, &mut budget) {
                let deadline_ms = self.twin[key as usize].take();
                assert!(deadline_ms.expect("armed") <= now_ms, "early");
                assert!(budget < unspent, "free of charge");
                unspent = budget;
            }
            self.expired_ms = now_ms;

            let due = self.twin.iter().flatten().any(|&ms| is_due(ms, now_ms));
            if budget > 0 {
                assert!(!due, "late");
                assert!(!self.wheel.has_due(now_ms));
            } else {
                assert!(self.wheel.has_due(now_ms) || !due);
            }
        }

        fn check(&self) {
            for (key, deadline_ms) in (0..).zip(&self.twin) {
                assert_eq!(self.wheel.is_armed(key), deadline_ms.is_some());
                let rounded_ms = deadline_ms.map(|ms| ms.next_multiple_of(TICK_MS));
                assert_eq!(self.wheel.deadline_ms(key), rounded_ms);
            }
            let earliest_ms = self.twin.iter().flatten().min();
            let next_ms = self.wheel.next_due_ms();
            assert_eq!(next_ms.is_some(), earliest_ms.is_some());
            if let (Some(next_ms), Some(earliest_ms)) = (next_ms, earliest_ms) {
                let rounded_ms = earliest_ms.next_multiple_of(TICK_MS);
                assert!(next_ms <= rounded_ms.max(self.expired_ms));
                assert!(self.wheel.has_due(next_ms));
                assert!(next_ms == 0 || !self.wheel.has_due(next_ms - 1));
            }
            self.check_slots();
        }

        fn check_slots(&self) {
            let wheel = &self.wheel;
            assert!(wheel.cursor <= self.expired_ms / TICK_MS);
            let mut listed = 0;
            for (slot, list) in wheel.slots.iter().enumerate() {
                let on_map = wheel.occupied[slot / 64] >> (slot % 64) & 1 == 1;
                assert_eq!(on_map, !list.is_empty());
                for key in list.iter(&wheel.nodes) {
                    let node = wheel.nodes.at(key);
                    assert_eq!(usize::from(node.slot), slot);
                    let expired = self.expired_ms / TICK_MS;
                    assert!(wheel.visit_of(slot) <= node.deadline().max(expired));
                    listed += 1;
                }
            }
            assert_eq!(listed, self.twin.iter().flatten().count());
        }
    }

    /// The rule of rounding, said once more in the twin's own words.
    fn is_due(deadline_ms: u64, now_ms: u64) -> bool {
        deadline_ms <= now_ms - now_ms % TICK_MS
    }

    proptest! {
        #[test]
        fn what_fires_is_what_the_twin_says_is_due(
            start_ms in start_ms(),
            ops in prop::collection::vec(op(), 1..120),
        ) {
            let mut pair = Pair::new(start_ms);
            for op in &ops {
                pair.apply(op);
                pair.check();
            }
            // Whatever was left undone by small budgets is made good, and then all that remains.
            pair.expire(usize::MAX);
            pair.now_ms += 1000 * DAY_MS;
            pair.expire(usize::MAX);
            pair.check();
            assert_eq!(pair.wheel.next_due_ms(), None);
        }

        /// A caller that sleeps until `next_due_ms` misses nothing, is never late by as much
        /// as a tick, and is not woken for nothing more than once a turn and key.
        #[test]
        fn who_sleeps_until_next_due_is_on_time(
            start_ms in start_ms(),
            ahead_ms in prop::collection::vec(0..6 * TURN_MS, 1..KEYS as usize),
        ) {
            let mut pair = Pair::new(start_ms);
            for (key, ahead_ms) in (0..).zip(&ahead_ms) {
                pair.apply(&Op::Arm(key, *ahead_ms as i64));
            }
            let mut wakes = 0;
            while let Some(next_ms) = pair.wheel.next_due_ms() {
                assert!(next_ms + TICK_MS > pair.now_ms);
                pair.now_ms = pair.now_ms.max(next_ms);
                pair.expire(usize::MAX);
                wakes += 1;
                assert!(wakes <= 8 * ahead_ms.len());
            }
            assert!(pair.twin.iter().all(Option::is_none));
        }
    }

    fn drain(wheel: &mut Wheel, now_ms: u64) -> (Vec<u32>, usize) {
        let mut budget = usize::MAX;
        let keys = std::iter::from_fn(|| wheel.expire(now_ms, &mut budget)).collect();
        (keys, usize::MAX - budget)
    }

    #[test]
    fn late_by_less_than_a_tick_and_never_early() {
        let mut wheel = Wheel::with_capacity(1);
        wheel.arm(0, 17);
        assert_eq!(wheel.deadline_ms(0), Some(32));
        assert_eq!(wheel.next_due_ms(), Some(32));
        assert_eq!(drain(&mut wheel, 31), (vec![], 0));
        assert_eq!(drain(&mut wheel, 32), (vec![0], 1));
        assert_eq!(drain(&mut wheel, 32), (vec![], 0));
    }

    #[test]
    fn putting_off_costs_nothing_until_the_old_slot_fires() {
        let mut wheel = Wheel::with_capacity(1);
        wheel.arm(0, 160);
        for ms in 0..1000 {
            wheel.arm(0, 1600 + ms);
        }
        assert_eq!(wheel.next_due_ms(), Some(160));
        assert_eq!(drain(&mut wheel, 160), (vec![], 1));
        assert_eq!(wheel.next_due_ms(), Some(2608));
        assert_eq!(drain(&mut wheel, 2608), (vec![0], 1));

        // Both moments past: there is nothing to relink.
        wheel.arm(0, 3200);
        wheel.arm(0, 4800);
        assert_eq!(drain(&mut wheel, 6400), (vec![0], 1));
    }

    #[test]
    fn an_earlier_deadline_counts_at_once() {
        let mut wheel = Wheel::with_capacity(1);
        wheel.arm(0, 1600);
        wheel.arm(0, 160);
        assert_eq!(wheel.next_due_ms(), Some(160));
        assert_eq!(drain(&mut wheel, 160), (vec![0], 1));
    }

    #[test]
    fn one_call_is_bounded_however_full_the_slot_is() {
        let mut wheel = Wheel::with_capacity(1000);
        for key in 0..1000 {
            wheel.arm(key, 160);
            wheel.arm(key, 1600);
        }
        for _ in 0..100 {
            assert!(wheel.has_due(160));
            let mut budget = 10;
            assert_eq!(wheel.expire(160, &mut budget), None);
            assert_eq!(budget, 0);
        }
        assert!(!wheel.has_due(160));
        assert_eq!(drain(&mut wheel, 1600).0.len(), 1000);
    }

    #[test]
    fn a_spent_budget_fires_nothing() {
        let mut wheel = Wheel::with_capacity(1);
        wheel.arm(0, 0);
        assert_eq!(wheel.expire(10 * TURN_MS, &mut 0), None);
        assert!(wheel.is_armed(0) && wheel.has_due(10 * TURN_MS));
    }

    #[test]
    fn a_key_armed_anew_for_the_past_fires_again_within_the_budget() {
        let mut wheel = Wheel::with_capacity(1);
        wheel.arm(0, 100);
        let mut budget = 5;
        while let Some(key) = wheel.expire(1000, &mut budget) {
            wheel.arm(key, 0);
        }
        assert!(budget == 0 && wheel.has_due(1000));
    }

    #[test]
    fn far_deadlines_cost_one_look_a_turn_and_two_a_jump() {
        let mut wheel = Wheel::with_capacity(500);
        let keys = 0..500;
        for key in keys.clone() {
            wheel.arm(key, 30 * DAY_MS + u64::from(key) * TICK_MS);
        }
        let mut now_ms = 0;
        for _ in 0..100 {
            now_ms += TURN_MS;
            assert!(drain(&mut wheel, now_ms).1 <= 2 * keys.len());
        }
        let (fired, spent) = drain(&mut wheel, 29 * DAY_MS);
        assert!(fired.is_empty() && spent <= 2 * keys.len());
        let (fired, spent) = drain(&mut wheel, 31 * DAY_MS);
        assert!(fired.len() == keys.len() && spent == keys.len());
    }

    #[test]
    fn deadlines_before_and_after_ticks_outgrow_32_bits() {
        let edge_ms = TICKS_OUTGROW_32_BITS_MS;
        let mut wheel = Wheel::with_capacity(4);
        drain(&mut wheel, edge_ms - 1000);
        wheel.arm(0, edge_ms - TICK_MS);
        wheel.arm(1, edge_ms);
        wheel.arm(2, edge_ms + TICK_MS);
        wheel.arm(3, edge_ms + 400 * DAY_MS);
        for (key, at_ms) in [(0, edge_ms - TICK_MS), (1, edge_ms), (2, edge_ms + TICK_MS)] {
            assert_eq!(wheel.next_due_ms(), Some(at_ms));
            assert_eq!(drain(&mut wheel, at_ms - 1).0, Vec::<u32>::new());
            assert_eq!(drain(&mut wheel, at_ms).0, [key]);
        }
        assert_eq!(
            drain(&mut wheel, edge_ms + 399 * DAY_MS).0,
            Vec::<u32>::new()
        );
        assert_eq!(drain(&mut wheel, edge_ms + 400 * DAY_MS).0, [3]);
    }

    #[test]
    fn a_wheel_left_alone_for_years_is_not_early() {
        let mut wheel = Wheel::with_capacity(1);
        let now_ms = 5 * 365 * DAY_MS;
        wheel.arm(0, now_ms + 1000);
        assert_eq!(drain(&mut wheel, now_ms).0, Vec::<u32>::new());
        assert_eq!(drain(&mut wheel, now_ms + 1000 + TICK_MS).0, [0]);
    }

    #[test]
    fn the_end_of_time_is_no_trouble() {
        let mut wheel = Wheel::with_capacity(1);
        wheel.arm(0, u64::MAX);
        assert_eq!(wheel.deadline_ms(0), Some(MAX_TICK * TICK_MS));
        assert_eq!(drain(&mut wheel, 1000 * 365 * DAY_MS).0, Vec::<u32>::new());
        assert_eq!(drain(&mut wheel, u64::MAX).0, [0]);
        wheel.arm(0, u64::MAX);
        assert!(wheel.next_due_ms().is_some() && wheel.has_due(u64::MAX));
    }

    #[test]
    fn a_clock_that_goes_back_fires_nothing_early() {
        let mut wheel = Wheel::with_capacity(3);
        drain(&mut wheel, 10_000);
        wheel.arm(0, 9_000);
        wheel.arm(1, 20_000);
        assert_eq!(drain(&mut wheel, 5_000).0, Vec::<u32>::new());
        wheel.arm(2, 6_000);
        assert_eq!(drain(&mut wheel, 6_000).0, [2]);
        assert_eq!(drain(&mut wheel, 10_000).0, [0]);
        assert_eq!(drain(&mut wheel, 20_000).0, [1]);
    }

    #[test]
    fn keys_never_armed_are_no_trouble() {
        let mut wheel = Wheel::with_capacity(0);
        wheel.cancel(7);
        assert!(!wheel.is_armed(7));
        assert_eq!(wheel.deadline_ms(7), None);
        assert_eq!(wheel.next_due_ms(), None);
        wheel.arm(7, 1);
        wheel.cancel(6);
        assert!(wheel.is_armed(7) && !wheel.is_armed(6));
        assert_eq!(wheel.nodes.0.len(), 8);
    }
}
