//! Many long polls on one channel that all have their answer at the same time, and all come back:
//! at once or as the answers advise, by their connections or by new ones, and after a drain to
//! another server. One subscriber apart, on a channel of its own, is served meanwhile.
//!
//! Owns the rounds. Whether all are back is asked of the server, on a thread of its own, so that
//! the one apart is sent its messages on time.

use std::net::SocketAddrV4;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::process::Signal;

use super::parked::wait_until_parked;
use super::plan::Plan;
use super::stage::Stage;
use super::window::{Window, settle};
use crate::measure::{Delays, Overflows, histogram};
use crate::net::{self, now_ns};
use crate::report::Report;
use crate::server::Server;
use crate::worker::{Kind, Returns};

/// Messages a second to the one apart.
const RATE: f64 = 200.0;

pub(super) fn run(stage: &mut Stage, plan: &Plan) -> Result<Report, String> {
    let can_tell = stage.server.description.parked.is_some();
    if plan.transport != "long-poll" || !can_tell || plan.channels != 1 {
        return Err("a herd is of long polls (-t long-poll) on one channel, at a server that counts parked subscribers".into());
    }
    let there = stage.server.address;
    let leaving = match plan.drain {
        None => None,
        Some(_) => Some(Server::start(
            stage.server.description.clone(),
            plan.pin_server,
            plan.pin_driver,
        )?),
    };
    let first = leaving.as_ref().map_or(there, |server| server.address);
    stage.hire_as(plan, Kind::LongPoll, 1, |config| {
        config.server = first;
        config.returns = Some(Returns {
            heeds: plan.heed,
            renews: plan.renew,
            elsewhere: there,
        });
    })?;
    stage.hire_one_apart(plan, Kind::LongPoll)?;
    stage.connect_to(plan, 0, first)?;
    net::be_eager();
    let mut herd = Herd::new(plan);
    herd.serve_apart(stage, plan.seconds / 2.0)?;
    let (_, undisturbed) = stage.snapshot_apart()?;
    stage.reset()?;
    herd.sent = 0;

    let before = Overflows::read();
    let window = Window::open(stage, plan)?;
    let rounds = match &leaving {
        Some(server) => herd.leave(stage, plan, server)?,
        None => herd.rounds(stage, plan)?,
    };
    let overflows = Overflows::read().since(before);
    let units = rounds * u64::from(plan.subscribers) + herd.sent;
    settle(stage, units)?;
    let (_, disturbed) = stage.snapshot_apart()?;
    let mut report = window.close(stage, plan, units)?;
    report.undisturbed = Delays::of(&undisturbed);
    report.delays = Delays::of(&disturbed);
    report.back = Delays::of(&herd.back);
    report.overflows = Some(overflows);
    Ok(report)
}

/// The messages published, and the times the herd took to come back.
struct Herd {
    channel_apart: u32,
    size: u32,
    interval: u64,
    /// The time of the next message to the one apart.
    due: u64,
    seq: u64,
    seq_apart: u64,
    /// To the one apart since the last reset.
    sent: u64,
    back: Histogram<u64>,
}

impl Herd {
    fn new(plan: &Plan) -> Herd {
        let rate = if plan.rate > 0.0 { plan.rate } else { RATE };
        Herd {
            channel_apart: plan.channels,
            size: plan.size,
            interval: (1e9 / rate) as u64,
            due: now_ns(),
            seq: 0,
            seq_apart: 0,
            sent: 0,
            back: histogram(),
        }
    }

    /// Sends the one apart what is due, and serves what happens until the next is.
    fn turn(&mut self, stage: &mut Stage) -> Result<(), String> {
        while self.due <= now_ns() {
            self.seq_apart += 1;
            self.sent += 1;
            let publisher = &mut stage.publisher;
            publisher.add(self.channel_apart, self.seq_apart, self.due, self.size);
            self.due += self.interval;
        }
        let left = self.due.saturating_sub(now_ns());
        stage.turn(Some(Duration::from_nanos(left)))
    }

    fn serve_apart(&mut self, stage: &mut Stage, seconds: f64) -> Result<(), String> {
        self.due = now_ns();
        let end = Instant::now() + Duration::from_secs_f64(seconds);
        while Instant::now() < end {
            self.turn(stage)?;
        }
        settle(stage, self.sent)
    }

    /// Publishes to all, each time when all are back from the last, and returns how often.
    fn rounds(&mut self, stage: &mut Stage, plan: &Plan) -> Result<u64, String> {
        let end = Instant::now() + Duration::from_secs_f64(plan.seconds);
        self.due = now_ns();
        let mut rounds = 0;
        while rounds == 0 || Instant::now() < end {
            rounds += 1;
            self.seq += 1;
            let since = Instant::now();
            stage.publisher.add(0, self.seq, now_ns(), plan.size);
            let deadline = since + stage.patience;
            while !stage.have_all_reached(rounds) {
                self.turn(stage)?;
                if Instant::now() > deadline {
                    return Err("not all of the herd were answered".into());
                }
            }
            self.wait_for_all(stage, plan, since)?;
        }
        Ok(rounds)
    }

    /// The server drains; all come back at the other, and have a message there.
    fn leave(&mut self, stage: &mut Stage, plan: &Plan, server: &Server) -> Result<u64, String> {
        self.due = now_ns();
        let since = Instant::now();
        server
            .signal(Signal::TERM)
            .map_err(|error| error.to_string())?;
        self.wait_for_all(stage, plan, since)?;
        self.seq += 1;
        stage.publisher.add(0, self.seq, now_ns(), plan.size);
        stage.wait("all to have a message at the other server", |stage| {
            stage.publisher.open() == 0 && stage.have_all_reached(1)
        })?;
        Ok(1)
    }

    /// Waits until all are parked, and records how long that took.
    fn wait_for_all(
        &mut self,
        stage: &mut Stage,
        plan: &Plan,
        since: Instant,
    ) -> Result<(), String> {
        let told = ask_until_parked(stage, plan, stage.server.address);
        loop {
            match told.try_recv() {
                Ok(result) => {
                    let back = result?.duration_since(since);
                    self.back.saturating_record(back.as_nanos() as u64);
                    return Ok(());
                }
                Err(TryRecvError::Empty) => self.turn(stage)?,
                Err(TryRecvError::Disconnected) => {
                    return Err("the thread that asks for parked subscribers has ended".into());
                }
            }
        }
    }
}

/// Has a thread ask until all are parked, and tell when they were.
fn ask_until_parked(
    stage: &Stage,
    plan: &Plan,
    address: SocketAddrV4,
) -> Receiver<Result<Instant, String>> {
    let (tell, told) = channel();
    let (description, plan) = (stage.server.description.clone(), plan.clone());
    let (run, patience) = (stage.run, stage.patience);
    std::thread::spawn(move || {
        let result = wait_until_parked(&description, &plan, run, address, patience);
        // The receiver is gone if the run has ended early.
        let _ = tell.send(result.map(|()| Instant::now()));
    });
    told
}
