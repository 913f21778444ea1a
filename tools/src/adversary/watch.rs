//! The resources that encke holds, by its own account and by the system's.

use std::collections::BTreeMap;
use std::fs;

/// The metrics, by name and labels as they are written.
#[derive(Clone, Debug, Default)]
pub(super) struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    /// Reads what `/metrics` answered.
    pub(super) fn parse(text: &str) -> Metrics {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let values = lines.filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            let name = name.strip_prefix("encke_")?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Metrics(values.collect())
    }

    /// The sum over all with this name and, in their labels, this text.
    pub(super) fn sum(&self, name: &str, label: &str) -> f64 {
        let with_name = self.0.iter().filter(|(key, _)| {
            let rest = key.strip_prefix(name);
            rest.is_some_and(|rest| {
                (rest.is_empty() || rest.starts_with('{')) && rest.contains(label)
            })
        });
        with_name.map(|(_, value)| value).sum()
    }
}

/// The bound of a histogram's bucket that holds the largest value recorded between two moments; 0
/// if there was none.
pub(super) fn longest(before: &Metrics, after: &Metrics, name: &str) -> f64 {
    let prefix = format!("{name}_bucket{{le=\"");
    let counts = after.0.iter().filter_map(|(key, count)| {
        let bound = key.strip_prefix(&prefix)?.strip_suffix("\"}")?;
        let earlier = before.0.get(key).copied().unwrap_or(0.0);
        Some((
            bound.parse::<f64>().unwrap_or(f64::INFINITY),
            count - earlier,
        ))
    });
    let counts = Vec::from_iter(counts);
    let total = counts.iter().map(|(_, count)| *count).fold(0.0, f64::max);
    let whole = counts
        .iter()
        .filter(|(_, count)| *count >= total && total > 0.0);
    let bound = whole.map(|(bound, _)| *bound).reduce(f64::min);
    bound.unwrap_or(0.0)
}

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
        let states = metrics.0.iter();
        let states = states.filter(|(name, _)| name.starts_with("connections_by_state{"));
        all.extend(states.map(|(name, count)| (name.clone(), *count as u64)));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_over_labels() {
        let text = "# HELP encke_requests_total x\nencke_requests_total{endpoint=\"poll\",status=\"200\"} 3\n\
            encke_requests_total{endpoint=\"sse\",status=\"200\"} 4\nencke_requests_total_seconds 9\nencke_channels 2\n";
        let metrics = Metrics::parse(text);
        assert_eq!(metrics.sum("requests_total", ""), 7.0);
        assert_eq!(metrics.sum("requests_total", "endpoint=\"sse\""), 4.0);
        assert_eq!(metrics.sum("channels", ""), 2.0);
        assert_eq!(metrics.sum("none", ""), 0.0);
    }

    #[test]
    fn finds_the_longest() {
        let moment = |counts: [u32; 3]| {
            let [one, two, all] = counts;
            let bucket = |le: &str, count| format!("encke_t_bucket{{le=\"{le}\"}} {count}\n");
            Metrics::parse(&(bucket("1.0", one) + &bucket("2.0", two) + &bucket("+Inf", all)))
        };
        assert_eq!(longest(&moment([1, 1, 2]), &moment([1, 1, 2]), "t"), 0.0);
        assert_eq!(longest(&moment([1, 1, 2]), &moment([3, 4, 5]), "t"), 2.0);
        assert_eq!(
            longest(&moment([1, 1, 1]), &moment([3, 4, 5]), "t"),
            f64::INFINITY
        );
    }
}
