//! The responses that wait for the log.
//!
//! Owns their queue, in the order in which the log numbered their messages, and their bytes, which
//! are counted like unsent responses.
//!
//! Invariant: *in order.* Places in the log rise from front to back, and so do deadlines. So the
//! first response of a connection in the queue is the next that it is sent.

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
    /// The place up to which the log has to be saved, or applied.
    pub(super) mark: Mark,
    /// When it is answered with a refusal instead.
    pub(super) due: Time,
    pub(super) answer: Answer,
    /// The result of messages that have no ids yet.
    pub(super) unnumbered: Option<Box<Unnumbered>>,
}

impl Waiting {
    /// Its memory in bytes.
    fn bytes(&self) -> usize {
        let unnumbered = self.unnumbered.as_ref().map_or(0, |one| one.bytes());
        size_of::<Waiting>() + self.answer.bytes() + unnumbered
    }
}

/// The kind of response.
pub(in crate::engine) enum Answer {
    /// A request: 200 with this JSON, or 204.
    Http {
        context: ResponseContext<'static>,
        endpoint: Endpoint,
        json: Option<Vec<u8>>,
    },
    /// The whole response to a request that needs no log, but is behind one that does.
    Written(Vec<u8>),
    /// Acknowledgements of a request by lines: a piece of its response.
    Acknowledgements {
        piece: Vec<u8>,
        /// How many messages the request had published before these.
        published_before: u64,
    },
    /// A command of a WebSocket: the object without its last members.
    Command {
        object: Vec<u8>,
        /// The `ref` of the command, as JSON.
        reference: Option<Box<str>>,
    },
    /// No response: the message of a raw WebSocket, which is closed if the message is refused.
    Silence,
    /// The lines of the last step of a request by lines, which keeps their results. The line behind
    /// them may have been refused before it was handed to the log.
    Lines(Option<Problem>),
}

impl Answer {
    /// Sets the result, once it is known.
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

/// The outcome of a publish that waited.
#[derive(Clone, Copy)]
pub(super) enum Fate<'p> {
    /// It is saved, or applied.
    Done,
    /// It took too long.
    Late,
    /// The log of the cluster refused it.
    Refused(&'p Problem),
}

impl Fate<'_> {
    /// The error response, unless it is done.
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
        "this was not saved, or applied, in time, and may have been done all the same; to publish \
         again, repeat the request with the same Idempotency-Key",
        1,
    )
}

/// The queue of responses that wait.
pub(in crate::engine) struct Publishing {
    queue: VecDeque<Waiting>,
    bytes: usize,
    /// Their bytes, which are counted like unsent responses.
    charge: Charge,
    /// The longest wait of a response, in milliseconds.
    pub(super) timeout_ms: u64,
}

/// The longest wait for a directory, in milliseconds.
const SAVE_TIMEOUT_MS: u64 = 5_000;

/// How much longer than `--engine-patience` a publisher waits for the log of a cluster, in
/// milliseconds. The node answers within its patience; this is the limit if it does not.
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

    /// Makes responses wait for the log of a cluster with this patience.
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

    /// The connections of all responses, with their places in the log, and whether a request by
    /// lines waits for results.
    pub(in crate::engine) fn marks(&self) -> impl Iterator<Item = (ConnId, Mark, bool)> {
        self.queue.iter().map(|waiting| {
            let is_step = matches!(waiting.answer, Answer::Lines(_));
            (waiting.id, waiting.mark, is_step)
        })
    }

    /// The deadline of the first response.
    pub(in crate::engine) fn next_due(&self) -> Option<Time> {
        self.queue.front().map(|waiting| waiting.due)
    }

    /// Adds a response behind the others.
    pub(super) fn push(&mut self, mut waiting: Waiting) {
        // In order also where later ones may wait for a shorter time, after a reload.
        let last = self.queue.back().map_or(Time(0), |last| last.due);
        waiting.due = waiting.due.max(last);
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
