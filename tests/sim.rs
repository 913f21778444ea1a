//! The engine in simulation: many small worlds, each determined by its seed.
//!
//! More of them: `cargo run --profile checked -p encke-simulation -- --help`.

use encke_simulation::{Run, live};

/// Enough to reach every kind of event, and quick in a debug build.
const RUN: Run = Run {
    first: 0,
    seeds: 600,
    steps: 1_000,
    jobs: Some(2),
    most_failures: 5,
};

#[test]
fn clients_receive_what_was_published() {
    let simulate = |seed, steps| live(seed, steps, false).map_err(|fate| fate.why);
    let verdict = RUN.go(simulate, |_| {});
    if let Some((seed, why)) = verdict.failed.first() {
        let trace = live(*seed, RUN.steps, true).err().unwrap_or_else(|| {
            panic!("seed {seed} failed, and does not fail again: {why}");
        });
        panic!(
            "{}\n\n{} of {} worlds failed; of seed {seed}: {why}\nlive it again with\n    \
             cargo run --profile checked -p encke-simulation -- --seed {seed}",
            trace.trace.join("\n"),
            verdict.failed.len(),
            verdict.worlds,
        );
    }
    let seldom = verdict.tally.seldom();
    assert!(seldom.is_empty(), "too seldom to find anything: {seldom:?}");
}
