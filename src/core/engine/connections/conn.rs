//! One connection: its entry in the table.
//!
//! Owns the state of one connection. A parked connection with default options owns no memory beyond
//! its entry: the box for [`RequestState`] exists only while input is buffered, a write is
//! unfinished or the response differs from the one that all readers share.

mod frozen;

pub(super) use frozen::FrozenConn;

use std::sync::Arc;

use bitflags::bitflags;

use super::line_upload::LineUpload;
use super::request_state::{RequestState, ResponseOptions};
use super::state::State;
use crate::base::meter::Meter;
use crate::base::time::Time;
use crate::hub::Reader;
use crate::transport::{Options, Transport};

/// Identifies a connection; an id of a connection that has ended matches none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId {
    /// Its index in the table of connections, reused after it is closed.
    pub index: u32,
    /// Counts accepted connections; tells this one from earlier ones with the same index.
    pub generation: u32,
}

impl ConnId {
    /// After all others in their order.
    pub(super) const LAST: ConnId = ConnId {
        index: u32::MAX,
        generation: u32::MAX,
    };

    /// Both numbers in one, for the token of a readiness event.
    pub fn to_token(self) -> usize {
        (self.generation as usize) << 32 | self.index as usize
    }

    /// The reverse of [`ConnId::to_token`].
    pub fn from_token(token: usize) -> ConnId {
        ConnId {
            index: token as u32,
            generation: (token >> 32) as u32,
        }
    }
}

/// The rights that a listener gives its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Receiving; publishing by token if there are token keys. The rest of the control surface is
    /// 404.
    Public,
    /// Everything, with the publish key if there is one.
    Guarded,
    /// Everything, without a key: a control listener on loopback or a unix socket.
    Trusted,
}

bitflags! {
    /// Boolean state of a connection, packed into one byte.
    #[derive(Clone, Copy, Debug, Default)]
    pub(in crate::engine) struct Flags: u8 {
        /// The present request is HTTP/1.0.
        const HTTP10 = 1;
        /// No further request is served on this connection.
        const CLOSE = 1 << 1;
        /// The client has closed its side.
        const EOF = 1 << 2;
        /// In the queue of connections with buffered requests to process.
        const DEFERRED_INPUT = 1 << 3;
        /// Its end is that of its right to receive, not that of its hold or stream.
        const EXPIRES = 1 << 4;
        // 1 << 5 is free.
        /// Our side is shut down.
        const SHUT_DOWN = 1 << 6;
        /// Its reader had nothing pending when it was last queued: the next delivery is timed.
        const WAITED = 1 << 7;
    }
}

/// The most responses of a connection that wait until what they answer is saved.
const MAX_WAITING_ANSWERS: u32 = 32;

/// The most pings of a client that are answered in a second.
const MAX_PONGS: u32 = 10;

/// One connection.
pub(in crate::engine) struct Conn {
    pub(in crate::engine) reader: Reader,
    pub(in crate::engine) request: Option<Box<RequestState>>,
    pub(in crate::engine) generation: u32,
    /// `Streaming`: body bytes left before the stream is recycled; of a duplex one the pings
    /// answered in the present second, see [`Conn::may_answer_ping`]. `Held`: when the poll was
    /// parked, as a [`Moment`].
    measure: u32,
    /// The end of the hold, or of the stream.
    ends_at: Moment,
    state: State,
    /// The options that the parked request chose.
    pub(in crate::engine) transport_options: Options,
    pub(in crate::engine) access: Access,
    pub(in crate::engine) flags: Flags,
}

impl Conn {
    pub(in crate::engine) fn new(generation: u32, access: Access) -> Conn {
        Conn {
            reader: Reader::default(),
            request: None,
            generation,
            measure: 0,
            ends_at: Moment::default(),
            state: State::Head,
            transport_options: Options::empty(),
            access,
            flags: Flags::empty(),
        }
    }

    pub(in crate::engine) fn state(&self) -> State {
        self.state
    }

    /// Enters a state; [`Connections::enter`](super::Connections::enter) keeps the counts.
    pub(super) fn set_state(&mut self, next: State) {
        debug_assert!(
            next == State::Gone || self.state.may_become(next),
            "a connection went from {:?} to {next:?}",
            self.state
        );
        self.state = next;
    }

    /// The invariant that it breaks between two calls of the engine; `None` if it breaks none.
    /// Unsent bytes, deadlines and places in lists are checked when a state is thawed, and lists in
    /// the tests of the hub.
    pub(super) fn fault(&self) -> Option<&'static str> {
        let state = self.state;
        let request = self.request.as_deref();
        let has = |part: fn(&RequestState) -> bool| request.is_some_and(part);
        let (has_upload, has_lines) = (
            has(|request| request.upload.is_some()),
            has(|request| request.lines.is_some()),
        );
        // The error of a request by lines may wait until what it counts is saved.
        let ends_by_lines = state == State::Publishing && self.flags.contains(Flags::CLOSE);
        let is_queued = self.reader.is_queued();
        let is_kept_out = self.reader.is_paused() || self.reader.is_ahead();
        let is_placed = is_queued || is_kept_out || self.is_blocked();
        let rules = [
            (
                !is_queued || self.is_parked(),
                "a connection is queued that is not parked",
            ),
            (
                !is_queued || !self.is_blocked(),
                "a blocked connection is queued",
            ),
            (
                !self.is_parked() || is_placed,
                "a parked connection waits for nothing",
            ),
            // A duplex stream may follow no channel for a time.
            (
                self.reader.is_following() == self.is_parked() || self.is_duplex(),
                "a reader follows channels exactly while it is parked",
            ),
            (
                !self.is_parked()
                    || (self.transport() == Transport::LongPoll) == (state == State::Held),
                "a connection is parked by the transport of others",
            ),
            (
                // A socket also waits so, for the answer to what ended its channel.
                !self.reader.is_paused()
                    || (self.reader.pace_ms > 0 && state != State::Held)
                    || self.is_duplex(),
                "a reader is paused that has no pace",
            ),
            (
                match state {
                    State::Body => has_upload != has_lines,
                    _ => !has_upload && (!has_lines || ends_by_lines),
                },
                "a body is arriving exactly in state Body",
            ),
            (
                state == State::Held || !has(|request| request.options.is_some()),
                "the options of a response outlive its request",
            ),
            (
                self.is_duplex()
                    || state == State::Closing
                    || !has(|request| {
                        request.message.is_some() || request.delayed_command.is_some()
                    }),
                "a message arrives where none can",
            ),
            (
                state != State::Publishing || self.awaits_log(),
                "nothing is awaited",
            ),
        ];
        rules
            .into_iter()
            .find_map(|(holds, fault)| (!holds).then_some(fault))
    }

    /// Whether what its client sends is published as it is.
    pub(super) fn publishes_raw(&self) -> bool {
        let options = Options::RAW | Options::PUBLISH;
        self.is_duplex() && self.transport_options.contains(options)
    }

    /// The transport of a parked connection: readers are counted by its number.
    pub(in crate::engine) fn transport(&self) -> Transport {
        Transport::ALL[usize::from(self.reader.class())]
    }

    /// Whether it is a held long poll or a stream.
    pub(in crate::engine) fn is_parked(&self) -> bool {
        matches!(self.state, State::Held | State::Streaming)
    }

    /// Whether it is a stream on which the client sends as well.
    pub(in crate::engine) fn is_duplex(&self) -> bool {
        self.state == State::Streaming && self.has_duplex_transport()
    }

    /// The same as [`Transport::is_duplex`] of a stream's transport, in one comparison: it is asked
    /// at each write.
    fn has_duplex_transport(&self) -> bool {
        self.reader.class() == Transport::WebSocket.number()
    }

    /// Whether a write is unfinished because the socket's buffer is full.
    pub(in crate::engine) fn is_blocked(&self) -> bool {
        self.request
            .as_ref()
            .is_some_and(|request| request.unsent.is_some())
    }

    /// Whether responses wait until what they answer is saved.
    pub(in crate::engine) fn awaits_log(&self) -> bool {
        let request = self.request.as_ref();
        request.is_some_and(|request| request.waiting_answers > 0)
    }

    /// Whether one more response may wait for the log.
    pub(in crate::engine) fn may_await_log(&self) -> bool {
        self.request.as_ref().is_none_or(|request| {
            request.waiting_answers < MAX_WAITING_ANSWERS
                && request.delayed_command.is_none()
                // The next lines wait for the results of those before.
                && request.lines.as_ref().is_none_or(|lines| lines.step.is_none())
        })
    }

    /// Whether received bytes wait to be processed.
    pub(in crate::engine) fn has_input(&self) -> bool {
        self.request
            .as_ref()
            .is_some_and(|request| !request.input.is_empty() || request.delayed_command.is_some())
    }

    /// The request that it is sending, if that publishes by lines.
    pub(in crate::engine) fn line_upload(&self) -> Option<&LineUpload> {
        self.request.as_ref()?.lines.as_deref()
    }

    pub(in crate::engine) fn ends_at(&self, now: Time) -> Time {
        self.ends_at.near(now)
    }

    /// Sets how many body bytes a stream may send.
    pub(in crate::engine) fn set_stream_bytes(&mut self, bytes: u32) {
        self.measure = bytes;
    }

    /// Counts body bytes that a stream has sent.
    pub(in crate::engine) fn spend_stream_bytes(&mut self, bytes: usize) {
        // The limit exists because browsers keep the whole body of a streaming response; they do
        // not keep WebSocket messages.
        if !self.has_duplex_transport() {
            let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
            self.measure = self.measure.saturating_sub(bytes);
        }
    }

    /// Counts a ping of a duplex stream. Returns whether it is answered: at most
    /// [`MAX_PONGS`] in a second are.
    pub(in crate::engine) fn may_answer_ping(&mut self, now: Time) -> bool {
        const COUNT_BITS: u32 = 4;
        const { assert!(MAX_PONGS < 1 << COUNT_BITS) };
        let second = ((now.0 / 1_000) as u32) << COUNT_BITS;
        let count = match self.measure >> COUNT_BITS == second >> COUNT_BITS {
            true => self.measure - second,
            false => 0,
        };
        self.measure = second + (count + 1).min(MAX_PONGS);
        count < MAX_PONGS
    }

    /// Records when a long poll was parked.
    pub(in crate::engine) fn set_held_since(&mut self, since: Time) {
        self.measure = Moment::of(since).0;
    }

    /// When a held poll was parked, rounded up to 16 ms.
    pub(in crate::engine) fn held_since(&self, now: Time) -> Time {
        Moment(self.measure).near(now)
    }

    /// Whether a stream has reached its limit of bytes or of age.
    pub(in crate::engine) fn reached_limit(&self, now: Time) -> bool {
        (self.measure == 0 && !self.has_duplex_transport()) || self.ends_at(now) <= now
    }

    /// Sets when the hold or stream ends.
    pub(in crate::engine) fn set_ends_at(&mut self, at: Time) {
        self.ends_at = Moment::of(at);
        self.flags.remove(Flags::EXPIRES);
    }

    /// Moves the end of a hold or stream to that of the right to receive, if that comes first.
    pub(in crate::engine) fn expire_at(&mut self, at: Time, now: Time) {
        if at < self.ends_at(now) {
            self.ends_at = Moment::at_most(at);
            // fault: expiry-is-not-told
            self.flags.insert(Flags::EXPIRES);
        }
    }

    /// Ends the right to receive, and the hold or stream with it, though that may be over already.
    pub(in crate::engine) fn end_right(&mut self, now: Time) {
        self.expire_at(now, now);
        self.flags.insert(Flags::EXPIRES);
    }

    /// Whether the right to receive has ended.
    pub(in crate::engine) fn has_expired(&self, now: Time) -> bool {
        self.flags.contains(Flags::EXPIRES) && self.ends_at(now) <= now
    }

    /// The individual options of its response; `None` where it gets the bytes that readers share.
    pub(in crate::engine) fn options(&self) -> Option<&ResponseOptions> {
        self.request.as_ref()?.options.as_ref()
    }

    /// As [`Conn::options`], of a poll that lingers and therefore has some.
    pub(in crate::engine) fn options_mut(&mut self) -> &mut ResponseOptions {
        let request = self.request.as_mut();
        let options = request.and_then(|request| request.options.as_mut());
        options.expect("a lingering poll has response options")
    }

    /// Whether its poll lingers and has messages to respond with.
    pub(in crate::engine) fn has_lingered(&self) -> bool {
        self.options()
            .is_some_and(|options| !options.lingered.is_empty())
    }

    /// Its request state, allocated if need be and charged to `buffers`.
    pub(super) fn request(&mut self, buffers: &Arc<Meter>) -> &mut RequestState {
        self.request
            .get_or_insert_with(|| Box::new(RequestState::new(buffers)))
    }

    /// Drops the request state if it is empty.
    pub(super) fn drop_if_empty(&mut self) {
        if self
            .request
            .as_ref()
            .is_some_and(|request| request.is_empty())
        {
            self.request = None;
        }
    }
}

const _: () = assert!(size_of::<Conn>() <= 40);

/// A time in four bytes, in units of 16 ms: unambiguous within a year of the present.
#[derive(Clone, Copy, Debug, Default)]
struct Moment(u32);

impl Moment {
    const UNIT_MS: u64 = 16;

    fn of(time: Time) -> Moment {
        Moment((time.0.div_ceil(Moment::UNIT_MS)) as u32)
    }

    /// The latest moment that is not after `time`.
    fn at_most(time: Time) -> Moment {
        Moment((time.0 / Moment::UNIT_MS) as u32)
    }

    fn near(self, now: Time) -> Time {
        let present = now.0 / Moment::UNIT_MS;
        let ahead = self.0.wrapping_sub(present as u32) as i32;
        Time(present.saturating_add_signed(i64::from(ahead)) * Moment::UNIT_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_come_back_within_a_year_of_the_present() {
        const YEAR_MS: u64 = 365 * 24 * 3_600_000;
        for now in [0, 5, 3 * YEAR_MS, (1 << 36) - 3, 1 << 40] {
            for ahead in [0, 15, 16, 1_000, 3_600_000, YEAR_MS] {
                let at = Time(now + ahead);
                let back = Moment::of(at).near(Time(now));
                assert!(
                    back >= at && back.0 < at.0 + 16,
                    "{now} + {ahead}: {back:?}"
                );
            }
        }
    }

    #[test]
    fn ten_pings_a_second_are_answered() {
        let mut conn = Conn::new(1, Access::Public);
        for second in [0, 1, 7, 1 << 28, (1 << 32) - 1, 1 << 32] {
            for ms in [0, 999] {
                let now = Time(second * 1_000 + ms);
                let answered = (0..30).filter(|_| conn.may_answer_ping(now)).count();
                assert_eq!(answered, if ms == 0 { 10 } else { 0 }, "{now:?}");
            }
        }
    }

    #[test]
    fn tokens_come_back() {
        let id = ConnId {
            index: 7,
            generation: u32::MAX,
        };
        assert_eq!(ConnId::from_token(id.to_token()), id);
    }
}
