//! One subscriber apart, on a channel of its own, while all others are served without a pause: how
//! long it has to wait for its turn.

use std::time::Duration;

use super::plan::Plan;
use super::stage::Stage;
use super::window::{Window, kind};
use crate::measure::Delays;
use crate::net::{self, now_ns};
use crate::report::Report;

/// Messages a second to the one apart.
const RATE: f64 = 200.0;

pub(super) fn run(stage: &mut Stage, plan: &Plan) -> Result<Report, String> {
    stage.hire(plan, kind(plan), 1)?;
    stage.hire_one_apart(plan, kind(plan))?;
    stage.connect(plan, 0)?;
    net::be_eager();
    let mut load = Load::default();
    load.run(stage, plan, plan.warm_up, true)?;
    load.run(stage, plan, plan.seconds / 2.0, false)?;
    let (_, undisturbed) = stage.snapshot_apart()?;
    load.reset(stage)?;
    let window = Window::open(stage, plan)?;
    load.run(stage, plan, plan.seconds, true)?;
    let (_, disturbed) = stage.snapshot_apart()?;
    let units = load.rounds * u64::from(plan.subscribers) + load.sent;
    let mut report = window.close(stage, plan, units)?;
    report.undisturbed = Delays::of(&undisturbed);
    report.delays = Delays::of(&disturbed);
    Ok(report)
}

/// The messages published, to all and to the one.
#[derive(Default)]
struct Load {
    seq: u64,
    seq_apart: u64,
    /// Since the last reset.
    rounds: u64,
    sent: u64,
}

impl Load {
    fn reset(&mut self, stage: &mut Stage) -> Result<(), String> {
        stage.reset()?;
        self.rounds = 0;
        self.sent = 0;
        Ok(())
    }

    /// Publishes to the one at a rate and, if so wanted, to all others whenever they have the last.
    fn run(
        &mut self,
        stage: &mut Stage,
        plan: &Plan,
        seconds: f64,
        disturbs: bool,
    ) -> Result<(), String> {
        self.reset(stage)?;
        let interval = (1e9 / if plan.rate > 0.0 { plan.rate } else { RATE }) as u64;
        let start = now_ns();
        let end = start + (seconds * 1e9) as u64;
        let mut due = start;
        while due < end {
            let now = now_ns();
            while due <= now {
                self.seq_apart += 1;
                self.sent += 1;
                stage
                    .publisher
                    .add(plan.channels, self.seq_apart, due, plan.size);
                due += interval;
            }
            if disturbs && stage.have_all_reached(self.rounds) {
                self.seq += 1;
                self.rounds += 1;
                for channel in 0..plan.channels {
                    stage.publisher.add(channel, self.seq, now, plan.size);
                }
            }
            let left = due.saturating_sub(now_ns());
            stage.turn(Some(Duration::from_nanos(left)))?;
        }
        let rounds = self.rounds;
        stage.wait("the last messages", |stage| {
            stage.publisher.open() == 0 && stage.have_all_reached(rounds)
        })
    }
}
