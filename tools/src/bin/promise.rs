//! The checker of the promise: see `tools/README.md`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use encke_tools::promise::{self, Plan};
use encke_tools::server;

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

/// What promise starts itself as.
#[derive(Subcommand)]
enum Part {
    /// Clients, led through standard input.
    #[command(hide = true)]
    Clients,
    /// Becomes the server.
    #[command(hide = true)]
    Launch(server::Launch),
}

fn main() -> ExitCode {
    let options = Options::parse();
    let result = match options.part {
        Some(Part::Clients) => promise::serve().map(|()| true),
        Some(Part::Launch(launch)) => Err(launch.run().to_string()),
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
