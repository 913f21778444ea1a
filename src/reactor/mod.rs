//! The loop: one thread, one poll, one tick after another.
//!
//! Owns the clock, the sockets and the order of a tick: what was left unread, events, accepts,
//! producers, requests left over, delivery, what is due, closing. Every step has a budget by count, so that no one of
//! them delays another by more than a few milliseconds; what a budget leaves undone is remembered
//! here or in the engine and done in the next tick, which then does not sleep.

mod accept;
mod addresses;
mod listen;
mod load;
mod notices;
mod proxy;
mod socket_file;
mod sockets;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};

use crate::inbox::{Accepted, Control, Inbox};
use accept::Gate;
use addresses::Addresses;
use encke_core::base::time::{Time, millis};
use encke_core::config::{Address, Config};
use encke_core::encode::write_cursor;
use encke_core::engine::{Access, ConnId, Engine};
use listen::Listener;
use load::Load;
use notices::Notices;
use sockets::{Read, Sockets};

/// Events taken from the poll in one tick; the kernel keeps and rotates the rest.
///
/// This and the budget of deliveries are a balance. Smaller, one client waits less for all others:
/// a tick of 256 writes takes a millisecond. But with 64, a long poll's cycle cost some 8 % more: who
/// is answered asks again meanwhile, and goes to sleep and is woken all the more often.
const EVENTS: usize = 256;

/// Bytes read at once; a connection that fills them goes on in its next turn.
const READ_BYTES: usize = 64 << 10;

/// Reads of a connection whose end was announced, in one turn.
const READS: usize = 4;

/// Bytes of answers after which no more requests are read in one tick: large ones take longer to
/// write than their number says.
const WRITTEN_BYTES: usize = 4 << 20;

/// Commands of other threads taken in one tick.
const COMMAND_BUDGET: usize = 16;

/// Producers' messages taken in one tick.
const INBOX_BUDGET: usize = 512;

/// How long a producer's message that finds no room waits for the next try, unless something
/// happens before.
const STALL_REST: Duration = Duration::from_millis(10);

/// Connections gone on with in one tick: left-over requests, left-over reads.
const AGAIN_BUDGET: usize = 64;

/// Writes to ready readers in one tick.
const DELIVER_BUDGET: usize = 256;

/// Deadlines served in one tick.
const EXPIRE_BUDGET: usize = 256;

/// Connections told their moment of release in one tick of a drain.
const RELEASE_BUDGET: usize = 4_096;

/// Sockets closed in one tick: the dearest of all calls.
const CLOSE_BUDGET: usize = 64;

/// Tokens below this are not connections: a connection's generation is never 0.
const WAKER: Token = Token(0);

/// The first descriptor that the embedding program has watched; listeners stand between the two.
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
    gate: Gate,
    addresses: Addresses,
    inbox: Inbox,
    /// Connections that may have more to read, each once.
    unread: VecDeque<ConnId>,
    buffer: Box<[u8]>,
    started: Instant,
    load: Load,
    notices: Notices,
    callbacks: Vec<PeriodicCallback>,
    watched: Vec<WatchedFd>,
}

/// A descriptor of the embedding program, with a callback for when it has become readable.
struct WatchedFd {
    /// Open, and so in the poll, until the loop ends.
    _source: OwnedFd,
    run: Box<dyn FnMut() + Send>,
}

/// A callback of the embedding program that runs again and again.
struct PeriodicCallback {
    interval_ms: u64,
    due: Time,
    run: Box<dyn FnMut() + Send>,
}

impl Reactor {
    /// A poll, and the one waker it may have.
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
        Ok(Reactor {
            sockets: Sockets::new(registry, max_connections),
            poll,
            events: Events::with_capacity(EVENTS),
            engine,
            listeners: Vec::new(),
            first_listener: 0,
            gate: Gate::new(),
            addresses: Addresses::new(config.max_connections_per_address),
            inbox,
            unread: VecDeque::new(),
            buffer: vec![0; READ_BYTES].into(),
            started: Instant::now(),
            load: Load::default(),
            notices: Notices::default(),
            callbacks: Vec::new(),
            watched: Vec::new(),
        })
    }

    /// Listens on an address, and returns the address as bound.
    pub(crate) fn listen(
        &mut self,
        address: &Address,
        access: Access,
        config: &Config,
    ) -> io::Result<Address> {
        let listener = Listener::bind(address, access, config)?;
        let token = Token(1 + self.listeners.len());
        let raw = listener.fd.as_raw_fd();
        self.poll
            .registry()
            .register(&mut SourceFd(&raw), token, Interest::READABLE)?;
        let bound = listener.address.clone();
        self.listeners.push(listener);
        Ok(bound)
    }

    /// Has `run` called about every `interval` for as long as the loop turns.
    pub(crate) fn every(&mut self, interval: Duration, run: Box<dyn FnMut() + Send>) {
        self.callbacks.push(PeriodicCallback {
            interval_ms: millis(interval).max(1),
            due: Time::default(),
            run,
        });
    }

    /// Has `run` called whenever `source` has become readable.
    pub(crate) fn watch(
        &mut self,
        source: OwnedFd,
        run: Box<dyn FnMut() + Send>,
    ) -> io::Result<()> {
        let token = Token(WATCHED + self.watched.len());
        let raw = source.as_raw_fd();
        self.poll
            .registry()
            .register(&mut SourceFd(&raw), token, Interest::READABLE)?;
        self.watched.push(WatchedFd {
            _source: source,
            run,
        });
        Ok(())
    }

    fn run_callbacks(&mut self, now: Time) {
        for callback in &mut self.callbacks {
            if callback.due <= now {
                callback.due = now.after_ms(callback.interval_ms);
                (callback.run)();
            }
        }
    }

    /// Runs until a drain is over.
    pub(crate) fn run(mut self) -> io::Result<()> {
        while !self.engine.is_drained() {
            self.tick()?;
        }
        log::info!(
            "drained; {} connections were left",
            self.engine.connection_count()
        );
        Ok(())
    }

    fn tick(&mut self) -> io::Result<()> {
        let woke = self.wait()?;
        let now = self.tell_time(woke);
        self.run_callbacks(now);
        let sockets = self.engine.connection_count() + self.listeners.len();
        let outside = self.engine.gauges();
        outside.queued = self.inbox.len();
        self.load.look(now, sockets, outside);
        self.notices.look(now, &self.engine);
        self.read_on();
        self.serve_events();
        self.obey();
        self.accept(now);
        self.take_messages();
        self.go_on();
        self.engine.deliver(DELIVER_BUDGET, &mut self.sockets);
        self.engine.expire(EXPIRE_BUDGET, &mut self.sockets);
        self.engine.release_drained(RELEASE_BUDGET);
        self.close();
        Ok(())
    }

    /// Sleeps until something happens or is due; not at all while there is work left. Returns when
    /// it woke.
    fn wait(&mut self) -> io::Result<Instant> {
        let before = Instant::now();
        let has_work = self.engine.has_work()
            || self.inbox.has_work()
            || self.can_accept()
            || !self.unread.is_empty();
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
        let callback = self.callbacks.iter().map(|callback| callback.due).min();
        let due = [self.engine.next_due(), self.gate.next_due(), callback];
        let due = due.into_iter().flatten().min();
        let until = due.map(|due| {
            let at = self.started + Duration::from_millis(due.0);
            at.saturating_duration_since(now)
        });
        // Room for a message may come by an event, or by nothing that is one.
        let rest = self.inbox.is_stalled().then_some(STALL_REST);
        [until, rest].into_iter().flatten().min()
    }

    fn tell_time(&mut self, now: Instant) -> Time {
        let now = Time(now.duration_since(self.started).as_millis() as u64);
        let date = SystemTime::now().duration_since(UNIX_EPOCH);
        self.engine
            .set_now(now, date.map_or(0, |date| date.as_secs()));
        now
    }

    fn serve_events(&mut self) {
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            match event.token() {
                WAKER => self.inbox.on_wake(),
                Token(token @ WATCHED..=SMALL_TOKENS) => {
                    if let Some(watched) = self.watched.get_mut(token - WATCHED) {
                        (watched.run)();
                    }
                }
                Token(listener @ ..WATCHED) => {
                    if let Some(listener) = self.listeners.get_mut(listener - 1) {
                        listener.is_ready = true;
                    }
                }
                Token(token) => self.serve_event(ConnId::from_token(token), event),
            }
        }
        self.events = events;
    }

    fn serve_event(&mut self, id: ConnId, event: &Event) {
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

    /// Reads what a connection has sent. A short read ends it, since more raises a new event,
    /// unless the end was announced, or may have been, which raises none.
    fn read(&mut self, id: ConnId, may_be_closed: bool) {
        if self.engine.written_bytes() > WRITTEN_BYTES {
            return self.read_later(id);
        }
        if self.sockets.awaits_header(id) && !self.take_header(id) {
            return;
        }
        for _ in 0..READS {
            if !self.engine.wants_input(id) {
                return;
            }
            match self.sockets.read(id, &mut self.buffer) {
                Read::Nothing => return,
                Read::Eof => return self.engine.eof(id, &mut self.sockets),
                Read::Broken => return self.engine.broken(id),
                Read::Bytes(length) => {
                    self.engine
                        .input(id, &self.buffer[..length], &mut self.sockets);
                    if length == self.buffer.len() {
                        break;
                    }
                    if !may_be_closed {
                        return;
                    }
                }
            }
        }
        self.read_later(id);
    }

    /// Remembers to read on where no event will ask for it.
    fn read_later(&mut self, id: ConnId) {
        if self.engine.wants_input(id) && self.sockets.mark_unread(id) {
            self.unread.push_back(id);
        }
    }

    /// Takes commands of other threads, and stops listening where a drain has come so far.
    fn obey(&mut self) {
        self.inbox.answer();
        for _ in 0..COMMAND_BUDGET {
            match self.inbox.next_command() {
                Some(Control::Drain) => self.drain(),
                None => break,
            }
        }
        if !self.engine.is_accepting() {
            self.listeners.clear();
        }
    }

    fn drain(&mut self) {
        if !self.engine.is_draining() {
            let connections = self.engine.connection_count();
            log::info!("draining {connections} connections: stopped by request");
            self.inbox.close();
            self.engine.begin_drain();
        }
    }

    fn take_messages(&mut self) {
        let engine = &mut self.engine;
        self.inbox.drain(INBOX_BUDGET, |channel, submission| {
            let published = engine.submit(channel, submission)?;
            let mut id = Vec::new();
            write_cursor(&mut id, engine.hub().epoch(), published.seq);
            Ok(Accepted {
                id: String::from_utf8_lossy(&id).into_owned(),
                subscribers: published.subscribers,
            })
        });
    }

    /// Reads what earlier ticks left unread: before anything new, as who has large answers to read
    /// would else keep those waiting for ever who were put off for them.
    fn read_on(&mut self) {
        for _ in 0..AGAIN_BUDGET.min(self.unread.len()) {
            if self.engine.written_bytes() > WRITTEN_BYTES {
                return;
            }
            if let Some(id) = self.unread.pop_front() {
                self.sockets.clear_unread(id);
                self.read(id, true);
            }
        }
    }

    /// Goes on with requests that earlier ticks left.
    fn go_on(&mut self) {
        for _ in 0..AGAIN_BUDGET {
            let Some(id) = self.engine.next_deferred() else {
                break;
            };
            self.engine.resume(id, &mut self.sockets);
            self.read_later(id);
            // After the first, so that one has its turn however much was written before.
            if self.engine.written_bytes() > WRITTEN_BYTES {
                break;
            }
        }
        if let Some(id) = self.engine.continue_deferred(&mut self.sockets) {
            self.read_later(id);
        }
    }

    fn close(&mut self) {
        for _ in 0..CLOSE_BUDGET {
            let Some(index) = self.engine.next_close() else {
                return;
            };
            if let Some(address) = self.sockets.close(index) {
                self.addresses.remove(address);
            }
            self.gate.reopen();
        }
    }
}
