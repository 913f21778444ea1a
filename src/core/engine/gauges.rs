//! What the engine shows in metrics and cannot know: the process around it.
//!
//! Owns numbers that the reactor writes. It never reads them from anywhere.

use crate::base::histogram::Histogram;

/// Bounds of ticks, in microseconds.
const TICKS_US: &[u64] = &[
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 1_000_000,
];

/// The process around the engine.
#[derive(Clone, Debug)]
pub struct Outside {
    /// How long ticks took, in microseconds, sleep not counted.
    pub tick_us: Histogram,
    /// How busy the thread was of late, in thousandths.
    pub load_permille: u32,
    /// Messages in the producers' queue.
    pub queued: usize,
    /// Open descriptors of the process.
    pub open_files: u64,
    /// The most there may be.
    pub max_open_files: u64,
    /// Resident memory of the process, in bytes.
    pub resident_bytes: u64,
}

impl Default for Outside {
    fn default() -> Outside {
        Outside {
            tick_us: Histogram::new(TICKS_US),
            load_permille: 0,
            queued: 0,
            open_files: 0,
            max_open_files: 0,
            resident_bytes: 0,
        }
    }
}
