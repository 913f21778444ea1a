//! Many worlds, on several threads.
//!
//! Owns the numbers of seeds and steps, and the sum of what happened. Never prints.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::life::live;
use crate::tally::Tally;

/// The worlds to simulate.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// The first seed.
    pub first: u64,
    /// How many seeds.
    pub seeds: u64,
    /// Steps of each world.
    pub steps: u64,
    /// Threads.
    pub jobs: usize,
    /// After so many worlds that broke a rule no further one begins.
    pub most_failures: usize,
}

/// The result.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// The counts of worlds that broke no rule.
    pub tally: Tally,
    /// Worlds that were simulated.
    pub worlds: u64,
    /// Seeds whose worlds broke a rule, and which, lowest seed first.
    pub failed: Vec<(u64, String)>,
}

impl Run {
    /// Simulates all worlds; `look` is called with the result so far after each.
    pub fn go(&self, look: impl Fn(&Verdict) + Sync) -> Verdict {
        let next = AtomicU64::new(self.first);
        let enough = AtomicBool::new(false);
        let verdict = Mutex::new(Verdict::default());
        let end = self.first.saturating_add(self.seeds);
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.max(1) {
                scope.spawn(|| {
                    while !enough.load(Ordering::Relaxed) {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= end {
                            return;
                        }
                        let lived = live(seed, self.steps, false);
                        let mut verdict = verdict.lock().expect("no thread panics with it");
                        verdict.worlds += 1;
                        match lived {
                            Ok(tally) => verdict.tally.add(&tally),
                            Err(fate) => verdict.failed.push((seed, fate.why)),
                        }
                        if verdict.failed.len() >= self.most_failures {
                            enough.store(true, Ordering::Relaxed);
                        }
                        look(&verdict);
                    }
                });
            }
        });
        let mut verdict = verdict.into_inner().expect("no thread panics with it");
        verdict.failed.sort();
        verdict
    }
}
