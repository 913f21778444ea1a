//! Process gauges: tick time, load, open files, memory.
//!
//! Owns numbers that the reactor writes and `/metrics` exposes. It reads nothing itself.

mod frozen;

pub(super) use frozen::FrozenGauges;

use crate::base::histogram::Histogram;

/// Bounds of ticks, in microseconds.
const TICKS_US: &[u64] = &[
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 1_000_000,
];

/// Bounds of writes to the directory of saved history, in microseconds.
const WRITES_US: &[u64] = &[
    10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 100_000, 1_000_000,
];

/// Gauges of the directory of saved history.
#[derive(Clone, Debug)]
pub struct DiskGauges {
    /// Whether it cannot be written at present, or is not used any more.
    pub is_failing: bool,
    /// Bytes of its segments.
    pub bytes: u64,
    /// Its segments.
    pub segments: usize,
    /// Operations on it that failed.
    pub errors: u64,
    /// Duration of writes in microseconds, with `--data-sync always` of their syncs too.
    pub write_us: Histogram,
    /// Records that the start has read.
    pub replayed: u64,
    /// Bytes that the start has cut off, because they were damaged or followed damage.
    pub cut_bytes: u64,
}

impl Default for DiskGauges {
    fn default() -> DiskGauges {
        DiskGauges {
            is_failing: false,
            bytes: 0,
            segments: 0,
            errors: 0,
            write_us: Histogram::new(WRITES_US),
            replayed: 0,
            cut_bytes: 0,
        }
    }
}

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
    /// The directory of saved history. `None`: history is in memory only.
    pub disk: Option<Box<DiskGauges>>,
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
            disk: None,
        }
    }
}
