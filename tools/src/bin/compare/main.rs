//! encke beside its yardstick, and beside others: the same load on each in turn, medians, ratios.
//!
//! Absolute figures of a shared machine say little; those of one run, taken alternately, can be
//! divided by each other.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use clap::Parser;
use encke_tools::command;
use encke_tools::comparison::{self, Comparison, Line, Measure, ROWS, Row};
use encke_tools::conductor::Plan;
use encke_tools::machine::{Machine, command_line};
use encke_tools::nodes;
use encke_tools::page;
use encke_tools::report::Report;
use encke_tools::server::Description;
use encke_tools::workspace;

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
    /// Only rows with one of these in their names
    #[arg(long)]
    only: Vec<String>,
    /// The yardstick's and the servers' descriptions [default: floor encke nchan pushpin, as far as
    /// they are installed]
    #[arg(long, value_name = "FILE", num_args = 1..)]
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
    /// Print lines of JSON instead of a table
    #[arg(long)]
    json: bool,
    /// Keep all results here, as lines of JSON
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Write a page with plots
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Measure nothing: show what was kept, by this or by swarm
    #[arg(long, value_name = "FILE", num_args = 1..)]
    from: Vec<PathBuf>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let result = match options.from.is_empty() {
        true => Session::begin(&options).and_then(|mut session| {
            session.compare()?;
            session.end()
        }),
        false => show(&options),
    };
    command::end("compare", result.map(|()| true))
}

/// Shows what was kept.
fn show(options: &Options) -> Result<(), String> {
    let mut text = String::new();
    for path in &options.from {
        let read = fs::read_to_string(path);
        text += &read.map_err(|error| format!("{}: {error}", path.display()))?;
        text.push('\n');
    }
    let comparison = Comparison::read(&text)?;
    if let Some(run) = comparison.runs().next() {
        println!("{}", run.machine.line());
    }
    println!("{}", comparison::heading(&comparison.servers));
    for row in &comparison.rows {
        println!("{}", comparison::table_row(row, &comparison.servers));
    }
    print!("{}", comparison::reasons(&comparison));
    if !comparison.figures.is_empty() {
        println!("{}", nodes::heading());
    }
    for figure in &comparison.figures {
        println!("{}", figure.line());
    }
    write_page(options, &comparison)
}

fn write_page(options: &Options, comparison: &Comparison) -> Result<(), String> {
    let Some(path) = &options.html else {
        return Ok(());
    };
    fs::write(path, page::render(comparison))
        .map_err(|error| format!("{}: {error}", path.display()))
}

/// A comparison that is being made.
struct Session<'o> {
    options: &'o Options,
    swarm: PathBuf,
    servers: Vec<(PathBuf, Description)>,
    kept: Option<File>,
    comparison: Comparison,
    failed: bool,
}

impl Session<'_> {
    fn begin(options: &Options) -> Result<Session<'_>, String> {
        if !options.no_build {
            workspace::build()?;
        }
        let kept = match &options.save {
            Some(path) => {
                Some(File::create(path).map_err(|error| format!("{}: {error}", path.display()))?)
            }
            None => None,
        };
        Ok(Session {
            options,
            swarm: swarm()?,
            servers: servers(options)?,
            kept,
            comparison: Comparison::default(),
            failed: false,
        })
    }

    /// Takes note of something, and keeps it.
    fn note(&mut self, line: Line) -> Result<(), String> {
        let text = serde_json::to_string(&line).map_err(|error| error.to_string())?;
        if self.options.json {
            println!("{text}");
        }
        if let Some(file) = &mut self.kept {
            writeln!(file, "{text}").map_err(|error| error.to_string())?;
        }
        self.comparison.take(line);
        Ok(())
    }

    /// Prints for people.
    fn say(&self, text: &str) {
        if !self.options.json {
            println!("{text}");
        }
    }

    fn compare(&mut self) -> Result<(), String> {
        let only = &self.options.only;
        let wanted =
            |row: &&Row| only.is_empty() || only.iter().any(|part| row.name.contains(part));
        let rows: Vec<&Row> = ROWS.iter().filter(wanted).collect();
        self.note(Line::Begun {
            command: command_line(),
            servers: self
                .servers
                .iter()
                .map(|(_, description)| description.name.clone())
                .collect(),
        })?;
        let machine = Machine::read();
        self.say(&format!("{}, load {}", machine.line(), machine.load));
        self.say(&comparison::heading(&self.comparison.servers));
        for (number, row) in rows.iter().enumerate() {
            self.compare_row(row, &format!("{}/{} {}", number + 1, rows.len(), row.name))?;
            if let Some(row) = self.comparison.rows.last() {
                self.say(&comparison::table_row(row, &self.comparison.servers));
            }
        }
        self.say(comparison::reasons(&self.comparison).trim_end());
        Ok(())
    }

    fn compare_row(&mut self, row: &Row, progress: &str) -> Result<(), String> {
        let mut runnable = Vec::new();
        for place in 0..self.servers.len() {
            let reason = match row.measure {
                Measure::Syscalls if !has_strace() => Some("strace is not installed".into()),
                _ => {
                    let plan = Plan::parse(self.words(row, place))?;
                    plan.reason_against(&self.servers[place].1)
                }
            };
            match reason {
                Some(reason) => self.leave(row, place, reason)?,
                None => runnable.push(place),
            }
        }
        for repeat in 0..self.options.repeats {
            for place in runnable.clone() {
                eprint!(
                    "\r{progress}, {}, run {} of {}   ",
                    self.servers[place].1.name,
                    repeat + 1,
                    self.options.repeats
                );
                match self.run(row, place) {
                    Ok(report) => self.note(Line::Run {
                        row: row.name.into(),
                        report: Box::new(report),
                    })?,
                    Err(error) => {
                        self.failed = true;
                        runnable.retain(|other| *other != place);
                        self.leave(row, place, format!("FAILED: {error}"))?;
                    }
                }
            }
        }
        eprint!("\r{:78}\r", "");
        Ok(())
    }

    fn leave(&mut self, row: &Row, place: usize, reason: String) -> Result<(), String> {
        self.note(Line::Left {
            row: row.name.into(),
            server: self.servers[place].1.name.clone(),
            reason,
        })
    }

    /// The options of swarm.
    fn words(&self, row: &Row, place: usize) -> Vec<OsString> {
        let mut words: Vec<OsString> = row.load.split(' ').map(OsString::from).collect();
        let default = if self.options.quick { 1.5 } else { 5.0 };
        let seconds = self.options.seconds.unwrap_or(default).to_string();
        let server = self.options.pin_server.to_string();
        let driver = self.options.pin_driver.to_string();
        if !row.load.contains("--seconds") {
            words.extend(["--seconds", &seconds].map(OsString::from));
        }
        let rest = ["--json", "--patience", "60", "--pin-server", &server];
        words.extend(rest.map(OsString::from));
        words.extend(["--pin-driver", &driver, "--server"].map(OsString::from));
        words.push(self.servers[place].0.clone().into());
        words
    }

    fn run(&self, row: &Row, place: usize) -> Result<Report, String> {
        let output = Command::new(&self.swarm)
            .args(self.words(row, place))
            .stdin(Stdio::null())
            .output()
            .map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            let complaint = String::from_utf8_lossy(&output.stderr);
            return Err(complaint.trim().into());
        }
        serde_json::from_str(&text).map_err(|error| error.to_string())
    }

    fn end(&self) -> Result<(), String> {
        write_page(self.options, &self.comparison)?;
        match self.failed {
            false => Ok(()),
            true => Err("some runs failed; see above".into()),
        }
    }
}

/// Those that were asked for; else those that come with the tools and are installed.
fn servers(options: &Options) -> Result<Vec<(PathBuf, Description)>, String> {
    let defaults = ["floor", "encke", "nchan", "pushpin"].map(str::to_owned);
    let names = match options.servers.is_empty() {
        true => &defaults[..],
        false => &options.servers[..],
    };
    let mut servers = Vec::new();
    for name in names {
        let path = workspace::description(name);
        let description = Description::read(&path)?;
        match description.missing() {
            Some(missing) if options.servers.is_empty() => eprintln!("{name} is {missing}"),
            Some(missing) => return Err(format!("{name} is {missing}")),
            None => servers.push((path, description)),
        }
    }
    Ok(servers)
}

fn swarm() -> Result<PathBuf, String> {
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let path = this.with_file_name("swarm");
    match path.exists() {
        true => Ok(path),
        false => Err(format!("{} is missing", path.display())),
    }
}

fn has_strace() -> bool {
    let version = Command::new("strace").arg("-V").output();
    version.is_ok_and(|output| output.status.success())
}
