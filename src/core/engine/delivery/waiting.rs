//! The responses that wait for the log.
//!
//! Owns their queue, in the order in which the log numbered what they answer, and their bytes,
//! which count as unsent responses do.
//!
//! Invariant: *in order.* Places in the log rise from front to back, and so do deadlines. So the
//! first response of a connection in the queue is the one that it gets next.

mod frozen;

pub(super) use frozen::{freeze, thaw};

use std::collections::VecDeque;
use std::sync::Arc;

use super::published::Unnumbered;
use crate::base::meter::{Charge, Meter};
use crate::base::time::Time;
use crate::engine::connections::ConnId;
use crate::engine::response::{Problem, ResponseContext};
use crate::engine::stats::Endpoint;
use crate::log::Mark;

/// A response that waits.
pub(super) struct Waiting {
    pub(super) id: ConnId,
    /// Where it is in the log.
    pub(super) mark: Mark,
    /// When it becomes a refusal.
    pub(super) due: Time,
    pub(super) answer: Answer,
    /// The result that is the answer when its messages have their ids.
    pub(super) unnumbered: Option<Box<Unnumbered>>,
}

impl Waiting {
    /// The memory that it takes.
    fn bytes(&self) -> usize {
        let unnumbered = self.unnumbered.as_ref().map_or(0, |one| one.bytes());
        size_of::<Waiting>() + self.answer.bytes() + unnumbered
    }
}

/// The response that waits.
pub(in crate::engine) enum Answer {
    /// A request: 200 with this JSON, or 204.
    Http {
        context: ResponseContext<'static>,
        endpoint: Endpoint,
        json: Option<Vec<u8>>,
    },
    /// A request that does not wait, behind one that does: the whole response.
    Written(Vec<u8>),
    /// Acknowledgements of a request by lines: a piece of its response.
    Acknowledgements {
        piece: Vec<u8>,
        /// How many messages the request had published before those.
        published_before: u64,
    },
    /// A command of a WebSocket: the object without its last members.
    Command {
        object: Vec<u8>,
        /// The `ref` of the command, as JSON.
        reference: Option<Box<str>>,
    },
    /// Nothing: a message of a raw WebSocket, which is closed if the message is refused.
    Silence,
    /// The next lines of a request by lines, which has their results. The line behind them may have
    /// been refused before it was handed over.
    Lines(Option<Problem>),
}

impl Answer {
    /// Sets the result, which was not known before.
    pub(super) fn set_result(&mut self, text: Vec<u8>) {
        match self {
            Answer::Http { json, .. } => *json = Some(text),
            Answer::Command { object, .. } => *object = text,
            Answer::Written(_)
            | Answer::Acknowledgements { .. }
            | Answer::Silence
            | Answer::Lines(_) => {}
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Answer::Http { json, .. } => json.as_ref().map_or(0, Vec::capacity),
            Answer::Silence | Answer::Lines(_) => 0,
            Answer::Written(bytes) => bytes.capacity(),
            Answer::Acknowledgements { piece, .. } => piece.capacity(),
            Answer::Command { object, reference } => {
                object.capacity() + reference.as_ref().map_or(0, |text| text.len())
            }
        }
    }
}

/// What became of what a publisher waits for.
#[derive(Clone, Copy)]
pub(super) enum Fate<'p> {
    /// It is done.
    Done,
    /// It took too long.
    Late,
    /// The log of the cluster did not take it.
    Refused(&'p Problem),
}

impl Fate<'_> {
    /// The response, if it is not done.
    pub(super) fn problem(self) -> Option<Problem> {
        match self {
            Fate::Done => None,
            Fate::Late => Some(not_saved()),
            Fate::Refused(problem) => Some(problem.clone()),
        }
    }
}

fn not_saved() -> Problem {
    Problem::unavailable(
        "this was not saved in time, and may have been done all the same; to publish again, repeat \
         the request with the same Idempotency-Key",
        1,
    )
}

/// The responses that wait.
pub(in crate::engine) struct Publishing {
    queue: VecDeque<Waiting>,
    bytes: usize,
    /// Their bytes, which count as unsent responses do.
    charge: Charge,
    /// How long each waits at most, in milliseconds.
    pub(super) timeout_ms: u64,
}

/// How long a publisher waits for a directory, in milliseconds.
const SAVE_TIMEOUT_MS: u64 = 5_000;

/// How much longer than its patience a publisher waits for the log of a cluster, in milliseconds.
/// The node answers within its patience; this is for the case that it does not.
const MORE_MS: u64 = 60_000;

impl Publishing {
    pub(super) fn new(buffers: &Arc<Meter>) -> Publishing {
        Publishing {
            queue: VecDeque::new(),
            bytes: 0,
            charge: Charge::new(buffers),
            timeout_ms: SAVE_TIMEOUT_MS,
        }
    }

    /// Publishers wait for the log of a cluster, which has so much patience.
    pub(in crate::engine) fn hold_for(&mut self, patience_ms: u64) {
        self.timeout_ms = patience_ms.saturating_add(MORE_MS);
    }

    /// Whether no response waits.
    pub(in crate::engine) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The first response.
    pub(super) fn front(&self) -> Option<&Waiting> {
        self.queue.front()
    }

    /// The last response.
    pub(super) fn back(&self) -> Option<&Waiting> {
        self.queue.back()
    }

    /// When the next response is due, saved or not.
    pub(in crate::engine) fn next_due(&self) -> Option<Time> {
        self.queue.front().map(|waiting| waiting.due)
    }

    /// Adds a response behind the others.
    pub(super) fn push(&mut self, waiting: Waiting) {
        self.bytes += waiting.bytes();
        self.charge.set(self.bytes);
        self.queue.push_back(waiting);
    }

    /// Removes and returns the first response, if it is ready.
    pub(super) fn pop_if(&mut self, is_ready: impl FnOnce(&Waiting) -> bool) -> Option<Waiting> {
        self.queue.front().filter(|waiting| is_ready(waiting))?;
        let waiting = self.queue.pop_front()?;
        self.bytes -= waiting.bytes();
        self.charge.set(self.bytes);
        Some(waiting)
    }
}
