//! The whole engine in simulation: many small worlds, each decided by its seed.
//!
//! `SIM_SEED=n` runs one seed; `SIM_SEEDS` and `SIM_STEPS` say how many, and how long.

mod checks;
mod client;
mod decode;
mod http;
mod model;
mod ops;
mod request;
mod session;
mod setup;
mod tally;
mod wire;
mod world;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use tally::Tally;
use world::World;

/// Seeds and steps where nothing else is asked for.
const SEEDS: u64 = 200;
const STEPS: u64 = 1_000;

/// How much of the trace a failure shows.
const TRACE_LINES: usize = 60;

thread_local! {
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} must be a number")),
    )
}

/// One world from its beginning to its end.
fn live(world: &mut World, steps: u64) {
    for _ in 0..steps {
        world.step();
    }
    world.end();
}

/// Runs a seed; what went wrong, and the last that happened before.
fn run(seed: u64, steps: u64, traced: bool) -> Result<Tally, (String, Vec<String>)> {
    let mut world = World::new(seed, traced);
    let done = catch_unwind(AssertUnwindSafe(|| live(&mut world, steps)));
    match done {
        Ok(()) => Ok(world.tally),
        Err(_) => {
            let why = PANIC.with_borrow(String::clone);
            let mut trace = world.trace.take().unwrap_or_default();
            let settings = trace.first().cloned();
            let last = trace.split_off(trace.len().saturating_sub(TRACE_LINES));
            Err((why, settings.into_iter().chain(last).collect()))
        }
    }
}

#[test]
fn clients_receive_what_was_published() {
    std::panic::set_hook(Box::new(|info| {
        PANIC.with_borrow_mut(|text| *text = info.to_string());
    }));
    let steps = number("SIM_STEPS").unwrap_or(STEPS);
    let (first, count) = match number("SIM_SEED") {
        Some(seed) => (seed, 1),
        None => (
            number("SIM_FIRST").unwrap_or(0),
            number("SIM_SEEDS").unwrap_or(SEEDS),
        ),
    };
    let next = AtomicU64::new(first);
    let total = Mutex::new(Tally::default());
    let failed = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads.min(count as usize) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    match run(seed, steps, false) {
                        Ok(tally) => total.lock().unwrap().add(&tally),
                        Err((why, _)) => failed.lock().unwrap().push((seed, why)),
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().unwrap();
    failed.sort();
    let total = total.into_inner().unwrap();
    println!("{total:?}");
    if let Some((seed, why)) = failed.first() {
        let (_, trace) = run(*seed, steps, true).err().unwrap_or_default();
        let _ = std::panic::take_hook();
        let others: Vec<String> = failed
            .iter()
            .skip(1)
            .take(4)
            .map(|(seed, why)| format!("{seed}: {why}"))
            .collect();
        panic!(
            "{}\n\n{} of {count} seeds failed; the first is {seed}: {why}\nothers: {}\nreplay it with\n    \
             SIM_SEED={seed} SIM_STEPS={steps} cargo test --test sim",
            trace.join("\n"),
            failed.len(),
            others.join("\n")
        );
    }
    let _ = std::panic::take_hook();
    if count >= SEEDS && steps >= STEPS {
        assert_reached(&total);
    }
}

/// A simulation that never gets where faults are finds none.
fn assert_reached(total: &Tally) {
    for (what, count) in [
        ("messages", total.messages),
        ("retries", total.retries),
        ("deletes", total.deletes),
        ("polls", total.received[0]),
        ("long polls", total.received[1]),
        ("server-sent events", total.received[2]),
        ("lines", total.received[3]),
        ("scripts", total.received[4]),
        ("held", total.held),
        ("empty", total.empty),
        ("given up", total.given_up),
        ("early", total.early),
        ("lingered", total.lingered),
        ("gaps", total.gaps),
        ("blocks", total.blocks),
        ("stalled", total.stalled),
        ("no room", total.no_room),
        ("recycled", total.recycled),
        ("refused", total.refused),
        ("drains", total.drains),
        ("quiet", total.quiet),
    ] {
        assert!(
            count >= 10,
            "{what}: {count} is too seldom to find anything"
        );
    }
}
