//! The whole server but its sockets: bytes, time and a random seed come in as arguments.
//!
//! Owns connections, requests, parking and delivery. It never touches a socket, a clock, a thread
//! or the system's random source, so the same engine runs in production and in simulation.
//!
//! Five modules, each of which uses only those below it:
//!
//! ```text
//! requests      bytes → request → response, or a parked connection
//! delivery      parked connections: messages, deadlines, drain
//! routing       head → operation, or refusal
//! response      heads and bodies
//! connections   the table, states, deadlines, the one exit
//! ```

mod connections;
mod delivery;
mod gauges;
mod receipts;
mod requests;
mod response;
mod routing;
mod stats;
#[cfg(test)]
mod tests;

pub use connections::{Access, ConnId, Sent, State, Wire};
pub use gauges::{
    DiskGauges, ProcessGauges, ReconnectCause, Reconnects, UpgradeGauges, UpgradeResult,
};
pub use stats::{CloseReason, ConnectionLimit, Endpoint, Reloads, Stats};

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use crate::base::time::Time;
use crate::config::Config;
use crate::frozen::{self, Freezer, ThawError, Thawer};
use crate::hub::{Hub, Published, Refusal};
use crate::log::cluster::{Node, Settings, State as NodeState, Ticket, Unrest};
use crate::log::{
    Clustered, EntryError, Health, History, Log, LogEnding, Mark, Memory, Placed, Step, Unsaved,
};
use crate::message::{Draft, Epoch, Seq};
use connections::Connections;
use delivery::Delivery;
use receipts::Receipts;
use requests::Requests;

/// The server without its sockets.
///
/// # How it is called
///
/// The caller has the sockets, the clock and the loop. In each tick, a pass of the loop, it
///
/// 1. calls [`set_now`](Engine::set_now) once, before anything else: every deadline of the tick is
///    judged by that time, and [`spent_bytes`](Engine::spent_bytes) counts from it;
/// 2. reports what happened, in any order: [`accept`](Engine::accept), [`input`](Engine::input),
///    [`eof`](Engine::eof), [`writable`](Engine::writable), [`broken`](Engine::broken),
///    [`submit`](Engine::submit). Before it reads a socket it asks
///    [`wants_input`](Engine::wants_input): bytes of a connection that does not want them would be
///    buffered, and count against `--max-buffer-bytes`;
/// 3. continues what earlier ticks left: [`next_deferred`](Engine::next_deferred) and
///    [`resume`](Engine::resume), [`continue_deferred`](Engine::continue_deferred). A connection
///    for which these are called may want input again, without a readiness event;
/// 4. calls [`deliver`](Engine::deliver), then [`serve_deadlines`](Engine::serve_deadlines), in
///    this order: a message never loses to a deadline of its own reader. Then
///    [`release_drained`](Engine::release_drained);
/// 5. closes the sockets that [`next_close`](Engine::next_close) returns, last of all: until then
///    no index is reused, so no event of this tick meets another connection;
/// 6. sleeps until an event, or until [`next_due`](Engine::next_due); not at all while
///    [`has_work`](Engine::has_work).
///
/// Any of these may call [`Wire::send`] for any connection, and [`Wire::shutdown`]. After a partial
/// write the engine waits for [`writable`](Engine::writable). A stale [`ConnId`] is ignored.
pub struct Engine {
    delivery: Delivery,
    requests: Requests,
    /// Signatures checked before the present tick.
    checks_before: u64,
    /// The results of what producers have published, in a cluster.
    receipts: Receipts,
}

/// The values of the engine itself in a state that is handed over.
#[derive(Serialize, Deserialize)]
struct FrozenEngine {
    checks_before: u64,
}

/// The time at which the engine of a node starts. What the log has is older, and none of it is kept
/// for longer than the 30 days that this is at least.
const START: Time = Time(1 << 32);

/// Bytes that are written in the time of one check of a signature, about 70 us at most.
const BYTES_PER_CHECK: usize = 64 << 10;

impl Engine {
    /// An engine for at most `max_connections`, whose random numbers come from `seed`.
    pub fn new(config: &Config, max_connections: usize, seed: u64) -> Engine {
        let mut random = fastrand::Rng::with_seed(seed);
        let epoch = Epoch::from_seed(random.u64(..));
        let log = Log::Memory(Memory::new(epoch));
        let requests = Requests::new(config, log, (random.u64(..), random.u64(..)));
        let keys = (random.u64(..), random.u64(..));
        let hub = Hub::new(config, max_connections, epoch, keys);
        let connections = Connections::new(config, max_connections, keys);
        Engine {
            requests,
            delivery: Delivery::new(config, connections, hub, random),
            checks_before: 0,
            receipts: Receipts::default(),
        }
    }

    /// An engine that goes on with the history of a saved log, which ended as `how` says. The
    /// settings and `max_connections` are those that the history was made with.
    ///
    /// Its clock does not start at 0 but at [`Engine::now`]. Before the first connection, what
    /// [`Engine::newest`] and [`Hub::epoch`] say must be saved beside the log: a further start must
    /// know them, as no number may be given twice. What
    /// [`take_unsaved`](Engine::take_unsaved) returns is then written like everything after it.
    pub fn with_history(
        config: &Config,
        max_connections: usize,
        seed: u64,
        history: History,
        how: LogEnding,
    ) -> Engine {
        let mut random = fastrand::Rng::with_seed(seed);
        let (hub, log) = history.finish(how);
        let requests = Requests::new(config, log, (random.u64(..), random.u64(..)));
        let keys = (random.u64(..), random.u64(..));
        let mut connections = Connections::new(config, max_connections, keys);
        connections.set_now(hub.now());
        Engine {
            requests,
            delivery: Delivery::new(config, connections, hub, random),
            checks_before: 0,
            receipts: Receipts::default(),
        }
    }

    /// The engine of a cluster's node, for at most `max_connections`. Its clock starts at
    /// [`Engine::now`]. It is not ready, and publishes nothing, until its connections have brought
    /// the log.
    ///
    /// In each tick, beside the steps of [every engine](Engine), the caller does the first three of
    /// these before what producers have sent ([`Engine::send`]) and step 3, and the last one after [`Engine::deliver`]. It
    ///
    /// 1. tells [`Engine::cluster`] what its two connections have brought: [`Node::connected`],
    ///    [`Node::broken`], [`Node::answered`], and [`Node::read`] while [`Node::has_room`];
    /// 2. calls [`Engine::apply_log`];
    /// 3. takes the receipts of producers: [`Engine::next_receipt`];
    /// 4. takes what is to be sent: [`Node::next_command`] until there is none, and then
    ///    [`Node::follows_after`] and [`Node::takes_reset`].
    ///
    /// [`Engine::set_now`] and [`Engine::next_due`] count for the node too.
    pub fn with_cluster(
        config: &Config,
        max_connections: usize,
        seed: u64,
        settings: Settings,
    ) -> Engine {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut draw = || (random.u64(..), random.u64(..));
        let (node, of_node) = (draw(), draw().0);
        let log = Clustered::new(settings, [node.0, node.1, of_node]);
        let patience_ms = log.patience_ms();
        let requests = Requests::new(config, Log::Clustered(Box::new(log)), draw());
        let keys = draw();
        let mut hub = Hub::of_cluster(config, max_connections, keys);
        hub.set_now(START);
        let mut connections = Connections::new(config, max_connections, keys);
        connections.set_now(START);
        let mut delivery = Delivery::new(config, connections, hub, random);
        delivery.publishing.hold_for(patience_ms);
        Engine {
            requests,
            delivery,
            checks_before: 0,
            receipts: Receipts::default(),
        }
    }

    /// Writes the whole state, between two ticks: [`Engine::next_close`] has returned `None`. The
    /// engine that is made of it by [`Engine::thaw`] goes on where this one stands.
    ///
    /// # Errors
    ///
    /// It could not be written. Where the server is a node of a cluster: the format is none of
    /// [`Engine::formats`], or the node does not rest ([`Engine::unrest`]).
    pub fn freeze<W: Write>(&self, state: &mut Freezer<W>) -> io::Result<()> {
        if let Some(unrest) = self.unrest() {
            return Err(io::Error::other(unrest.to_string()));
        }
        state.put(&FrozenEngine {
            checks_before: self.checks_before,
        })?;
        delivery::freeze(&self.delivery, state)?;
        requests::freeze(&self.requests, state)?;
        match state.has_nodes() {
            true => receipts::freeze(&self.receipts, state),
            false => Ok(()),
        }
    }

    /// The formats in which the state can be written, the newest first.
    pub fn formats(&self) -> &'static [u32] {
        match self.is_node() {
            true => &frozen::FORMATS_OF_NODES,
            false => &frozen::FORMATS,
        }
    }

    /// Why the node of a cluster cannot be handed over at present; `None` if it can, or the server
    /// is no node. It comes to rest by [`Node::rest`], in some ticks.
    pub fn unrest(&self) -> Option<Unrest> {
        let Log::Clustered(log) = &self.requests.log else {
            return None;
        };
        let is_taken = !self.receipts.has_results();
        log.unrest(&self.delivery.hub)
            .or((!is_taken).then_some(Unrest::Unapplied))
    }

    /// Makes an engine of the state of another, in place of which it goes on: with the same clock,
    /// the same ids of connections, and the rest of each write that was not complete.
    ///
    /// The settings may be others; then they take effect as by [`Engine::reconfigure`]. `seed` keys
    /// the hashes whose order is never visible. Left out of a state, and made again when needed,
    /// are: encoded messages that no connection holds, verified tokens, the capacity of buffers
    /// beyond what is in them.
    ///
    /// `node` are the settings of the node of a cluster. It goes on as one whose connections to the
    /// log are broken.
    ///
    /// # Errors
    ///
    /// The state cannot be read or is damaged, has connections beyond `max_connections`, or is that
    /// of a node where there are no settings of one, or the other way round.
    pub fn thaw<R: Read>(
        config: &Config,
        node: Option<Settings>,
        max_connections: usize,
        seed: u64,
        state: &mut Thawer<R>,
    ) -> Result<Engine, ThawError> {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut keys = || (random.u64(..), random.u64(..));
        let FrozenEngine { checks_before } = state.take()?;
        let mut delivery = delivery::thaw(config, max_connections, keys(), state)?;
        if let Some(settings) = &node {
            delivery.publishing.hold_for(settings.patience_ms);
        }
        let requests = requests::thaw(config, node, keys(), &mut delivery, state)?;
        let receipts = match state.has_nodes() {
            true => receipts::thaw(delivery.connections.awaited_by_lines(), state)?,
            false => Receipts::default(),
        };
        let engine = Engine {
            requests,
            delivery,
            checks_before,
            receipts,
        };
        let checks = engine.requests.authorizer.tokens().checks();
        let is_applied = engine.newest() == engine.delivery.hub.head();
        match is_applied && checks_before <= checks {
            true => Ok(engine),
            false => Err(ThawError::Damaged("the log and the hub differ")),
        }
    }

    /// The open connections, in the order of their indices, each with the rights of its listener.
    pub fn connections(&self) -> impl Iterator<Item = (ConnId, Access)> {
        let connections = &self.delivery.connections;
        connections
            .ids()
            .map(|id| (id, connections[id.index].access))
    }

    /// The time that was last set, or with which the engine started.
    pub fn now(&self) -> Time {
        self.delivery.now()
    }

    /// The number of the newest message that was published, or at which numbers go on.
    pub fn newest(&self) -> Seq {
        self.requests.log.newest()
    }

    /// Sets the time: since the start, and the Unix time in milliseconds. Time never goes back: an
    /// earlier one counts as the present.
    pub fn set_now(&mut self, now: Time, unix_ms: u64) {
        self.checks_before = self.requests.authorizer.tokens().checks();
        self.delivery.set_now(now, unix_ms);
        match &mut self.requests.log {
            Log::Memory(_) => {}
            Log::Saved(saved) => saved.set_date(unix_ms),
            Log::Clustered(_) => self.tick_cluster(),
        }
    }

    /// The work done for single connections in this tick, in bytes written. Other work is
    /// converted: a check of a signature counts as 64 KiB, and what clients of WebSockets send
    /// counts too, because it is parsed even if nothing is answered. Bytes that connections share
    /// are not counted. The caller stops reading requests when this exceeds its budget.
    pub fn spent_bytes(&self) -> usize {
        let checks = self.requests.authorizer.tokens().checks() - self.checks_before;
        let checked_bytes = (checks as usize).saturating_mul(BYTES_PER_CHECK);
        checked_bytes.saturating_add(self.delivery.connections.spent_bytes())
    }

    /// Gauges of the process, for the caller to update.
    pub fn gauges(&mut self) -> &mut ProcessGauges {
        &mut self.delivery.gauges
    }

    /// Adds a connection; `None` where there are as many as allowed.
    pub fn accept(&mut self, access: Access) -> Option<ConnId> {
        let id = self.delivery.connections.accept(access);
        self.debug_check();
        id
    }

    /// Counts a connection that is refused for a limit, and returns the response to the request
    /// whose head is in `bytes`, in the format of its endpoint; `None` if the head is
    /// incomplete or malformed.
    pub fn reject(&mut self, bytes: &[u8], limit: ConnectionLimit) -> Option<Vec<u8>> {
        self.delivery.connections.stats.refused[limit as usize] += 1;
        requests::reject(&self.requests, &mut self.delivery, bytes, limit)
    }

    /// Processes bytes that a connection has received.
    pub fn input(&mut self, id: ConnId, bytes: &[u8], wire: &mut impl Wire) {
        requests::input(&mut self.requests, &mut self.delivery, id, bytes, wire);
        self.debug_check();
    }

    /// Handles the end of a client's side.
    pub fn eof(&mut self, id: ConnId, wire: &mut impl Wire) {
        requests::eof(&mut self.delivery, id, wire);
        self.debug_check();
    }

    /// Handles a connection that broke.
    pub fn broken(&mut self, id: ConnId) {
        self.close(id, CloseReason::Broken);
    }

    /// Handles a connection whose client has acknowledged nothing for the write timeout.
    pub fn stalled(&mut self, id: ConnId) {
        self.close(id, CloseReason::Stalled);
    }

    fn close(&mut self, id: ConnId, reason: CloseReason) {
        if let Some(index) = self.delivery.connections.find(id) {
            self.delivery.close(index, reason);
        }
        self.debug_check();
    }

    /// Continues a partial write, as the socket is writable again.
    pub fn writable(&mut self, id: ConnId, wire: &mut impl Wire) {
        let Delivery {
            connections, hub, ..
        } = &mut self.delivery;
        let Some(index) = connections.find(id) else {
            return;
        };
        if connections::resume(connections, index, hub, wire) {
            delivery::settle(&mut self.delivery, index, wire);
        }
        self.debug_check();
    }

    /// Removes and returns the connection whose buffered requests have waited longest, for
    /// [`Engine::resume`].
    pub fn next_deferred(&mut self) -> Option<ConnId> {
        self.delivery.connections.next_deferred_input()
    }

    /// Processes a connection's buffered requests.
    pub fn resume(&mut self, id: ConnId, wire: &mut impl Wire) {
        requests::resume_input(&mut self.requests, &mut self.delivery, id, wire);
        self.debug_check();
    }

    /// Continues the response that takes more than one tick and has waited longest. Returns the
    /// connection whose response that completed, as its input is wanted again.
    pub fn continue_deferred(&mut self, wire: &mut impl Wire) -> Option<ConnId> {
        let id = requests::continue_deferred(&mut self.requests, &mut self.delivery, wire);
        self.debug_check();
        id
    }

    /// Publishes a message of a producer. In a cluster it is [sent](Engine::send) instead.
    ///
    /// # Errors
    ///
    /// See [`Refusal`]; the message is handed back. One that the log does not take now is to be
    /// submitted again, and is not counted as refused.
    pub fn submit<'n>(&mut self, message: Draft<'n>) -> Result<Published, (Refusal, Draft<'n>)> {
        let Engine {
            requests, delivery, ..
        } = self;
        let published = requests.log.publish(&mut delivery.hub, message);
        if let Err((refusal, _)) = &published {
            requests.log.take_back(refusal);
        }
        published
    }

    /// The machine of the cluster's node, to be told what its connections bring; `None` where the
    /// server is no node of a cluster.
    pub fn cluster(&mut self) -> Option<&mut Node> {
        self.requests.log.as_clustered().map(Clustered::node_mut)
    }

    /// Applies what the log says, at most `budget` messages and other effects of it, and answers
    /// the publishers of what is applied. Where the budget was spent, [`Engine::has_work`].
    pub fn apply_log(&mut self, mut budget: usize, wire: &mut impl Wire) {
        let Engine {
            requests,
            delivery,
            receipts,
            ..
        } = self;
        // Connections that are to end do so before anything else of the log is applied.
        while requests::continue_kicks(requests, delivery)
            && let Some(log) = requests.log.as_clustered()
            && let Some(step) = log.next_step(&mut delivery.hub, &mut budget)
        {
            match step {
                Step::Done(done) if receipts.take(&delivery.hub, &done) => {
                    // Do not count it as refused: a producer hears it by receipt, or the message is sent
                    // again.
                    if let Err(refusal) = &done.result {
                        log.take_back(refusal);
                    }
                }
                Step::Done(done) => {
                    let ended = requests::ended_by(requests, done.ticket);
                    delivery::finish(delivery, &done, ended, wire);
                }
                Step::Kick { is_own, kick } => {
                    requests::take_kick(requests, kick, is_own, delivery.unix_ms);
                }
            }
        }
        delivery::place_passed(delivery, wire);
        if let Some(log) = requests.log.as_clustered() {
            delivery::tell_unfounded(delivery, log, wire);
        }
        self.debug_check();
    }

    /// Hands a message of a producer to the log of the cluster. Its result is that of
    /// [`Engine::next_receipt`], unless it was published before.
    ///
    /// # Errors
    ///
    /// See [`Refusal`]. One that the log does not take now is to be sent again, and is not counted
    /// as refused.
    pub fn send(&mut self, message: &Draft<'_>) -> Result<Placed, Refusal> {
        let Engine {
            requests,
            delivery,
            receipts,
            ..
        } = self;
        let Some(log) = requests.log.as_clustered() else {
            return Err(Refusal::LogHalted);
        };
        let channel = message.channel.clone().into_owned();
        let placed = log.publish(&mut delivery.hub, message);
        match &placed {
            Ok(Placed::Later { ticket, .. }) => receipts.await_ticket(*ticket, channel),
            Ok(Placed::Now(_)) => {}
            Err(refusal) => log.take_back(refusal),
        }
        placed
    }

    /// The result of a message that [`Engine::send`] handed to the log, in the order of tickets.
    pub fn next_receipt(&mut self) -> Option<(Ticket, Result<Published, Refusal>)> {
        self.receipts.next_done()
    }

    /// The tickets of messages of producers that have no results yet, in their order.
    pub fn awaited_receipts(&self) -> impl Iterator<Item = Ticket> {
        self.receipts.tickets()
    }

    /// Whether the server is a node of a cluster.
    pub fn is_node(&self) -> bool {
        matches!(self.requests.log, Log::Clustered(_))
    }

    /// Sets the time of the node, and what it tells the others.
    #[cold]
    pub(super) fn tick_cluster(&mut self) {
        let (now, unix_ms) = (self.delivery.now(), self.delivery.unix_ms);
        let connections = self.delivery.hub.readers().total().into();
        if let Some(log) = self.requests.log.as_clustered() {
            log.node_mut().set_state(NodeState { connections });
            log.tick(now, unix_ms);
            log.survey(&mut self.delivery.hub);
        }
        requests::tell_blocks(&mut self.requests, unix_ms);
    }

    /// The place up to which the log has to be saved before the publisher of a message may be
    /// answered; `None` if it is, or is in memory.
    pub fn unsaved(&self, published: &Published) -> Option<Mark> {
        self.requests.log.unsaved(published.id.seq)
    }

    /// Takes the records that were appended to the log since the last call, to be saved in this
    /// order. `None` if there are none, or the log is in memory. To be called in each tick after
    /// [`Engine::deliver`], before deadlines are served.
    pub fn take_unsaved(&mut self) -> Option<Unsaved> {
        self.requests.log.as_saved()?.take(&mut self.delivery.hub)
    }

    /// Bytes of records that were appended to the log and are not saved.
    pub fn unsaved_bytes(&mut self) -> usize {
        let saved = self.requests.log.as_saved();
        saved.map_or(0, |saved| saved.unsaved_bytes())
    }

    /// The log is saved up to a place: the publishers of what is before it are answered.
    pub fn saved(&mut self, up_to: Mark, wire: &mut impl Wire) {
        if let Some(saved) = self.requests.log.as_saved() {
            saved.saved(up_to);
        }
        self.answer_publishers(wire);
    }

    /// Whether the log is saved up to a place, or in memory.
    pub fn is_saved(&self, mark: Mark) -> bool {
        self.requests.log.is_saved(mark)
    }

    /// Whether publishers wait for the log. A drain is not over as long as they do.
    pub fn has_waiting_publishers(&self) -> bool {
        !self.delivery.publishing.is_empty()
    }

    fn answer_publishers(&mut self, wire: &mut impl Wire) {
        let log = &self.requests.log;
        delivery::saved(&mut self.delivery, |mark| log.is_saved(mark), wire);
        self.debug_check();
    }

    /// Sets whether the log can be saved. As long as it cannot, publishes and `/readyz` are
    /// refused; what was published before waits.
    pub fn set_log_health(&mut self, health: Health) {
        if let Some(saved) = self.requests.log.as_saved() {
            saved.set_health(health);
        }
    }

    /// Saves nothing from now on: history is in memory only. Publishers that wait are answered.
    pub fn stop_saving(&mut self, wire: &mut impl Wire) {
        self.requests.log.stop_saving(&mut self.delivery.hub);
        self.answer_publishers(wire);
    }

    /// Appends to the log again what holds of saved records, which are to be removed: whole
    /// records, oldest first. When the log is saved up to the returned place, they may be. `None`
    /// where the log is in memory.
    ///
    /// # Errors
    ///
    /// An entry is not valid; the records must stay.
    pub fn carry(&mut self, records: &[u8]) -> Result<Option<Mark>, EntryError> {
        match self.requests.log.as_saved() {
            Some(saved) => saved.carry(&mut self.delivery.hub, records).map(Some),
            None => Ok(None),
        }
    }

    /// Serves ready readers, at most `budget` of them.
    pub fn deliver(&mut self, budget: usize, wire: &mut impl Wire) {
        if self.delivery.hub.is_losing() {
            return;
        }
        delivery::deliver(&mut self.delivery, budget, wire);
        self.debug_check();
    }

    /// Serves deadlines of at most `budget` connections, and continues reviews, reloads, eviction
    /// by age and the removal of idle channels, each within a budget of its own.
    pub fn serve_deadlines(&mut self, budget: usize, wire: &mut impl Wire) {
        requests::review(&self.requests, &mut self.delivery);
        let unsaved = self.requests.log.unsaved_end();
        delivery::serve_deadlines(&mut self.delivery, budget, unsaved, wire);
        self.debug_check();
    }

    /// Takes new settings, which were checked, between two ticks. The caller keeps those that are
    /// [`Fixed`](crate::config::Reload::Fixed) as they were.
    ///
    /// No connection is closed. Deadlines that are set stay, and new ones are by the new settings.
    /// A message that is being delivered is sent to all its readers in the same bytes, whose head
    /// is by the settings in force when it was first delivered. Channels take their new limits and
    /// policies, and parked connections are reviewed, in [`Engine::serve_deadlines`], within a
    /// budget per call; until then [`Engine::has_work`]. Connections whose right to receive is gone
    /// end like those whose token expires.
    pub fn reconfigure(&mut self, config: &Config) {
        requests::reconfigure(&mut self.requests, &mut self.delivery, config);
        let reloads = &mut self.delivery.connections.stats.reloads;
        reloads.done += 1;
        reloads.last_failed = false;
        self.debug_check();
    }

    /// Counts new settings that were refused, so that the old ones stay in force.
    pub fn record_failed_reload(&mut self) {
        let reloads = &mut self.delivery.connections.stats.reloads;
        reloads.failed += 1;
        reloads.last_failed = true;
    }

    /// Starts a drain: readiness and publishes are refused, and responses close their connections.
    pub fn begin_drain(&mut self) {
        self.delivery.begin_drain();
    }

    /// The reason for which the log makes the server unready; `None` if it does not.
    pub fn unready(&self) -> Option<Refusal> {
        self.requests.log.unready()
    }

    /// Whether a drain has started.
    pub fn is_draining(&self) -> bool {
        self.delivery.drain.is_some()
    }

    /// Whether new connections are accepted.
    pub fn is_accepting(&self) -> bool {
        let Delivery { drain, .. } = &self.delivery;
        drain
            .as_ref()
            .is_none_or(|drain| drain.is_accepting(self.delivery.now()))
    }

    /// Whether a drain is over: no connection is left, or the time is up.
    pub fn is_drained(&self) -> bool {
        let Delivery {
            drain, connections, ..
        } = &self.delivery;
        drain
            .as_ref()
            .is_some_and(|drain| drain.is_over(connections))
            && !self.has_waiting_publishers()
    }

    /// Schedules the release of at most `budget` connections, once a drain has come to that.
    pub fn release_drained(&mut self, budget: usize) {
        self.delivery.release_drained(budget);
    }

    /// Removes and returns the next connection whose socket is to be closed now. Its index may be
    /// reused from here on.
    pub fn next_close(&mut self) -> Option<u32> {
        self.delivery.connections.next_close()
    }

    /// When something is due that no event announces.
    pub fn next_due(&self) -> Option<Time> {
        let Delivery {
            connections,
            hub,
            drain,
            publishing,
            ..
        } = &self.delivery;
        let drain = drain.as_ref();
        [
            connections.next_due(),
            hub.next_history_expiry(),
            hub.next_idle_expiry(),
            publishing.next_due(),
            drain.and_then(|drain| drain.next_due(connections.now())),
            self.requests.log.next_due(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Whether work is left for the next tick, so that the caller must not sleep.
    pub fn has_work(&self) -> bool {
        let Delivery {
            connections,
            hub,
            drain,
            ..
        } = &self.delivery;
        hub.has_ready()
            || self.requests.log.has_work()
            || connections.has_passed(hub.head())
            || connections.is_reviewing_ahead()
            || hub.is_reconfiguring()
            || connections.has_work()
            || self.requests.has_work()
            || self.delivery.review.is_under_way()
            || drain.as_ref().is_some_and(|drain| drain.is_scheduling())
    }

    /// Whether input of a connection should be read: not while it has responses to read first.
    pub fn wants_input(&self, id: ConnId) -> bool {
        let connections = &self.delivery.connections;
        connections
            .find(id)
            .is_some_and(|index| connections.wants_input(index))
    }

    /// The number of open connections.
    pub fn connection_count(&self) -> usize {
        self.delivery.connections.len()
    }

    /// The state of a connection; `None` if it has ended.
    pub fn state(&self, id: ConnId) -> Option<State> {
        let connections = &self.delivery.connections;
        Some(connections[connections.find(id)?].state())
    }

    /// The channels and messages.
    pub fn hub(&self) -> &Hub {
        &self.delivery.hub
    }

    /// Counters since the start.
    pub fn stats(&self) -> &Stats {
        &self.delivery.connections.stats
    }

    /// Bytes of unfinished requests and unsent responses.
    pub fn buffered_bytes(&self) -> usize {
        self.delivery.connections.buffers.used()
    }

    /// Checks the invariants over all connections, and that the hub has applied all that the log
    /// has numbered.
    ///
    /// # Panics
    ///
    /// Where one does not hold.
    pub fn check(&self) {
        self.delivery.connections.check();
        let is_applied = self.requests.log.newest() == self.delivery.hub.head();
        assert!(is_applied, "a message has a number and is not applied");
    }

    /// Checks the invariants after a public call, in debug builds of few connections: the check
    /// looks at all of them.
    fn debug_check(&self) {
        const MAX_CHECKED: usize = 64;
        if cfg!(debug_assertions) && self.connection_count() <= MAX_CHECKED {
            self.check();
        }
    }
}
