//! The resources that encke holds, by its own account and by the system's.

use std::collections::BTreeMap;
use std::fs;

use crate::metrics::Metrics;

/// All that must be as it was when an attack is over.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Holdings(BTreeMap<String, u64>);

impl Holdings {
    /// By what encke says and what the system says of it.
    pub(super) fn of(metrics: &Metrics, process: u32) -> Holdings {
        let said = [
            "connections",
            "channels",
            "channel_bytes",
            "messages",
            "history_bytes",
            "buffer_bytes",
        ];
        let said = said.map(|name| (name.to_owned(), metrics.sum(name, "") as u64));
        let mut all = BTreeMap::from(said);
        let states = metrics.samples();
        let states = states.filter(|(name, _)| name.starts_with("connections_by_state{"));
        all.extend(states.map(|(name, count)| (name.to_owned(), count as u64)));
        let files = fs::read_dir(format!("/proc/{process}/fd"));
        let files = files.map_or(0, |files| files.count() as u64);
        all.insert("descriptors".to_owned(), files);
        Holdings(all)
    }

    /// Whether there is no message, no unfinished business, and no channel but the neighbour's.
    pub(super) fn is_quiet(&self) -> bool {
        self.0["channels"] == 1
            && ["messages", "buffer_bytes"]
                .iter()
                .all(|name| self.0[*name] == 0)
    }

    /// The differences to other holdings.
    pub(super) fn differences(&self, other: &Holdings) -> Vec<String> {
        let both = self.0.iter().zip(&other.0);
        let differing = both.filter(|((_, before), (_, after))| before != after);
        let text =
            differing.map(|((name, before), (_, after))| format!("{name} {before} → {after}"));
        text.collect()
    }
}

/// Resident memory of a process in bytes: now, and the most since [`forget_peak`].
pub(super) fn resident(process: u32) -> (u64, u64) {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let field = |name| crate::measure::kilobytes(&status, name);
    (field("VmRSS:"), field("VmHWM:"))
}

/// Has the system begin anew to find the most memory (`clear_refs` of proc(5)).
pub(super) fn forget_peak(process: u32) -> Result<(), String> {
    fs::write(format!("/proc/{process}/clear_refs"), "5")
        .map_err(|error| format!("the peak of memory cannot be reset: {error}"))
}
