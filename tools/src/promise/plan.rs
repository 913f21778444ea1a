//! The options of a run.

use std::path::{Path, PathBuf};

use clap::Args;

use super::clock;
use super::protocol::Channels;
use crate::net::now_ns;
use crate::server::Description;
use encke_oracle::run::Rules;

/// Milliseconds that a lingering poll asks for.
pub(super) const LINGER_MS: u64 = 50;

/// How long a drain lasts, in seconds.
pub(super) const DRAIN: u64 = 1;

/// The engine through which the nodes of a cluster publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum EngineKind {
    /// redis-server, and redis-sentinel for the faults that need it.
    Redis,
}

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
    /// Seed of the random choices; it repeats the choices, not their exact times
    #[arg(long)]
    pub seed: Option<u64>,
    /// How often the server is drained or killed and started again
    #[arg(long, default_value_t = 4)]
    pub restarts: u32,
    /// History is saved in a directory: nothing that was answered for may be lost in a restart, and
    /// no restart is told as a gap
    #[arg(long)]
    pub data_dir: bool,
    /// How often the server is killed and started again, in place of `--restarts`
    #[arg(long, requires = "data_dir", default_value_t = 0)]
    pub kills: u32,
    /// How often another process takes over from the server, in seconds; 0: never. Without restarts
    /// no client may notice
    #[arg(long, default_value_t = 0.0, conflicts_with = "soak")]
    pub upgrade_every: f64,
    /// By how much anything may be late, in seconds, stops and restarts aside
    #[arg(long, default_value_t = 10.0)]
    pub slack: f64,
    /// The library of libfaketime: with it the server's wall clock is stepped, by up to a day
    /// either way
    #[arg(long, value_name = "FILE")]
    pub faketime: Option<PathBuf>,
    /// Nodes of a cluster, in place of one server. Each fault has a run of its own, with the
    /// troubles of its kind alone
    #[arg(long, requires = "engine", conflicts_with_all = ["data_dir", "kills", "upgrade_every", "soak"],
        value_parser = clap::value_parser!(u32).range(1..=20))]
    pub nodes: Option<u32>,
    /// The engine of the nodes; it is started here
    #[arg(long, requires = "nodes")]
    pub engine: Option<EngineKind>,
    /// The faults of a cluster, or the beginnings of their names, such as f9; or `all`
    #[arg(
        long = "fault",
        value_name = "NAME",
        requires = "nodes",
        default_value = "f1"
    )]
    pub faults: Vec<String>,
    /// After each run without a finding: falsifies its logs in several ways, each of which must be
    /// found
    #[arg(long, requires = "nodes")]
    pub prove: bool,
    /// How long clients may catch up at the end, in seconds [default: the slack and 3 s]
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
    /// Whether clients have tokens. Those of a soak have none, so that all can be counted, and
    /// those of a server with a wrong calendar would hardly ever be good.
    pub(super) fn has_tokens(&self) -> bool {
        !self.soak && self.faketime.is_none()
    }

    pub(super) fn microseconds(&self) -> u64 {
        let seconds = self.minutes.map_or(self.seconds, |minutes| minutes * 60.0);
        (seconds * 1e6) as u64
    }

    /// The seed that was asked for, or one by the clock.
    pub(super) fn seed(&self) -> u64 {
        let by_clock = || now_ns() / 1_000_000 % 1_000_000;
        self.seed.unwrap_or_else(by_clock)
    }

    /// The channels of a run that began at this time.
    pub(super) fn channels(&self, begun: u64) -> Channels {
        Channels {
            count: self.channels,
            begun,
            every: if self.soak { 5_000_000 } else { 2_000_000 },
        }
    }

    pub(super) fn rules(&self) -> Rules {
        let slack = (self.slack * 1e6) as u64;
        Rules {
            history_messages: 32,
            // A message whose age may be out by the slack must not be one that may be gone.
            history_age: 2 * slack,
            heartbeat: 2_000_000,
            linger: LINGER_MS * 1_000,
            slack,
        }
    }
}

/// The number of a run, which its messages and tokens have.
pub(super) fn run_number(seed: u64) -> u32 {
    (seed % 0xffff) as u32 + 1
}

/// encke with little history, short drains and frequent heartbeats.
pub(super) fn describe(
    rules: Rules,
    faketime: Option<&Path>,
    clock: &Path,
    settings: Option<&Path>,
    data_dir: bool,
) -> Result<Description, String> {
    let mut command: Vec<String> = match faketime {
        None => vec!["encke".into()],
        Some(library) => {
            let mut command = clock::fake(library, clock, "");
            command.push(path_of_encke()?);
            command
        }
    };
    command.extend(options(rules, &[("--log", "warn")]));
    if data_dir {
        command.extend(["--data-dir".into(), "{dir}/data".into()]);
    }
    if let Some(settings) = settings {
        let settings = settings.display().to_string();
        command.extend(["--config".into(), settings]);
        command.extend(["--control".into(), "127.0.0.1:{port2}".into()]);
    }
    let mut description = Description::encke(command)?;
    description.publish.second_port = settings.is_some();
    Ok(description)
}

/// The options of encke for these rules, and others.
pub(super) fn options(rules: Rules, others: &[(&str, &str)]) -> Vec<String> {
    let own = [
        ("--listen", "127.0.0.1:{port}".into()),
        ("--history-messages", rules.history_messages.to_string()),
        ("--history-age", seconds(rules.history_age)),
        ("--heartbeat", seconds(rules.heartbeat)),
        ("--drain", format!("{DRAIN}s")),
    ];
    let others = others.iter();
    let others = others.map(|(option, value)| (*option, (*value).to_owned()));
    let all = own.into_iter().chain(others);
    all.flat_map(|(option, value)| [option.into(), value])
        .collect()
}

/// A time in microseconds, as an option has it.
pub(super) fn seconds(microseconds: u64) -> String {
    format!("{}s", microseconds as f64 / 1e6)
}

/// The path of encke, for programs that start it.
pub(super) fn path_of_encke() -> Result<String, String> {
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    Ok(this.with_file_name("encke").display().to_string())
}
