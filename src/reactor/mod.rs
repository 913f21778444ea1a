//! The loop: one thread, one poll, one tick after another.
//!
//! Owns the clock, the sockets and the order of a tick: callbacks, deferred reads, events, commands,
//! accepts, entries of a cluster's log, producers' messages, deferred requests, delivery, saving,
//! commands to a cluster's log, deadlines, closing, the next step of an upgrade. Steps have a budget by
//! count, so that none delays another by more than a few milliseconds. Work that exceeds a budget
//! is remembered here or in the engine and done in the next tick, which then does not sleep.

mod accept;
mod addresses;
mod arrival;
mod callbacks;
mod freeze;
mod frozen;
mod gate;
mod gathering;
mod hand_over;
mod listen;
mod load;
mod node;
mod notices;
mod proxy;
mod readiness;
mod reading;
mod saving;
mod sharing;
mod socket_file;
mod sockets;
mod take_over;
mod upgrade;

pub(crate) use arrival::Prepared;
pub(crate) use frozen::Input;
pub(crate) use listen::Listener;
pub(crate) use upgrade::End;

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};

use crate::cluster::Redis;
use crate::disk::Saver;
use crate::handover::Failure;
use crate::inbox::{Inbox, ServerCommand, Submitted};
use crate::producer::Producer;
use addresses::Addresses;
use arrival::Arrival;
use callbacks::Callbacks;
use encke_core::base::time::Time;
use encke_core::config::Config;
use encke_core::engine::{ConnId, Engine};
use gate::AcceptGate;
use load::Load;
use notices::RateLimitedWarnings;
use saving::Saving;
use sharing::Sharing;
use sockets::Sockets;
use upgrade::Upgrade;

/// Events taken from the poll in one tick; the kernel keeps and rotates the rest.
///
/// A trade-off, together with `DELIVER_BUDGET`. Smaller: less latency behind a broadcast, as 256
/// writes take 1 ms. Larger: fewer calls of `epoll_wait`. With 64, a long poll's cycle cost 8 %
/// more processor time.
const EVENTS: usize = 256;

/// The read buffer; a connection that fills it is read again in the next tick.
const READ_BYTES: usize = 64 << 10;

/// Work, as bytes of responses, after which no more requests are read in one tick: a budget by
/// count alone would let large responses and checks of signatures take too long.
const SPENT_BYTES: usize = 4 << 20;

/// Commands of other threads taken in one tick.
const COMMAND_BUDGET: usize = 16;

/// Producers' messages taken in one tick.
const INBOX_BUDGET: usize = 512;

/// Messages and other effects of a cluster's log that are applied in one tick.
const LOG_BUDGET: usize = 512;

/// The time after which a message for which there was no memory is tried again, unless an event
/// comes before.
const STALL_RETRY: Duration = Duration::from_millis(10);

/// Connections resumed in one tick, of deferred requests and of deferred reads each.
const RESUME_BUDGET: usize = 64;

/// Writes to ready readers in one tick.
const DELIVER_BUDGET: usize = 256;

/// Deadlines served in one tick.
const DEADLINE_BUDGET: usize = 256;

/// Connections whose release is scheduled in one tick of a drain.
const RELEASE_BUDGET: usize = 4_096;

/// Sockets closed in one tick: `close` is the most expensive of all calls.
const CLOSE_BUDGET: usize = 64;

/// The token of the waker. Tokens below 2^32 are not those of connections, whose generation is
/// never 0: they are the waker's, then those of listeners, then those of watched descriptors.
const WAKER: Token = Token(0);

/// The token of the first descriptor that the embedding program watches.
const WATCHED: usize = 1 << 31;

/// The last token that is not a connection's.
const SMALL_TOKENS: usize = u32::MAX as usize;

/// The loop.
pub(crate) struct Reactor {
    poll: Poll,
    events: Events,
    engine: Engine,
    sockets: Sockets,
    listeners: Vec<Listener>,
    first_listener: usize,
    gate: AcceptGate,
    addresses: Addresses,
    inbox: Inbox,
    /// Connections with a deferred read, each once.
    deferred_reads: VecDeque<ConnId>,
    buffer: Box<[u8]>,
    /// The moment of the engine's first time.
    started: Instant,
    first_time: Time,
    /// `None`: history is in memory only.
    saving: Option<Saving>,
    /// `None`: the server is no node of a cluster.
    sharing: Option<Sharing>,
    load: Load,
    warnings: RateLimitedWarnings,
    callbacks: Callbacks,
    /// Standard input, if it is read.
    producer: Option<Producer>,
    upgrade: Upgrade,
    /// `Some`: another process serves, which this one is to take over.
    arrival: Option<Box<Arrival>>,
}

/// The parts that a loop creates itself.
struct Parts {
    sockets: Sockets,
    gate: AcceptGate,
    addresses: Addresses,
    deferred_reads: VecDeque<ConnId>,
    started: Instant,
    first_time: Time,
    warnings: RateLimitedWarnings,
}

impl Reactor {
    /// Creates a poll and its waker, of which there may be only one.
    pub(crate) fn poll() -> io::Result<(Poll, Waker)> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        Ok((poll, waker))
    }

    /// A loop that serves no address yet. `max_connections` is the engine's.
    pub(crate) fn new(
        poll: Poll,
        engine: Engine,
        inbox: Inbox,
        max_connections: usize,
        config: &Config,
    ) -> io::Result<Reactor> {
        let registry = poll.registry().try_clone()?;
        let parts = Parts {
            sockets: Sockets::new(registry, max_connections),
            gate: AcceptGate::new(),
            addresses: Addresses::new(config.max_connections_per_address),
            deferred_reads: VecDeque::new(),
            started: Instant::now(),
            first_time: engine.now(),
            warnings: RateLimitedWarnings::default(),
        };
        Ok(Reactor::assemble(poll, engine, inbox, parts, config))
    }

    fn assemble(
        poll: Poll,
        engine: Engine,
        inbox: Inbox,
        parts: Parts,
        config: &Config,
    ) -> Reactor {
        Reactor {
            sockets: parts.sockets,
            poll,
            events: Events::with_capacity(EVENTS),
            first_time: parts.first_time,
            engine,
            listeners: Vec::new(),
            first_listener: 0,
            gate: parts.gate,
            addresses: parts.addresses,
            inbox,
            deferred_reads: parts.deferred_reads,
            buffer: vec![0; READ_BYTES].into(),
            started: parts.started,
            saving: None,
            sharing: None,
            load: Load::default(),
            warnings: parts.warnings,
            callbacks: Callbacks::default(),
            producer: None,
            upgrade: Upgrade::new(config),
            arrival: None,
        }
    }

    /// A function by which other threads wake the loop.
    pub(crate) fn bell(&self) -> impl Fn() + Send + 'static {
        self.inbox.bell()
    }

    /// Saves history. The start has read so many records, and cut off so many bytes.
    pub(crate) fn save_with(&mut self, saver: Saver, read: (u64, u64)) {
        self.saving = Some(Saving::new(saver, &mut self.engine, read));
    }

    /// Shares the log of a cluster, by connections to Redis. The engine is that of a node.
    pub(crate) fn share_by(&mut self, mut redis: Redis) {
        debug_assert!(self.engine.is_node());
        // Those of the process before this one.
        if let Some(before) = self.engine.gauges().reconnects {
            redis.go_on_counting(before);
        }
        self.sharing = Some(Sharing::new(redis));
    }

    /// Serves at a listening socket.
    pub(crate) fn add_listener(&mut self, listener: Listener) -> io::Result<()> {
        let token = Token(1 + self.listeners.len());
        let raw = listener.fd.as_raw_fd();
        let registry = self.poll.registry();
        registry.register(&mut SourceFd(&raw), token, Interest::READABLE)?;
        self.listeners.push(listener);
        Ok(())
    }

    /// Lets the thread of standard input publish.
    pub(crate) fn add_producer(&mut self, producer: Producer) {
        self.producer = Some(producer);
    }

    /// Calls `run` about once per `interval` until the loop ends.
    pub(crate) fn every(&mut self, interval: Duration, run: Box<dyn FnMut() + Send>) {
        self.callbacks.every(interval, run);
    }

    /// Calls `run` whenever `source` has become readable.
    pub(crate) fn watch(
        &mut self,
        source: OwnedFd,
        run: Box<dyn FnMut() + Send>,
    ) -> io::Result<()> {
        self.callbacks
            .watch(source, run, self.poll.registry(), WATCHED)
    }

    /// Runs until a drain is over, or everything is handed over to another process.
    pub(crate) fn run(mut self) -> io::Result<End> {
        while !self.engine.is_drained() || self.leave_cluster() {
            self.tick()?;
            if let Some(end) = self.upgrade.end {
                // Everything is the other process's: nothing is closed, removed or saved.
                mem::forget(self);
                return Ok(end);
            }
        }
        self.upgrade.finish();
        self.finish_saving();
        let unpublished = self.inbox.unpublished();
        if unpublished > 0 {
            log::warn!("{unpublished} messages of producers were not published");
        }
        log::info!(
            "drained; {} connections were left",
            self.engine.connection_count()
        );
        Ok(End::Drained)
    }

    fn finish_saving(&mut self) {
        if let Some(saving) = self.saving.take() {
            saving.finish(&mut self.engine);
        }
    }

    fn tick(&mut self) -> io::Result<()> {
        let woke = self.wait()?;
        let now = self.update_clock(woke);
        self.callbacks.run_due(now);
        let sockets = self.engine.connection_count() + self.listeners.len();
        let gauges = self.engine.gauges();
        gauges.queued = self.inbox.len();
        self.load.sample(now, sockets, gauges);
        self.warnings.log(now, &self.engine, &self.inbox);
        self.resume_reads();
        self.serve_events();
        self.run_commands();
        self.accept(now);
        self.take_cluster_events();
        self.take_messages();
        self.resume_requests();
        self.engine.deliver(DELIVER_BUDGET, &mut self.sockets);
        self.save();
        self.send_cluster_commands();
        self.engine
            .serve_deadlines(DEADLINE_BUDGET, &mut self.sockets);
        self.engine.release_drained(RELEASE_BUDGET);
        self.close();
        self.continue_upgrade();
        Ok(())
    }

    /// Waits for events until the next deadline, or not at all if work is left. Returns the time of
    /// waking.
    fn wait(&mut self) -> io::Result<Instant> {
        let before = Instant::now();
        let has_work = self.engine.has_work()
            || self.inbox.has_work()
            || self.can_accept()
            || self.has_cluster_events()
            || !self.deferred_reads.is_empty();
        let timeout = match has_work {
            true => Some(Duration::ZERO),
            false => self.until_due(before),
        };
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        let woke = Instant::now();
        self.load.slept(before, woke, self.engine.gauges());
        Ok(woke)
    }

    fn until_due(&self, now: Instant) -> Option<Duration> {
        let callback = self.callbacks.next_due();
        let due = [self.engine.next_due(), self.gate.next_due(), callback];
        let due = due.into_iter().flatten().min();
        let until = due.map(|due| {
            let at = self.started + Duration::from_millis(due.0.saturating_sub(self.first_time.0));
            at.saturating_duration_since(now)
        });
        // Memory for the stalled message may become free without an event.
        let retry = self.inbox.is_stalled().then_some(STALL_RETRY);
        let leaving = self.sharing.as_ref().and_then(Sharing::leaves_at);
        let gathering = self.sharing.as_ref().and_then(Sharing::gathers_until);
        let sharing = leaving.into_iter().chain(gathering).min();
        let sharing = sharing.map(|until| until.saturating_duration_since(now));
        let upgrade = self.upgrade.until();
        let upgrade = upgrade.map(|until| until.saturating_duration_since(now));
        [until, retry, sharing, upgrade].into_iter().flatten().min()
    }

    /// Sets the engine's clock, which also begins the tick's count of written bytes.
    fn update_clock(&mut self, now: Instant) -> Time {
        let now = upgrade::time((self.started, self.first_time), now);
        let date = SystemTime::now().duration_since(UNIX_EPOCH);
        self.engine
            .set_now(now, date.map_or(0, |date| date.as_millis() as u64));
        now
    }

    fn serve_events(&mut self) {
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            match event.token() {
                WAKER => self.inbox.on_wake(),
                Token(token @ WATCHED..=SMALL_TOKENS) => {
                    self.callbacks.run_watched(token - WATCHED);
                }
                Token(listener @ ..WATCHED) => {
                    if let Some(listener) = self.listeners.get_mut(listener - 1) {
                        listener.wake();
                    }
                }
                Token(token) => self.serve_event(ConnId::from_token(token), event),
            }
        }
        self.events = events;
    }

    fn serve_event(&mut self, id: ConnId, event: &Event) {
        if event.is_error() && self.close_timed_out(id) {
            return;
        }
        if event.is_writable() {
            let wanted = self.engine.wants_input(id);
            self.engine.writable(id, &mut self.sockets);
            if !wanted {
                self.read_later(id);
            }
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            self.read(id, event.is_read_closed() || event.is_error());
        }
    }

    /// Runs the commands of other threads, and closes the listeners once a drain accepts no more
    /// connections.
    fn run_commands(&mut self) {
        self.inbox.answer();
        self.take_reports();
        for _ in 0..COMMAND_BUDGET {
            match self.inbox.next_command() {
                Some(ServerCommand::Drain) => self.drain(),
                Some(ServerCommand::Upgrade) => self.begin_upgrade(),
                // The sender that is dropped here says that the settings are in force.
                Some(ServerCommand::Reload(config, _in_force)) => self.reconfigure(&config),
                Some(ServerCommand::ReloadFailed) => self.engine.record_failed_reload(),
                None => break,
            }
        }
        if !self.engine.is_accepting() {
            self.listeners.clear();
        }
    }

    /// Takes new settings, which were checked.
    fn reconfigure(&mut self, config: &Config) {
        self.engine.reconfigure(config);
        self.upgrade.reconfigure(config);
        self.addresses.set_limit(config.max_connections_per_address);
        self.inbox.reconfigure(config);
        for listener in &self.listeners {
            if let Err(error) = listener.reconfigure(config) {
                log::warn!("{} keeps its --write-timeout: {error}", listener.address);
            }
        }
    }

    fn drain(&mut self) {
        self.fail_upgrade(Failure::Drained);
        if !self.engine.is_draining() {
            let connections = self.engine.connection_count();
            log::info!("draining {connections} connections: stopped by request");
            self.inbox.close();
            self.engine.begin_drain();
        }
    }

    fn take_messages(&mut self) {
        if self.sharing.is_some() {
            return self.send_messages();
        }
        let engine = &mut self.engine;
        self.inbox.take_messages(INBOX_BUDGET, |draft| {
            let published = engine.submit(draft)?;
            Ok(match engine.unsaved(&published) {
                Some(mark) => Submitted::Unsaved(published, mark),
                None => Submitted::Published(published),
            })
        });
        self.inbox.saved(|mark| engine.is_saved(mark));
    }

    /// Resumes requests that earlier ticks deferred.
    fn resume_requests(&mut self) {
        for _ in 0..RESUME_BUDGET {
            let Some(id) = self.engine.next_deferred() else {
                break;
            };
            self.engine.resume(id, &mut self.sockets);
            self.read_later(id);
            // Checked after the first request, so that each tick resumes at least one.
            if self.engine.spent_bytes() > SPENT_BYTES {
                break;
            }
        }
        if let Some(id) = self.engine.continue_deferred(&mut self.sockets) {
            self.read_later(id);
        }
    }

    /// Answers publishers of what is saved.
    fn take_reports(&mut self) {
        if let Some(saving) = &mut self.saving {
            saving.take_reports(&mut self.engine, &mut self.sockets);
            let engine = &self.engine;
            self.inbox.saved(|mark| engine.is_saved(mark));
        }
    }

    /// Hands over what is to be saved.
    fn save(&mut self) {
        if let Some(saving) = &mut self.saving
            && saving.save(&mut self.engine)
        {
            self.take_reports();
        }
    }

    fn close(&mut self) {
        for _ in 0..CLOSE_BUDGET {
            if !self.close_next() {
                return;
            }
        }
    }

    /// Closes the next socket, if there is one to close.
    fn close_next(&mut self) -> bool {
        let Some(index) = self.engine.next_close() else {
            return false;
        };
        if let Some(address) = self.sockets.close(index) {
            self.addresses.remove(address);
        }
        self.gate.resume();
        true
    }
}

/// Also a server that never ran, or whose poll failed, ends saved history cleanly; one that panics
/// does not, nor one that has not taken over from another process.
impl Drop for Reactor {
    fn drop(&mut self) {
        if !thread::panicking() && self.arrival.is_none() {
            self.finish_saving();
        }
    }
}
