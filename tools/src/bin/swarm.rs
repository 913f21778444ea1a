//! The load driver: see `tools/README.md`.

use std::net::SocketAddrV4;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use encke_tools::comparison::{Comparison, Line};
use encke_tools::conductor::{self, Plan};
use encke_tools::{grip, page, server, worker};

/// Load on a server that pushes over HTTP, with every receipt checked and timed. Only on loopback.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Options {
    #[command(flatten)]
    plan: Option<Plan>,
    #[command(subcommand)]
    part: Option<Part>,
}

/// What swarm starts itself as.
#[derive(Subcommand)]
enum Part {
    /// Subscribers, led through standard input.
    #[command(hide = true)]
    Worker,
    /// The application behind Pushpin.
    #[command(hide = true)]
    Grip {
        #[arg(long)]
        listen: SocketAddrV4,
    },
    /// Becomes the server.
    #[command(hide = true)]
    Launch(server::Launch),
}

fn main() -> ExitCode {
    let options = Options::parse();
    let result = match (options.part, options.plan) {
        (Some(Part::Worker), _) => worker::run(),
        (Some(Part::Grip { listen }), _) => grip::serve(listen).map_err(|error| error.to_string()),
        (Some(Part::Launch(launch)), _) => Err(launch.run().to_string()),
        (None, Some(plan)) => conduct(&plan),
        (None, None) => Err("no mode is given; --help says which there are".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("swarm: {error}");
            ExitCode::FAILURE
        }
    }
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
