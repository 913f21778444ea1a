//! What saved history costs: see `tools/README.md`.

use std::process::ExitCode;

use encke_tools::{command, saved};

const ABOUT: &str = "encke with `--data-dir` beside encke without: publishes a second, delays, and \
    the time of a start. Exit code 1 if a mark is missed. Only on loopback.";

fn main() -> ExitCode {
    command::run("saved", ABOUT, saved::run)
}
