//! Runs random simulations of clusters, and prints the seeds of those that fail.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Parser;
use encke_simulation::cluster::{Tally, live};

/// Lives simulated clusters: nodes over a model of the server that keeps their log, all by chance
/// from a seed. Exits with 1 if a world broke a rule.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// How many worlds, each with a seed of its own
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first seed; the others follow it
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// How many things happen in each world
    #[arg(long, default_value_t = 1_000)]
    steps: u64,
    /// Live this one world, and show what happened in it
    #[arg(long, conflicts_with_all = ["seeds", "first"])]
    seed: Option<u64>,
    /// Threads [default: as many as processors]
    #[arg(long)]
    jobs: Option<usize>,
    /// Begin no further world after so many have broken a rule
    #[arg(long, default_value_t = 10)]
    most_failures: usize,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if let Some(seed) = options.seed {
        return match live(seed, options.steps, true) {
            Ok(tally) => {
                println!("{tally:#?}");
                ExitCode::SUCCESS
            }
            Err((why, trace)) => {
                for line in trace {
                    println!("{line}");
                }
                println!("\n{why}");
                ExitCode::FAILURE
            }
        };
    }
    let (tally, failed) = run(&options);
    println!("{tally:#?}");
    println!("{} worlds, {} broke a rule", tally.worlds, failed.len());
    for (seed, why) in &failed {
        println!("seed {seed}: {why}");
    }
    match failed.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn run(options: &Options) -> (Tally, Vec<(u64, String)>) {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicU64::new(options.first);
    let end = options.first.saturating_add(options.seeds);
    let result = Mutex::new((Tally::default(), Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..options.jobs.unwrap_or_else(cores).max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    let lived = live(seed, options.steps, false);
                    let mut result = result.lock().expect("no thread panics with it");
                    match lived {
                        Ok(tally) => result.0.add(&tally),
                        Err((why, _)) => result.1.push((seed, why)),
                    }
                    if result.1.len() >= options.most_failures {
                        return;
                    }
                }
            });
        }
    });
    let (tally, mut failed) = result.into_inner().expect("no thread panics with it");
    failed.sort();
    (tally, failed)
}
