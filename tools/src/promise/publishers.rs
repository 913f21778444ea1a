//! The threads that publish during a run.
//!
//! Owns how many there are. What each publishes is in `publisher`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use super::publisher::{self, Config, Memory};

/// Threads that publish.
const PUBLISHERS: u64 = 4;

/// Publishes while `run` is at work, which is given the count of messages accepted, at a rate over
/// all threads. Returns what the publishers remember.
pub(super) fn publish_during(
    config: Config<'_>,
    published: &AtomicU64,
    run: impl FnOnce() -> Result<(), String>,
) -> Result<Vec<Memory>, String> {
    let stop = AtomicBool::new(false);
    let config = Config {
        rate: config.rate / PUBLISHERS as f64,
        ..config
    };
    thread::scope(|scope| {
        let publishers: Vec<_> = (0..PUBLISHERS)
            .map(|place| {
                let (stop, config) = (&stop, Config { place, ..config });
                scope.spawn(move || publisher::publish(config, stop, published))
            })
            .collect();
        let done = run();
        stop.store(true, Ordering::Relaxed);
        let memories = publishers.into_iter().map(|publisher| publisher.join());
        let memories = memories.map(|memory| memory.map_err(|_| "a publisher panicked".to_owned()));
        let memories = memories.collect::<Result<Vec<_>, _>>()?;
        done.map(|()| memories)
    })
}
