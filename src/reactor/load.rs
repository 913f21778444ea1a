//! Gauges of the process: how busy its thread is, and its use of descriptors and memory.
//!
//! Owns the measurements.

use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit};

use encke_core::base::time::Time;
use encke_core::engine::ProcessGauges;

/// Time over which the load is averaged.
const SPAN: Duration = Duration::from_millis(500);

/// How often descriptors and memory are measured.
const SAMPLE_MS: u64 = 1_000;

/// The fraction of time that the thread was not waiting, over about a second.
#[derive(Default)]
pub(super) struct Load {
    woke: Option<Instant>,
    busy: Duration,
    total: Duration,
    next_sample: Time,
}

impl Load {
    /// Records that the thread waited between these moments, and worked before.
    pub(super) fn slept(&mut self, from: Instant, until: Instant, gauges: &mut ProcessGauges) {
        if let Some(woke) = self.woke {
            let worked = from.saturating_duration_since(woke);
            gauges.tick_us.record(worked.as_micros() as u64);
            self.busy += worked;
            self.total += until.saturating_duration_since(woke);
        }
        self.woke = Some(until);
        if self.total >= SPAN {
            let permille = self.busy.as_micros() * 1_000 / self.total.as_micros().max(1);
            gauges.load_permille = (gauges.load_permille + permille as u32) / 2;
            self.busy = Duration::ZERO;
            self.total = Duration::ZERO;
        }
    }

    /// Measures descriptors and memory, at most once a second. `sockets` is the number of open
    /// sockets.
    pub(super) fn sample(&mut self, now: Time, sockets: usize, gauges: &mut ProcessGauges) {
        if now < self.next_sample {
            return;
        }
        self.next_sample = now.after_ms(SAMPLE_MS);
        gauges.max_open_files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        // Since Linux 6.2 the size of this directory is the number of open descriptors; before
        // that it is 0, and the sockets are nearly all of them.
        let open = std::fs::metadata("/proc/self/fd").map(|metadata| metadata.len());
        gauges.open_files = open.unwrap_or(0).max(sockets as u64);
        gauges.resident_bytes = resident_bytes().unwrap_or(0);
    }
}

/// The second field of /proc/self/statm, in pages: proc(5).
fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}
