use proptest::prelude::*;

use super::*;
use crate::base::time::Time;

const KEYS: u32 = 40;
const REVOLUTION_MS: u64 = REVOLUTION_TICKS * SLOT_MS;
const DAY_MS: u64 = 24 * 3600 * 1000;
/// The time at which ticks exceed 32 bits, after some two years.
const TICKS_OUTGROW_32_BITS_MS: u64 = (1 << 32) * SLOT_MS;

#[derive(Clone, Debug)]
enum Op {
    /// A deadline relative to now, also before it.
    Arm(u32, i64),
    Cancel(u32),
    Advance(u64),
    Expire(usize),
    /// The wheel is frozen and thawed.
    HandOver,
}

fn op() -> impl Strategy<Value = Op> {
    let ahead = prop_oneof![
        1 => -(DAY_MS as i64)..0,
        4 => -40i64..200,
        4 => 0..REVOLUTION_MS as i64 + 100,
        2 => 0..4 * REVOLUTION_MS as i64,
        1 => 0..800 * DAY_MS as i64,
    ];
    let advance = prop_oneof![
        8 => 0u64..100,
        4 => 0..REVOLUTION_MS / 4,
        2 => REVOLUTION_MS - 40..REVOLUTION_MS + 40,
        1 => 0..3 * REVOLUTION_MS,
        1 => 0..20 * DAY_MS,
    ];
    let budget = prop_oneof![2 => 0usize..6, 1 => Just(usize::MAX)];
    prop_oneof![
        6 => (0..KEYS, ahead).prop_map(|(key, ahead_ms)| Op::Arm(key, ahead_ms)),
        1 => (0..KEYS).prop_map(Op::Cancel),
        3 => advance.prop_map(Op::Advance),
        4 => budget.prop_map(Op::Expire),
        1 => Just(Op::HandOver),
    ]
}

fn start_ms() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0),
        0..10 * DAY_MS,
        (0..2 * REVOLUTION_MS).prop_map(|before| TICKS_OUTGROW_32_BITS_MS - before),
        (0..2 * REVOLUTION_MS).prop_map(|before| TICKS_OUTGROW_32_BITS_MS / 2 - before),
    ]
}

/// The wheel and its naive model: a `Vec` of deadlines in ms, which is searched as a whole.
struct Pair {
    wheel: Wheel,
    model: Vec<Option<u64>>,
    /// The deadline that each key had last.
    last: Vec<Option<u64>>,
    now_ms: u64,
    expired_ms: u64,
}

impl Pair {
    fn new(start_ms: u64) -> Pair {
        let mut pair = Pair {
            wheel: Wheel::with_capacity(KEYS as usize),
            model: vec![None; KEYS as usize],
            last: vec![None; KEYS as usize],
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
                self.model[key as usize] = Some(deadline_ms);
                self.last[key as usize] = Some(deadline_ms);
            }
            Op::Cancel(key) => {
                self.wheel.cancel(key);
                self.model[key as usize] = None;
            }
            Op::Advance(ms) => self.now_ms += ms,
            Op::Expire(budget) => self.expire(budget),
            Op::HandOver => self.hand_over(),
        }
    }

    fn hand_over(&mut self) {
        let keys = KEYS as usize;
        let frozen: Vec<_> = self.wheel.freeze().collect();
        let now = Time(self.expired_ms);
        let mut wheel = Wheel::thaw(keys, self.wheel.next_tick(), now).unwrap();
        for &deadline in &frozen {
            assert!(wheel.thaw_deadline(keys, deadline).is_some());
            assert_eq!(
                wheel.thaw_deadline(keys, deadline),
                None,
                "it is there already"
            );
        }
        assert!(wheel.freeze().eq(frozen));
        assert_eq!(wheel.next_due_ms(), self.wheel.next_due_ms());
        self.wheel = wheel;
        // What a key had that is not armed is forgotten.
        for (last, armed) in self.last.iter_mut().zip(&self.model) {
            *last = last.filter(|_| armed.is_some());
        }
    }

    fn expire(&mut self, mut budget: usize) {
        let now_ms = self.now_ms;
        let mut unspent = budget;
        while let Some(key) = self.wheel.expire(now_ms, &mut budget) {
            let deadline_ms = self.model[key as usize].take();
            assert!(deadline_ms.expect("armed") <= now_ms, "early");
            assert!(budget < unspent, "free of charge");
            unspent = budget;
        }
        self.expired_ms = now_ms;

        let due = self.model.iter().flatten().any(|&ms| is_due(ms, now_ms));
        if budget > 0 {
            assert!(!due, "late");
            assert!(!self.wheel.has_due(now_ms));
        } else {
            assert!(self.wheel.has_due(now_ms) || !due);
        }
    }

    fn check(&self) {
        for (key, deadline_ms) in (0..).zip(&self.model) {
            assert_eq!(self.wheel.is_armed(key), deadline_ms.is_some());
            let rounded_ms = deadline_ms.map(|ms| ms.next_multiple_of(SLOT_MS));
            assert_eq!(self.wheel.deadline_ms(key), rounded_ms);
            if let Some(last_ms) = self.last[key as usize] {
                let rounded_ms = last_ms.next_multiple_of(SLOT_MS);
                assert_eq!(self.wheel.last_deadline_ms(key), Some(rounded_ms));
            }
        }
        let earliest_ms = self.model.iter().flatten().min();
        let next_ms = self.wheel.next_due_ms();
        assert_eq!(next_ms.is_some(), earliest_ms.is_some());
        if let (Some(next_ms), Some(earliest_ms)) = (next_ms, earliest_ms) {
            let rounded_ms = earliest_ms.next_multiple_of(SLOT_MS);
            assert!(next_ms <= rounded_ms.max(self.expired_ms));
            assert!(self.wheel.has_due(next_ms));
            assert!(next_ms == 0 || !self.wheel.has_due(next_ms - 1));
        }
        self.check_slots();
    }

    fn check_slots(&self) {
        let wheel = &self.wheel;
        assert!(wheel.cursor <= self.expired_ms / SLOT_MS);
        let mut listed = 0;
        for (slot, list) in wheel.slots.iter().enumerate() {
            let on_map = wheel.occupied[slot / 64] >> (slot % 64) & 1 == 1;
            assert_eq!(on_map, !list.is_empty());
            for key in list.iter(&wheel.nodes) {
                let node = wheel.nodes.at(key);
                assert_eq!(usize::from(node.slot), slot);
                let expired = self.expired_ms / SLOT_MS;
                assert!(wheel.visit_of(slot) <= node.deadline().max(expired));
                listed += 1;
            }
        }
        assert_eq!(listed, self.model.iter().flatten().count());
    }
}

/// The rounding rule, implemented independently for the model.
fn is_due(deadline_ms: u64, now_ms: u64) -> bool {
    deadline_ms <= now_ms - now_ms % SLOT_MS
}

proptest! {
    #[test]
    fn expired_keys_equal_those_of_the_twin(
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
    /// as a tick, and is not woken for nothing more than once per revolution and key.
    #[test]
    fn sleep_until_next_due_misses_no_deadline(
        start_ms in start_ms(),
        ahead_ms in prop::collection::vec(0..6 * REVOLUTION_MS, 1..KEYS as usize),
    ) {
        let mut pair = Pair::new(start_ms);
        for (key, ahead_ms) in (0..).zip(&ahead_ms) {
            pair.apply(&Op::Arm(key, *ahead_ms as i64));
        }
        let mut wakes = 0;
        while let Some(next_ms) = pair.wheel.next_due_ms() {
            assert!(next_ms + SLOT_MS > pair.now_ms);
            pair.now_ms = pair.now_ms.max(next_ms);
            pair.expire(usize::MAX);
            wakes += 1;
            assert!(wakes <= 8 * ahead_ms.len());
        }
        assert!(pair.model.iter().all(Option::is_none));
    }
}

fn drain(wheel: &mut Wheel, now_ms: u64) -> (Vec<u32>, usize) {
    let mut budget = usize::MAX;
    let keys = std::iter::from_fn(|| wheel.expire(now_ms, &mut budget)).collect();
    (keys, usize::MAX - budget)
}

#[test]
fn deadline_fires_less_than_a_tick_late_and_never_early() {
    let mut wheel = Wheel::with_capacity(1);
    wheel.arm(0, 17);
    assert_eq!(wheel.deadline_ms(0), Some(32));
    assert_eq!(wheel.next_due_ms(), Some(32));
    assert_eq!(drain(&mut wheel, 31), (vec![], 0));
    assert_eq!(drain(&mut wheel, 32), (vec![0], 1));
    assert_eq!(drain(&mut wheel, 32), (vec![], 0));
}

#[test]
fn postponed_deadline_is_relinked_when_its_old_slot_fires() {
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
fn earlier_deadline_counts_at_once() {
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
fn spent_budget_fires_nothing() {
    let mut wheel = Wheel::with_capacity(1);
    wheel.arm(0, 0);
    assert_eq!(wheel.expire(10 * REVOLUTION_MS, &mut 0), None);
    assert!(wheel.is_armed(0) && wheel.has_due(10 * REVOLUTION_MS));
}

#[test]
fn key_armed_anew_for_the_past_fires_again_within_the_budget() {
    let mut wheel = Wheel::with_capacity(1);
    wheel.arm(0, 100);
    let mut budget = 5;
    while let Some(key) = wheel.expire(1000, &mut budget) {
        wheel.arm(key, 0);
    }
    assert!(budget == 0 && wheel.has_due(1000));
}

#[test]
fn far_deadline_is_visited_once_per_turn_and_twice_per_jump() {
    let mut wheel = Wheel::with_capacity(500);
    let keys = 0..500;
    for key in keys.clone() {
        wheel.arm(key, 30 * DAY_MS + u64::from(key) * SLOT_MS);
    }
    let mut now_ms = 0;
    for _ in 0..100 {
        now_ms += REVOLUTION_MS;
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
    wheel.arm(0, edge_ms - SLOT_MS);
    wheel.arm(1, edge_ms);
    wheel.arm(2, edge_ms + SLOT_MS);
    wheel.arm(3, edge_ms + 400 * DAY_MS);
    for (key, at_ms) in [(0, edge_ms - SLOT_MS), (1, edge_ms), (2, edge_ms + SLOT_MS)] {
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
fn wheel_left_alone_for_years_is_not_early() {
    let mut wheel = Wheel::with_capacity(1);
    let now_ms = 5 * 365 * DAY_MS;
    wheel.arm(0, now_ms + 1000);
    assert_eq!(drain(&mut wheel, now_ms).0, Vec::<u32>::new());
    assert_eq!(drain(&mut wheel, now_ms + 1000 + SLOT_MS).0, [0]);
}

#[test]
fn last_representable_tick_does_not_overflow() {
    let mut wheel = Wheel::with_capacity(1);
    wheel.arm(0, u64::MAX);
    assert_eq!(wheel.deadline_ms(0), Some(MAX_TICK * SLOT_MS));
    assert_eq!(drain(&mut wheel, 1000 * 365 * DAY_MS).0, Vec::<u32>::new());
    assert_eq!(drain(&mut wheel, u64::MAX).0, [0]);
    wheel.arm(0, u64::MAX);
    assert!(wheel.next_due_ms().is_some() && wheel.has_due(u64::MAX));
}

#[test]
fn clock_that_goes_back_fires_nothing_early() {
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
fn key_never_armed_can_be_cancelled() {
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

#[test]
fn deadlines_that_none_can_have_are_refused() {
    let mut wheel = Wheel::with_capacity(8);
    wheel.arm(7, 100);
    let deadline = wheel.freeze().next().unwrap();
    let thaw = |keys: usize, next_tick: u64, now_ms: u64| {
        let mut wheel = Wheel::thaw(keys, next_tick, Time(now_ms))?;
        wheel.thaw_deadline(keys, deadline)
    };
    assert_eq!(thaw(8, 0, 0), Some(7));
    assert_eq!(thaw(8, 1, SLOT_MS), Some(7));
    assert_eq!(thaw(8, 1, SLOT_MS - 1), None);
    assert_eq!(thaw(8, MAX_TICK + 1, u64::MAX), None);
    assert_eq!(thaw(7, 0, 0), None);
}
