//! The report of a run, for people and for programs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::conductor::Mode;
use crate::machine::Machine;
use crate::measure::{Delays, Memory, Overflows};
use crate::receipt::Counts;

/// The report of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// The server's name.
    pub server: String,
    /// Its version, if it says which.
    pub version: String,
    /// The command line.
    pub command: String,
    /// The machine it was measured on.
    pub machine: Machine,
    /// The kind of load.
    pub mode: Mode,
    /// The transport of the receivers.
    pub transport: String,
    /// Subscribers, or connections that polled.
    pub subscribers: u32,
    /// Channels.
    pub channels: u32,
    /// Bytes of a message.
    pub size: u32,
    /// Publishes a second, if they came at set times.
    pub rate: f64,
    /// The length of the measurement, in seconds.
    pub seconds: f64,
    /// Publishes in that time.
    pub publishes: u64,
    /// Units of work: deliveries, publishes, answers, or connections.
    pub units: u64,
    /// The server's processor time, in nanoseconds.
    pub cpu_ns: u64,
    /// The receipts, and what was wrong with them.
    pub counts: Counts,
    /// Delays in nanoseconds: from the time a message was to be sent to its receipt; of a poll or a
    /// publish to its answer.
    pub delays: Delays,
    /// The server's system calls by name, if they were counted.
    pub syscalls: BTreeMap<String, u64>,
    /// Memory, if it was looked at.
    pub parked: Option<Parked>,
    /// In a churn or herd, from a publish, or the beginning of a drain, until all were back.
    pub back: Delays,
    /// In a herd, connections that the system had to leave waiting, or dropped.
    pub overflows: Option<Overflows>,
    /// Delays of the one apart while no other was served; `delays` are those while others were.
    pub undisturbed: Delays,
}

/// Memory of the parked.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Parked {
    /// Of the server before any were parked.
    pub empty: Memory,
    /// With them.
    pub full: Memory,
    /// The server's resident bytes for each.
    pub rss_each: f64,
    /// The same by proportional set size.
    pub pss_each: f64,
    /// The kernel's bytes for each, both ends of the connection: buffers and objects.
    pub kernel_each: f64,
}

impl Parked {
    /// The difference between two moments.
    pub fn between(empty: &Memory, full: &Memory, count: u64) -> Parked {
        let each = |before: u64, after: u64| (after as f64 - before as f64) / count.max(1) as f64;
        Parked {
            empty: *empty,
            full: *full,
            rss_each: each(empty.rss, full.rss),
            pss_each: each(empty.pss, full.pss),
            kernel_each: each(empty.tcp + empty.slab, full.tcp + full.slab),
        }
    }
}

impl Report {
    /// Processor time of the server for a unit of work, in nanoseconds.
    pub fn cpu_each(&self) -> f64 {
        self.cpu_ns as f64 / self.units.max(1) as f64
    }

    /// Whether everything arrived as it should have.
    pub fn is_right(&self) -> bool {
        let is_receiving = matches!(
            self.mode,
            Mode::FanOut | Mode::Spread | Mode::Burst | Mode::Churn | Mode::Herd | Mode::Random
        );
        self.counts.faults() == 0 && (!is_receiving || self.counts.received == self.units)
    }

    /// System calls of the server for a unit of work.
    pub fn syscalls_each(&self) -> f64 {
        self.syscalls.values().sum::<u64>() as f64 / self.units.max(1) as f64
    }

    /// Its name among others.
    pub fn title(&self) -> String {
        let mode = self.mode.name();
        let mut title = match self.mode {
            Mode::Publish => mode,
            Mode::Poll => format!("{mode}, {}", self.subscribers),
            _ => format!("{mode}, {}, {}", self.transport, self.subscribers),
        };
        if self.channels > 1 {
            title += &format!(" on {}", self.channels);
        }
        if self.rate > 0.0 {
            title += &format!(", {}/s", self.rate);
        }
        if !self.syscalls.is_empty() {
            title += ", syscalls";
        }
        title
    }

    /// The unit of work.
    pub fn unit(&self) -> &'static str {
        match self.mode {
            Mode::Park | Mode::Idle => "connection",
            Mode::Publish => "publish",
            Mode::Poll => "poll",
            Mode::Churn => "visit",
            _ => "delivery",
        }
    }

    /// A table for people.
    pub fn table(&self) -> String {
        let mut rows = self.work_rows();
        let mut delays = |name: &str, delays: &Delays| {
            if delays.count > 0 {
                rows.push((name.into(), line(delays)));
            }
        };
        delays("undisturbed", &self.undisturbed);
        delays("delay", &self.delays);
        delays("back after", &self.back);
        if let Some(parked) = &self.parked {
            rows.push((
                "memory each".into(),
                format!(
                    "RSS {:.0} B, PSS {:.0} B; kernel, both ends, {:.0} B; empty server {} KiB",
                    parked.rss_each,
                    parked.pss_each,
                    parked.kernel_each,
                    parked.empty.rss >> 10
                ),
            ));
        }
        if let Some(Overflows { overflows, drops }) = self.overflows {
            rows.push((
                "accept queue".into(),
                format!("{overflows} times too long, {drops} connections put off"),
            ));
        }
        if !self.syscalls.is_empty() {
            let calls = self.syscalls.iter();
            let each = calls.map(|(name, count)| {
                format!(" {name} {:.3}", *count as f64 / self.units.max(1) as f64)
            });
            rows.push((
                "system calls each".into(),
                format!("{:.3}:{}", self.syscalls_each(), each.collect::<String>()),
            ));
        }
        let counts = &self.counts;
        rows.push((
            "receipts".into(),
            format!(
                "{} received, {} lost, {} twice, {} late, {} misrouted, {} failed, {} re-parked",
                counts.received,
                counts.lost,
                counts.twice,
                counts.late,
                counts.misrouted,
                counts.failed,
                counts.reparked
            ),
        ));
        let lines = rows
            .iter()
            .map(|(name, value)| format!("{name:>20}  {value}\n"));
        lines.collect()
    }

    fn work_rows(&self) -> Vec<(String, String)> {
        vec![
            (
                "load".into(),
                format!(
                    "{:?} of {} over {}, {} subscribers, {} channels, {} bytes",
                    self.mode,
                    self.server,
                    self.transport,
                    self.subscribers,
                    self.channels,
                    self.size
                ),
            ),
            (
                format!("CPU per {}", self.unit()),
                format!("{:.0} ns", self.cpu_each()),
            ),
            (
                "CPU of the server".into(),
                format!(
                    "{:.1} % of a core for {:.2} s",
                    self.cpu_ns as f64 / self.seconds.max(1e-9) / 1e7,
                    self.seconds
                ),
            ),
            (
                "work".into(),
                format!(
                    "{} × {}, {:.0} a second; {} publishes",
                    self.units,
                    self.unit(),
                    self.units as f64 / self.seconds.max(1e-9),
                    self.publishes
                ),
            ),
        ]
    }
}

fn line(delays: &Delays) -> String {
    let ms = |ns: u64| ns as f64 / 1e6;
    format!(
        "p50 {:.3}  p90 {:.3}  p99 {:.3}  p99.9 {:.3}  max {:.3} ms",
        ms(delays.p50),
        ms(delays.p90),
        ms(delays.p99),
        ms(delays.p999),
        ms(delays.max)
    )
}
