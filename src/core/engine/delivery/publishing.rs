//! Publishers that wait for the log: their responses are kept until what they asked for is saved.
//!
//! Owns the queue of these responses, in the order in which the log numbered what they answer, and
//! their deadline. While a request waits, its connection is in [`State::Publishing`], and only further
//! publishes of its pipeline are processed, so that many are saved together. The answers to commands of a
//! WebSocket wait beside what it receives, and in their order.
//!
//! Invariant: *in order.* Places in the log rise from front to back, and so do deadlines. So the first
//! response of a connection in the queue is the one that it gets next.

use std::collections::VecDeque;
use std::sync::Arc;

use super::settle::settle;
use super::state::Delivery;
use crate::base::meter::{Charge, Meter};
use crate::base::time::Time;
use crate::engine::connections::{ConnId, Flags, State, Wire, write_behind};
use crate::engine::response::{Problem, ResponseContext};
use crate::engine::stats::Endpoint;
use crate::http1::status;
use crate::log::Mark;
use crate::ws::{self, Opcode};

/// How long a publisher waits for the log, in milliseconds.
const SAVE_TIMEOUT_MS: u64 = 5_000;

/// A response that waits.
struct Waiting {
    id: ConnId,
    /// Where it is in the log.
    mark: Mark,
    due: Time,
    answer: Answer,
}

/// What is answered.
pub(in crate::engine) enum Answer {
    /// A request: 200 with this JSON, or 204.
    Http {
        context: ResponseContext<'static>,
        endpoint: Endpoint,
        json: Option<Vec<u8>>,
    },
    /// A request that does not wait, behind one that does: the whole response.
    Written(Vec<u8>),
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

    /// When the next response is due, saved or not.
    pub(in crate::engine) fn next_due(&self) -> Option<Time> {
        self.queue.front().map(|waiting| waiting.due)
    }

    fn push(&mut self, waiting: Waiting) {
        self.bytes += size_of::<Waiting>() + waiting.answer.bytes();
        self.charge.set(self.bytes);
        self.queue.push_back(waiting);
    }

    fn pop_if(&mut self, is_ready: impl FnOnce(&Waiting) -> bool) -> Option<Waiting> {
        self.queue.front().filter(|waiting| is_ready(waiting))?;
        let waiting = self.queue.pop_front()?;
        self.bytes -= size_of::<Waiting>() + waiting.answer.bytes();
        self.charge.set(self.bytes);
        Some(waiting)
    }
}

/// Keeps a response until the log is saved up to a place.
pub(in crate::engine) fn wait(delivery: &mut Delivery, index: u32, mark: Mark, answer: Answer) {
    let connections = &mut delivery.connections;
    if !matches!(
        connections[index].state(),
        State::Publishing | State::Streaming
    ) {
        connections.enter(index, State::Publishing);
    }
    connections.request_state(index).unsaved_answers += 1;
    delivery.publishing.push(Waiting {
        id: connections.id(index),
        mark,
        due: connections.now().after_ms(SAVE_TIMEOUT_MS),
        answer,
    });
}

/// Keeps a response that is written already behind those that a connection waits for.
pub(in crate::engine) fn wait_behind(delivery: &mut Delivery, index: u32, written: Vec<u8>) {
    let last = delivery.publishing.queue.back();
    let mark = last.expect("a response waits").mark;
    wait(delivery, index, mark, Answer::Written(written));
}

/// Answers the publishers that wait for what is saved now: `is_saved` says what is.
pub(in crate::engine) fn saved(
    delivery: &mut Delivery,
    is_saved: impl Fn(Mark) -> bool,
    wire: &mut impl Wire,
) {
    let is_ready = |waiting: &Waiting| is_saved(waiting.mark);
    while let Some(waiting) = delivery.publishing.pop_if(is_ready) {
        answer(delivery, waiting, true, is_ready, wire);
    }
}

/// Answers the publishers that have waited for too long.
pub(super) fn expire(delivery: &mut Delivery, wire: &mut impl Wire) {
    let now = delivery.now();
    let is_due = |waiting: &Waiting| waiting.due <= now;
    while let Some(waiting) = delivery.publishing.pop_if(is_due) {
        answer(delivery, waiting, false, is_due, wire);
    }
}

/// Writes the response to one publisher, and sends it, unless the next in the queue is of the same
/// connection and is answered next, as it is ready too.
fn answer(
    delivery: &mut Delivery,
    waiting: Waiting,
    is_saved: bool,
    is_ready: impl Fn(&Waiting) -> bool,
    wire: &mut impl Wire,
) {
    let Waiting { id, answer, .. } = waiting;
    let Some(index) = delivery.connections.find(id) else {
        return;
    };
    let conn = &mut delivery.connections[index];
    let was_full = !conn.may_await_log();
    let state = conn.state();
    let Some(request) = conn.request.as_mut() else {
        return;
    };
    request.unsaved_answers -= 1;
    let is_last = request.unsaved_answers == 0;
    if !matches!(state, State::Publishing | State::Streaming) {
        // Its stream has ended.
        return;
    }
    if was_full {
        delivery.connections.defer_input(index);
    }
    write(delivery, answer, is_saved);
    let next = delivery.publishing.queue.front();
    if next.is_some_and(|next| next.id == id && is_ready(next)) {
        return;
    }
    let Delivery {
        connections,
        hub,
        response,
        ..
    } = delivery;
    write_behind(connections, index, &response.out, hub, wire);
    response.clear();
    if !is_last {
        return;
    }
    let is_draining = delivery.drain.is_some();
    let connections = &mut delivery.connections;
    let conn = &mut connections[index];
    match conn.state() {
        State::Publishing => {
            if is_draining {
                conn.flags.insert(Flags::CLOSE);
            }
            connections.enter(index, State::Idle);
        }
        State::Streaming => {}
        // It broke.
        _ => return,
    }
    if connections[index].has_input() && !connections[index].is_blocked() {
        connections.defer_input(index);
    }
    settle(delivery, index, wire);
}

fn write(delivery: &mut Delivery, answer: Answer, is_saved: bool) {
    let Delivery {
        connections,
        response,
        ..
    } = delivery;
    let stats = &mut connections.stats;
    if !is_saved {
        stats.unsaved_answers += 1;
    }
    match answer {
        Answer::Http {
            context,
            endpoint,
            json,
        } => {
            let status = match (&json, is_saved) {
                (_, false) => {
                    let problem = not_saved();
                    response.problem(&problem, &context);
                    problem.status
                }
                (Some(json), true) => {
                    response.json(&context, json);
                    status::OK
                }
                (None, true) => {
                    response.no_content(&context);
                    204
                }
            };
            stats.requests.count(endpoint, status);
        }
        Answer::Written(bytes) => response.out.extend_from_slice(&bytes),
        Answer::Command { object, reference } => {
            ws::write(&mut response.out, Opcode::Text, |out| {
                match is_saved {
                    true => out.extend_from_slice(&object),
                    false => write_error(out, &not_saved()),
                }
                end_command(out, reference.as_deref());
            });
        }
    }
}

/// Begins the answer to a command that is refused.
pub(in crate::engine) fn write_error(out: &mut Vec<u8>, problem: &Problem) {
    out.extend_from_slice(b"{\"error\":");
    problem.document(out);
}

/// Ends the answer to a command with its `ref`.
pub(in crate::engine) fn end_command(out: &mut Vec<u8>, reference: Option<&str>) {
    if let Some(reference) = reference {
        out.extend_from_slice(b",\"ref\":");
        out.extend_from_slice(reference.as_bytes());
    }
    out.push(b'}');
}

fn not_saved() -> Problem {
    Problem::unavailable(
        "this was not saved in time, and may have been done all the same; to publish again, repeat \
         the request with the same Idempotency-Key",
        1,
    )
}
