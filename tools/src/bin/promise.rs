//! The checker of the promise: see `tools/README.md`.

use std::process::ExitCode;

use encke_tools::{command, promise};

const ABOUT: &str = "Many clients that come, go, stall and come back, on an encke that is stopped, \
    drained and killed; and whether each got what it was promised. Only on loopback.";

fn main() -> ExitCode {
    command::run("promise", ABOUT, promise::run)
}
