//! Process gauges: tick time, load, open files, memory.
//!
//! Owns numbers that the reactor writes and `/metrics` exposes. It reads nothing itself.

use crate::base::histogram::Histogram;

/// Bounds of ticks, in microseconds.
const TICKS_US: &[u64] = &[
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 1_000_000,
];

/// Gauges of the process around the engine.
#[derive(Clone, Debug)]
pub struct ProcessGauges {
    /// Duration of ticks in microseconds, sleep not counted.
    pub tick_us: Histogram,
    /// Fraction of time that the thread was busy, averaged over about a second, in thousandths.
    pub load_permille: u32,
    /// Messages in the producers' queue.
    pub queued: usize,
    /// Open descriptors of the process.
    pub open_files: u64,
    /// The limit on open descriptors.
    pub max_open_files: u64,
    /// Resident memory of the process, in bytes.
    pub resident_bytes: u64,
}

impl Default for ProcessGauges {
    fn default() -> ProcessGauges {
        ProcessGauges {
            tick_us: Histogram::new(TICKS_US),
            load_permille: 0,
            queued: 0,
            open_files: 0,
            max_open_files: 0,
            resident_bytes: 0,
        }
    }
}
