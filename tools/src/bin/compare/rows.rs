//! What is compared, and the marks that encke is to reach.

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
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
}

/// One load, on each server.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// How swarm is told.
    pub(crate) load: &'static str,
    pub(crate) measure: Measure,
    /// At most this is good.
    pub(crate) mark: f64,
}

const fn row(name: &'static str, load: &'static str, measure: Measure, mark: f64) -> Row {
    Row {
        name,
        load,
        measure,
        mark,
    }
}

/// All rows, in the order of the table.
pub(crate) const ROWS: &[Row] = {
    use Measure::{Cpu, Idle, Lone, Rss, Syscalls};
    &[
        row("fan-out, stream, 1,000", "fan-out -n 1000", Cpu, 1.10),
        row("fan-out, stream, 10,000", "fan-out -n 10000", Cpu, 1.10),
        row("fan-out, stream, 15,000", "fan-out -n 15000", Cpu, 1.10),
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
