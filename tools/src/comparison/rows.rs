//! The rows of a comparison, and the marks that encke is to reach.

use crate::report::Report;

/// The figure that a row compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Processor time per unit, as a multiple of the yardstick's.
    Cpu,
    /// Resident bytes per parked connection.
    Rss,
    /// Processor time while nothing happens, in percent of a core. A tenth is one tick of the
    /// kernel's clock in ten seconds: not to be told from nothing.
    Idle,
    /// System calls per unit.
    Syscalls,
    /// The longest but one in a hundred delays of one apart, as a multiple of those it has alone.
    Lone,
    /// The longest but one in a hundred delays.
    Delay,
}

/// One load, on each server.
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// The options of swarm.
    pub load: &'static str,
    /// The figure it compares.
    pub measure: Measure,
    /// At most this is good for encke; without one, the row is there to show what is.
    pub mark: Option<f64>,
}

impl Row {
    /// The row of this name.
    pub fn called(name: &str) -> Option<&'static Row> {
        ROWS.iter().find(|row| row.name == name)
    }
}

impl Measure {
    /// The figure of a run.
    pub fn value(self, report: &Report) -> f64 {
        match self {
            Measure::Cpu => report.cpu_each(),
            Measure::Rss => report.parked.map_or(f64::NAN, |parked| parked.rss_each),
            Measure::Idle => report.cpu_ns as f64 / 1e7 / report.seconds,
            Measure::Syscalls => report.syscalls_each(),
            Measure::Lone => report.delays.p99 as f64 / report.undisturbed.p99.max(1) as f64,
            Measure::Delay => report.delays.p99 as f64 / 1e6,
        }
    }

    /// A value with its unit.
    pub fn show(self, value: f64) -> String {
        let digits = match self {
            Measure::Cpu | Measure::Rss => 0,
            Measure::Idle | Measure::Syscalls => 3,
            Measure::Lone => 1,
            Measure::Delay => 2,
        };
        format!("{value:.digits$} {}", self.unit())
    }

    fn unit(self) -> &'static str {
        match self {
            Measure::Cpu => "ns",
            Measure::Rss => "B",
            Measure::Idle => "%",
            Measure::Syscalls => "",
            Measure::Lone => "×",
            Measure::Delay => "ms",
        }
    }

    /// The unit of a mark.
    pub fn mark_unit(self) -> &'static str {
        match self {
            Measure::Cpu => "×",
            _ => self.unit(),
        }
    }
}

const fn row(name: &'static str, load: &'static str, measure: Measure, mark: f64) -> Row {
    let mark = Some(mark);
    Row {
        name,
        load,
        measure,
        mark,
    }
}

/// A row without a mark.
const fn shown(name: &'static str, load: &'static str, measure: Measure) -> Row {
    let mark = None;
    Row {
        name,
        load,
        measure,
        mark,
    }
}

/// All rows, in the order of the table.
pub const ROWS: &[Row] = {
    use Measure::{Cpu, Delay, Idle, Lone, Rss, Syscalls};
    &[
        shown("fan-out, stream, 100", "fan-out -n 100", Cpu),
        row("fan-out, stream, 1,000", "fan-out -n 1000", Cpu, 1.10),
        row("fan-out, stream, 10,000", "fan-out -n 10000", Cpu, 1.10),
        row("fan-out, stream, 15,000", "fan-out -n 15000", Cpu, 1.10),
        shown(
            "fan-out, stream, 1,000, 10/s",
            "fan-out -n 1000 --rate 10",
            Delay,
        ),
        row(
            "fan-out, long poll, 1,000",
            "fan-out -t long-poll -n 1000",
            Cpu,
            1.20,
        ),
        row(
            "fan-out, long poll, 10,000",
            "fan-out -t long-poll -n 10000",
            Cpu,
            1.20,
        ),
        row(
            "fan-out, WebSocket, 1,000",
            "fan-out -t ws -n 1000",
            Cpu,
            1.10,
        ),
        row(
            "fan-out, WebSocket, 10,000",
            "fan-out -t ws -n 10000",
            Cpu,
            1.10,
        ),
        row(
            "burst of 8 to 10,000 streams",
            "burst --burst 8 -n 10000",
            Cpu,
            0.40,
        ),
        row("poll, keep-alive, 50", "poll -n 50", Cpu, 1.15),
        row("publish, one by one", "publish", Cpu, 1.20),
        row("publish, 16 deep", "publish --depth 16", Cpu, 1.20),
        row("churn, stream", "churn -n 500", Cpu, 1.15),
        row("churn, long poll", "churn -t long-poll -n 500", Cpu, 1.15),
        row(
            "spread, 10,000 on 1,000, 5,000/s",
            "spread -n 10000 -c 1000 --rate 5000",
            Cpu,
            1.25,
        ),
        row(
            "one apart beside 10,000, p99",
            "lone -n 10000 --seconds 4",
            Lone,
            5.0,
        ),
        row("parked stream, one channel", "park -n 15000", Rss, 160.0),
        row(
            "parked long poll, one channel",
            "park -t long-poll -n 15000",
            Rss,
            160.0,
        ),
        row(
            "parked WebSocket, one channel",
            "park -t ws -n 15000",
            Rss,
            160.0,
        ),
        row(
            "parked stream, own channels",
            "park -n 15000 -c 15000",
            Rss,
            256.0,
        ),
        row(
            "parked long poll, own channels",
            "park -t long-poll -n 15000 -c 15000",
            Rss,
            256.0,
        ),
        row(
            "idle, 15,000 streams",
            "idle -n 15000 --seconds 10",
            Idle,
            0.1,
        ),
        row(
            "idle, 15,000 long polls",
            "idle -t long-poll -n 15000 --seconds 10",
            Idle,
            0.1,
        ),
        row(
            "syscalls, stream delivery",
            "fan-out -n 1000 --syscalls --seconds 4",
            Syscalls,
            1.02,
        ),
        row(
            "syscalls, long poll cycle",
            "fan-out -t long-poll -n 1000 --syscalls --seconds 6",
            Syscalls,
            3.0,
        ),
    ]
};
