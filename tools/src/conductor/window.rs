//! A measurement: what is read when it begins and when it ends, and the wait for what is late.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::plan::Plan;
use super::stage::Stage;
use crate::machine::{Machine, command_line};
use crate::measure::{self, Delays};
use crate::report::Report;
use crate::trace::Trace;
use crate::worker::Kind;

/// The longest wait for late messages when nothing is sent any more.
const LATE: Duration = Duration::from_secs(3);

/// How the clients of a plan read their responses.
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
    /// Requests of publishers before it.
    pub(super) asked: u64,
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
