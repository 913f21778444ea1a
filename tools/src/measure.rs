//! The cost of a server: processor time, its own memory, the kernel's memory.

use std::fs;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// A process and all below it, itself first.
pub fn descendants(root: u32) -> Vec<u32> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(process) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // The name, in parentheses, may hold anything; the state and the parent follow it.
        let after = stat.rsplit_once(") ").map_or("", |(_, after)| after);
        let parent = after.split(' ').nth(1).and_then(|word| word.parse().ok());
        parents.push((process, parent.unwrap_or(0)));
    }
    let mut found = vec![root];
    let mut next = 0;
    while next < found.len() {
        let parent = found[next];
        let children = parents.iter().filter(|(_, of)| *of == parent);
        found.extend(children.map(|(process, _)| process));
        next += 1;
    }
    found
}

/// Processor time of all threads of the processes, in nanoseconds.
pub fn cpu_ns(processes: &[u32]) -> u64 {
    let mut sum = 0;
    for process in processes {
        let tasks = fs::read_dir(format!("/proc/{process}/task"));
        for task in tasks.into_iter().flatten().flatten() {
            let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            let first = text.split(' ').next().and_then(|word| word.parse().ok());
            sum += first.unwrap_or(0);
        }
    }
    sum
}

/// Memory at one moment, in bytes.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Memory {
    /// Resident, of the processes.
    pub rss: u64,
    /// Resident, with shared pages split among those that share them.
    pub pss: u64,
    /// Buffers of all TCP sockets of the machine.
    pub tcp: u64,
    /// Kernel objects that cannot be reclaimed, sockets among them, of the whole machine.
    pub slab: u64,
}

impl Memory {
    /// Of these processes and the machine, now.
    pub fn read(processes: &[u32]) -> Memory {
        let mut memory = Memory::default();
        for process in processes {
            let path = format!("/proc/{process}/smaps_rollup");
            let rollup = fs::read_to_string(path).unwrap_or_default();
            memory.rss += kilobytes(&rollup, "Rss:");
            memory.pss += kilobytes(&rollup, "Pss:");
        }
        let sockets = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
        let pages = sockets.lines().find_map(|line| {
            let (_, pages) = line.strip_prefix("TCP:")?.rsplit_once("mem ")?;
            pages.trim().parse::<u64>().ok()
        });
        memory.tcp = pages.unwrap_or(0) * rustix::param::page_size() as u64;
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        memory.slab = kilobytes(&meminfo, "SUnreclaim:");
        memory
    }
}

/// Returns the bytes of a field that the system writes in kB, or 0 without it.
pub(crate) fn kilobytes(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    number.unwrap_or(0) * 1_024
}

/// Connections that did not fit into a queue of those to be accepted, of the whole machine.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Overflows {
    /// The number of times a queue was full.
    pub overflows: u64,
    /// Attempts that were dropped, which the client's system repeats after a second.
    pub drops: u64,
}

impl Overflows {
    /// Since the machine's start.
    pub fn read() -> Overflows {
        let text = fs::read_to_string("/proc/net/netstat").unwrap_or_default();
        let mut lines = text
            .lines()
            .filter_map(|line| line.strip_prefix("TcpExt: "));
        let (names, values) = (lines.next().unwrap_or(""), lines.next().unwrap_or(""));
        let value = |wanted| {
            let mut both = names.split(' ').zip(values.split(' '));
            let found = both.find(|(name, _)| *name == wanted);
            found.and_then(|(_, value)| value.parse().ok()).unwrap_or(0)
        };
        Overflows {
            overflows: value("ListenOverflows"),
            drops: value("ListenDrops"),
        }
    }

    /// Since an earlier moment.
    pub fn since(self, earlier: Overflows) -> Overflows {
        Overflows {
            overflows: self.overflows - earlier.overflows,
            drops: self.drops - earlier.drops,
        }
    }
}

/// A histogram of nanoseconds, from a microsecond to a minute.
pub fn histogram() -> Histogram<u64> {
    match Histogram::new_with_bounds(1, 60_000_000_000, 3) {
        Ok(histogram) => histogram,
        Err(_) => unreachable!("the bounds are right"),
    }
}

/// Delays, in nanoseconds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Delays {
    /// Their number.
    pub count: u64,
    /// Half were at most this.
    pub p50: u64,
    /// Nine in ten.
    pub p90: u64,
    /// 99 in 100.
    pub p99: u64,
    /// 999 in 1,000.
    pub p999: u64,
    /// All.
    pub max: u64,
    /// Points of the whole distribution: the share of delays that were longer, and the delay.
    #[serde(default)]
    pub curve: Vec<(f64, u64)>,
}

/// Steps of a decade at which a curve has points.
const STEPS: [f64; 7] = [1.0, 0.7, 0.5, 0.35, 0.25, 0.18, 0.13];

impl Delays {
    /// The usual points of a histogram.
    pub fn of(histogram: &Histogram<u64>) -> Delays {
        if histogram.is_empty() {
            return Delays::default();
        }
        Delays {
            count: histogram.len(),
            p50: histogram.value_at_quantile(0.5),
            p90: histogram.value_at_quantile(0.9),
            p99: histogram.value_at_quantile(0.99),
            p999: histogram.value_at_quantile(0.999),
            max: histogram.max(),
            curve: curve(histogram),
        }
    }
}

/// From the shortest delay to the longest, at steps that show the few longest as well as the rest.
fn curve(histogram: &Histogram<u64>) -> Vec<(f64, u64)> {
    let mut points = Vec::new();
    // Divided, not multiplied by a fraction: so that 0.001 is not 0.0010000000000000002.
    let mut divisor = 1.0;
    while histogram.len() as f64 >= divisor {
        let shares = STEPS.iter().map(|step| step / divisor);
        let shares = shares.filter(|longer| longer * histogram.len() as f64 >= 1.0);
        points.extend(shares.map(|longer| (longer, histogram.value_at_quantile(1.0 - longer))));
        divisor *= 10.0;
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_leads_from_the_shortest_delay_to_the_longest() {
        let mut delays = histogram();
        for delay in 1..=1_000 {
            delays.saturating_record(delay);
        }
        let curve = Delays::of(&delays).curve;
        assert_eq!(curve.first(), Some(&(1.0, 1)));
        assert!(curve.contains(&(0.5, 500)), "{curve:?}");
        assert_eq!(curve.last(), Some(&(0.001, 999)));
        assert!(
            curve.is_sorted_by(|a, b| a.0 > b.0 && a.1 <= b.1),
            "{curve:?}"
        );
        assert_eq!(Delays::of(&histogram()).curve, []);
    }
}
