//! Process gauges: tick time, load, open files, memory, upgrades.
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

/// Why a node of a cluster connects to the engine anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReconnectCause {
    /// The server cannot be reached, or its name not be resolved.
    Unreachable,
    /// The server has closed the connection.
    Closed,
    /// The server has not answered within the deadline.
    Silent,
    /// The server is a replica, or has become one; or another server of a Redis Cluster has the log.
    Replica,
    /// The server loads its data, has lost its master, is out of memory, or refuses the login.
    Unready,
    /// The server has answered what is no answer to the command.
    Unexpected,
    /// The node has not heard itself, and has given the connection up.
    Reset,
}

impl ReconnectCause {
    /// All causes, in the order of their numbers.
    pub const ALL: [ReconnectCause; 7] = [
        ReconnectCause::Unreachable,
        ReconnectCause::Closed,
        ReconnectCause::Silent,
        ReconnectCause::Replica,
        ReconnectCause::Unready,
        ReconnectCause::Unexpected,
        ReconnectCause::Reset,
    ];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            ReconnectCause::Unreachable => "unreachable",
            ReconnectCause::Closed => "closed",
            ReconnectCause::Silent => "silent",
            ReconnectCause::Replica => "replica",
            ReconnectCause::Unready => "unready",
            ReconnectCause::Unexpected => "unexpected",
            ReconnectCause::Reset => "reset",
        }
    }
}

/// Connections to the engine of a cluster that broke or were not established, by
/// [`ReconnectCause`].
pub type Reconnects = [u64; ReconnectCause::ALL.len()];

/// Bounds of the pauses of upgrades, in microseconds.
const PAUSES_US: &[u64] = &[
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 3_000_000,
    10_000_000,
];

/// How an attempt to hand everything over to a new process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpgradeResult {
    /// The new process serves.
    Done,
    /// The new process could not be started, or broke off.
    Failed,
    /// The new process said why it cannot take over.
    Refused,
    /// The time was up.
    Timeout,
    /// A drain began meanwhile.
    Cancelled,
}

impl UpgradeResult {
    /// All results, in the order of their numbers.
    pub const ALL: [UpgradeResult; 5] = [
        UpgradeResult::Done,
        UpgradeResult::Failed,
        UpgradeResult::Refused,
        UpgradeResult::Timeout,
        UpgradeResult::Cancelled,
    ];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            UpgradeResult::Done => "done",
            UpgradeResult::Failed => "failed",
            UpgradeResult::Refused => "refused",
            UpgradeResult::Timeout => "timeout",
            UpgradeResult::Cancelled => "cancelled",
        }
    }
}

/// Counts of upgrades, over all processes since the one that was started anew.
#[derive(Clone, Debug)]
pub struct UpgradeGauges {
    /// Attempts by [`UpgradeResult`].
    pub results: [u64; UpgradeResult::ALL.len()],
    /// The times without service, in microseconds, including those of attempts that failed.
    pub pause_us: Histogram,
    /// Connections that one process handed over to the next.
    pub connections: u64,
}

impl Default for UpgradeGauges {
    fn default() -> UpgradeGauges {
        UpgradeGauges {
            results: [0; UpgradeResult::ALL.len()],
            pause_us: Histogram::new(PAUSES_US),
            connections: 0,
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
    /// The connections to the engine. `None`: the server is no node of a cluster.
    pub reconnects: Option<Reconnects>,
    /// Upgrades.
    pub upgrades: UpgradeGauges,
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
            reconnects: None,
            upgrades: UpgradeGauges::default(),
        }
    }
}
