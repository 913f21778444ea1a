//! Runs random simulations, and prints the seeds of those that fail.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use clap::Parser;
use encke_simulation::{Fate, Run, Tally, Verdict, live, retrace, state_after};

/// Lives simulated worlds: the whole engine with fake sockets, clients and time, all by chance from
/// a seed. Exits with 1 if a world broke a rule.
#[derive(Parser)]
#[command(version)]
struct Options {
    #[command(flatten)]
    run: Run,
    /// Live this one world, and show what happened in it last
    #[arg(long, conflicts_with_all = ["seeds", "first"])]
    seed: Option<u64>,
    /// Live the world that the fuzz target `engine` makes of this file, and show what happened last
    #[arg(long, conflicts_with_all = ["seeds", "first", "seed", "steps"])]
    input: Option<PathBuf>,
    /// Write the state of the server of this one world after its steps, as it is handed over, to a
    /// file
    #[arg(long, requires = "seed", value_name = "FILE")]
    state: Option<PathBuf>,
    /// Seconds between lines of progress
    #[arg(long, default_value_t = 10)]
    every: u64,
    /// Fail unless everything that can happen did so often enough to mean something
    #[arg(long)]
    thorough: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match (&options.input, options.seed) {
        (Some(input), _) => match std::fs::read(input) {
            Ok(bytes) => show(retrace(&bytes)),
            Err(error) => {
                eprintln!("{}: {error}", input.display());
                ExitCode::FAILURE
            }
        },
        (None, Some(seed)) => match &options.state {
            Some(file) => match std::fs::write(file, state_after(seed, options.run.steps)) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    eprintln!("{}: {error}", file.display());
                    ExitCode::FAILURE
                }
            },
            None => show(live(seed, options.run.steps, true)),
        },
        (None, None) => run(&options),
    }
}

fn show(lived: Result<Tally, Fate>) -> ExitCode {
    match lived {
        Ok(tally) => {
            print(&tally);
            ExitCode::SUCCESS
        }
        Err(fate) => {
            for line in &fate.trace {
                println!("{line}");
            }
            println!("\n{}", fate.why);
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> ExitCode {
    let progress = Progress::new(Duration::from_secs(options.every));
    let live = |seed, steps| live(seed, steps, false).map_err(|fate| fate.why);
    let verdict = options.run.go(live, |verdict| progress.show(verdict));
    print(&verdict.tally);
    println!("{}", progress.line(&verdict));
    for (seed, why) in &verdict.failed {
        println!("seed {seed}: {why}");
    }
    if let Some((seed, _)) = verdict.failed.first() {
        println!(
            "live the first again with: simulate --seed {seed} --steps {}",
            options.run.steps
        );
        return ExitCode::FAILURE;
    }
    let seldom = verdict.tally.seldom();
    if options.thorough && !seldom.is_empty() {
        println!("too seldom to find anything: {seldom:?}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn print(tally: &Tally) {
    for (name, count) in tally.counts() {
        println!("{count:>15} {name}");
    }
    for (name, most) in tally.maxima() {
        println!("{most:>15} {name}, at most");
    }
}

/// Says on stderr how far it is, and which seeds failed.
struct Progress {
    began: Instant,
    every: Duration,
    /// When the last line was printed, and how many failures were known by then.
    last: Mutex<(Instant, usize)>,
    end: &'static str,
}

impl Progress {
    fn new(every: Duration) -> Progress {
        let now = Instant::now();
        Progress {
            began: now,
            every,
            last: Mutex::new((now, 0)),
            end: if std::io::stderr().is_terminal() {
                "\r"
            } else {
                "\n"
            },
        }
    }

    fn line(&self, verdict: &Verdict<Tally>) -> String {
        let seconds = self.began.elapsed().as_secs_f64();
        let steps = verdict.tally.steps();
        format!(
            "{} worlds, {steps} steps in {seconds:.0} s ({:.0} a second), {} failed",
            verdict.worlds,
            steps as f64 / seconds,
            verdict.failed.len()
        )
    }

    fn show(&self, verdict: &Verdict<Tally>) {
        let mut last = self.last.lock().expect("no thread panics with it");
        for (seed, why) in &verdict.failed[last.1..] {
            eprintln!("seed {seed}: {why}");
        }
        last.1 = verdict.failed.len();
        if last.0.elapsed() >= self.every {
            last.0 = Instant::now();
            eprint!("{}{}", self.line(verdict), self.end);
        }
    }
}
