//! The beginning and the end of every tool: its command line, and an exit code.

use std::fmt::Display;
use std::process::ExitCode;

use clap::{Args, CommandFactory, FromArgMatches, Parser};

use crate::part::Part;

/// The options of a tool, or the part of it that a process is to play.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct CommandLine<P: Args> {
    #[command(flatten)]
    plan: Option<P>,
    #[command(subcommand)]
    part: Option<Part>,
}

/// Runs a tool by its command line: the part that it names, or else the tool itself, which returns
/// whether all is well. `about` is the head of its `--help`.
pub fn run<P: Args>(
    name: &'static str,
    about: &'static str,
    tool: impl FnOnce(&P) -> Result<bool, String>,
) -> ExitCode {
    let command = CommandLine::<P>::command().name(name).about(about);
    let matches = command.get_matches();
    let line = CommandLine::<P>::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let result = match (line.part, line.plan) {
        (Some(part), _) => part.play().map(|()| true),
        (None, Some(plan)) => tool(&plan),
        (None, None) => Err("--help says what can be asked".into()),
    };
    end(name, result)
}

/// The exit code of a tool: a failure where it returned `false`, or an error, which is printed.
pub fn end(name: &str, result: Result<bool, impl Display>) -> ExitCode {
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// An error as a tool prints it.
pub fn text(error: impl ToString) -> String {
    error.to_string()
}
