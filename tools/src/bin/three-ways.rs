//! Polling, long polling and streaming under the same events: see `tools/three-ways.md`.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use encke_tools::machine::Machine;
use encke_tools::ways::{self, Experiment, Row, Technique};
use encke_tools::{command, net, workspace};

/// The text above the tables.
const NOTE: &str = "\
Requests, bytes and CPU (µs) are for an event that a client received, the last two columns for a
client and hour. CPU is the server's, less what publishing takes when nobody receives.
";

const ABOUT: &str = "Each technique of receiving under events at random: delays, bytes, requests and \
    the server's processor time. Only on loopback; about a quarter of an hour.";

#[derive(Args)]
struct Measurement {
    /// Fewer and shorter: about two minutes
    #[arg(long)]
    quick: bool,
    /// poll-SECONDS, long-poll, early, sse, frame [default: poll-0.2 poll-1 poll-5 poll-30 (not if
    /// quick) and all others]
    #[arg(long, value_name = "NAME", num_args = 1..)]
    techniques: Vec<Technique>,
    /// Events a second on each channel [default: 0.1 1 10 50, quick: 1 10]
    #[arg(long, value_name = "RATE", num_args = 1..)]
    rates: Vec<f64>,
    /// Clients
    #[arg(long, short = 'n', default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    clients: u32,
    /// Channels that they are spread over
    #[arg(long, short, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    channels: u32,
    /// Bytes of a message
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=4_096))]
    size: u32,
    /// Seconds to measure each at least, but never for less than three events a channel (up to
    /// 30 s) [default: 8, quick: 3]
    #[arg(long)]
    seconds: Option<f64>,
    /// Seed of the times of events
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// CPU for the server [default: 0, where there are two]
    #[arg(long, value_name = "CPU")]
    pin_server: Option<usize>,
    /// CPU for the clients [default: 1, where there are two]
    #[arg(long, value_name = "CPU")]
    pin_driver: Option<usize>,
    /// Directory for table.md, rows.jsonl and plot.svg
    #[arg(long, value_name = "DIR", default_value = "target/three-ways")]
    out: PathBuf,
    /// Do not build first
    #[arg(long)]
    no_build: bool,
    /// Measure nothing: tables and plot of an earlier run's rows.jsonl
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
}

fn main() -> ExitCode {
    command::run("three-ways", ABOUT, |measurement: &Measurement| {
        measurement.carry_out().map(|()| true)
    })
}

impl Measurement {
    fn carry_out(&self) -> Result<(), String> {
        // Before this process is kept to one CPU.
        let machine = Machine::read().line();
        let (heading, rows) = match &self.from {
            Some(file) => (format!("From {}", file.display()), read(file)?),
            None => (machine, self.measure()?),
        };
        self.write(&heading, &rows)
            .map_err(|error| format!("{}: {error}", self.out.display()))
    }

    fn measure(&self) -> Result<Vec<Row>, String> {
        if !self.no_build {
            workspace::build()?;
        }
        let has_two = std::thread::available_parallelism().is_ok_and(|count| count.get() > 1);
        let pin = |wish: Option<usize>, default| wish.or(has_two.then_some(default));
        if let Some(cpu) = pin(self.pin_driver, 1) {
            net::pin(cpu).map_err(|error| format!("CPU {cpu}: {error}"))?;
        }
        let mut rows = Vec::new();
        let techniques = self.techniques();
        let rates = self.rates();
        for (place, &rate) in rates.iter().enumerate() {
            if !(0.01..=1_000.0).contains(&rate) {
                return Err(format!("a rate of {rate} is not in 0.01 to 1000"));
            }
            let experiment = self.experiment(rate, pin(self.pin_server, 0));
            let mut publishing_each = 0.0;
            for technique in &techniques {
                eprint!("\r{}/{} {rate}/s, {technique:10}", place + 1, rates.len());
                let mut row = experiment.run(*technique)?;
                if *technique == Technique::Nobody {
                    publishing_each = row.cpu_ns as f64 / row.publishes.max(1) as f64;
                }
                row.publishing_ns = publishing_each * row.publishes as f64;
                rows.push(row);
            }
        }
        eprint!("\r{:40}\r", "");
        Ok(rows)
    }

    fn techniques(&self) -> Vec<Technique> {
        let mut wanted = self.techniques.clone();
        if wanted.is_empty() {
            wanted = Technique::all();
            if self.quick {
                wanted.retain(|technique| *technique != Technique::Poll(Duration::from_secs(30)));
            }
        }
        wanted.insert(0, Technique::Nobody);
        wanted
    }

    fn rates(&self) -> Vec<f64> {
        match (self.rates.is_empty(), self.quick) {
            (false, _) => self.rates.clone(),
            (true, true) => vec![1.0, 10.0],
            (true, false) => vec![0.1, 1.0, 10.0, 50.0],
        }
    }

    fn experiment(&self, rate: f64, pin_server: Option<usize>) -> Experiment {
        let least = self.seconds.unwrap_or(if self.quick { 3.0 } else { 8.0 });
        let seconds = least.max((3.0 / rate).min(30.0)).clamp(0.05, 600.0);
        Experiment {
            rate,
            clients: self.clients,
            channels: self.channels.min(self.clients),
            size: self.size,
            window: Duration::from_secs_f64(seconds),
            seed: self.seed,
            patience: Duration::from_secs(20),
            pin_server,
        }
    }

    fn write(&self, heading: &str, rows: &[Row]) -> io::Result<()> {
        let mut lines = String::new();
        for row in rows {
            lines += &serde_json::to_string(row)?;
            lines.push('\n');
        }
        let table = format!("{heading}\n\n{NOTE}\n{}", ways::table(rows));
        fs::create_dir_all(&self.out)?;
        fs::write(self.out.join("rows.jsonl"), lines)?;
        fs::write(self.out.join("table.md"), &table)?;
        fs::write(self.out.join("plot.svg"), ways::plot(rows))?;
        let mut out = io::stdout().lock();
        write!(out, "{table}")?;
        writeln!(out, "Plot and lines of JSON are in {}.", self.out.display())
    }
}

/// The rows of an earlier run.
fn read(file: &Path) -> Result<Vec<Row>, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let rows = text.lines().map(serde_json::from_str);
    rows.collect::<Result<_, _>>()
        .map_err(|error| format!("{}: {error}", file.display()))
}
