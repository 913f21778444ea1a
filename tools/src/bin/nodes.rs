//! What several nodes over Redis cost: see `tools/README.md`.

use std::process::ExitCode;

use clap::Parser;
use encke_tools::nodes::{self, Plan};
use encke_tools::part::Part;

/// Nodes over Redis beside a node that is alone: publishes a second, delays, processor time, and
/// what a start and a return take. It needs redis-server. Exit code 1 if a mark is missed. Only on
/// loopback.
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
        None => nodes::run(&options.plan),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("nodes: {error}");
            ExitCode::FAILURE
        }
    }
}
