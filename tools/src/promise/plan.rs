//! What is to be run.

use std::path::PathBuf;

use clap::Args;

use super::log::Rules;

/// Clients of encke, and what it promises them on a bad day. Exit code 1 if it did not keep a
/// promise.
#[derive(Clone, Debug, Args)]
pub struct Plan {
    /// How long to trouble it, in seconds
    #[arg(long, default_value_t = 60.0)]
    pub seconds: f64,
    /// The same in minutes
    #[arg(long, conflicts_with = "seconds")]
    pub minutes: Option<f64>,
    /// Clients at once
    #[arg(long, short = 'n', default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=15_000))]
    pub clients: u32,
    /// Processes that they are in
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub processes: u32,
    /// Channels in use at once
    #[arg(long, short, default_value_t = 200, value_parser = clap::value_parser!(u32).range(64..=100_000))]
    pub channels: u32,
    /// Messages published a second
    #[arg(long, default_value_t = 60.0)]
    pub rate: f64,
    /// What is done at random is done alike with the same seed; when exactly, nobody can say
    #[arg(long)]
    pub seed: Option<u64>,
    /// How often the server is drained or killed and started again
    #[arg(long, default_value_t = 4)]
    pub restarts: u32,
    /// By how much anything may be late, in seconds, stops and restarts aside
    #[arg(long, default_value_t = 10.0)]
    pub slack: f64,
    /// How long everybody has in the end to get what is theirs, in seconds; by default somewhat
    /// longer than what may be late
    #[arg(long)]
    pub settle: Option<f64>,
    /// No restarts, resets or cuts: everything sent is received, so that encke's own counters can
    /// be held against the clients', and its memory watched
    #[arg(long)]
    pub soak: bool,
    /// Where the samples of a soak are written, as lines of JSON
    #[arg(long, value_name = "FILE", requires = "soak")]
    pub samples: Option<PathBuf>,
}

impl Plan {
    pub(super) fn microseconds(&self) -> u64 {
        let seconds = self.minutes.map_or(self.seconds, |minutes| minutes * 60.0);
        (seconds * 1e6) as u64
    }

    pub(super) fn rules(&self) -> Rules {
        Rules {
            history_messages: 32,
            history_age: 20_000_000,
            heartbeat: 2_000_000,
            slack: (self.slack * 1e6) as u64,
        }
    }
}
