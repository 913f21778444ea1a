//! What several nodes over Redis cost: see `tools/README.md`.

use std::process::ExitCode;

use encke_tools::{command, nodes};

const ABOUT: &str = "Nodes over Redis beside a node that is alone: publishes a second, delays, \
    processor time, and what a start and a return take. It needs redis-server. Exit code 1 if a \
    mark is missed. Only on loopback.";

fn main() -> ExitCode {
    command::run("nodes", ABOUT, nodes::run)
}
