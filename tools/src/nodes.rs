//! What several nodes over Redis cost: nodes of a cluster beside a node that is alone, measured in
//! turn in one run, and Redis itself beside what Centrifugo's script takes there.
//!
//! Owns the parts of the run and its [`Plan`]. Each part starts its own servers, and gives
//! [`Figure`]s.

mod delivering;
mod figure;
mod memory;
mod node;
mod publishing;
mod redis;
mod restarting;
mod returning;
mod rival;
mod warming;

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use crate::comparison::Line;
use crate::load;
use crate::machine::{Machine, command_line};
use crate::net;
pub use figure::{Bound, Compared, Figure, heading};

/// Nodes over Redis beside a node that is alone.
#[derive(Clone, Debug, Args)]
pub struct Plan {
    /// Rounds of each load; the servers take turns
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub repeats: u32,
    /// Length of each, in seconds
    #[arg(long, default_value_t = 2.0)]
    pub seconds: f64,
    /// Only parts with one of these in their names
    #[arg(long, value_name = "PART")]
    pub only: Vec<String>,
    /// The log with which a node starts, in MB
    #[arg(long, default_value_t = 256)]
    pub log_mb: u64,
    /// Channels with one message
    #[arg(long, default_value_t = 1_000_000)]
    pub channels: u32,
    /// Clients that come back
    #[arg(long, default_value_t = 15_000)]
    pub clients: u32,
    /// Seconds for which Redis is away
    #[arg(long, default_value_t = 1.0)]
    pub away: f64,
    /// The script with which Centrifugo publishes, `broker_history_add_stream.lua` of its source:
    /// what that costs is measured too
    #[arg(long, value_name = "FILE")]
    pub script: Option<PathBuf>,
    /// Keep all figures here, as lines of JSON that `compare --from` shows
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
}

/// A part of the run: its name, and what measures it.
type Part = (&'static str, fn(&Plan) -> Result<Vec<Figure>, String>);

const PARTS: [Part; 7] = [
    ("publish", publishing::at_once),
    ("paced", publishing::paced),
    ("deliver", delivering::measure),
    ("restart", restarting::measure),
    ("return", returning::measure),
    ("warm", warming::measure),
    ("memory", memory::measure),
];

/// Runs everything and prints it; whether all marks are reached.
///
/// # Errors
///
/// A server cannot be started, or does not do its work.
pub fn run(plan: &Plan) -> Result<bool, String> {
    net::raise_file_limit();
    let machine = Machine::read();
    println!("{}, load {}", machine.line(), machine.load);
    println!("{}", heading());
    let mut lines = Vec::new();
    lines.push(Line::Begun {
        command: command_line(),
        servers: Vec::new(),
    });
    let mut is_good = true;
    for (name, measure) in PARTS {
        let is_wanted = plan.only.is_empty() || plan.only.iter().any(|part| name.contains(&**part));
        if !is_wanted {
            continue;
        }
        for figure in measure(plan).map_err(|error| format!("{name}: {error}"))? {
            println!("{}", figure.line());
            is_good &= figure.is_reached() != Some(false);
            lines.push(Line::Figure(Box::new(figure)));
        }
    }
    println!("load at the end: {}", Machine::read().load);
    if let Some(path) = &plan.save {
        let mut text = Vec::new();
        for line in &lines {
            serde_json::to_writer(&mut text, line).map_err(text_of)?;
            text.write_all(b"\n").map_err(text_of)?;
        }
        fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(is_good)
}

fn text_of(error: impl ToString) -> String {
    error.to_string()
}
