//! From a load to a flame graph in one command: see `tools/profile.md`.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use clap::Parser;
use encke_tools::command;
use encke_tools::flame::Stacks;
use encke_tools::report::Report;
use encke_tools::workspace;

/// Samples encke under a load of swarm: builds both, runs them, draws a flame graph and prints the
/// functions that take the most time. Needs perf.
#[derive(Parser)]
struct Options {
    /// Transport: stream, long-poll, ndjson, sse
    #[arg(long, short, default_value = "stream")]
    transport: String,
    /// Subscribers
    #[arg(long, short = 'n', default_value_t = 1_000)]
    subscribers: u32,
    /// How long to look, in seconds
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// CPU for the server [default: 0, where there are two]
    #[arg(long, value_name = "CPU")]
    pin_server: Option<usize>,
    /// CPU for the driver [default: 1, where there are two]
    #[arg(long, value_name = "CPU")]
    pin_driver: Option<usize>,
    /// Lines to print
    #[arg(long, default_value_t = 25)]
    lines: usize,
    /// Directory for what is written
    #[arg(long, value_name = "DIR", default_value = "target/profile")]
    out: PathBuf,
    /// swarm, with encke beside it, already built
    #[arg(long, value_name = "FILE")]
    swarm: Option<PathBuf>,
    /// More of swarm's options; its mode is fan-out
    #[arg(last = true, value_name = "OPTION")]
    more: Vec<String>,
}

fn main() -> ExitCode {
    command::end("profile", profile(&Options::parse()).map(|()| true))
}

fn profile(options: &Options) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    let version = Command::new("perf")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if let Err(error) = version {
        return Err(format!(
            "perf is needed ({error}); on Debian: apt-get install linux-perf"
        ));
    }
    fs::create_dir_all(&options.out).map_err(text)?;
    let name = |ending: &str| options.out.join(format!("{}.{ending}", options.transport));
    let (samples, graph) = (name("perf"), name("svg"));
    let report = load(options, &samples)?;
    print!("{}", report.table());
    let stacks = Stacks::read(&samples)?;
    let title = format!("encke, fan-out, {}", options.transport);
    fs::write(&graph, stacks.graph(&title)?).map_err(text)?;
    print!("\n{}", stacks.shares(options.lines));
    println!("\nThe flame graph: {}", graph.display());
    Ok(())
}

/// Runs the load, sampled into a file.
fn load(options: &Options, samples: &PathBuf) -> Result<Report, String> {
    let swarm = match &options.swarm {
        Some(swarm) => swarm.clone(),
        None => workspace::build_to_profile()?,
    };
    let has_two = std::thread::available_parallelism().is_ok_and(|count| count.get() > 1);
    let mut command = Command::new(&swarm);
    command.args(["fan-out", "--json", "--transport", &options.transport]);
    command.arg("--server").arg(workspace::description("encke"));
    command.args(["--subscribers", &options.subscribers.to_string()]);
    command.args(["--seconds", &options.seconds.to_string()]);
    command.arg("--samples").arg(samples);
    let pins = [
        ("--pin-server", options.pin_server.or(has_two.then_some(0))),
        ("--pin-driver", options.pin_driver.or(has_two.then_some(1))),
    ];
    for (name, cpu) in pins {
        if let Some(cpu) = cpu {
            command.args([name, &cpu.to_string()]);
        }
    }
    let output = command
        .args(&options.more)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("{}: {error}", swarm.display()))?;
    if !output.status.success() {
        return Err("the load failed".into());
    }
    serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())
}
