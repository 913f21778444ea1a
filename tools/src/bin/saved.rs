//! What saved history costs: see `tools/README.md`.

use std::process::ExitCode;

use clap::Parser;
use encke_tools::part::Part;
use encke_tools::saved::{self, Plan};

/// encke with `--data-dir` beside encke without: publishes a second, delays, and the time of a
/// start. Exit code 1 if a mark is missed. Only on loopback.
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
        None => saved::run(&options.plan),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("saved: {error}");
            ExitCode::FAILURE
        }
    }
}
