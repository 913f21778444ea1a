//! The options of a run.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::server::Description;
use crate::trace::Watch;

/// A kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Connect and stay: memory per connection.
    Park,
    /// Parked connections, nothing happens: processor time.
    Idle,
    /// Messages to all subscribers: the next when all have the last, or at --rate.
    FanOut,
    /// Many channels, messages at --rate to one after another.
    Spread,
    /// --burst messages back to back, then wait until all have them.
    Burst,
    /// Publishes to a channel without subscribers, --depth at once.
    Publish,
    /// Plain polls over kept connections.
    Poll,
    /// Connect, subscribe, get one message, close; again.
    Churn,
    /// One subscriber apart, at --rate (200/s), while the others are served without a pause.
    Lone,
    /// Long polls that all get a message, and all come back.
    Herd,
    /// Events at random on each channel, --rate (10/s) a second on each; -t poll polls --every.
    Random,
}

/// A run.
#[derive(Clone, Debug, Args)]
pub struct Plan {
    /// Kind of load
    #[arg(value_enum)]
    pub mode: Mode,
    /// File that describes the server
    #[arg(long, short, value_name = "FILE")]
    pub server: PathBuf,
    /// Transport: long-poll, stream (the server's first), ndjson, sse, and what the file names
    #[arg(long, short, default_value = "stream")]
    pub transport: String,
    /// Subscribers, or connections that poll
    #[arg(long, short = 'n', default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub subscribers: u32,
    /// Channels they are spread over
    #[arg(long, short, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=900_000))]
    pub channels: u32,
    /// Bytes of a message
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=32_768))]
    pub size: u32,
    /// How long to measure, in seconds
    #[arg(long, default_value_t = 3.0)]
    pub seconds: f64,
    /// How long to run beforehand, in seconds
    #[arg(long, default_value_t = 0.5)]
    pub warm_up: f64,
    /// Publishes a second in all, at set times; 0: each when the last has arrived
    #[arg(long, default_value_t = 0.0)]
    pub rate: f64,
    /// Messages in a burst
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub burst: u32,
    /// Publishes that wait for their answers at once
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub depth: u32,
    /// Processes of subscribers; 0: as many as the file limit asks for
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=200))]
    pub workers: u32,
    /// CPU for the server
    #[arg(long, value_name = "CPU")]
    pub pin_server: Option<usize>,
    /// CPU for the subscribers and the publisher
    #[arg(long, value_name = "CPU")]
    pub pin_driver: Option<usize>,
    /// Longest wait for anything, in seconds
    #[arg(long, default_value_t = 20.0)]
    pub patience: f64,
    /// A herd comes back when its answers advise, not at once
    #[arg(long)]
    pub heed: bool,
    /// A herd comes back by new connections
    #[arg(long)]
    pub renew: bool,
    /// A herd is sent away by a server that drains over so many seconds, and comes back at another
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(0..=60))]
    pub drain: Option<u32>,
    /// Seconds between two polls of a client; without, it asks again at once
    #[arg(long, value_name = "SECONDS")]
    pub every: Option<f64>,
    /// Seed of the times of events at random
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Count the server's system calls with strace, which makes it slow
    #[arg(long, group = "watch")]
    pub syscalls: bool,
    /// Sample what the server does into a file for perf
    #[arg(long, group = "watch", value_name = "FILE")]
    pub samples: Option<PathBuf>,
    /// Print one line of JSON instead of a table
    #[arg(long)]
    pub json: bool,
    /// Write a page with plots
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

impl Plan {
    /// The plan that a command line of swarm describes, without the program's name.
    ///
    /// # Errors
    ///
    /// It is not a command line of swarm.
    pub fn parse<W: Into<OsString> + Clone>(
        words: impl IntoIterator<Item = W>,
    ) -> Result<Plan, String> {
        #[derive(Parser)]
        #[command(no_binary_name = true)]
        struct Line {
            #[command(flatten)]
            plan: Plan,
        }
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        Ok(line.plan)
    }

    /// The reason why a server cannot do this, if it cannot.
    pub fn reason_against(&self, server: &Description) -> Option<String> {
        if self.mode == Mode::Publish && self.depth > 1 && !server.publish.pipelined {
            return Some("it takes one publish at a time".into());
        }
        let reason = server.reason_against(&self.mode.name(), &self.transport);
        reason.map(str::to_owned)
    }
}

impl Mode {
    /// Its name on the command line.
    pub fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().into())
    }

    /// Whether clients leave after a message.
    pub fn is_leaving(self) -> bool {
        self == Mode::Churn
    }

    /// Whether clients wait for messages.
    pub fn is_parking(self) -> bool {
        !matches!(self, Mode::Publish | Mode::Poll)
    }
}

impl Plan {
    /// The way the server is to be watched, if it is.
    pub fn watch(&self) -> Option<Watch<'_>> {
        let samples = self.samples.as_deref().map(Watch::Samples);
        let syscalls = self.syscalls.then_some(Watch::Syscalls);
        samples.or(syscalls)
    }
}
