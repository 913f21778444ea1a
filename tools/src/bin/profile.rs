//! From a load to a profile in one command: see `tools/profile.md`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use clap::{Parser, ValueEnum};
use encke_tools::flame::Stacks;
use encke_tools::report::Report;
use encke_tools::{instructions, workspace};

/// Profiles encke under a load of swarm: builds both, runs them, and says where the time went.
#[derive(Parser)]
struct Options {
    /// What to look at
    #[arg(value_enum)]
    what: What,
    /// Transport: stream, long-poll, ndjson, sse
    #[arg(long, short, default_value = "stream")]
    transport: String,
    /// Subscribers [default: 1000; instructions: 100]
    #[arg(long, short = 'n')]
    subscribers: Option<u32>,
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

/// What a profile can be of.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Processor time, as a flame graph: needs perf
    Flame,
    /// Instructions by function and line: needs valgrind
    Instructions,
    /// System calls for each delivery: needs strace
    Syscalls,
}

fn main() -> ExitCode {
    match profile(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("profile: {error}");
            ExitCode::FAILURE
        }
    }
}

fn profile(options: &Options) -> Result<(), String> {
    for (program, package) in options.what.programs() {
        look_for(program, package)?;
    }
    let swarm = match &options.swarm {
        Some(swarm) => swarm.clone(),
        None => workspace::build_to_profile()?,
    };
    fs::create_dir_all(&options.out).map_err(|error| error.to_string())?;
    let name = |ending: &str| options.out.join(format!("{}.{ending}", options.transport));
    match options.what {
        What::Flame => {
            let samples = name("perf");
            load(options, &swarm, &["--samples".as_ref(), &samples])?;
            let stacks = Stacks::read(&samples)?;
            let title = format!("encke, fan-out, {}", options.transport);
            let graph = name("svg");
            fs::write(&graph, stacks.graph(&title)?).map_err(|error| error.to_string())?;
            print!("\n{}", stacks.shares(options.lines));
            println!("\nThe flame graph: {}", graph.display());
            Ok(())
        }
        What::Instructions => {
            let counts = name("callgrind");
            let report = load(options, &swarm, &["--instructions".as_ref(), &counts])?;
            let annotation = instructions::annotate(&counts)?;
            let lines = name("txt");
            fs::write(&lines, &annotation).map_err(|error| error.to_string())?;
            let tables = instructions::tables(&annotation, report.units, options.lines);
            println!("\n{tables}\nAll of it, by line: {}", lines.display());
            Ok(())
        }
        What::Syscalls => load(options, &swarm, &["--syscalls".as_ref()]).map(|_| ()),
    }
}

impl What {
    /// The programs it takes, and the Debian packages that have them.
    fn programs(self) -> &'static [(&'static str, &'static str)] {
        match self {
            What::Flame => &[("perf", "linux-perf")],
            What::Instructions => &[("valgrind", "valgrind"), ("callgrind_annotate", "valgrind")],
            What::Syscalls => &[("strace", "strace")],
        }
    }
}

fn look_for(program: &str, package: &str) -> Result<(), String> {
    let version = Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match version {
        Ok(_) => Ok(()),
        Err(error) => Err(format!(
            "{program} is needed ({error}); on Debian: apt-get install {package}"
        )),
    }
}

/// Runs the load and prints swarm's report.
fn load(options: &Options, swarm: &Path, watch: &[&Path]) -> Result<Report, String> {
    let subscribers = options.subscribers.unwrap_or(match options.what {
        What::Instructions => 100,
        What::Flame | What::Syscalls => 1_000,
    });
    let has_two = std::thread::available_parallelism().is_ok_and(|count| count.get() > 1);
    let mut command = Command::new(swarm);
    command.args(["fan-out", "--json", "--transport", &options.transport]);
    command.arg("--server").arg(workspace::description("encke"));
    command.args(["--subscribers", &subscribers.to_string()]);
    command.args(["--seconds", &options.seconds.to_string()]);
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
        .args(watch)
        .args(&options.more)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("{}: {error}", swarm.display()))?;
    if !output.status.success() {
        return Err("the load failed".into());
    }
    let report: Report =
        serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
    print!("{}", report.table());
    Ok(report)
}
