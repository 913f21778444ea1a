//! Watching a long run: memory and descriptors over time, and encke's counters beside the
//! clients' own.
//!
//! Owns the samples and their judgement. Needs a run in which everything sent is received.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::SocketAddrV4;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::publisher::Memory as Publisher;
use super::summary::Totals;
use crate::command::text;
use crate::measure::Memory;
use crate::net::now_us;
use encke_oracle::run::{Logs, Outcome};
use encke_test_rig::http::{self, request};

use crate::metrics::Metrics;

const EVERY_US: u64 = 5_000_000;

/// The part of the run that is warm-up.
const WARM_UP: f64 = 0.25;

/// Means of this many stretches are regressed, as samples next to each other say the same; with
/// fewer samples nothing is.
const STRETCHES: usize = 30;

/// Growth below this in an hour is not told from none.
const FLAT_BYTES_PER_HOUR: f64 = (1_u64 << 20) as f64;

/// How long the server may take to notice that all have left.
const PATIENCE: Duration = Duration::from_secs(5);

/// The server at one moment.
#[derive(Clone, Copy, Debug, Serialize)]
struct Sample {
    seconds: f64,
    rss: u64,
    pss: u64,
    descriptors: usize,
    /// As encke counts them.
    connections: u64,
    history_bytes: u64,
    channels: u64,
}

/// A server under watch.
pub(super) struct Watch {
    pid: u32,
    address: SocketAddrV4,
    begun: u64,
    next: u64,
    samples: Vec<Sample>,
    file: Option<File>,
    /// Connections made to ask for metrics.
    asked: u64,
}

/// A straight line through points, and how sure its slope is.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Line {
    slope: f64,
    error: f64,
}

impl Watch {
    pub(super) fn new(
        pid: u32,
        address: SocketAddrV4,
        file: Option<&Path>,
    ) -> Result<Watch, String> {
        let mut watch = Watch {
            pid,
            address,
            begun: now_us(),
            next: 0,
            samples: Vec::new(),
            file: file.map(File::create).transpose().map_err(text)?,
            asked: 0,
        };
        // Before anybody came.
        watch.sample_if_due(watch.begun)?;
        Ok(watch)
    }

    pub(super) fn sample_if_due(&mut self, now: u64) -> Result<(), String> {
        if now < self.next {
            return Ok(());
        }
        self.next = now + EVERY_US;
        let metrics = self.metrics().map_err(text)?;
        let of = |name: &str| metrics.get(name).unwrap_or(0.0) as u64;
        let memory = Memory::read(&[self.pid]);
        let sample = Sample {
            seconds: (now - self.begun) as f64 / 1e6,
            rss: memory.rss,
            pss: memory.pss,
            descriptors: self.descriptors().map_err(text)?,
            connections: of("connections"),
            history_bytes: of("history_bytes"),
            channels: of("channels"),
        };
        if let Some(file) = &mut self.file {
            let line = serde_json::to_string(&sample).map_err(text)?;
            writeln!(file, "{line}").map_err(text)?;
        }
        self.samples.push(sample);
        Ok(())
    }

    fn descriptors(&self) -> io::Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.pid))?.count())
    }

    fn metrics(&mut self) -> io::Result<Metrics> {
        self.asked += 1;
        let request = request("GET", "/metrics", "Connection: close\r\n", "");
        let (_, text) = http::ask(self.address, &request, encke_test_rig::PATIENCE)?;
        Ok(Metrics::parse(&text))
    }

    /// Judges the run once all clients have left; whether nothing grew and all counts agree.
    pub(super) fn finish(mut self, logs: &Logs, publishers: &[Publisher]) -> Result<bool, String> {
        let deadline = Instant::now() + PATIENCE;
        let metrics = loop {
            let metrics = self.metrics().map_err(text)?;
            let others = metrics.get("connections").unwrap_or(0.0) - 1.0;
            if others <= 0.0 || Instant::now() > deadline {
                break metrics;
            }
            thread::sleep(Duration::from_millis(50));
        };
        let is_flat = self.judge_memory();
        let is_closed = self.judge_descriptors(&metrics)?;
        let agrees = self.compare(&metrics, logs, publishers);
        Ok(is_flat && is_closed && agrees)
    }

    fn judge_memory(&self) -> bool {
        let end = self.samples.last().map_or(0.0, |sample| sample.seconds);
        let warm: Vec<&Sample> = {
            let samples = self.samples.iter();
            samples.filter(|s| s.seconds >= end * WARM_UP).collect()
        };
        let mut is_flat = true;
        for (name, of) in [
            ("RSS", (|sample| sample.rss) as fn(&Sample) -> u64),
            ("PSS", |sample| sample.pss),
        ] {
            let points: Vec<(f64, f64)> = {
                let samples = warm.iter();
                samples
                    .map(|s| (s.seconds / 3_600.0, of(s) as f64))
                    .collect()
            };
            let (least, most) = (
                warm.iter().map(|sample| of(sample)).min().unwrap_or(0),
                warm.iter().map(|sample| of(sample)).max().unwrap_or(0),
            );
            let line = fit(&means(&points, STRETCHES)).filter(|_| points.len() >= STRETCHES);
            let Some(line) = line else {
                println!("{name}: {least} to {most} bytes; too short a run for a slope");
                continue;
            };
            let grows = line.slope > 3.0 * line.error && line.slope > FLAT_BYTES_PER_HOUR;
            is_flat &= !grows;
            println!(
                "{name}: {:+.0} ± {:.0} bytes an hour (slope, standard error; {} samples from {:.0} s to {end:.0} s, {least} to {most} bytes): {}",
                line.slope,
                line.error,
                warm.len(),
                end * WARM_UP,
                if grows { "GROWS" } else { "flat" },
            );
        }
        is_flat
    }

    fn judge_descriptors(&self, metrics: &Metrics) -> Result<bool, String> {
        let first = self.samples.first().map_or(0, |sample| sample.descriptors);
        let most = self.samples.iter().map(|s| s.descriptors).max();
        let deadline = Instant::now() + PATIENCE;
        let mut last = self.descriptors().map_err(text)?;
        while last > first && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
            last = self.descriptors().map_err(text)?;
        }
        let left = metrics.get("connections").unwrap_or(0.0) - 1.0;
        let is_closed = last <= first && left <= 0.0;
        println!(
            "descriptors: {first} before anybody came, at most {}, {last} after all had left, {left} connections: {}",
            most.unwrap_or(0),
            if is_closed { "none left" } else { "LEFT OPEN" },
        );
        Ok(is_closed)
    }

    /// Compares encke's counters with what was counted outside.
    fn compare(&self, metrics: &Metrics, logs: &Logs, publishers: &[Publisher]) -> bool {
        let mut agrees = true;
        println!("{:52} {:>12} {:>12}", "counter", "encke", "outside");
        for (name, (least, most)) in self.expected(logs, publishers) {
            let same = metrics.samples().filter(|(key, _)| key.starts_with(&name));
            let count = same.map(|(_, value)| value).sum::<f64>() as u64;
            let is_right = (least..=most).contains(&count);
            agrees &= is_right;
            let outside = match most > least {
                true => format!("{least}..{most}"),
                false => least.to_string(),
            };
            let verdict = if is_right { "" } else { "DISAGREES" };
            println!("{name:52} {count:>12} {outside:>12} {verdict}");
        }
        agrees
    }

    /// What was counted outside, by the begin of a counter's name: a range, which is one number
    /// where nothing is in doubt.
    fn expected(&self, logs: &Logs, publishers: &[Publisher]) -> Vec<(String, (u64, u64))> {
        let totals = Totals::of(logs);
        let (published, unknown) = published(logs);
        // The server was asked once whether it accepts connections.
        let connected = 1
            + self.asked
            + totals.connections
            + publishers.iter().map(|p| p.connections).sum::<u64>();
        let expired = totals.holds_expired;
        let counters = [
            ("messages_published", published, unknown),
            ("messages_delivered", totals.received.iter().sum(), 0),
            ("gaps", totals.gaps, 0),
            ("holds_expired", expired, totals.nudged),
            ("connections_accepted", connected, 0),
            // That which asked for these is still there.
            ("connections_ended", connected - 1, 0),
        ];
        let [
            poll,
            long_poll,
            early,
            linger,
            sse,
            envelope,
            ndjson,
            frame,
            ws,
        ] = totals.asked;
        let requests = [
            ("poll", poll),
            ("long-poll", long_poll + early + linger),
            ("sse", sse + envelope),
            ("ndjson", ndjson),
            ("frame", frame),
            ("ws", ws),
            ("healthz", totals.nudged),
        ];
        let counters = counters.map(|(name, count, doubt)| {
            let name = format!("{name}_total");
            (name, (count, count + doubt))
        });
        let requests = requests.map(|(endpoint, count)| {
            let name = format!("requests_total{{endpoint=\"{endpoint}\"");
            (name, (count, count))
        });
        counters.into_iter().chain(requests).collect()
    }
}

/// How many messages were published, and of how many that is unknown.
fn published(logs: &Logs) -> (u64, u64) {
    let mut ids = HashSet::new();
    let mut unknown = 0;
    for publish in &logs.publishes {
        match publish.outcome {
            Outcome::Accepted(id) => drop(ids.insert(id)),
            Outcome::Unknown => unknown += 1,
            Outcome::Refused => {}
        }
        ids.extend(publish.again);
    }
    (ids.len() as u64, unknown)
}

/// The means of so many stretches of points.
fn means(points: &[(f64, f64)], stretches: usize) -> Vec<(f64, f64)> {
    let size = points.len().div_ceil(stretches).max(1);
    let mean = |stretch: &[(f64, f64)]| {
        let count = stretch.len() as f64;
        let (x, y) = stretch
            .iter()
            .fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
        (x / count, y / count)
    };
    points.chunks(size).map(mean).collect()
}

/// The line of least squares; none through fewer than three points.
fn fit(points: &[(f64, f64)]) -> Option<Line> {
    let count = points.len() as f64;
    let (x, y) = means(points, 1).first().copied()?;
    let xx: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    let xy: f64 = points
        .iter()
        .map(|point| (point.0 - x) * (point.1 - y))
        .sum();
    if points.len() < 3 || xx == 0.0 {
        return None;
    }
    let slope = xy / xx;
    let rest: f64 = points
        .iter()
        .map(|point| (point.1 - y - slope * (point.0 - x)).powi(2))
        .sum();
    Some(Line {
        slope,
        error: (rest / (count - 2.0) / xx).sqrt(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_slope_and_what_is_beside_it_its_error() {
        let straight: Vec<(f64, f64)> = (0..10)
            .map(|x| (f64::from(x), 3.0 * f64::from(x)))
            .collect();
        let line = fit(&straight).unwrap();
        assert!(
            (line.slope - 3.0).abs() < 1e-9 && line.error < 1e-9,
            "{line:?}"
        );

        // By hand: residuals of -1/3, 2/3, -1/3 about a mean of 1/3.
        let line = fit(&[(0.0, 0.0), (1.0, 1.0), (2.0, 0.0)]).unwrap();
        assert!(line.slope.abs() < 1e-9);
        assert!(
            (line.error - (1.0_f64 / 3.0).sqrt()).abs() < 1e-9,
            "{line:?}"
        );

        assert_eq!(fit(&straight[..2]), None);
    }
}
