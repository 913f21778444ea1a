//! Runs random simulations of clusters, and prints the seeds of those that fail.

use std::process::ExitCode;

use clap::Parser;
use encke_simulation::Run;
use encke_simulation::cluster::live;

/// Lives simulated clusters: nodes over a model of the server that keeps their log, all by chance
/// from a seed. Exits with 1 if a world broke a rule.
#[derive(Parser)]
#[command(version)]
struct Options {
    #[command(flatten)]
    run: Run,
    /// Live this one world, and show what happened in it
    #[arg(long, conflicts_with_all = ["seeds", "first"])]
    seed: Option<u64>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if let Some(seed) = options.seed {
        return match live(seed, options.run.steps, true) {
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
    let live = |seed, steps| live(seed, steps, false).map_err(|(why, _)| why);
    let verdict = options.run.go(live, |_| {});
    let (worlds, failed) = (verdict.worlds, verdict.failed.len());
    println!(
        "{:#?}\n{worlds} worlds, {failed} broke a rule",
        verdict.tally
    );
    for (seed, why) in &verdict.failed {
        println!("seed {seed}: {why}");
    }
    match verdict.failed.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
