//! The whole server but its sockets: bytes, time and chance come in as arguments.
//!
//! Owns connections, requests, parking and delivery. It never touches a socket, a clock, a thread
//! or a random source: what happened is told to it (`accept`, `input`, `eof`, `writable`,
//! `submit`), what it sends goes through the one door [`Wire`], and what is to be closed is asked
//! of it ([`Engine::next_close`]). So the same engine runs in production and in simulation.
//!
//! Invariants:
//! - *One exit.* Every byte leaves through [`Wire::send`], from `connections::wire` alone.
//! - *One rest.* After anything happened to a connection, `rest` puts it where its state says:
//!   into the lists, under the right deadline, or on its way out.
//! - *Blocked is unlisted.* A connection with half-sent bytes stands in no list; it costs a
//!   cursor and the rest of one frame.
//! - *Closing is last.* An index is reused only after [`Engine::next_close`] gave it out.

mod connections;
mod delivery;
mod gauges;
mod requests;
mod response;
mod stats;

pub use connections::conn::{Access, ConnId, State};
pub use connections::wire::{Sent, Wire};
pub use gauges::Outside;
pub use requests::reject::Crowd;
pub use requests::route::Endpoint;
pub use stats::{End, Stats};

use std::collections::VecDeque;
use std::sync::Arc;

use slab::Slab;

use crate::base::meter::{Frame, Meter};
use crate::base::time::{Time, millis};
use crate::base::wheel::Wheel;
use crate::config::Config;
use crate::encode::{Epoch, Seq};
use crate::hub::{Hub, Item, Published, Refusal, Submission};
use connections::conn::{self, Conn, States};
use delivery::drain::Drain;
use requests::channels::Listing;
use requests::page::Page;
use response::heads::Heads;

/// The engine.
pub struct Engine {
    settings: Settings,
    conns: Slab<Conn>,
    states: States,
    wheel: Wheel,
    hub: Hub,
    heads: Heads,
    /// The live page; `None`: it is not served.
    page: Option<Page>,
    /// Counts the bytes of unfinished requests and unsent answers.
    buffers: Arc<Meter>,
    random: fastrand::Rng,
    /// Connections with requests left to serve, each once.
    again: VecDeque<u32>,
    listings: VecDeque<Listing>,
    /// Connections whose sockets are to be closed.
    gone: VecDeque<u32>,
    drain: Option<Drain>,
    stats: Stats,
    generation: u32,
    now: Time,
    outside: Outside,
    /// Bytes written for single connections since the time was last told.
    written_bytes: usize,
    scratch: Scratch,
}

/// Buffers that are lent from turn to turn, and answers that many share.
#[derive(Default)]
struct Scratch {
    /// What the present connection is to be sent.
    out: Vec<u8>,
    body: Vec<u8>,
    items: Vec<Item>,
    frames: Vec<Arc<Frame>>,
    /// The newest answer to an expired hold: all that expire before the next message share it.
    empty: Option<(Seq, u64, Arc<Frame>)>,
    /// The newest answer of several messages: a herd that missed the same ones shares it.
    batch: Option<(Vec<Item>, bool, u64, Arc<Frame>)>,
}

/// The part of the configuration that the engine needs, in its own units.
#[derive(Clone, Debug)]
struct Settings {
    hold_ms: u64,
    max_hold_ms: u64,
    heartbeat_ms: u64,
    max_batch: usize,
    max_batch_bytes: usize,
    stream_max_bytes: u32,
    stream_max_age_ms: u64,
    max_head_bytes: usize,
    max_body_bytes: usize,
    head_timeout_ms: u64,
    body_timeout_ms: u64,
    idle_timeout_ms: u64,
    write_timeout_ms: u64,
    drain_ms: u64,
    drain_delay_ms: u64,
    max_connections: usize,
    publish_key: Option<String>,
}

impl Engine {
    /// An engine for at most `max_connections`, with chance from `seed`.
    pub fn new(config: &Config, max_connections: usize, seed: u64) -> Engine {
        let mut random = fastrand::Rng::with_seed(seed);
        let epoch = Epoch::from_seed(random.u64(..));
        let keys = (random.u64(..), random.u64(..));
        Engine {
            settings: Settings::new(config, max_connections),
            conns: Slab::with_capacity(max_connections),
            states: States::default(),
            wheel: Wheel::with_capacity(max_connections),
            hub: Hub::new(config, max_connections, epoch, keys),
            heads: Heads::new(config.cors.clone()),
            page: config.page.then(Page::new),
            buffers: Meter::new(config.max_buffer_bytes),
            random,
            again: VecDeque::new(),
            listings: VecDeque::new(),
            gone: VecDeque::new(),
            drain: None,
            stats: Stats::default(),
            generation: 0,
            now: Time::default(),
            outside: Outside::default(),
            written_bytes: 0,
            scratch: Scratch::default(),
        }
    }

    /// Tells the time: since the start, and of day in seconds since 1970.
    pub fn set_now(&mut self, now: Time, date_s: u64) {
        self.now = now.max(self.now);
        self.written_bytes = 0;
        self.hub.set_now(self.now);
        self.heads.set_date(date_s);
    }

    /// Bytes written for single connections since the time was last told: the caller's measure of
    /// when a tick has answered enough.
    pub fn written_bytes(&self) -> usize {
        self.written_bytes
    }

    /// Where the caller notes how the process around the engine fares.
    pub fn outside(&mut self) -> &mut Outside {
        &mut self.outside
    }

    /// Takes on a connection; `None` where there are as many as allowed.
    pub fn accept(&mut self, access: Access) -> Option<ConnId> {
        if self.conns.len() >= self.settings.max_connections {
            return None;
        }
        // Never 0: small tokens are not connections.
        self.generation = self.generation.wrapping_add(1).max(1);
        self.stats.accepted += 1;
        let conn = Conn::new(self.generation, access);
        self.states.enter(conn.state());
        let index = self.conns.insert(conn) as u32;
        let deadline = self.now.after_ms(self.settings.head_timeout_ms);
        self.wheel.arm(index, deadline.0);
        Some(ConnId {
            index,
            generation: self.generation,
        })
    }

    /// Takes a message from a producer.
    ///
    /// # Errors
    ///
    /// See [`Refusal`]; the message is handed back.
    pub fn submit(
        &mut self,
        channel: &str,
        message: Submission,
    ) -> Result<Published, (Refusal, Submission)> {
        self.hub.publish(channel, message)
    }

    /// The next connection whose socket is to be closed now; its place may be reused from here on.
    pub fn next_close(&mut self) -> Option<u32> {
        let index = self.gone.pop_front()?;
        let gone = self.conns.remove(index as usize);
        self.states.leave(gone.state());
        Some(index)
    }

    /// When something is due that no event will announce.
    pub fn next_due(&self) -> Option<Time> {
        [
            self.wheel.next_due_ms().map(Time),
            self.hub.next_history_expiry(),
            self.hub.next_forgetting(),
            self.drain
                .as_ref()
                .and_then(|drain| drain.next_due(self.now)),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Whether there is work that waits for nothing.
    pub fn has_work(&self) -> bool {
        self.hub.has_ready()
            || !self.again.is_empty()
            || !self.listings.is_empty()
            || !self.gone.is_empty()
            || self.wheel.has_due(self.now.0)
            || self.drain.as_ref().is_some_and(Drain::is_releasing)
    }

    /// Whether bytes of this connection should be read: not while it has answers to take first.
    pub fn wants_input(&self, id: ConnId) -> bool {
        let Some(conn) = self.find(id).map(|index| &self.conns[index as usize]) else {
            return false;
        };
        let is_full = conn.is_blocked() && conn.state() != State::Streaming;
        let is_listing = conn.state() == State::Listing;
        !is_listing
            && !conn.flags.has(conn::Flags::QUEUED)
            && !is_full
            && conn.state() != State::Gone
    }

    /// The number of open connections.
    pub fn connection_count(&self) -> usize {
        self.conns.len()
    }

    /// The state of a connection, if it is open.
    pub fn state(&self, id: ConnId) -> Option<State> {
        Some(self.conns[self.find(id)? as usize].state())
    }

    /// The channels and messages.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// What happened so far.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Bytes of unfinished requests and unsent answers.
    pub fn buffered_bytes(&self) -> usize {
        self.buffers.used()
    }

    /// The place of a connection, unless the id is stale.
    fn find(&self, id: ConnId) -> Option<u32> {
        let conn = self.conns.get(id.index as usize)?;
        (conn.generation == id.generation).then_some(id.index)
    }

    fn conn(&mut self, index: u32) -> &mut Conn {
        &mut self.conns[index as usize]
    }

    /// Moves a connection to a state.
    fn enter(&mut self, index: u32, state: State) {
        self.conns[index as usize].become_state(state, &mut self.states);
    }

    fn arm(&mut self, index: u32, at: Time) {
        self.wheel.arm(index, at.0);
    }

    fn arm_ms(&mut self, index: u32, ms: u64) {
        self.arm(index, self.now.after_ms(ms));
    }

    /// A random number of 80 to 100 % of `most`.
    fn most_of(&mut self, most: u64) -> u64 {
        self.random.u64(most / 5 * 4..=most.max(1))
    }
}

impl Settings {
    fn new(config: &Config, max_connections: usize) -> Settings {
        Settings {
            hold_ms: millis(config.hold),
            max_hold_ms: millis(config.max_hold),
            heartbeat_ms: millis(config.heartbeat),
            max_batch: config.max_batch,
            max_batch_bytes: config.max_batch_bytes,
            stream_max_bytes: config.stream_max_bytes,
            stream_max_age_ms: millis(config.stream_max_age),
            max_head_bytes: config.max_head_bytes,
            max_body_bytes: config.max_body_bytes,
            head_timeout_ms: millis(config.head_timeout),
            body_timeout_ms: millis(config.body_timeout),
            idle_timeout_ms: millis(config.idle_timeout),
            write_timeout_ms: millis(config.write_timeout),
            drain_ms: millis(config.drain),
            drain_delay_ms: millis(config.drain_delay),
            max_connections,
            publish_key: config.publish_key.clone(),
        }
    }
}
