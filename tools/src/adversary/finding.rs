//! The finding of a trial, for people and for programs.

use serde::{Deserialize, Serialize};

use super::crowd::Tally;
use crate::measure::Delays;
use crate::metrics::Metrics;

/// The counters of encke at two moments.
pub(super) struct Moved {
    pub(super) before: Metrics,
    pub(super) after: Metrics,
}

impl Moved {
    /// The increase of a counter, over all series with this text in their labels.
    pub(super) fn by(&self, name: &str, label: &str) -> u64 {
        (self.after.sum(name, label) - self.before.sum(name, label)) as u64
    }

    /// Says so if a counter has not moved.
    pub(super) fn must(&self, name: &str, label: &str) -> Option<String> {
        (self.by(name, label) == 0).then(|| format!("{name}{{{label}}} did not move"))
    }

    /// Requests answered so, over all endpoints.
    pub(super) fn status(&self, status: u16) -> u64 {
        self.by("requests_total", &format!("status=\"{status}\""))
    }

    /// Says so if no request was answered so.
    pub(super) fn must_answer(&self, status: u16) -> Option<String> {
        (self.status(status) == 0).then(|| format!("nothing was answered {status}"))
    }
}

/// The finding of one attack.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Finding {
    /// The attack.
    pub attack: String,
    /// Its connections at once.
    pub connections: u32,
    /// Its length in seconds.
    pub seconds: f64,
    /// Resident memory of encke before it, in bytes.
    pub rss_before: u64,
    /// The most during it.
    pub rss_peak: u64,
    /// After everything was given back.
    pub rss_after: u64,
    /// The bytes by which it may grow.
    pub budget: u64,
    /// Processor time of encke in parts of a core: with the neighbour alone, and during the attack.
    pub cpu: (f64, f64),
    /// The neighbour's delays without the attack, in nanoseconds.
    pub undisturbed: Delays,
    /// The neighbour's delays during the attack.
    pub disturbed: Delays,
    /// A bound of the longest turn of encke's loop during the attack, in seconds.
    pub turn: f64,
    /// The outcomes of the attack's connections.
    pub tally: Tally,
    /// Faults of encke.
    pub faults: Vec<String>,
}

impl Finding {
    /// The bytes by which it grew at most.
    pub fn growth(&self) -> u64 {
        self.rss_peak.saturating_sub(self.rss_before)
    }

    /// The heading of the lines of [`Finding::line`].
    pub fn heading() -> String {
        format!(
            "{:<20} {:>6} {:>15} {:>7} {:>11} {:>17} {:>17} {:>8}  {}\n",
            "attack",
            "conns",
            "peak/budget MB",
            "after",
            "CPU %",
            "p50 ms (ratio)",
            "p99 ms (ratio)",
            "turn ms",
            "came, failed, closed by encke, left, open; sent; answers"
        )
    }

    /// A line of a table.
    pub fn line(&self) -> String {
        let megabytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let delays = |before: u64, after: u64| {
            let ratio = after as f64 / before.max(1) as f64;
            format!("{:.2} ({ratio:.1} ×)", after as f64 / 1e6)
        };
        let tally = &self.tally;
        let answers = tally
            .answers
            .iter()
            .map(|(status, count)| format!(" {count} × {status}"));
        let mut line = format!(
            "{:<20} {:>6} {:>7.1}/{:<7.1} {:>7.1} {:>4.1} → {:<4.1} {:>17} {:>17} {:>8.1}  {}, {}, {}, {}, {}; {:.0} MB;{}\n",
            self.attack,
            self.connections,
            megabytes(self.growth()),
            megabytes(self.budget),
            megabytes(self.rss_after.saturating_sub(self.rss_before)),
            self.cpu.0 * 100.0,
            self.cpu.1 * 100.0,
            delays(self.undisturbed.p50, self.disturbed.p50),
            delays(self.undisturbed.p99, self.disturbed.p99),
            self.turn * 1e3,
            tally.connected,
            tally.failed,
            tally.ended,
            tally.left,
            tally.open,
            megabytes(tally.sent),
            answers.collect::<String>(),
        );
        for fault in &self.faults {
            line += &format!("{:>20}  {fault}\n", "WRONG");
        }
        line
    }
}
