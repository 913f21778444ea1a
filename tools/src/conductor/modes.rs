//! The kinds of load.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::plan::{Mode, Plan};
use super::stage::Stage;
use super::{herd, lone};
use crate::machine::{Machine, command_line};
use crate::measure::{self, Delays, Memory, histogram};
use crate::net::now_ns;
use crate::report::{Parked, Report};
use crate::server::Description;
use crate::trace::Trace;
use crate::worker::{Command, Kind};

/// The pause before the memory of parked connections is measured.
const REST: Duration = Duration::from_millis(500);

/// The longest wait for late messages when nothing is sent any more.
const LATE: Duration = Duration::from_secs(3);

/// Carries out a plan on the server that its file describes.
pub fn run(plan: &Plan) -> Result<Report, String> {
    if plan.channels > plan.subscribers && plan.mode.is_parking() {
        return Err("there are more channels than subscribers".into());
    }
    run_on(plan, Description::read(&plan.server)?)
}

/// Carries out a plan on this server.
pub(crate) fn run_on(plan: &Plan, description: Description) -> Result<Report, String> {
    let mut stage = Stage::set(plan, description)?;
    let result = stage
        .try_out(plan)
        .and_then(|()| run_mode(&mut stage, plan));
    result.map_err(|error| {
        let name = stage.server.description.name.clone();
        match stage.snapshot() {
            Ok((counts, _)) => format!("{name}: {error}; so far {counts:?}"),
            Err(_) => format!("{name}: {error}"),
        }
    })
}

fn run_mode(stage: &mut Stage, plan: &Plan) -> Result<Report, String> {
    match plan.mode {
        Mode::Park | Mode::Idle => park(stage, plan),
        Mode::FanOut | Mode::Spread if plan.rate > 0.0 => at_rate(stage, plan, plan.rate),
        Mode::Spread => at_rate(stage, plan, 5_000.0),
        Mode::FanOut => rounds(stage, plan, 1),
        Mode::Burst => rounds(stage, plan, plan.burst.into()),
        Mode::Publish => publish(stage, plan),
        Mode::Poll => poll(stage, plan),
        Mode::Lone => lone::run(stage, plan),
        Mode::Churn => churn(stage, plan),
        Mode::Herd => herd::run(stage, plan),
        Mode::Random => at_random(stage, plan),
    }
}

pub(super) fn kind(plan: &Plan) -> Kind {
    match plan.transport.as_str() {
        "long-poll" | "early" | "poll" => Kind::LongPoll,
        _ => Kind::Stream,
    }
}

/// A measurement that has begun.
pub(super) struct Window {
    cpu: u64,
    since: Instant,
    asked: u64,
    trace: Option<Trace>,
}

impl Window {
    pub(super) fn open(stage: &Stage, plan: &Plan) -> Result<Window, String> {
        let watch = plan.watch();
        let trace = watch.map(|watch| watch.start(&stage.processes));
        let trace = trace.transpose()?;
        Ok(Window {
            trace,
            cpu: measure::cpu_ns(&stage.processes),
            since: Instant::now(),
            asked: stage.publisher.asked,
        })
    }

    /// The report of what was done since, with so many units of work in it.
    pub(super) fn close(
        self,
        stage: &mut Stage,
        plan: &Plan,
        units: u64,
    ) -> Result<Report, String> {
        let cpu = measure::cpu_ns(&stage.processes) - self.cpu;
        let seconds = self.since.elapsed().as_secs_f64();
        let publishes = stage.publisher.asked - self.asked;
        let syscalls = match self.trace {
            Some(trace) => trace.finish()?,
            None => BTreeMap::new(),
        };
        let (counts, delays) = stage.snapshot()?;
        Ok(Report {
            server: stage.server.description.name.clone(),
            version: stage.server.description.version(),
            command: command_line(),
            machine: Machine::read(),
            mode: plan.mode,
            transport: plan.transport.clone(),
            subscribers: plan.subscribers,
            channels: plan.channels,
            size: plan.size,
            rate: plan.rate,
            seconds,
            publishes,
            units,
            cpu_ns: cpu,
            counts,
            syscalls,
            delays: Delays::of(&delays),
            parked: None,
            back: Delays::default(),
            undisturbed: Delays::default(),
            overflows: None,
        })
    }
}

/// Runs something again and again, first unmeasured and then measured, and returns how often it was
/// measured.
fn repeat(
    stage: &mut Stage,
    plan: &Plan,
    mut step: impl FnMut(&mut Stage) -> Result<(), String>,
) -> Result<(Window, u64), String> {
    let warm_until = Instant::now() + Duration::from_secs_f64(plan.warm_up);
    loop {
        step(stage)?;
        if Instant::now() >= warm_until {
            break;
        }
    }
    if !plan.mode.is_leaving() {
        stage.wait_until_parked(plan)?;
    }
    stage.reset()?;
    let window = Window::open(stage, plan)?;
    let until = Instant::now() + Duration::from_secs_f64(plan.seconds);
    let mut count = 0;
    loop {
        step(stage)?;
        count += 1;
        if Instant::now() >= until {
            if !plan.mode.is_leaving() {
                stage.wait_until_parked(plan)?;
            }
            return Ok((window, count));
        }
    }
}

fn park(stage: &mut Stage, plan: &Plan) -> Result<Report, String> {
    stage.hire(plan, kind(plan), 0)?;
    let before = Memory::read(&stage.processes);
    let arrival = match plan.mode {
        Mode::Idle => None,
        _ => Some(Window::open(stage, plan)?),
    };
    stage.connect(plan, 0)?;
    std::thread::sleep(REST);
    let after = Memory::read(&stage.processes);
    let window = match arrival {
        Some(window) => window,
        None => {
            let window = Window::open(stage, plan)?;
            std::thread::sleep(Duration::from_secs_f64(plan.seconds));
            window
        }
    };
    let mut report = window.close(stage, plan, plan.subscribers.into())?;
    report.parked = Some(Parked::between(&before, &after, plan.subscribers.into()));
    Ok(report)
}

/// So many messages to each, and the next when all have them.
fn rounds(stage: &mut Stage, plan: &Plan, each: u64) -> Result<Report, String> {
    stage.hire(plan, kind(plan), each)?;
    stage.connect(plan, 0)?;
    let mut seq = 0;
    let mut had = 0;
    let (window, count) = repeat(stage, plan, |stage| {
        for _ in 0..each {
            seq += 1;
            for channel in 0..plan.channels {
                stage.publisher.add(channel, seq, now_ns(), plan.size);
            }
        }
        if stage.reached() == 0 {
            had = 0;
        }
        had += each;
        stage.wait("all to receive", |stage| {
            stage.publisher.open() == 0 && stage.have_all_reached(had)
        })
    })?;
    window.close(stage, plan, count * each * u64::from(plan.subscribers))
}

/// Publishes at set times whatever becomes of the earlier ones; delays count from those times.
fn at_rate(stage: &mut Stage, plan: &Plan, rate: f64) -> Result<Report, String> {
    stage.hire(plan, kind(plan), 0)?;
    stage.connect(plan, 0)?;
    let mut sender = Sender::new(plan, rate);
    sender.run(stage, plan, plan.warm_up)?;
    settle(stage, sender.deliveries(plan))?;
    stage.reset()?;
    let before = sender.deliveries(plan);
    let window = Window::open(stage, plan)?;
    sender.run(stage, plan, plan.seconds)?;
    let units = sender.deliveries(plan) - before;
    settle(stage, units)?;
    window.close(stage, plan, units)
}

/// Waits until so much has been received, or nothing more comes.
pub(crate) fn settle(stage: &mut Stage, wanted: u64) -> Result<(), String> {
    let mut last = 0;
    let mut since = Instant::now();
    loop {
        stage.turn(Some(Duration::from_millis(20)))?;
        let (counts, _) = stage.snapshot()?;
        if counts.received >= wanted || since.elapsed() > LATE {
            return Ok(());
        }
        if counts.received != last {
            last = counts.received;
            since = Instant::now();
        }
    }
}

/// Events at random times, measured while they go on: neither the first nor the last are. Checks that
/// all that was published has arrived in the end.
fn at_random(stage: &mut Stage, plan: &Plan) -> Result<Report, String> {
    stage.hire(plan, kind(plan), 0)?;
    stage.connect(plan, 0)?;
    let rate = if plan.rate > 0.0 { plan.rate } else { 10.0 };
    let mut sender = Sender::at_random(plan, rate);
    sender.run(stage, plan, plan.warm_up)?;
    let before = stage.reset()?.received;
    let window = Window::open(stage, plan)?;
    sender.run(stage, plan, plan.seconds)?;
    let mut report = window.close(stage, plan, 0)?;
    report.units = report.counts.received;
    if plan.every.is_some() {
        stage.tell(&Command::Fetch)?;
    }
    let wanted = sender.deliveries(plan) - before;
    settle(stage, wanted)?;
    let (counts, _) = stage.snapshot()?;
    match counts.faults() == 0 && counts.received == wanted {
        true => Ok(report),
        false => Err(format!("of {wanted} messages not all arrived")),
    }
}

/// Publishes at set times.
pub(crate) struct Sender {
    seqs: Vec<u64>,
    /// Publishes in all, or events a second on each channel.
    rate: f64,
    arrivals: Arrivals,
}

/// The times at which messages are published.
enum Arrivals {
    /// At even times, to one channel after another: to this one next.
    Even(u32),
    /// At random times (Poisson), on each channel by itself.
    Random(fastrand::Rng),
}

impl Sender {
    /// Publishes so many messages a second, at even times, to one channel after another.
    pub(crate) fn new(plan: &Plan, rate: f64) -> Sender {
        Sender {
            seqs: vec![0; plan.channels as usize],
            rate,
            arrivals: Arrivals::Even(0),
        }
    }

    fn at_random(plan: &Plan, rate: f64) -> Sender {
        Sender {
            arrivals: Arrivals::Random(fastrand::Rng::with_seed(plan.seed)),
            ..Sender::new(plan, rate)
        }
    }

    /// The events of so many seconds, in order: nanoseconds from now, and channels.
    fn events(&mut self, channels: u32, seconds: f64) -> Vec<(u64, u32)> {
        let end = seconds * 1e9;
        match &mut self.arrivals {
            Arrivals::Even(next) => {
                let interval = 1e9 / self.rate;
                let count = (end / interval) as u64;
                let first = *next;
                let channel = |number: u64| (u64::from(first) + number) % u64::from(channels);
                *next = channel(count) as u32;
                let event = |number| ((number as f64 * interval) as u64, channel(number) as u32);
                (0..count).map(event).collect()
            }
            Arrivals::Random(rng) => {
                let mut events = Vec::new();
                for channel in 0..channels {
                    let mut at = 0.0;
                    loop {
                        at += -(1.0 - rng.f64()).ln() * 1e9 / self.rate;
                        if at >= end {
                            break;
                        }
                        events.push((at as u64, channel));
                    }
                }
                events.sort_unstable();
                events
            }
        }
    }

    pub(crate) fn run(
        &mut self,
        stage: &mut Stage,
        plan: &Plan,
        seconds: f64,
    ) -> Result<(), String> {
        let events = self.events(plan.channels, seconds);
        let mut events = events.into_iter().peekable();
        let start = now_ns();
        let end = start + (seconds * 1e9) as u64;
        loop {
            let now = now_ns();
            while let Some((at, channel)) = events.next_if(|(at, _)| start + at <= now) {
                let seq = &mut self.seqs[channel as usize];
                *seq += 1;
                stage.publisher.add(channel, *seq, start + at, plan.size);
            }
            let next = events.peek().map_or(end, |(at, _)| start + at);
            stage.turn(Some(Duration::from_nanos(next.saturating_sub(now_ns()))))?;
            if events.peek().is_none() && now_ns() >= end {
                return Ok(());
            }
        }
    }

    /// The number of receipts that all messages sent should lead to.
    pub(crate) fn deliveries(&self, plan: &Plan) -> u64 {
        let audience = |channel: usize| {
            let channel = channel as u32;
            let rest = u32::from(channel < plan.subscribers % plan.channels);
            u64::from(plan.subscribers / plan.channels + rest)
        };
        let seqs = self.seqs.iter().enumerate();
        seqs.map(|(channel, seq)| seq * audience(channel)).sum()
    }
}

fn publish(stage: &mut Stage, plan: &Plan) -> Result<Report, String> {
    let mut seq = 0;
    let mut delays = histogram();
    let mut open = VecDeque::new();
    let (mut window, _) = repeat(stage, plan, |stage| {
        publish_some(stage, plan, &mut seq, &mut open, &mut delays)
    })?;
    stage.wait("answers", |stage| stage.publisher.open() == 0)?;
    // Publishes that were open when the window opened were answered in it, so they count.
    let units = stage.publisher.asked - window.asked;
    window.asked = stage.publisher.asked - units;
    let mut report = window.close(stage, plan, units)?;
    report.delays = Delays::of(&delays);
    Ok(report)
}

fn publish_some(
    stage: &mut Stage,
    plan: &Plan,
    seq: &mut u64,
    open: &mut VecDeque<u64>,
    delays: &mut Histogram<u64>,
) -> Result<(), String> {
    for _ in 0..200 {
        while stage.publisher.open() < plan.depth.into() {
            *seq += 1;
            let now = now_ns();
            stage.publisher.add(0, *seq, now, plan.size);
            open.push_back(now);
        }
        stage.turn(Some(Duration::from_secs(1)))?;
        let now = now_ns();
        while open.len() as u64 > stage.publisher.open() {
            if let Some(since) = open.pop_front() {
                delays.saturating_record(now - since);
            }
        }
    }
    Ok(())
}

fn poll(stage: &mut Stage, plan: &Plan) -> Result<Report, String> {
    stage.hire(plan, Kind::Poll, 0)?;
    stage.connect(plan, 0)?;
    let answers = u64::from(plan.subscribers).max(500) * 10;
    let mut had = 0;
    let (window, count) = repeat(stage, plan, |stage| {
        if stage.reached() == 0 {
            had = 0;
        }
        stage.tell(&Command::Poll { answers })?;
        had += answers * stage.worker_count();
        stage.wait("answers", |stage| stage.reached() >= had)
    })?;
    let units = count * answers * stage.worker_count();
    window.close(stage, plan, units)
}

fn churn(stage: &mut Stage, plan: &Plan) -> Result<Report, String> {
    stage.hire(plan, kind(plan), 0)?;
    let mut seq = 0;
    let mut back = histogram();
    let mut published: Option<Instant> = None;
    let (window, count) = repeat(stage, plan, |stage| {
        stage.connect(plan, seq)?;
        if let Some(published) = published {
            back.saturating_record(published.elapsed().as_nanos() as u64);
        }
        published = Some(Instant::now());
        seq += 1;
        for channel in 0..plan.channels {
            stage.publisher.add(channel, seq, now_ns(), plan.size);
        }
        stage.wait("all to have their message", |stage| {
            stage.publisher.open() == 0 && stage.have_all_left()
        })
    })?;
    let mut report = window.close(stage, plan, count * u64::from(plan.subscribers))?;
    report.back = Delays::of(&back);
    Ok(report)
}
