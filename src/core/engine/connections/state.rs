//! The states of a connection and the transitions between them.
//!
//! Owns the table of transitions, which debug builds assert, and the number of connections in each
//! state.

/// Where a connection stands in its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Between two requests; nothing of the next one has arrived.
    Idle,
    /// A head is being received, or a first one is awaited.
    Head,
    /// A body is being received.
    Body,
    /// A long poll is parked.
    Held,
    /// A stream is parked.
    Streaming,
    /// The response is computed over several ticks.
    Deferred,
    /// The response waits until what was published is saved.
    Publishing,
    /// The last response is on its way; input is discarded.
    Closing,
    /// Only the socket is left, to be closed at the end of the tick.
    Gone,
}

impl State {
    /// All states, in the order of their numbers.
    pub const ALL: [State; 9] = [
        State::Idle,
        State::Head,
        State::Body,
        State::Held,
        State::Streaming,
        State::Deferred,
        State::Publishing,
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
            State::Deferred => "deferred",
            State::Publishing => "publishing",
            State::Closing => "closing",
            State::Gone => "gone",
        }
    }

    /// Whether a connection in this state may enter `next`. Every state may enter `Gone`.
    pub(super) fn may_become(self, next: State) -> bool {
        use State::*;
        match self {
            // Requests of a pipeline are answered without leaving `Idle`.
            Idle => true,
            Head | Body => next != Head,
            // A further request gives up the hold before it is looked at.
            Held => matches!(next, Idle | Gone),
            Deferred | Publishing => matches!(next, Idle | Gone),
            Streaming => matches!(next, Closing | Gone),
            Closing => next == Gone,
            Gone => false,
        }
    }
}

/// How many connections are in each state.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::engine) struct States([usize; State::ALL.len()]);

impl States {
    pub(in crate::engine) fn of(&self, state: State) -> usize {
        self.0[state as usize]
    }

    pub(super) fn enter(&mut self, state: State) {
        self.0[state as usize] += 1;
    }

    pub(super) fn leave(&mut self, state: State) {
        self.0[state as usize] -= 1;
    }
}
