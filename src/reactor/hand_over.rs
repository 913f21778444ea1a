//! The side of the old process in an upgrade: its begin, its waits, and the hand-over itself.
//!
//! Owns the order. While the new process starts, this one serves as before. Then the threads that
//! save history, the thread of standard input and the node of a cluster, whose commands have to be
//! answered, are brought to rest. Then, between two ticks, the loop stops, writes its state, sends it
//! with all descriptors, and sends `go`. Every step before `go` is undone if the upgrade fails, except
//! that closed connections are closed; then the loop continues. After `go` it never continues.

use std::io::{BufWriter, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::Reactor;
use super::upgrade::{End, Means, time};
use crate::handover::{
    self, Attempt, Failure, Fault, Go, Hello, Message, NewProcess, Program, Stage, Waiting,
};
use encke_core::base::time::millis;
use encke_core::engine::UpgradeResult;
use encke_core::frozen::Freezer;
use encke_core::log::cluster::Unrest;

/// Bytes of the state that are written at a time.
const BUFFER_BYTES: usize = 256 << 10;

/// The longest wait for the new process to report that it serves. It has everything by then, so a
/// longer delay only means that the machine is busy.
const SERVING_TIMEOUT: Duration = Duration::from_secs(1);

/// The longest time without service, from when the state is written. A connection takes some
/// microseconds, so a process that is not done by then hangs, or the machine does.
const PAUSE_LIMIT: Duration = Duration::from_secs(3);

/// Bytes of the state for which that time is a second longer.
const BYTES_A_SECOND: u64 = 100_000_000;

const UNDER_WAY: &str = "upgrade: one is under way already";

impl Reactor {
    /// Allows upgrades, to a program.
    pub(crate) fn upgrade_to(&mut self, program: Program, notify: Box<dyn FnMut(Stage) + Send>) {
        self.upgrade.means = Some(Means { program, notify });
    }

    /// Begins an upgrade, unless one is under way or the server drains.
    pub(super) fn begin_upgrade(&mut self) {
        if self.engine.is_draining() {
            return log::info!("upgrade: not while the server drains");
        }
        if self.upgrade.attempt.is_some() {
            return log::info!("{UNDER_WAY}");
        }
        match self.start_upgrade() {
            Ok(attempt) => {
                self.upgrade.attempt = Some(attempt);
                self.upgrade.notify(Stage::Begun);
            }
            Err(failure) => {
                self.count_upgrade(failure.result());
                handover::report(&failure);
            }
        }
    }

    fn start_upgrade(&mut self) -> Result<Attempt, Failure> {
        let impossible = |why: &str| Err(Failure::Impossible(why.into()));
        let Some(means) = &self.upgrade.means else {
            return impossible("this program does not allow it");
        };
        if let Some(unrest @ Unrest::Halted) = self.engine.unrest() {
            return impossible(&unrest.to_string());
        }
        if std::process::id() == 1 {
            return impossible(
                "this is process 1, with which its container ends; start another container, and stop \
                 this one",
            );
        }
        if self.saving.as_ref().is_some_and(|saving| !saving.works()) {
            return impossible("history cannot be saved at present");
        }
        let program = means.program.clone();
        log::info!("upgrade: starting {}", program.path().display());
        let (hello, descriptors) = self
            .hello()
            .map_err(|error| Failure::System("cannot hand over a descriptor", error))?;
        // If settings are reloaded from here on, the new process may have read older ones.
        self.inbox.take_noted_reload();
        let until = Instant::now() + self.upgrade.timeout;
        Attempt::begin(program, hello, descriptors, until, self.inbox.bell())
    }

    /// The hello, and its descriptors: standard input and the listening sockets.
    fn hello(&self) -> std::io::Result<(Hello, Vec<OwnedFd>)> {
        let mut descriptors = vec![rustix::stdio::stdin().try_clone_to_owned()?];
        let mut opened = Vec::with_capacity(self.listeners.len());
        for listener in &self.listeners {
            opened.push(listener.opened());
            descriptors.push(listener.fd.try_clone()?);
        }
        let hello = Hello {
            version: env!("CARGO_PKG_VERSION").into(),
            formats: self.engine.formats().into(),
            timeout_ms: millis(self.upgrade.timeout),
            opened,
            data_dir: self.upgrade.data_dir.clone(),
            cluster: self.upgrade.cluster.clone(),
        };
        Ok((hello, descriptors))
    }

    /// Takes the next step of the upgrade that is under way, at the end of a tick.
    pub(super) fn continue_upgrade(&mut self) {
        if self.upgrade.attempt.is_none() {
            return;
        }
        if let Err(failure) = self.step_upgrade() {
            self.fail_upgrade(failure);
        }
    }

    fn step_upgrade(&mut self) -> Result<(), Failure> {
        let Some(attempt) = &self.upgrade.attempt else {
            return Ok(());
        };
        let is_late = Instant::now() >= attempt.until();
        let late = |when| Err(Failure::Broken(Fault::TimedOut, when));
        if self.upgrade.started.is_none() {
            match attempt.news() {
                Some(started) => self.upgrade.started = Some(started?),
                // The attempt may fail before there is a process.
                None if is_late => return late("before it was ready"),
                None => return Ok(()),
            }
            if let Some(saving) = &mut self.saving {
                saving.rest(true);
            }
        }
        if !self.come_to_rest() {
            return match is_late {
                true => late("before everything was at rest"),
                false => Ok(()),
            };
        }
        match self.rest_cluster() {
            None => self.hand_over(),
            Some(unrest) if is_late => Err(Failure::Unrest(unrest)),
            Some(_) => Ok(()),
        }
    }

    /// Asks the other threads to come to rest. Returns whether none is at work any more.
    fn come_to_rest(&mut self) -> bool {
        let saving = self.saving.as_ref();
        if saving.is_some_and(|saving| !saving.has_rested()) {
            return false;
        }
        if let Some(producer) = &mut self.producer {
            producer.pause();
            if !producer.is_paused() {
                // It may wait for space, behind a message that waits for memory.
                if self.inbox.is_stalled() {
                    self.inbox.make_space();
                }
                return false;
            }
        }
        let is_taken = self.inbox.len() == 0 || self.inbox.is_stalled();
        is_taken && saving.is_none_or(|saving| saving.is_at_rest())
    }

    /// Hands everything over. Nothing is served in the meantime.
    fn hand_over(&mut self) -> Result<(), Failure> {
        let stopped = Instant::now();
        while self.close_next() {}
        let handed_over = self.send_everything(stopped);
        if handed_over.is_err() {
            let pause = stopped.elapsed().as_micros() as u64;
            self.engine.gauges().upgrades.pause_us.record(pause);
            if self.inbox.take_requested_upgrade() {
                log::info!("{UNDER_WAY}");
            }
        }
        handed_over
    }

    fn send_everything(&mut self, stopped: Instant) -> Result<(), Failure> {
        let system = |error| Failure::System("cannot write the state", error);
        let broken = |fault| match fault {
            Fault::GivenUp => Failure::Drained,
            fault => Failure::Broken(fault, "before it had taken over"),
        };
        let Some(started) = self.upgrade.started.clone() else {
            return Err(Failure::Impossible("there is no new process".into()));
        };
        let memory = handover::create().map_err(system)?;
        let mut writer = BufWriter::with_capacity(BUFFER_BYTES, memory);
        let state = Freezer::of_format(&mut writer, started.format);
        let lock = self.freeze(stopped, state).map_err(system)?;
        writer.flush().map_err(system)?;
        let memory = writer.into_inner().map_err(|error| system(error.into()))?;
        handover::seal(&memory).map_err(system)?;
        let bytes = memory.metadata().map_err(system)?.len();

        let Some(attempt) = &self.upgrade.attempt else {
            return Err(Failure::Impossible("there is no new process".into()));
        };
        let count = self.engine.connection_count();
        let clock = (self.started, self.first_time);
        let (callbacks, inbox) = (&mut self.callbacks, &self.inbox);
        // Feeds the watchdog of the service manager, and handles signals.
        let mut meanwhile = || {
            callbacks.run_due(time(clock, Instant::now()));
            callbacks.run_readable();
            !inbox.is_drain_requested()
        };
        let until = attempt.until().min(Instant::now() + pause_limit(bytes));
        let mut waiting = Waiting {
            until,
            meanwhile: &mut meanwhile,
        };
        let channel = attempt.channel();
        let state = Message::State {
            bytes,
            descriptors: (count + lock.iter().len()) as u64,
        };
        let descriptors = lock.iter().map(AsFd::as_fd);
        let descriptors = descriptors.chain(self.sockets.descriptors());
        let sent = channel.send(&state, &[memory.as_fd()], &mut waiting);
        let sent = sent.and_then(|()| channel.send_descriptors(descriptors, &mut waiting));
        match sent {
            // The process may have sent the reason before.
            Ok(()) | Err(Fault::Ended) => {}
            Err(fault) => return Err(broken(fault)),
        }
        match channel.receive(&mut waiting).map_err(broken)?.0 {
            Message::Taken => {}
            Message::Refused { reason } => return Err(Failure::Refused(reason)),
            other => return Err(broken(other.instead_of("taken"))),
        }
        // The last moment for a signal to this process.
        self.callbacks.run_readable();
        if self.inbox.is_drain_requested() {
            return Err(Failure::Drained);
        }
        // The deadline of the new process is later, so it still waits for `Go`.
        if Instant::now() >= until {
            return Err(broken(Fault::TimedOut));
        }
        let reload = self.inbox.take_noted_reload();
        let sent = Waiting::until(until, |waiting| {
            channel.send(&Message::Go(Go { reload }), &[], waiting)
        });
        sent.map_err(broken)?;
        let until = Instant::now() + SERVING_TIMEOUT;
        match Waiting::until(until, |waiting| channel.receive(waiting)) {
            Err(Fault::Ended) => self.lose(&started),
            _ => self.leave(&started, count, stopped),
        }
        Ok(())
    }

    /// The new process was sent `Go` and has ended. It may have read from sockets and written to
    /// them, so this process cannot continue: it ends with an error.
    fn lose(&mut self, started: &NewProcess) {
        self.upgrade.end = Some(End::Lost);
        if let Some(attempt) = self.upgrade.attempt.take() {
            attempt.lose();
        }
        log::error!(
            "upgrade: process {}, encke {}, was told to serve and has ended",
            started.pid,
            started.version
        );
    }

    /// The new process serves: this one reports it, and ends.
    fn leave(&mut self, started: &NewProcess, count: usize, stopped: Instant) {
        self.upgrade.end = Some(End::HandedOver);
        self.upgrade.notify(Stage::Done { pid: started.pid });
        if let Some(attempt) = self.upgrade.attempt.take() {
            attempt.succeed();
        }
        log::info!(
            "upgrade: handed {count} connections over to process {}, encke {}, in {} ms",
            started.pid,
            started.version,
            stopped.elapsed().as_millis()
        );
        // A signal that came too late is for the new process.
        self.callbacks.run_readable();
        let Some(pid) = Pid::from_raw(started.pid as i32) else {
            return;
        };
        let late = [
            (self.inbox.take_noted_reload(), Signal::HUP),
            (self.inbox.is_drain_requested(), Signal::TERM),
        ];
        for (is_late, signal) in late {
            if is_late {
                // Sending a signal fails only if the process has ended.
                let _ = kill_process(pid, signal);
            }
        }
    }

    /// Ends the upgrade that is under way, if there is one. This process continues to serve.
    pub(super) fn fail_upgrade(&mut self, failure: Failure) {
        let Some(attempt) = self.upgrade.attempt.take() else {
            return;
        };
        if self.upgrade.started.take().is_some() {
            if let Some(saving) = &mut self.saving {
                saving.rest(false);
            }
            if let Some(producer) = &mut self.producer {
                producer.go_on();
            }
            if let Some(node) = self.engine.cluster() {
                node.rest(false);
            }
        }
        self.count_upgrade(failure.result());
        self.upgrade.notify(Stage::Failed);
        self.upgrade.ending = Some(attempt.fail(failure));
    }

    fn count_upgrade(&mut self, result: UpgradeResult) {
        self.engine.gauges().upgrades.results[result as usize] += 1;
    }
}

/// The longest time for which the new process may rebuild a state of this size.
fn pause_limit(bytes: u64) -> Duration {
    PAUSE_LIMIT + Duration::from_millis(bytes / (BYTES_A_SECOND / 1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pause_is_longer_for_a_large_state() {
        assert_eq!(pause_limit(0), Duration::from_secs(3));
        assert_eq!(pause_limit(250_000_000), Duration::from_millis(5_500));
    }
}
