//! The new side of an upgrade: a loop that goes on where that of another process has stopped.
//!
//! Owns the order: everything is rebuilt and checked, then it says that it has taken everything,
//! then it waits for the word to serve. Until that comes it changes nothing that both processes
//! share.

use mio::Poll;

use super::arrival::{Arrival, Thawed, receive};
use super::frozen::Input;
use super::gate::AcceptGate;
use super::listen::Listener;
use super::notices::RateLimitedWarnings;
use super::{Parts, Reactor};
use crate::handover::{TakeOver, TakeOverError};
use crate::inbox::Inbox;
use encke_core::base::time::Time;
use encke_core::config::Config;
use encke_core::engine::UpgradeResult;

impl Reactor {
    /// A loop that takes everything over, but for the listening sockets. Returns it with what is
    /// left of standard input.
    ///
    /// # Errors
    ///
    /// The old process broke off, or what it hands over cannot be taken.
    pub(crate) fn take_over(
        poll: Poll,
        mut inbox: Inbox,
        max_connections: usize,
        config: &Config,
        take_over: TakeOver,
        format: u32,
    ) -> Result<(Reactor, Input), TakeOverError> {
        let received = receive(&poll, &inbox, max_connections, config, &take_over, format);
        let Thawed {
            engine,
            sockets,
            state,
            addresses,
            saving,
            clock: (started, first_time),
        } = received.inspect_err(|error| take_over.refuse(error))?;
        inbox.hold(state.waiting);
        let arrival = Arrival {
            take_over,
            head: state.head,
            config: config.clone(),
            then: Box::new(|_| {}),
        };
        let parts = Parts {
            sockets,
            warnings: RateLimitedWarnings::since(&engine, &inbox),
            gate: AcceptGate::paused_until(state.head.paused_until_ms.map(Time)),
            addresses,
            deferred_reads: state.deferred_reads,
            started,
            first_time,
        };
        let mut reactor = Reactor::assemble(poll, engine, inbox, parts, config);
        reactor.saving = saving;
        reactor.arrival = Some(Box::new(arrival));
        Ok((reactor, state.input))
    }

    /// Whether it is not told to serve yet.
    pub(crate) fn is_arriving(&self) -> bool {
        self.arrival.is_some()
    }

    /// Calls `run` once the other process has gone, with whether the settings are to be read again.
    pub(crate) fn when_taken_over(&mut self, run: Box<dyn FnOnce(bool) + Send>) {
        if let Some(arrival) = &mut self.arrival {
            arrival.then = run;
        }
    }

    /// Says that everything is taken, and waits until this process is to serve; nothing where there
    /// is no other process.
    ///
    /// # Errors
    ///
    /// It is not to: the old process serves on.
    pub(crate) fn arrive(&mut self) -> Result<(), TakeOverError> {
        let Some(arrival) = &self.arrival else {
            return Ok(());
        };
        let go = arrival.take_over.taken()?;
        let Some(arrival) = self.arrival.take() else {
            return Ok(());
        };
        let Arrival {
            mut take_over,
            head,
            config,
            then,
        } = *arrival;
        let version = take_over.version().to_owned();
        // From here on there is no other process to fall back to: nothing below fails for good.
        for (opened, fd) in take_over.opened().drain(..) {
            Listener::abandon(&opened, &fd);
        }
        for listener in &mut self.listeners {
            listener.own(&config);
        }
        if let Some(saving) = &mut self.saving {
            saving.rest(false);
        }
        if let Some(producer) = &mut self.producer {
            producer.go_on();
        }
        let count = self.engine.connection_count();
        let upgrades = &mut self.engine.gauges().upgrades;
        upgrades.results[UpgradeResult::Done as usize] += 1;
        upgrades.connections += count as u64;
        let pause = head.pause().unwrap_or_default();
        upgrades.pause_us.record(pause.as_micros() as u64);
        log::info!(
            "upgrade: took {count} connections over from encke {version}; nobody was served for {} ms",
            pause.as_millis()
        );
        take_over.serving();
        let mut then = Some(then);
        let run = move || {
            if let Some(then) = then.take() {
                then(go.reload);
            }
        };
        if let Err(error) = self.watch(take_over.into_fd(), Box::new(run)) {
            log::error!("upgrade: cannot watch the old process: {error}");
        }
        Ok(())
    }
}
