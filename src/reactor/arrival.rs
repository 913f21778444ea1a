//! The new side of an upgrade: a loop that goes on where that of another process has stopped.
//!
//! Owns the order: everything is rebuilt and checked, then it says that it has taken everything, then it
//! waits for the word to serve. Until that comes it changes nothing that both processes share.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;
use std::thread;
use std::time::Instant;

use mio::Poll;

use super::Reactor;
use super::addresses::Addresses;
use super::frozen::{self, Head, Input, State};
use super::gate::AcceptGate;
use super::notices::RateLimitedWarnings;
use super::saving::Saving;
use super::sockets::{Arriving, Sockets, check};
use crate::disk;
use crate::handover::{TakeOver, TakeOverError};
use crate::inbox::Inbox;
use encke_core::base::time::Time;
use encke_core::config::Config;
use encke_core::engine::{Engine, UpgradeResult};
use encke_core::frozen::{ThawError, Thawer};

/// Bytes of the state that are read at a time.
const BUFFER_BYTES: usize = 256 << 10;

/// A loop that is not told to serve yet.
pub(super) struct Arrival {
    take_over: TakeOver,
    head: Head,
    config: Config,
    then: Box<dyn FnOnce(bool) + Send>,
}

/// What comes beside the loop itself.
struct Thawed {
    engine: Engine,
    sockets: Sockets,
    state: State,
    addresses: Addresses,
    saving: Option<Saving>,
    clock: (Instant, Time),
}

impl Reactor {
    /// A loop that takes everything over, but for the listening sockets. Returns it with what is left of
    /// standard input.
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
        let parts = super::Parts {
            sockets,
            warnings: RateLimitedWarnings::since(&engine),
            gate: AcceptGate::paused_until(state.head.paused_until_ms.map(Time)),
            addresses,
            unread: state.unread,
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

    /// Says that everything is taken, and waits until this process is to serve; nothing where there is no
    /// other process.
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
            take_over,
            head,
            config,
            then,
        } = *arrival;
        let version = take_over.version().to_owned();
        for address in take_over.remaining() {
            log::info!("not listening on {address} any more");
        }
        // From here on there is no other process to fall back to: nothing below fails for good.
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

/// Receives the state and the descriptors.
fn receive(
    poll: &Poll,
    inbox: &Inbox,
    max_connections: usize,
    config: &Config,
    take_over: &TakeOver,
    format: u32,
) -> Result<Thawed, TakeOverError> {
    let failed = |error: ThawError| TakeOverError::new("cannot take over", error);
    let registry = poll.registry().try_clone();
    let registry = registry.map_err(|error| failed(error.into()))?;
    let handed = take_over.ready(format)?;
    let memory = BufReader::with_capacity(BUFFER_BYTES, handed.memory);
    let mut thawer = Thawer::new(memory);
    let mut state = frozen::thaw(&mut thawer).map_err(failed)?;
    let mut addresses = Addresses::new(config.max_connections_per_address);
    let checked = check(
        &mut state.records,
        &state.addresses,
        &mut addresses,
        max_connections,
    );
    checked.map_err(failed)?;
    let has_lock = state.disk.is_some();
    if handed.descriptors != state.records.len() + usize::from(has_lock) {
        return Err(failed(ThawError::Damaged("the number of descriptors")));
    }
    let mut lock = None;
    let mut arriving = Arriving::new(&state.records, registry, max_connections);
    // The old process sends no more of them than were not taken yet.
    let (engine, taken) = thread::scope(|scope| {
        let taken = scope.spawn(|| {
            take_over.descriptors(handed.descriptors, |fd| match has_lock && lock.is_none() {
                true => {
                    lock = Some(File::from(fd));
                    Ok(())
                }
                false => arriving.take(fd),
            })
        });
        let engine = Engine::thaw(config, max_connections, fastrand::u64(..), &mut thawer);
        (engine, taken.join())
    });
    taken.map_err(|_| TakeOverError::new("cannot take over", "a thread has panicked"))??;
    let mut engine = engine.map_err(failed)?;
    thawer.finish().map_err(failed)?;
    frozen::compare(&state.records, &engine).map_err(failed)?;
    let is_known = |id| engine.state(id).is_some();
    if !state.unread.iter().copied().all(is_known) {
        return Err(failed(ThawError::Damaged("a deferred read")));
    }
    let sockets = arriving.finish();
    let sockets = sockets.ok_or_else(|| failed(ThawError::Damaged("sockets are missing")))?;
    state.gauges.restore(engine.gauges()).map_err(failed)?;
    let saving = match (&state.disk, lock, &config.saving.dir) {
        (Some(disk), Some(lock), Some(dir)) => {
            let saving = go_on_saving(disk, lock, dir, config, inbox, &mut engine);
            Some(saving.map_err(|error| failed(error.into()))?)
        }
        _ => None,
    };
    let clock = state.head.clock().map_err(|error| failed(error.into()))?;
    Ok(Thawed {
        engine,
        sockets,
        state,
        addresses,
        saving,
        clock,
    })
}

fn go_on_saving(
    disk: &disk::Frozen,
    lock: File,
    dir: &Path,
    config: &Config,
    inbox: &Inbox,
    engine: &mut Engine,
) -> io::Result<Saving> {
    let saver = disk::go_on(disk, lock, dir, config, inbox.bell())?;
    Ok(Saving::go_on(saver, engine))
}
