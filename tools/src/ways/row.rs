//! The figures of one technique at one rate, and their table.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::technique::Technique;
use crate::measure::Delays;
use crate::page::scale::short;

/// A technique at a rate of events, in the window that was measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// The technique.
    pub technique: Technique,
    /// Events a second on each channel.
    pub rate: f64,
    /// Clients.
    pub clients: u32,
    /// Channels.
    pub channels: u32,
    /// Bytes of a message.
    pub size: u32,
    /// The length of the window, in seconds.
    pub seconds: f64,
    /// Events.
    pub publishes: u64,
    /// Events times clients that got them.
    pub received: u64,
    /// Requests of the clients.
    pub requests: u64,
    /// Bytes from the clients.
    pub up: u64,
    /// Bytes to the clients.
    pub down: u64,
    /// The server's processor time in nanoseconds, publishing included.
    pub cpu_ns: u64,
    /// The part of it that publishing takes without receivers.
    pub publishing_ns: f64,
    /// From an event to its receipt, in nanoseconds.
    pub delays: Delays,
}

impl Row {
    /// Something for each event that a client received.
    fn each(&self, amount: f64) -> f64 {
        amount / self.received.max(1) as f64
    }

    /// Something for each client and hour.
    fn hourly(&self, amount: f64) -> f64 {
        amount * 3_600.0 / self.seconds / f64::from(self.clients)
    }

    /// Processor time that the clients cost.
    fn receiving_ns(&self) -> f64 {
        (self.cpu_ns as f64 - self.publishing_ns).max(0.0)
    }

    /// The server's processor time in milliseconds for a client and hour, publishing apart.
    pub fn cpu_ms_hourly(&self) -> f64 {
        self.hourly(self.receiving_ns()) / 1e6
    }

    /// Bytes both ways for a client and hour.
    pub fn bytes_hourly(&self) -> f64 {
        self.hourly((self.up + self.down) as f64)
    }

    /// Half of the delays are at most this, in milliseconds.
    pub fn p50_ms(&self) -> f64 {
        self.delays.p50 as f64 / 1e6
    }

    fn line(&self) -> [String; 9] {
        [
            self.technique.to_string(),
            short(self.p50_ms()),
            short(self.delays.p99 as f64 / 1e6),
            short(self.each(self.requests as f64)),
            short(self.each(self.up as f64)),
            short(self.each(self.down as f64)),
            short(self.each(self.receiving_ns()) / 1e3),
            short(self.cpu_ms_hourly()),
            short(self.bytes_hourly() / 1e3),
        ]
    }
}

const HEADINGS: [&str; 9] = [
    "technique",
    "delay p50, ms",
    "p99, ms",
    "requests",
    "up, B",
    "down, B",
    "CPU, µs",
    "CPU, ms/h",
    "both ways, kB/h",
];

/// A table in Markdown for each rate.
pub fn table(rows: &[Row]) -> String {
    let mut out = String::new();
    for part in rows.chunk_by(|a, b| a.rate == b.rate) {
        let first = &part[0];
        let rate = match first.rate {
            rate if rate < 1.0 => format!("One event in {} s", short(1.0 / rate)),
            1.0 => "One event a second".into(),
            rate => format!("{rate} events a second"),
        };
        let _ = writeln!(
            out,
            "{rate} on each of {} channels, {} clients, {} bytes:\n",
            first.channels, first.clients, first.size
        );
        let lines: Vec<_> = part
            .iter()
            .filter(|row| row.technique != Technique::Nobody)
            .map(Row::line)
            .collect();
        let headings = HEADINGS.map(String::from);
        let widths: [usize; 9] = std::array::from_fn(|column| {
            let cells = lines.iter().chain([&headings]);
            let widths = cells.map(|line| line[column].chars().count());
            widths.max().unwrap_or(0).max(3)
        });
        let rule = widths.map(|width| "-".repeat(width - 1) + ":");
        for line in [&headings, &rule].into_iter().chain(&lines) {
            for (cell, width) in line.iter().zip(widths) {
                let _ = write!(out, "| {cell:>width$} ");
            }
            out += "|\n";
        }
        out += "\n";
    }
    out
}

/// A row of round numbers.
#[cfg(test)]
pub(super) fn sample(technique: Technique) -> Row {
    Row {
        technique,
        rate: 0.1,
        clients: 10,
        channels: 1,
        size: 100,
        seconds: 36.0,
        publishes: 4,
        received: 40,
        requests: 20,
        up: 2_000,
        down: 10_000,
        cpu_ns: 500_000,
        publishing_ns: 100_000.0,
        delays: Delays {
            p50: 2_500_000,
            p99: 1_234_000_000,
            ..Delays::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_for_an_event_and_for_a_client_and_hour() {
        let rows = [sample(Technique::Nobody), sample(Technique::LongPoll)];
        let table = table(&rows);
        let lines: Vec<Vec<&str>> = table
            .lines()
            .map(|line| line.split('|').map(str::trim).collect())
            .collect();
        assert_eq!(
            lines[0],
            ["One event in 10 s on each of 1 channels, 10 clients, 100 bytes:"]
        );
        let expected = "long-poll|2.5|1,234|0.5|50|250|10|4|120".split('|');
        let expected: Vec<&str> = expected.collect();
        assert_eq!(lines[4][1..10], expected);
        // Nobody is no technique: there is no other line.
        assert_eq!(lines.len(), 6);
    }
}
