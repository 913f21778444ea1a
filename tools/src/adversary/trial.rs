//! One attack, from a quiet encke to a quiet encke.
//!
//! Owns the phases: the neighbour alone, quiet, the neighbour beside the attack, what was counted,
//! quiet again, the neighbour once more.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::process::Pid;

use super::attack::Keeps;
use super::finding::Moved;
use super::raid::Raid;
use super::watch::{self, Holdings};
use super::{Attack, Finding, Size};
use crate::conductor::{self, Asker, Plan, Sender, Stage};
use crate::measure::{self, Delays};
use crate::metrics::Metrics;
use crate::net;
use crate::receipt::Counts;
use crate::server::{Description, Request};
use crate::worker::Kind;

/// Messages a second to the neighbour.
const RATE: f64 = 100.0;

/// Times of the neighbour alone, as part of the attack's.
const ALONE: f64 = 0.4;

/// Bytes of encke's limits in all trials, small enough for an attack to reach.
const BUFFER_BYTES: u64 = 16 << 20;
const HISTORY_BYTES: u64 = 32 << 20;

/// Memory of encke besides its limits: code and stacks touched, tables, the allocator's rounding.
const SLACK_BYTES: u64 = 4 << 20;

/// Bytes of a connection besides its limits.
const CONNECTION_BYTES: u64 = 200;

/// The options of a trial.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Its size.
    pub size: Size,
    /// The CPU of encke.
    pub pin_server: Option<usize>,
    /// The CPU of all other processes.
    pub pin_driver: Option<usize>,
    /// The longest wait for anything, in seconds.
    pub patience: f64,
}

/// Runs an attack. An error means that the trial could not be held; faults of encke are in the
/// finding.
pub fn run(attack: &Attack, options: &Options) -> Result<Finding, String> {
    let mut trial = Trial::prepare(attack, options)?;
    let alone = trial.serve(options.size.seconds * ALONE)?;
    let before = trial.become_quiet(None)?;
    watch::forget_peak(trial.process)?;
    let (rss_before, _) = watch::resident(trial.process);
    let counted_before = trial.metrics()?;

    if let Some(files) = (attack.open_files_left)(&options.size) {
        let process = Pid::from_raw(trial.process as i32);
        net::limit_files(process, files).map_err(|error| error.to_string())?;
    }
    let mut raid = Raid::begin(
        attack,
        options.size,
        trial.stage.server.address,
        options.pin_driver,
    )
    .map_err(|error| error.to_string())?;
    let beside = trial.serve(options.size.seconds)?;
    let tally = raid.tally().map_err(|error| error.to_string())?;
    let moved = Moved {
        before: counted_before,
        after: trial.metrics()?,
    };
    drop(raid);

    let mut faults = (attack.judge)(&options.size, &tally, &moved);
    if let Err(error) = trial.become_quiet(Some(&before)) {
        faults.push(error);
    }
    let (rss_after, rss_peak) = watch::resident(trial.process);
    let afterwards = trial.serve(0.2)?;
    for (when, served) in [
        ("before", &alone),
        ("during", &beside),
        ("after", &afterwards),
    ] {
        faults.extend(served.fault(when));
    }
    let mut finding = Finding {
        attack: attack.name.to_owned(),
        connections: (attack.connections)(&options.size),
        seconds: options.size.seconds,
        rss_before,
        rss_peak,
        rss_after,
        budget: budget(attack, &options.size),
        cpu: (alone.cpu, beside.cpu),
        undisturbed: Delays::of(&alone.delays),
        disturbed: Delays::of(&beside.delays),
        turn: moved.after.longest_since(&moved.before, "tick_seconds"),
        tally,
        faults,
    };
    if finding.growth() > finding.budget {
        finding.faults.push("more memory than its budget".into());
    }
    Ok(finding)
}

/// encke, its neighbour, and a connection that asks for the metrics.
struct Trial {
    stage: Stage,
    plan: Plan,
    sender: Sender,
    asker: Asker,
    process: u32,
    patience: Duration,
}

/// The service that the neighbour had for a time.
struct Served {
    sent: u64,
    counts: Counts,
    delays: Histogram<u64>,
    cpu: f64,
}

impl Served {
    fn fault(&self, when: &str) -> Option<String> {
        let is_right = self.counts.faults() == 0 && self.counts.received == self.sent;
        (!is_right).then(|| {
            let (sent, counts) = (self.sent, &self.counts);
            format!("{when} the attack the neighbour was sent {sent} messages and had {counts:?}")
        })
    }
}

impl Trial {
    fn prepare(attack: &Attack, options: &Options) -> Result<Trial, String> {
        let plan = plan(options)?;
        // Attackers are elsewhere as a rule: they are not to take the processor from encke here.
        net::be_eager();
        let mut stage = Stage::set(&plan, description(attack, &options.size)?)?;
        stage.processes = stage.server.processes();
        stage.hire(&plan, Kind::LongPoll, 0)?;
        stage.connect(&plan, 0)?;
        let text = r#"path = "/metrics""#;
        let request: Request = toml::from_str(text).map_err(|error| error.to_string())?;
        let asker = Asker::connect(&request, stage.run, stage.server.address)?;
        let process = *stage.processes.first().ok_or("encke has no process")?;
        let mut trial = Trial {
            sender: Sender::new(&plan, RATE),
            stage,
            plan,
            asker,
            process,
            patience: Duration::from_secs_f64(options.patience),
        };
        // A connection that has asked something may be idle for longer than one that has not.
        trial.metrics()?;
        Ok(trial)
    }

    fn metrics(&mut self) -> Result<Metrics, String> {
        let deadline = Instant::now() + self.patience;
        let answer = self.asker.ask(0, deadline)?;
        Ok(Metrics::parse(&String::from_utf8_lossy(&answer.body)))
    }

    /// Waits until nothing is kept, or all is as it was before.
    fn become_quiet(&mut self, before: Option<&Holdings>) -> Result<Holdings, String> {
        let deadline = Instant::now() + self.patience;
        loop {
            let holdings = Holdings::of(&self.metrics()?, self.process);
            let is_quiet = match before {
                Some(before) => holdings == *before,
                None => holdings.is_quiet(),
            };
            if is_quiet {
                return Ok(holdings);
            }
            if Instant::now() > deadline {
                return Err(match before {
                    Some(before) => format!("not given back: {:?}", before.differences(&holdings)),
                    None => format!("never quiet: {holdings:?}"),
                });
            }
            self.stage.turn(Some(Duration::from_millis(50)))?;
        }
    }

    /// Serves the neighbour.
    fn serve(&mut self, seconds: f64) -> Result<Served, String> {
        self.stage.reset()?;
        let before = self.sender.deliveries(&self.plan);
        let (cpu, since) = (measure::cpu_ns(&[self.process]), Instant::now());
        self.sender.run(&mut self.stage, &self.plan, seconds)?;
        let cpu = measure::cpu_ns(&[self.process]) - cpu;
        let elapsed = since.elapsed();
        let sent = self.sender.deliveries(&self.plan) - before;
        conductor::settle(&mut self.stage, sent)?;
        let (counts, delays) = self.stage.snapshot()?;
        Ok(Served {
            sent,
            counts,
            delays,
            cpu: cpu as f64 / elapsed.as_nanos() as f64,
        })
    }
}

/// The neighbour: one long poll on a channel of its own.
fn plan(options: &Options) -> Result<Plan, String> {
    let line = "fan-out --server encke -t long-poll -n 1 --json";
    let plan = Plan::parse(line.split(' '))?;
    Ok(Plan {
        server: PathBuf::new(),
        pin_server: options.pin_server,
        pin_driver: options.pin_driver,
        patience: options.patience,
        ..plan
    })
}

/// encke with its limits.
fn description(attack: &Attack, size: &Size) -> Result<Description, String> {
    let patience = format!("{:.3}", size.patience());
    let mut options = vec![
        ("--listen", "127.0.0.1:{port}".to_owned()),
        ("--log", "error".into()),
        ("--hold", "1h".into()),
        ("--max-hold", "1h".into()),
        ("--max-buffer-bytes", BUFFER_BYTES.to_string()),
        ("--history-total-bytes", HISTORY_BYTES.to_string()),
        ("--history-age", patience.clone()),
        ("--head-timeout", patience.clone()),
        ("--body-timeout", patience.clone()),
        ("--write-timeout", patience),
    ];
    for (name, value) in (attack.options)(size) {
        options.retain(|(other, _)| *other != name);
        options.push((name, value));
    }
    let words = options
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"));
    Description::encke(std::iter::once("encke".to_owned()).chain(words).collect())
}

/// The bytes by which an attack may make encke grow.
fn budget(attack: &Attack, size: &Size) -> u64 {
    let connections = u64::from((attack.connections)(size));
    let mut budget = SLACK_BYTES + connections * CONNECTION_BYTES;
    if attack.keeps >= Keeps::Buffers {
        budget += BUFFER_BYTES;
    }
    if attack.keeps >= Keeps::Messages {
        budget += HISTORY_BYTES + HISTORY_BYTES / 4;
    }
    if attack.keeps >= Keeps::Channels {
        budget += HISTORY_BYTES / 2;
    }
    budget
}
