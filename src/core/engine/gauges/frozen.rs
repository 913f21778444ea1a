//! Gauges in a state that is handed over.
//!
//! Owns their forms. Those that the process reads anew are there as well: they hold until it does.

use serde::{Deserialize, Serialize};

use super::{
    DiskGauges, PAUSES_US, ProcessGauges, TICKS_US, UpgradeGauges, UpgradeResult, WRITES_US,
};
use crate::base::histogram::FrozenHistogram;
use crate::frozen::{Count, ThawError};

/// The frozen form of [`ProcessGauges`].
#[derive(Serialize, Deserialize)]
pub(in crate::engine) struct FrozenGauges {
    tick_us: FrozenHistogram,
    load_permille: u32,
    queued: u64,
    open_files: u64,
    max_open_files: u64,
    resident_bytes: u64,
    disk: Option<FrozenDisk>,
    upgrades: FrozenUpgrades,
}

#[derive(Serialize, Deserialize)]
struct FrozenUpgrades {
    results: [Count; UpgradeResult::ALL.len()],
    pause_us: FrozenHistogram,
    connections: Count,
}

#[derive(Serialize, Deserialize)]
struct FrozenDisk {
    is_failing: bool,
    bytes: u64,
    segments: u64,
    #[serde(deserialize_with = "crate::frozen::count")]
    errors: u64,
    write_us: FrozenHistogram,
    replayed: u64,
    cut_bytes: u64,
}

impl From<&ProcessGauges> for FrozenGauges {
    fn from(gauges: &ProcessGauges) -> FrozenGauges {
        FrozenGauges {
            tick_us: gauges.tick_us.freeze(),
            // fault: load-is-not-handed-over
            load_permille: gauges.load_permille,
            queued: gauges.queued as u64,
            open_files: gauges.open_files,
            max_open_files: gauges.max_open_files,
            resident_bytes: gauges.resident_bytes,
            disk: gauges.disk.as_deref().map(|disk| FrozenDisk {
                is_failing: disk.is_failing,
                bytes: disk.bytes,
                segments: disk.segments as u64,
                errors: disk.errors,
                write_us: disk.write_us.freeze(),
                replayed: disk.replayed,
                cut_bytes: disk.cut_bytes,
            }),
            upgrades: FrozenUpgrades {
                results: gauges.upgrades.results.map(Count),
                pause_us: gauges.upgrades.pause_us.freeze(),
                connections: Count(gauges.upgrades.connections),
            },
        }
    }
}

impl TryFrom<FrozenGauges> for ProcessGauges {
    type Error = ThawError;

    fn try_from(frozen: FrozenGauges) -> Result<ProcessGauges, ThawError> {
        const DAMAGED: ThawError = ThawError::Damaged("a gauge shows nothing that there is");
        let disk = frozen.disk.map(|disk| {
            Ok::<_, ThawError>(Box::new(DiskGauges {
                is_failing: disk.is_failing,
                bytes: disk.bytes,
                segments: usize::try_from(disk.segments).map_err(|_| DAMAGED)?,
                errors: disk.errors,
                write_us: disk.write_us.thaw(WRITES_US).ok_or(DAMAGED)?,
                replayed: disk.replayed,
                cut_bytes: disk.cut_bytes,
            }))
        });
        let upgrades = frozen.upgrades;
        Ok(ProcessGauges {
            tick_us: frozen.tick_us.thaw(TICKS_US).ok_or(DAMAGED)?,
            load_permille: frozen.load_permille,
            queued: usize::try_from(frozen.queued).map_err(|_| DAMAGED)?,
            open_files: frozen.open_files,
            max_open_files: frozen.max_open_files,
            resident_bytes: frozen.resident_bytes,
            disk: disk.transpose()?,
            // They have a value of their own.
            reconnects: None,
            upgrades: UpgradeGauges {
                results: upgrades.results.map(|Count(count)| count),
                pause_us: upgrades.pause_us.thaw(PAUSES_US).ok_or(DAMAGED)?,
                connections: upgrades.connections.0,
            },
        })
    }
}
