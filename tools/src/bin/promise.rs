//! The checker of the promise: see `tools/README.md`.

use std::process::ExitCode;

use clap::Parser;
use encke_tools::part::Part;
use encke_tools::promise::{self, Plan};

/// Many clients that come, go, stall and come back, on an encke that is stopped, drained and
/// killed; and whether each got what it was promised. Only on loopback.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Options {
    #[command(flatten)]
    plan: Plan,
    #[command(subcommand)]
    part: Option<Part>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let result = match options.part {
        Some(part) => part.play().map(|()| true),
        None => promise::run(&options.plan),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("promise: {error}");
            ExitCode::FAILURE
        }
    }
}
