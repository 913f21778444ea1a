//! The load driver: see `tools/README.md`.

use std::process::ExitCode;

use encke_tools::comparison::{Comparison, Line};
use encke_tools::conductor::{self, Plan};
use encke_tools::{command, page};

const ABOUT: &str = "Load on a server that pushes over HTTP, with every receipt checked and timed. \
    Only on loopback.";

fn main() -> ExitCode {
    command::run("swarm", ABOUT, |plan| conduct(plan).map(|()| true))
}

fn conduct(plan: &Plan) -> Result<(), String> {
    let report = conductor::run(plan)?;
    if let Some(path) = &plan.html {
        let mut comparison = Comparison::default();
        comparison.take(Line::Alone(Box::new(report.clone())));
        std::fs::write(path, page::render(&comparison))
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    match plan.json {
        true => println!(
            "{}",
            serde_json::to_string(&report).map_err(|error| error.to_string())?
        ),
        false => print!("{}", report.table()),
    }
    match report.is_right() {
        true => Ok(()),
        false => Err("not everything arrived once, in order and where it should".into()),
    }
}
