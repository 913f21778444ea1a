//! The timer wheel: the cost of a deadline for each read, each response and each expired hold.

#[allow(dead_code, reason = "each bench uses a part of it")]
mod support;
use support::Bencher;

use criterion::{BatchSize, BenchmarkId, Throughput};
use encke_core::base::wheel::{SLOT_MS, Wheel};

const SIZES: [u32; 3] = [1_000, 100_000, 1_000_000];

/// The hold of a long poll, over which deadlines spread.
const HOLD_MS: u64 = 30_000;

/// From one key to the next that is used: far away in memory, as connections are.
const STRIDE: u32 = 611_953;

fn main() {
    support::run(|criterion| {
        arm(criterion);
        put_off(criterion);
        cancel_and_arm(criterion);
        expire(criterion);
    });
}

fn deadline(key: u32) -> u64 {
    u64::from(key) * 7 % HOLD_MS
}

fn armed(keys: u32) -> Wheel {
    let mut wheel = Wheel::with_capacity(keys as usize);
    (0..keys).for_each(|key| wheel.arm(key, HOLD_MS + deadline(key)));
    wheel
}

/// A herd comes: every connection gets its deadline. Time for each.
fn arm(criterion: &mut Bencher) {
    let mut group = criterion.benchmark_group("wheel/arm");
    group.sample_size(10);
    for keys in SIZES {
        group.throughput(Throughput::Elements(keys.into()));
        group.bench_function(BenchmarkId::from_parameter(keys), |bencher| {
            let unarmed = || {
                let mut wheel = armed(keys);
                (0..keys).for_each(|key| wheel.cancel(key));
                wheel
            };
            let arm_all =
                |wheel: &mut Wheel| (0..keys).for_each(|key| wheel.arm(key, deadline(key)));
            bencher.iter_batched_ref(unarmed, arm_all, BatchSize::PerIteration);
        });
    }
}

/// A stream was sent something: its heartbeat is put off.
fn put_off(criterion: &mut Bencher) {
    one_by_one(criterion, "wheel/re-arm", |wheel, key| {
        wheel.arm(key, 2 * HOLD_MS + deadline(key));
    });
}

/// A connection closes and another one reuses its index.
fn cancel_and_arm(criterion: &mut Bencher) {
    one_by_one(criterion, "wheel/cancel and arm", |wheel, key| {
        wheel.cancel(key);
        wheel.arm(key, HOLD_MS + deadline(key));
    });
}

/// Something done to one armed key after the other, none near the last.
fn one_by_one(criterion: &mut Bencher, name: &str, step: impl Fn(&mut Wheel, u32)) {
    let mut group = criterion.benchmark_group(name);
    for keys in SIZES {
        group.bench_function(BenchmarkId::from_parameter(keys), |bencher| {
            let mut wheel = armed(keys);
            let mut key = 0;
            bencher.iter(|| {
                key = (key + STRIDE) % keys;
                step(&mut wheel, key);
            });
        });
    }
}

/// A hold ends and the next begins, time passing as fast as that takes.
fn expire(criterion: &mut Bencher) {
    let mut group = criterion.benchmark_group("wheel/expire and arm");
    for keys in SIZES {
        group.bench_function(BenchmarkId::from_parameter(keys), |bencher| {
            let mut wheel = armed(keys);
            let mut now_ms = 0;
            bencher.iter(|| {
                loop {
                    if let Some(key) = wheel.expire(now_ms, &mut usize::MAX.clone()) {
                        break wheel.arm(key, now_ms + HOLD_MS);
                    }
                    now_ms = wheel
                        .next_due_ms()
                        .expect("keys are armed")
                        .max(now_ms + SLOT_MS);
                }
            });
        });
    }
}
