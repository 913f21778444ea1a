//! The techniques of receiving beside each other: each under the same events at random, measured by
//! swarm's mode `random`, and what it costs the server and the network.
//!
//! Owns the techniques and what is shown of them. It drives encke alone, with holds and heartbeats
//! as shipped, since they are part of what a technique costs.
//!
//! Invariant: what is measured is a window in a course of events that goes on before and after it.
//! Before it passes a whole interval of polls, or the time in which most holds end; a window is a
//! multiple of the interval.

mod plot;
mod row;
mod technique;

use std::path::PathBuf;
use std::time::Duration;

pub use plot::plot;
pub use row::{Row, table};
pub use technique::Technique;

use crate::conductor::{self, Mode, Plan};
use crate::server::Description;

/// As shipped, but for a history that holds what comes between two polls.
const COMMAND: &str = "encke --listen 127.0.0.1:{port} --log warn \
    --history-messages 10000 --history-bytes 16M";

/// The circumstances of a measurement.
#[derive(Clone, Copy, Debug)]
pub struct Experiment {
    /// Events a second on each channel, at random.
    pub rate: f64,
    /// Clients, spread over the channels.
    pub clients: u32,
    /// Channels.
    pub channels: u32,
    /// Bytes of a message.
    pub size: u32,
    /// Least time that is measured; polls are measured for a multiple of their interval.
    pub window: Duration,
    /// Seed of the times of events.
    pub seed: u64,
    /// Longest wait for anything.
    pub patience: Duration,
    /// CPU for the server.
    pub pin_server: Option<usize>,
}

impl Experiment {
    /// Measures one technique.
    ///
    /// # Errors
    ///
    /// A message is lost, comes twice or to the wrong client, or the server does not do its part.
    pub fn run(&self, technique: Technique) -> Result<Row, String> {
        let plan = self.plan(technique)?;
        let report = conductor::run_on(&plan, description()?)
            .map_err(|error| format!("{technique}, {} a second: {error}", self.rate))?;
        let counts = report.counts;
        Ok(Row {
            technique,
            rate: self.rate,
            clients: self.clients,
            channels: self.channels,
            size: self.size,
            seconds: report.seconds,
            publishes: report.publishes,
            received: counts.received,
            requests: counts.requests,
            up: counts.sent,
            down: counts.bytes,
            cpu_ns: report.cpu_ns,
            publishing_ns: 0.0,
            delays: report.delays,
        })
    }

    fn plan(&self, technique: Technique) -> Result<Plan, String> {
        let plan = Plan::parse(["random", "--server", "encke", "--json"])?;
        let interval = technique.interval();
        let (warm_up, window) = match interval {
            Duration::ZERO => (technique.warm_up(self.rate), self.window),
            _ => {
                let times = self.window.as_nanos().div_ceil(interval.as_nanos());
                (interval, interval * times as u32)
            }
        };
        Ok(Plan {
            mode: Mode::Random,
            server: PathBuf::new(),
            transport: technique.transport().into(),
            subscribers: match technique {
                Technique::Nobody => 0,
                _ => self.clients,
            },
            channels: self.channels,
            size: self.size,
            seconds: window.as_secs_f64(),
            warm_up: warm_up.as_secs_f64(),
            rate: self.rate,
            every: (!interval.is_zero()).then_some(interval.as_secs_f64()),
            seed: self.seed,
            patience: self.patience.as_secs_f64(),
            pin_server: self.pin_server,
            ..plan
        })
    }
}

fn description() -> Result<Description, String> {
    Description::encke(COMMAND.split_whitespace().map(String::from).collect())
}
