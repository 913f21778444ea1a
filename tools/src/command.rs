//! The beginning and the end of every tool: its command line, and an exit code.

use std::fmt::Display;
use std::process::ExitCode;

use clap::{Args, Command, FromArgMatches, Subcommand};

use crate::part::Part;

/// Runs a tool by its command line: the part that it names, or else the tool itself, which returns
/// whether all is well. `about` is the head of its `--help`.
pub fn run<P: Args>(
    name: &'static str,
    about: &'static str,
    tool: impl FnOnce(&P) -> Result<bool, String>,
) -> ExitCode {
    let matches = command_line::<P>(name).about(about).get_matches();
    if matches.subcommand().is_some() {
        let part = Part::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
        return end(name, part.play().map(|()| true));
    }
    let plan = P::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    end(name, tool(&plan))
}

/// The options of a tool, or one of the parts that a process is to play instead.
fn command_line<P: Args>(name: &'static str) -> Command {
    Part::augment_subcommands(P::augment_args(Command::new(name)))
        .subcommand_required(false)
        .arg_required_else_help(false)
        .args_conflicts_with_subcommands(true)
        .subcommand_negates_reqs(true)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{conductor, nodes, promise, saved};

    /// Whether the options alone are a plan.
    fn is_plan<P: Args>(arguments: &[&str]) -> bool {
        let arguments = [&["tool"], arguments].concat();
        let matches = command_line::<P>("tool").try_get_matches_from(arguments);
        matches.is_ok_and(|matches| P::from_arg_matches(&matches).is_ok())
    }

    #[test]
    fn options_have_defaults_where_nothing_must_be_chosen() {
        assert!(is_plan::<nodes::Plan>(&[]));
        assert!(is_plan::<saved::Plan>(&[]));
        assert!(is_plan::<promise::Plan>(&[]));
        assert!(!is_plan::<conductor::Plan>(&[]));
        assert!(is_plan::<conductor::Plan>(&[
            "park",
            "-s",
            "servers/encke.toml"
        ]));
    }

    #[test]
    fn part_needs_no_options() {
        let matches =
            command_line::<conductor::Plan>("tool").try_get_matches_from(["tool", "worker"]);
        assert!(matches!(
            Part::from_arg_matches(&matches.unwrap()),
            Ok(Part::Worker)
        ));
    }
}
