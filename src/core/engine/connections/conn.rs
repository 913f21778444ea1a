//! A connection, as the engine sees it: where it stands in its requests, and no socket.
//!
//! Owns the state of one connection and what is individual about it. A parked connection with
//! nothing individual owns no memory beyond its entry: the box for [`Work`] exists only while
//! there are bytes half received, half sent, or wishes that differ from the defaults.

use std::sync::Arc;

use crate::base::meter::Meter;
use crate::base::time::Time;
use crate::engine::connections::request_state::{Wish, Work};
use crate::hub::{Reader, Transport};

/// Names a connection for as long as it lives; stale ones are recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnId {
    /// Its place in the table of connections, reused after it is closed.
    pub index: u32,
    /// The number of its accept; tells it from others in the same place.
    pub generation: u32,
}

impl ConnId {
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

/// What the listener of a connection allows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Receiving only: the control surface is 404.
    Public,
    /// Everything, with the publish key if there is one.
    Guarded,
    /// Everything, without a key: a control listener on loopback or a unix socket.
    Trusted,
}

/// Where a connection stands; a check in debug builds holds it to the legal ways between states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Between two requests, nothing of the next one here.
    Idle,
    /// A head is being received (or a first one awaited).
    Head,
    /// A body is being received.
    Body,
    /// A long poll is parked.
    Held,
    /// A stream is parked.
    Streaming,
    /// A listing of channels is under way.
    Listing,
    /// The last answer is on its way; what still arrives is discarded.
    Closing,
    /// Only the socket is left, to be closed at the end of the tick.
    Gone,
}

impl State {
    /// All of them, in the order of their numbers.
    pub const ALL: [State; 8] = [
        State::Idle,
        State::Head,
        State::Body,
        State::Held,
        State::Streaming,
        State::Listing,
        State::Closing,
        State::Gone,
    ];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            State::Idle => "idle",
            State::Head => "head",
            State::Body => "body",
            State::Held => "held",
            State::Streaming => "streaming",
            State::Listing => "listing",
            State::Closing => "closing",
            State::Gone => "gone",
        }
    }

    fn may_become(self, next: State) -> bool {
        use State::*;
        match (self, next) {
            (Gone, _) => false,
            (_, Gone) => true,
            (Closing, _) => false,
            (_, Closing) => true,
            (Streaming, _) => false,
            (Idle | Head | Body | Held | Listing, _) => true,
        }
    }
}

/// How many connections stand in each state.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::engine) struct States([usize; State::ALL.len()]);

impl States {
    pub(in crate::engine) fn of(&self, state: State) -> usize {
        self.0[state as usize]
    }

    pub(in crate::engine) fn enter(&mut self, state: State) {
        self.0[state as usize] += 1;
    }

    pub(in crate::engine) fn leave(&mut self, state: State) {
        self.0[state as usize] -= 1;
    }
}

/// What else is to be known of a connection.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::engine) struct Flags(u8);

impl Flags {
    /// The present request is HTTP/1.0.
    pub(in crate::engine) const HTTP10: Flags = Flags(1);
    /// No further request is served on this connection.
    pub(in crate::engine) const CLOSE: Flags = Flags(2);
    /// The client's side is closed.
    pub(in crate::engine) const EOF: Flags = Flags(4);
    /// Stands in the queue of those with requests left to serve.
    pub(in crate::engine) const QUEUED: Flags = Flags(8);
    /// The head of the held poll's answer is sent.
    pub(in crate::engine) const EARLY: Flags = Flags(16);
    /// The stream wraps messages in their JSON objects.
    pub(in crate::engine) const ENVELOPE: Flags = Flags(32);
    /// Our side is shut down.
    pub(in crate::engine) const SHUT: Flags = Flags(64);

    /// Was owed nothing when its reader was last listed.
    pub(in crate::engine) const WAITED: Flags = Flags(128);

    pub(in crate::engine) fn has(self, flag: Flags) -> bool {
        self.0 & flag.0 != 0
    }

    pub(in crate::engine) fn put(&mut self, flag: Flags, on: bool) {
        self.0 = if on {
            self.0 | flag.0
        } else {
            self.0 & !flag.0
        };
    }
}

/// One connection.
pub(in crate::engine) struct Conn {
    pub(in crate::engine) reader: Reader,
    pub(in crate::engine) work: Option<Box<Work>>,
    pub(in crate::engine) generation: u32,
    /// Of a stream: body bytes that it may still send. Of a held poll: when it was parked.
    measure: u32,
    /// The end of the hold, or of the stream.
    ends_at: Moment,
    state: State,
    pub(in crate::engine) transport: Transport,
    pub(in crate::engine) access: Access,
    pub(in crate::engine) flags: Flags,
}

impl Conn {
    pub(in crate::engine) fn new(generation: u32, access: Access) -> Conn {
        Conn {
            reader: Reader::default(),
            work: None,
            generation,
            measure: 0,
            ends_at: Moment::default(),
            state: State::Head,
            transport: Transport::LongPoll,
            access,
            flags: Flags::default(),
        }
    }

    pub(in crate::engine) fn state(&self) -> State {
        self.state
    }

    pub(in crate::engine) fn become_state(&mut self, next: State, states: &mut States) {
        debug_assert!(
            self.state.may_become(next),
            "a connection went from {:?} to {next:?}",
            self.state
        );
        states.leave(self.state);
        states.enter(next);
        self.state = next;
    }

    /// Whether a long poll or a stream is waiting.
    pub(in crate::engine) fn is_parked(&self) -> bool {
        matches!(self.state, State::Held | State::Streaming)
    }

    /// Whether its request is not answered yet and needs nothing more of the client.
    pub(in crate::engine) fn is_waiting(&self) -> bool {
        self.is_parked() || self.state == State::Listing
    }

    /// Whether its socket takes no more for now.
    pub(in crate::engine) fn is_blocked(&self) -> bool {
        self.work
            .as_ref()
            .is_some_and(|work| work.pending.is_some())
    }

    /// Whether bytes of it wait to be served.
    pub(in crate::engine) fn has_input(&self) -> bool {
        self.work
            .as_ref()
            .is_some_and(|work| !work.input.is_empty())
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
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.measure = self.measure.saturating_sub(bytes);
    }

    /// Notes when a long poll was parked.
    pub(in crate::engine) fn set_held_since(&mut self, since: Time) {
        self.measure = Moment::of(since).0;
    }

    /// When a held poll was parked, to the unit of a moment.
    pub(in crate::engine) fn held_since(&self, now: Time) -> Time {
        Moment(self.measure).near(now)
    }

    /// Whether a stream has sent, or lived, as much as it may.
    pub(in crate::engine) fn is_over(&self, now: Time) -> bool {
        self.measure == 0 || self.ends_at(now) <= now
    }

    pub(in crate::engine) fn set_ends_at(&mut self, at: Time) {
        self.ends_at = Moment::of(at);
    }

    pub(in crate::engine) fn wish(&self) -> Option<&Wish> {
        self.work.as_ref()?.wish.as_ref()
    }

    pub(in crate::engine) fn work(&mut self, buffers: &Arc<Meter>) -> &mut Work {
        self.work
            .get_or_insert_with(|| Box::new(Work::new(buffers)))
    }

    /// Lets go of the box if nothing is in it.
    pub(in crate::engine) fn tidy(&mut self) {
        if self.work.as_ref().is_some_and(|work| work.is_empty()) {
            self.work = None;
        }
    }
}

const _: () = assert!(size_of::<Conn>() <= 40);

/// A moment in four bytes: right within a year of the present.
#[derive(Clone, Copy, Debug, Default)]
struct Moment(u32);

impl Moment {
    const UNIT_MS: u64 = 16;

    fn of(time: Time) -> Moment {
        Moment((time.0.div_ceil(Moment::UNIT_MS)) as u32)
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
    fn tokens_come_back() {
        let id = ConnId {
            index: 7,
            generation: u32::MAX,
        };
        assert_eq!(ConnId::from_token(id.to_token()), id);
    }
}
