//! The kinds of load.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::plan::{Mode, Plan};
use super::sender::Sender;
use super::stage::Stage;
use super::window::{Window, kind, settle};
use super::{herd, lone};
use crate::measure::{Delays, Memory, histogram};
use crate::net::now_ns;
use crate::report::{Parked, Report};
use crate::server::Description;
use crate::worker::{Command, Kind};

/// The pause before the memory of parked connections is measured.
const REST: Duration = Duration::from_millis(500);

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

/// Events at random times, measured while they go on: neither the first nor the last are. Checks
/// that all that was published has arrived in the end.
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
