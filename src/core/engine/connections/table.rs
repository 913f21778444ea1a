//! The table of connections: indices, deadlines, and the queues of a tick.
//!
//! Owns which connections there are and what each is waiting for. It never writes a byte.

mod frozen;

pub(in crate::engine) use frozen::{freeze, thaw};

use std::collections::VecDeque;
use std::ops::{Index, IndexMut};
use std::sync::Arc;

use slab::Slab;

use super::ahead::Ahead;
use super::conn::{Access, Conn, ConnId, Flags};
use super::holders::Holders;
use super::line_upload::LineStep;
use super::request_state::RequestState;
use super::state::{State, States};
use super::wire::Wire;
use crate::base::meter::Meter;
use crate::base::time::{Time, millis};
use crate::base::wheel::{SLOT_MS, Wheel};
use crate::config::Config;
use crate::engine::stats::{CloseReason, Stats};
use crate::hub::Hub;
use crate::log::cluster::Ticket;
use crate::message::Seq;

/// How long input is read and discarded after the last response. A socket closed with unread input
/// is reset, and a reset destroys what the client has not yet read (RFC 9112, section 9.6).
const LINGERING_CLOSE_MS: u64 = 1_000;

/// Times after which a connection is closed, in milliseconds.
struct Timeouts {
    head_ms: u64,
    body_ms: u64,
    idle_ms: u64,
    write_ms: u64,
}

impl Timeouts {
    fn of(config: &Config) -> Timeouts {
        Timeouts {
            head_ms: millis(config.head_timeout),
            body_ms: millis(config.body_timeout),
            idle_ms: millis(config.idle_timeout),
            write_ms: millis(config.write_timeout),
        }
    }
}

/// All connections.
pub(in crate::engine) struct Connections {
    table: Slab<Conn>,
    max_connections: usize,
    states: States,
    wheel: Wheel,
    timeouts: Timeouts,
    /// The time without a write after which a stream gets a heartbeat.
    heartbeat_ms: u64,
    /// Counts the bytes of unfinished requests and unsent responses.
    pub(in crate::engine) buffers: Arc<Meter>,
    /// Counts requests that publish by lines, each as 1.
    pub(in crate::engine) line_requests: Arc<Meter>,
    /// Connections with buffered requests to process, each once.
    deferred_input: VecDeque<u32>,
    /// Parked connections that are ahead of the hub.
    ahead: Ahead,
    /// Connections whose sockets are to be closed.
    to_close: VecDeque<u32>,
    /// Whose rights the parked connections have.
    pub(in crate::engine) holders: Holders,
    generation: u32,
    now: Time,
    /// Bytes written for single connections, and received in WebSocket frames, since the time was
    /// last set.
    spent_bytes: usize,
    pub(in crate::engine) stats: Stats,
}

impl Index<u32> for Connections {
    type Output = Conn;

    fn index(&self, index: u32) -> &Conn {
        &self.table[index as usize]
    }
}

impl IndexMut<u32> for Connections {
    fn index_mut(&mut self, index: u32) -> &mut Conn {
        &mut self.table[index as usize]
    }
}

impl Connections {
    /// An empty table for at most `max_connections`. Its memory is reserved now, so that it never
    /// moves; pages that are never used are never resident. `keys` seed the hash of subjects.
    pub(in crate::engine) fn new(
        config: &Config,
        max_connections: usize,
        keys: (u64, u64),
    ) -> Connections {
        Connections {
            table: Slab::with_capacity(max_connections),
            max_connections,
            states: States::default(),
            wheel: Wheel::with_capacity(max_connections),
            timeouts: Timeouts::of(config),
            heartbeat_ms: millis(config.heartbeat),
            buffers: Meter::new(config.max_buffer_bytes),
            line_requests: Meter::new(usize::MAX),
            deferred_input: VecDeque::new(),
            ahead: Ahead::default(),
            to_close: VecDeque::new(),
            holders: Holders::new(keys),
            generation: 0,
            now: Time::default(),
            spent_bytes: 0,
            stats: Stats::default(),
        }
    }

    /// Takes new settings. Deadlines that are set already stay.
    pub(in crate::engine) fn reconfigure(&mut self, config: &Config) {
        self.timeouts = Timeouts::of(config);
        self.heartbeat_ms = millis(config.heartbeat);
        self.buffers.set_limit(config.max_buffer_bytes);
    }

    /// Sets the time and starts counting spent bytes anew.
    pub(in crate::engine) fn set_now(&mut self, now: Time) {
        self.now = now;
        self.spent_bytes = 0;
    }

    /// The time of the present tick.
    pub(in crate::engine) fn now(&self) -> Time {
        self.now
    }

    /// Counts work for a single connection, by the bytes that it is about.
    pub(in crate::engine) fn spend(&mut self, bytes: usize) {
        self.spent_bytes += bytes;
    }

    /// The bytes of work for single connections since the time was last set.
    pub(in crate::engine) fn spent_bytes(&self) -> usize {
        self.spent_bytes
    }

    /// Adds a connection; `None` if there are as many as allowed.
    pub(in crate::engine) fn accept(&mut self, access: Access) -> Option<ConnId> {
        if self.table.len() >= self.max_connections {
            return None;
        }
        // Never 0: tokens below 2^32 belong to listeners and the waker.
        self.generation = self.generation.wrapping_add(1).max(1);
        self.stats.accepted += 1;
        let conn = Conn::new(self.generation, access);
        self.states.enter(conn.state());
        let index = self.table.insert(conn) as u32;
        self.start_head_timeout(index);
        Some(ConnId {
            index,
            generation: self.generation,
        })
    }

    /// The number of open connections.
    pub(in crate::engine) fn len(&self) -> usize {
        self.table.len()
    }

    /// The most connections there may be.
    pub(in crate::engine) fn limit(&self) -> usize {
        self.max_connections
    }

    /// One more than the largest index that there can be.
    pub(in crate::engine) fn capacity(&self) -> u32 {
        self.table.capacity() as u32
    }

    /// Whether there is a connection with this index.
    pub(in crate::engine) fn contains(&self, index: u32) -> bool {
        self.table.contains(index as usize)
    }

    /// The ids of all connections, in the order of their indices.
    pub(in crate::engine) fn ids(&self) -> impl Iterator<Item = ConnId> {
        self.table.iter().map(|(index, conn)| ConnId {
            index: index as u32,
            generation: conn.generation,
        })
    }

    /// The tickets for which requests by lines wait.
    pub(in crate::engine) fn awaited_by_lines(&self) -> impl Iterator<Item = Ticket> {
        let uploads = self.table.iter().filter_map(|(_, conn)| conn.line_upload());
        let steps = uploads.filter_map(|upload| upload.step.as_deref());
        steps.flat_map(LineStep::awaited)
    }

    /// How many connections are in each state.
    pub(in crate::engine) fn states(&self) -> States {
        self.states
    }

    /// The index of a connection; `None` if it has ended.
    pub(in crate::engine) fn find(&self, id: ConnId) -> Option<u32> {
        let conn = self.table.get(id.index as usize)?;
        (conn.generation == id.generation).then_some(id.index)
    }

    /// The id of the connection with this index.
    pub(in crate::engine) fn id(&self, index: u32) -> ConnId {
        ConnId {
            index,
            generation: self[index].generation,
        }
    }

    /// Moves a connection to a state.
    pub(in crate::engine) fn enter(&mut self, index: u32, next: State) {
        let conn = &mut self.table[index as usize];
        self.states.leave(conn.state());
        self.states.enter(next);
        conn.set_state(next);
    }

    /// A connection's request state, allocated if need be and charged to the buffers.
    pub(in crate::engine) fn request_state(&mut self, index: u32) -> &mut RequestState {
        self.table[index as usize].request(&self.buffers)
    }

    /// Sets a connection's deadline.
    pub(in crate::engine) fn arm(&mut self, index: u32, at: Time) {
        self.wheel.arm(index, at.0);
    }

    /// Sets a connection's deadline, in milliseconds from now.
    pub(in crate::engine) fn arm_ms(&mut self, index: u32, ms: u64) {
        self.arm(index, self.now.after_ms(ms));
    }

    /// Sets a connection's deadline to the next time at which the wheel turns: it is looked at again.
    pub(in crate::engine) fn arm_soon(&mut self, index: u32) {
        self.arm_ms(index, SLOT_MS);
    }

    /// A connection's deadline.
    pub(in crate::engine) fn deadline(&self, index: u32) -> Option<Time> {
        self.wheel.deadline_ms(index).map(Time)
    }

    /// Gives a client the time to send a request head.
    pub(in crate::engine) fn start_head_timeout(&mut self, index: u32) {
        self.arm_ms(index, self.timeouts.head_ms);
    }

    /// Gives a client the time to send a request body.
    pub(in crate::engine) fn start_body_timeout(&mut self, index: u32) {
        self.arm_ms(index, self.timeouts.body_ms);
    }

    /// Gives a client the time to read what it was sent.
    pub(super) fn start_write_timeout(&mut self, index: u32) {
        self.arm_ms(index, self.timeouts.write_ms);
    }

    /// The longest time between two writes to a stream of this pace, in milliseconds.
    pub(in crate::engine) fn silence_ms(&self, pace_ms: u16) -> u64 {
        self.heartbeat_ms.max(u64::from(pace_ms))
    }

    /// Sets a stream's next deadline after a write: its heartbeat or its end, whichever comes
    /// first; of one that is paced, the end of the pause that begins. Its reader is not queued.
    /// Where its client may be sending a message, [`Connections::arm_message`] follows.
    pub(in crate::engine) fn arm_stream(&mut self, index: u32) {
        if self[index].reader.pace_ms > 0 {
            return self.begin_pause(index);
        }
        let heartbeat = self.now.after_ms(self.heartbeat_ms);
        let ends_at = self[index].ends_at(self.now);
        self.arm(index, heartbeat.min(ends_at));
    }

    #[cold]
    fn begin_pause(&mut self, index: u32) {
        let conn = &mut self.table[index as usize];
        // fault: no-pause
        conn.reader.pause();
        let end = self.now.after_ms(u64::from(conn.reader.pace_ms));
        let ends_at = conn.ends_at(self.now);
        self.arm(index, end.min(ends_at));
    }

    /// Ends the pause of a paced stream, if it is in one: it is queued when it is settled. Its
    /// heartbeat is due when it would be without a pause, but not before the end of that.
    pub(in crate::engine) fn end_pause(&mut self, index: u32) {
        let conn = &mut self.table[index as usize];
        if !conn.reader.is_paused() {
            return;
        }
        conn.reader.end_pause();
        let heartbeat_ms = self
            .heartbeat_ms
            .saturating_sub(u64::from(conn.reader.pace_ms));
        // The end of the pause may be noticed late.
        // fault: heartbeat-after-the-pause
        let pause_end = self.wheel.last_deadline_ms(index).map_or(self.now, Time);
        let heartbeat = pause_end.after_ms(heartbeat_ms);
        let ends_at = conn.ends_at(self.now);
        self.arm(index, heartbeat.min(ends_at));
    }

    /// When the message that the client is sending on a duplex stream must be complete; `None` if
    /// it is sending none.
    fn message_timeout(&self, index: u32) -> Option<Time> {
        let message = self[index].request.as_ref()?.message.as_ref()?;
        Some(message.since.after_ms(self.timeouts.body_ms))
    }

    /// Applies the timeout of the message that the client is sending on a duplex stream, if any.
    /// Else the deadline stays what it is: a heartbeat is due when it was.
    pub(in crate::engine) fn arm_message(&mut self, index: u32) {
        if let Some(timeout) = self.message_timeout(index) {
            // fault: message-postpones-the-heartbeat
            let due = self.deadline(index).map_or(timeout, |due| due.min(timeout));
            self.arm(index, due);
        }
    }

    /// Restarts the timeout of the message that the client is sending on a duplex stream, if any.
    pub(in crate::engine) fn restart_message(&mut self, index: u32) {
        let now = self.now;
        let request = self[index].request.as_mut();
        if let Some(message) = request.and_then(|request| request.message.as_mut()) {
            message.since = now;
            self.arm_message(index);
        }
    }

    /// Whether the message that the client is sending on a duplex stream has taken too long.
    pub(in crate::engine) fn has_slow_message(&self, index: u32) -> bool {
        let timeout = self.message_timeout(index);
        timeout.is_some_and(|timeout| timeout <= self.now)
    }

    /// Ends the right of a parked connection to receive: it ends now, like one whose token has
    /// expired.
    pub(in crate::engine) fn revoke(&mut self, index: u32) {
        let now = self.now;
        let conn = &mut self.table[index as usize];
        // fault: right-is-not-ended
        conn.end_right(now);
        // A deadline that has passed is served next, and is not put off to the next tick.
        let is_due = self.deadline(index).is_some_and(|due| due <= now);
        if !self[index].is_blocked() && !is_due {
            self.arm(index, now);
        }
    }

    /// Removes and returns the next connection whose deadline has passed, or `None` if there is
    /// none or `budget` is used up.
    pub(in crate::engine) fn expire(&mut self, budget: &mut usize) -> Option<u32> {
        self.wheel.expire(self.now.0, budget)
    }

    /// Whether a deadline has passed.
    pub(in crate::engine) fn has_due(&self) -> bool {
        self.wheel.has_due(self.now.0)
    }

    /// When the next deadline passes.
    pub(in crate::engine) fn next_due(&self) -> Option<Time> {
        self.wheel.next_due_ms().map(Time)
    }

    /// Queues a connection whose buffered requests are to be processed in a later tick.
    pub(in crate::engine) fn defer_input(&mut self, index: u32) {
        let conn = &mut self.table[index as usize];
        if !conn.flags.contains(Flags::DEFERRED_INPUT) {
            conn.flags.insert(Flags::DEFERRED_INPUT);
            self.deferred_input.push_back(index);
        }
    }

    /// Removes and returns the connection that has waited longest for its buffered requests.
    pub(in crate::engine) fn next_deferred_input(&mut self) -> Option<ConnId> {
        while let Some(index) = self.deferred_input.pop_front() {
            // It may have ended meanwhile, and its index may be another connection's.
            let Some(conn) = self.table.get_mut(index as usize) else {
                continue;
            };
            if conn.flags.contains(Flags::DEFERRED_INPUT) {
                conn.flags.remove(Flags::DEFERRED_INPUT);
                return Some(self.id(index));
            }
        }
        None
    }

    /// Whether connections wait for the next tick, or for their sockets to be closed.
    pub(in crate::engine) fn has_work(&self) -> bool {
        !self.deferred_input.is_empty() || !self.to_close.is_empty() || self.has_due()
    }

    /// Re-establishes what a connection's state requires after an event: membership in the hub's
    /// lists, the deadline, or closing. Returns whether the connection is a stream at its limit, which
    /// the caller is to end.
    pub(in crate::engine) fn settle(
        &mut self,
        index: u32,
        hub: &mut Hub,
        wire: &mut impl Wire,
    ) -> bool {
        let now = self.now;
        let conn = &mut self.table[index as usize];
        conn.drop_if_empty();
        if conn.is_blocked() {
            return false;
        }
        match conn.state() {
            State::Idle if conn.flags.contains(Flags::CLOSE) => {
                self.enter(index, State::Closing);
                self.close_lingering(index, hub, wire);
            }
            State::Idle | State::Head | State::Body
                if conn.flags.contains(Flags::DEFERRED_INPUT) => {}
            State::Idle | State::Head | State::Body if conn.flags.contains(Flags::EOF) => {
                self.close(index, CloseReason::Left, hub);
            }
            State::Idle if conn.has_input() => {
                // The head timeout counts from the first byte, however slowly the rest comes.
                self.enter(index, State::Head);
                self.start_head_timeout(index);
            }
            State::Idle => self.arm_ms(index, self.timeouts.idle_ms),
            State::Streaming if conn.reached_limit(now) && !conn.awaits_log() => {
                return true;
            }
            State::Held | State::Streaming => {
                if conn.reader.is_unplaced() {
                    if conn.reader.cursor > hub.head() {
                        self.wait_ahead(index);
                        return false;
                    }
                    let waits = hub.enqueue(&mut conn.reader);
                    conn.flags.set(Flags::WAITED, waits);
                }
            }
            State::Closing => self.close_lingering(index, hub, wire),
            State::Head | State::Body | State::Deferred | State::Publishing | State::Gone => {}
        }
        false
    }

    /// Ends our side after the last response and gives the client [`LINGERING_CLOSE_MS`] to end its
    /// own.
    fn close_lingering(&mut self, index: u32, hub: &mut Hub, wire: &mut impl Wire) {
        let conn = &mut self.table[index as usize];
        if conn.flags.contains(Flags::EOF) {
            return self.close(index, CloseReason::Closed, hub);
        }
        if !conn.flags.contains(Flags::SHUT_DOWN) {
            conn.flags.insert(Flags::SHUT_DOWN);
            wire.shutdown(index);
            self.arm_ms(index, LINGERING_CLOSE_MS);
        }
    }

    /// Ends a connection: it leaves every list now, and its socket is closed at the end of the
    /// tick.
    pub(in crate::engine) fn close(&mut self, index: u32, why: CloseReason, hub: &mut Hub) {
        let conn = &mut self.table[index as usize];
        if conn.state() == State::Gone {
            return;
        }
        hub.unfollow(&mut conn.reader);
        conn.request = None;
        self.holders.clear(index);
        self.wheel.cancel(index);
        self.enter(index, State::Gone);
        self.to_close.push_back(index);
        self.stats.record_close(why);
        log::debug!(target: "encke::access", "connection {index}: ended, {}", why.name());
    }

    /// Removes and returns the next connection whose socket is to be closed now. Its index may be
    /// reused from here on.
    pub(in crate::engine) fn next_close(&mut self) -> Option<u32> {
        let index = self.to_close.pop_front()?;
        let conn = self.table.remove(index as usize);
        self.states.leave(conn.state());
        Some(index)
    }

    /// Keeps a parked connection out of all lists until the hub has come to its cursor.
    #[cold]
    fn wait_ahead(&mut self, index: u32) {
        let id = self.id(index);
        self[index].reader.wait_ahead();
        self.add_ahead(id);
    }

    /// Adds the place of a connection that is ahead of the hub.
    fn add_ahead(&mut self, id: ConnId) {
        let now = self.now();
        let cursor = self[id.index].reader.cursor;
        let Connections { ahead, table, .. } = self;
        ahead.add((cursor, id), now, |cursor, id| {
            let conn = table.get(id.index as usize);
            conn.is_some_and(|conn| {
                let is_same = conn.generation == id.generation && conn.reader.cursor == cursor;
                is_same && conn.reader.is_ahead()
            })
        });
    }

    /// Whether the hub has come to the cursor of a connection that was ahead of it.
    #[inline]
    pub(in crate::engine) fn has_passed(&self, head: Seq) -> bool {
        self.ahead.has_passed(head)
    }

    /// Removes and returns a place of a connection to whose cursor the hub has come; the connection
    /// may be gone, or elsewhere.
    pub(in crate::engine) fn next_passed(&mut self, head: Seq) -> Option<(Seq, ConnId)> {
        self.ahead.next_passed(head)
    }

    /// The next place of a connection that is ahead of the hub and beyond a number, and since when it
    /// is: each once, until the number has risen. The connection may be gone, or elsewhere.
    pub(in crate::engine) fn next_beyond(&mut self, number: Seq) -> Option<((Seq, ConnId), Time)> {
        self.ahead.next_beyond(number)
    }

    /// Has [`Connections::next_beyond`] return nothing more until the number has risen.
    pub(in crate::engine) fn stop_review(&mut self) {
        self.ahead.stop_review();
    }

    /// Whether [`Connections::next_beyond`] has not returned all places yet.
    pub(in crate::engine) fn is_reviewing_ahead(&self) -> bool {
        self.ahead.is_reviewing()
    }

    /// Whether input of a connection should be read: not while it has responses to read first.
    pub(in crate::engine) fn wants_input(&self, index: u32) -> bool {
        let conn = &self[index];
        match conn.state() {
            State::Deferred | State::Gone => false,
            // Frames may have to be answered, so they wait until what is unsent is sent.
            State::Streaming if !conn.is_duplex() => !conn.flags.contains(Flags::DEFERRED_INPUT),
            State::Streaming | State::Body => {
                !conn.flags.contains(Flags::DEFERRED_INPUT)
                    && !conn.is_blocked()
                    && conn.may_await_log()
            }
            // Input that cannot be processed yet is not read, but for its beginning.
            State::Publishing => {
                !conn.flags.contains(Flags::DEFERRED_INPUT)
                    && !conn.is_blocked()
                    && !conn.has_input()
                    && conn.may_await_log()
            }
            _ => !conn.flags.contains(Flags::DEFERRED_INPUT) && !conn.is_blocked(),
        }
    }

    /// A connection of which an invariant of this module does not hold, and which; `None` if there
    /// is none. The counts of states are checked as well.
    pub(in crate::engine) fn fault(&self) -> Option<(u32, &'static str)> {
        let mut states = States::default();
        for (index, conn) in &self.table {
            let index = index as u32;
            states.enter(conn.state());
            let has_deadline = self.wheel.deadline_ms(index).is_some();
            let is_timed = match conn.state() {
                State::Gone => !has_deadline,
                State::Deferred | State::Publishing => true,
                _ => has_deadline || conn.flags.contains(Flags::DEFERRED_INPUT),
            };
            let fault = match is_timed {
                true => conn.fault(),
                false => Some("a connection waits without a deadline"),
            };
            if let Some(fault) = fault {
                return Some((index, fault));
            }
        }
        let is_counted = |state: State| states.of(state) == self.states.of(state);
        match State::ALL.into_iter().all(is_counted) {
            true => None,
            false => Some((u32::MAX, "the connections in a state are not as many")),
        }
    }

    /// Checks the invariants of this module over all connections; for tests and debug builds.
    ///
    /// # Panics
    ///
    /// Where one does not hold.
    pub(in crate::engine) fn check(&self) {
        if let Some((index, fault)) = self.fault() {
            let state = self.table.get(index as usize).map(Conn::state);
            panic!("{fault}: connection {index} in state {state:?}");
        }
    }
}
