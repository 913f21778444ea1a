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

use crate::base::meter::{Charge, Meter};
use crate::base::time::Time;
use crate::engine::connections::ConnId;
use crate::engine::response::ResponseContext;
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
}

impl Answer {
    fn bytes(&self) -> usize {
        match self {
            Answer::Http { json, .. } => json.as_ref().map_or(0, Vec::capacity),
            Answer::Written(bytes) => bytes.capacity(),
            Answer::Acknowledgements { piece, .. } => piece.capacity(),
            Answer::Command { object, reference } => {
                object.capacity() + reference.as_ref().map_or(0, |text| text.len())
            }
        }
    }
}

/// The responses that wait.
pub(in crate::engine) struct Publishing {
    queue: VecDeque<Waiting>,
    bytes: usize,
    /// Their bytes, which count as unsent responses do.
    charge: Charge,
}

impl Publishing {
    pub(super) fn new(buffers: &Arc<Meter>) -> Publishing {
        Publishing {
            queue: VecDeque::new(),
            bytes: 0,
            charge: Charge::new(buffers),
        }
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
        self.bytes += size_of::<Waiting>() + waiting.answer.bytes();
        self.charge.set(self.bytes);
        self.queue.push_back(waiting);
    }

    /// Removes and returns the first response, if it is ready.
    pub(super) fn pop_if(&mut self, is_ready: impl FnOnce(&Waiting) -> bool) -> Option<Waiting> {
        self.queue.front().filter(|waiting| is_ready(waiting))?;
        let waiting = self.queue.pop_front()?;
        self.bytes -= size_of::<Waiting>() + waiting.answer.bytes();
        self.charge.set(self.bytes);
        Some(waiting)
    }
}
