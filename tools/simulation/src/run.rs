//! Many worlds, on several threads.
//!
//! Owns the numbers of seeds and steps, and the sum of what happened. Never prints.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use clap::Args;

/// Counts of what happened in a world.
pub trait Counts: Default + Send {
    /// Adds those of another world.
    fn add(&mut self, other: &Self);
}

/// The worlds to simulate.
#[derive(Args, Clone, Copy, Debug)]
pub struct Run {
    /// How many worlds, each with a seed of its own
    #[arg(long, default_value_t = 1_000)]
    pub seeds: u64,
    /// The first seed; the others follow it
    #[arg(long, default_value_t = 0)]
    pub first: u64,
    /// How many things happen in each world
    #[arg(long, default_value_t = 1_000)]
    pub steps: u64,
    /// Threads [default: as many as processors]
    #[arg(long)]
    pub jobs: Option<usize>,
    /// Begin no further world after so many have broken a rule
    #[arg(long, default_value_t = 10)]
    pub most_failures: usize,
}

/// The result.
#[derive(Clone, Debug)]
pub struct Verdict<T> {
    /// The counts of worlds that broke no rule.
    pub tally: T,
    /// Worlds that were simulated.
    pub worlds: u64,
    /// Seeds whose worlds broke a rule, and which, lowest seed first.
    pub failed: Vec<(u64, String)>,
}

impl Run {
    /// Simulates all worlds: `live` one of a seed and a number of steps, or says which rule it
    /// broke. `look` is called with the result so far after each.
    pub fn go<T: Counts>(
        &self,
        live: impl Fn(u64, u64) -> Result<T, String> + Sync,
        look: impl Fn(&Verdict<T>) + Sync,
    ) -> Verdict<T> {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let next = AtomicU64::new(self.first);
        let enough = AtomicBool::new(false);
        let verdict = Mutex::new(Verdict {
            tally: T::default(),
            worlds: 0,
            failed: Vec::new(),
        });
        let end = self.first.saturating_add(self.seeds);
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.unwrap_or_else(cores).max(1) {
                scope.spawn(|| {
                    while !enough.load(Ordering::Relaxed) {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= end {
                            return;
                        }
                        let lived = live(seed, self.steps);
                        let mut verdict = verdict.lock().expect("no thread panics with it");
                        verdict.worlds += 1;
                        match lived {
                            Ok(tally) => verdict.tally.add(&tally),
                            Err(why) => verdict.failed.push((seed, why)),
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
