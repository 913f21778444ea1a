//! One world from its beginning to its end, and what is left of one that breaks a rule.
//!
//! Owns the catching of panics. The hook that notes their words is set once for the process, and
//! passes on the panics of threads that do not simulate.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use crate::chance::Chance;
use crate::tally::Tally;
use crate::twins::state_of;
use crate::world::World;

/// How much of the trace is kept of a failure.
const TRACE_LINES: usize = 60;

/// Bytes that decide the settings of a world, and then each of its steps.
const SETUP_BYTES: usize = 48;
const STEP_BYTES: usize = 8;

/// Why a world ended before its time.
#[derive(Clone, Debug)]
pub struct Fate {
    /// The rule that was broken, and where.
    pub why: String,
    /// The settings and the last that happened, if that was asked for.
    pub trace: Vec<String>,
}

thread_local! {
    /// The words of a panic of this thread; `None`: it does not simulate.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Notes the words of panics instead of printing them, on threads that ask for it.
fn note_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let is_noted = PANIC.with_borrow_mut(|text| match text {
                Some(text) => {
                    *text = info.to_string();
                    true
                }
                None => false,
            });
            if !is_noted {
                before(info);
            }
        }));
    });
}

/// Lives a world of so many steps.
///
/// # Errors
///
/// It broke a rule; with a trace if it is `traced`.
pub fn live(seed: u64, steps: u64, traced: bool) -> Result<Tally, Fate> {
    caught(World::new(Chance::seeded(seed), traced), |world| {
        for _ in 0..steps {
            world.step();
        }
        world.end();
    })
}

/// The state of the engine of a world after so many steps, as it is handed over.
///
/// # Panics
///
/// The world broke a rule before.
pub fn state_after(seed: u64, steps: u64) -> Vec<u8> {
    let mut world = World::new(Chance::seeded(seed), false);
    for _ in 0..steps {
        world.step();
    }
    world.close(usize::MAX);
    state_of(&world.engine)
}

/// Lives a world that is decided by bytes: its settings by the first, then a step by each eight.
///
/// # Panics
///
/// It broke a rule.
pub fn live_chosen(bytes: &[u8]) {
    let (setup, steps) = parts(bytes);
    follow(&mut World::new(Chance::chosen(setup), false), steps);
}

/// As [`live_chosen`], with a trace.
///
/// # Errors
///
/// It broke a rule.
pub fn retrace(bytes: &[u8]) -> Result<Tally, Fate> {
    let (setup, steps) = parts(bytes);
    let world = World::new(Chance::chosen(setup), true);
    caught(world, |world| follow(world, steps))
}

fn parts(bytes: &[u8]) -> (&[u8], &[u8]) {
    bytes.split_at(bytes.len().min(SETUP_BYTES))
}

fn follow(world: &mut World, steps: &[u8]) {
    for step in steps.chunks(STEP_BYTES) {
        world.chance = Chance::chosen(step);
        world.step();
    }
    world.end();
}

/// Lives, and catches what is thrown when a rule is broken.
fn caught(mut world: World, life: impl FnOnce(&mut World)) -> Result<Tally, Fate> {
    let why = match catch(|| life(&mut world)) {
        Ok(()) => return Ok(world.tally),
        Err(why) => why,
    };
    let mut trace = world.trace.take().unwrap_or_default();
    let last = trace.split_off(trace.len().saturating_sub(TRACE_LINES));
    let settings = trace.into_iter().take(1);
    let trace = settings.chain(last).collect();
    Err(Fate { why, trace })
}

/// Does something, and catches what is thrown when a rule is broken: its words.
pub(crate) fn catch<T>(life: impl FnOnce() -> T) -> Result<T, String> {
    note_panics();
    PANIC.set(Some(String::new()));
    let done = catch_unwind(AssertUnwindSafe(life));
    let why = PANIC.take().unwrap_or_default();
    done.map_err(|_| why)
}
