//! The side of the new process in an upgrade: a loop that continues where that of the old process
//! stopped.
//!
//! Owns the order: everything is rebuilt and checked; the new process reports that it has taken
//! everything; it waits for `Go`. Until then it changes nothing that both processes share.

use mio::Poll;

use super::arrival::{Arrival, Prepared, Thawed, receive};
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
    /// A loop that takes over everything but the listening sockets. Returns it with the bytes of
    /// standard input that the old process had read and not published.
    ///
    /// # Errors
    ///
    /// The old process broke off, or its state or a descriptor cannot be taken over.
    pub(crate) fn take_over(
        poll: Poll,
        mut inbox: Inbox,
        config: &Config,
        take_over: TakeOver,
        prepared: Prepared,
    ) -> Result<(Reactor, Input), TakeOverError> {
        let received = receive(&poll, &inbox, config, &take_over, prepared);
        let Thawed {
            engine,
            sockets,
            state,
            addresses,
            saving,
            clock: (started, first_time),
        } = received.inspect_err(|error| take_over.refuse(error))?;
        inbox.hold(state.waiting);
        inbox.go_on(state.sent);
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

    /// Whether this process still waits for `Go`.
    pub(crate) fn is_arriving(&self) -> bool {
        self.arrival.is_some()
    }

    /// Calls `run` once the old process has ended, with whether the settings are to be read again.
    pub(crate) fn when_taken_over(&mut self, run: Box<dyn FnOnce(bool) + Send>) {
        if let Some(arrival) = &mut self.arrival {
            arrival.then = run;
        }
    }

    /// Reports that everything is taken, and waits for `Go`. Does nothing if there is no old
    /// process.
    ///
    /// # Errors
    ///
    /// `Go` did not come: the old process continues to serve.
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
        // From here on the old process no longer serves, so no failure below may end this one.
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
