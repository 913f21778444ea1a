//! encke beside its yardstick, and beside others: the same load on each in turn, medians, ratios.
//!
//! Absolute figures of a shared machine say little; those of one run, taken alternately, can be
//! divided by each other.

mod rows;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use clap::Parser;
use encke_tools::report::Report;
use rows::{Measure, ROWS, Row};

/// Runs each load on the servers in turn and prints how they compare with the first of them.
#[derive(Parser)]
struct Options {
    /// Short runs
    #[arg(long)]
    quick: bool,
    /// Runs of each load on each server
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    repeats: u32,
    /// Seconds of a run [default: 5, quick: 1.5]
    #[arg(long)]
    seconds: Option<f64>,
    /// Only rows whose name holds one of these
    #[arg(long)]
    only: Vec<String>,
    /// The yardstick's and the servers' descriptions
    #[arg(long, value_name = "FILE", num_args = 1.., default_values = ["floor", "encke"])]
    servers: Vec<String>,
    /// CPU for the server
    #[arg(long, default_value_t = 0)]
    pin_server: usize,
    /// CPU for the driver
    #[arg(long, default_value_t = 1)]
    pin_driver: usize,
    /// Do not build first
    #[arg(long)]
    no_build: bool,
    /// Print swarm's reports as lines of JSON too
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    match compare(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(options: &Options) -> Result<(), String> {
    if !options.no_build {
        build()?;
    }
    let swarm = swarm()?;
    let servers: Vec<PathBuf> = options.servers.iter().map(|name| file(name)).collect();
    let wanted = |row: &&Row| {
        options.only.is_empty() || options.only.iter().any(|part| row.name.contains(part))
    };
    let rows: Vec<&Row> = ROWS.iter().filter(wanted).collect();
    println!("{}", machine());
    print_heading(&servers);
    for (number, row) in rows.iter().enumerate() {
        if row.measure == Measure::Syscalls && !has_strace() {
            println!("{:32} strace is not installed", row.name);
            continue;
        }
        let mut reports: Vec<Vec<Report>> = vec![Vec::new(); servers.len()];
        for repeat in 0..options.repeats {
            for (place, server) in servers.iter().enumerate() {
                eprint!(
                    "\r{}/{} {}, run {} of {}   ",
                    number + 1,
                    rows.len(),
                    row.name,
                    repeat + 1,
                    options.repeats
                );
                let report = run(&swarm, options, row, server);
                let report = report.map_err(|error| format!("{}: {error}", row.name))?;
                reports[place].push(report);
            }
        }
        eprint!("\r{:70}\r", "");
        print_row(row, &reports);
    }
    Ok(())
}

/// Builds the servers and the driver as this program was built.
fn build() -> Result<(), String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--workspace", "--bins"]);
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("cargo build: {status}")),
        Err(error) => Err(format!("cargo cannot be run: {error}")),
    }
}

fn swarm() -> Result<PathBuf, String> {
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let path = this.with_file_name("swarm");
    match path.exists() {
        true => Ok(path),
        false => Err(format!("{} is missing", path.display())),
    }
}

/// A name is a file that comes with the tools.
fn file(name: &str) -> PathBuf {
    match name.contains(['/', '.']) {
        true => name.into(),
        false => Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("servers/{name}.toml")),
    }
}

fn run(swarm: &Path, options: &Options, row: &Row, server: &Path) -> Result<Report, String> {
    let default = if options.quick { 1.5 } else { 5.0 };
    let seconds = options.seconds.unwrap_or(default).to_string();
    let mut command = Command::new(swarm);
    command.args(row.load.split(' '));
    if !row.load.contains("--seconds") {
        command.args(["--seconds", &seconds]);
    }
    command.arg("--json").arg("--server").arg(server);
    command
        .arg("--pin-server")
        .arg(options.pin_server.to_string());
    command
        .arg("--pin-driver")
        .arg(options.pin_driver.to_string());
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    if options.json {
        print!("{text}");
    }
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{} {text}", complaint.trim()));
    }
    serde_json::from_str(&text).map_err(|error| error.to_string())
}

fn value(row: &Row, report: &Report) -> f64 {
    match row.measure {
        Measure::Cpu => report.cpu_each(),
        Measure::Rss => report.parked.map_or(f64::NAN, |parked| parked.rss_each),
        Measure::Idle => report.cpu_ns as f64 / 1e7 / report.seconds,
        Measure::Syscalls => report.syscalls_each(),
        Measure::Lone => report.delays.p99 as f64 / report.undisturbed.p99.max(1) as f64,
    }
}

fn unit(row: &Row) -> &'static str {
    match row.measure {
        Measure::Cpu => "ns",
        Measure::Rss => "B",
        Measure::Idle => "%",
        Measure::Syscalls => "",
        Measure::Lone => "×",
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}

fn lowest(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

fn print_heading(servers: &[PathBuf]) {
    let names: Vec<_> = servers
        .iter()
        .map(|path| path.file_stem().unwrap_or_default().to_string_lossy())
        .collect();
    print!("{:32} {:>12}", "", names[0]);
    for name in &names[1..] {
        print!("   {name:>12}  ratio (from to; of the least)");
    }
    println!("  mark");
}

fn print_row(row: &Row, reports: &[Vec<Report>]) {
    let values: Vec<Vec<f64>> = reports
        .iter()
        .map(|runs| runs.iter().map(|report| value(row, report)).collect())
        .collect();
    let digits = match row.measure {
        Measure::Cpu | Measure::Rss => 0,
        Measure::Idle | Measure::Syscalls => 3,
        Measure::Lone => 1,
    };
    let show = |values: &[f64]| {
        let middle = median(values.to_vec());
        format!("{middle:.digits$} {}", unit(row))
    };
    print!("{:32} {:>12}", row.name, show(&values[0]));
    for runs in &values[1..] {
        let ratios: Vec<f64> = runs.iter().zip(&values[0]).map(|(a, b)| a / b).collect();
        let least = lowest(&ratios);
        let most = ratios.iter().copied().fold(0.0, f64::max);
        let ratio = median(ratios);
        // What else the machine does only ever adds to a run: the cheapest of each is the fairest.
        let of_the_least = lowest(runs) / lowest(&values[0]);
        let judged = match row.measure {
            Measure::Cpu => ratio,
            _ => median(runs.clone()),
        };
        let verdict = if judged <= row.mark { "ok" } else { "MISSED" };
        print!(
            "   {:>12}  {ratio:.2} ({least:.2} {most:.2}; {of_the_least:.2}) {verdict:6}",
            show(runs)
        );
    }
    let sign = match row.measure {
        Measure::Cpu => "×",
        _ => unit(row),
    };
    println!("  ≤ {} {sign}", row.mark);
}

fn has_strace() -> bool {
    let version = Command::new("strace").arg("-V").output();
    version.is_ok_and(|output| output.status.success())
}

/// What this was measured on.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let model = model.unwrap_or_default().trim_matches([' ', '\t', ':']);
    let cpus = std::thread::available_parallelism().map_or(0, |count| count.get());
    let load = read("/proc/loadavg");
    format!(
        "{model}, {cpus} CPUs, Linux {}, load {}",
        read("/proc/sys/kernel/osrelease").trim(),
        load.split(' ').next().unwrap_or_default()
    )
}
