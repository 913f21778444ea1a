//! Publishers that wait for the log: a response is kept until its messages are saved, or applied in
//! a cluster.
//!
//! Owns the deadline of responses, and when they are sent. While a request waits, its connection is
//! in [`State::Publishing`], and only further publishes of its pipeline are processed, so that many
//! are saved together. The answers to commands of a WebSocket wait in their order, while the socket
//! still receives messages.

use super::published::Unnumbered;
use super::settle::settle;
use super::state::Delivery;
use super::waiting::{Answer, Fate, Waiting};
use super::{acknowledgements, duplex, line_step};
use crate::engine::connections::{Flags, State, Wire};
use crate::engine::response::{KeepAlive, Problem};
use crate::http1::status;
use crate::log::cluster::Ticket;
use crate::log::{Done, Mark};
use crate::ws::{self, CloseCode, Opcode};

/// Keeps a response until the log is saved up to a place.
pub(in crate::engine) fn wait(delivery: &mut Delivery, index: u32, mark: Mark, answer: Answer) {
    enter(delivery, index);
    keep(delivery, index, mark, answer, None);
}

/// Puts a connection into the state in which it waits. A stream stays a stream.
fn enter(delivery: &mut Delivery, index: u32) {
    let connections = &mut delivery.connections;
    if !matches!(
        connections[index].state(),
        State::Publishing | State::Streaming
    ) {
        connections.enter(index, State::Publishing);
    }
}

/// Keeps a response until the log of the cluster has numbered its messages.
#[cold]
pub(in crate::engine) fn wait_for_ids(
    delivery: &mut Delivery,
    index: u32,
    ticket: Ticket,
    answer: Answer,
    unnumbered: Unnumbered,
) {
    enter(delivery, index);
    let unnumbered = Some(Box::new(unnumbered));
    keep(delivery, index, ticket.into(), answer, unnumbered);
}

/// Makes a request by lines wait for the results of its lines, the last of which has this ticket.
/// `failed` is the reason for which the line behind them was not handed to the log.
#[cold]
pub(in crate::engine) fn wait_for_lines(
    delivery: &mut Delivery,
    index: u32,
    last: Ticket,
    failed: Option<Problem>,
) {
    keep(delivery, index, last.into(), Answer::Lines(failed), None);
}

/// Sends acknowledgements of a request by lines that continues: at once, or once the log is saved
/// up to a place and the acknowledgements before them are sent.
pub(in crate::engine) fn acknowledge(
    delivery: &mut Delivery,
    index: u32,
    mark: Option<Mark>,
    piece: Vec<u8>,
    published_before: u64,
) {
    let waits = delivery.connections[index].awaits_log();
    let last = delivery.publishing.back().filter(|_| waits);
    // fault: acknowledged-before-saved
    match mark.max(last.map(|last| last.mark)) {
        None => delivery.response.out.extend_from_slice(&piece),
        Some(mark) => {
            let answer = Answer::Acknowledgements {
                piece,
                published_before,
            };
            keep(delivery, index, mark, answer, None);
        }
    }
}

fn keep(
    delivery: &mut Delivery,
    index: u32,
    mark: Mark,
    answer: Answer,
    unnumbered: Option<Box<Unnumbered>>,
) {
    let connections = &mut delivery.connections;
    connections.request_state(index).waiting_answers += 1;
    delivery.publishing.push(Waiting {
        id: connections.id(index),
        mark,
        due: connections.now().after_ms(delivery.publishing.timeout_ms),
        answer,
        unnumbered,
    });
}

/// Keeps a response that is written already, to be sent behind those for which its connection
/// waits.
pub(in crate::engine) fn wait_behind(delivery: &mut Delivery, index: u32, written: Vec<u8>) {
    let last = delivery.publishing.back();
    let mark = last.expect("a response waits").mark;
    wait(delivery, index, mark, Answer::Written(written));
}

/// Answers the publishers whose messages are saved now, as `is_saved` tells.
pub(in crate::engine) fn saved(
    delivery: &mut Delivery,
    is_saved: impl Fn(Mark) -> bool,
    wire: &mut impl Wire,
) {
    let is_ready = |waiting: &Waiting| is_saved(waiting.mark);
    while let Some(waiting) = delivery.publishing.pop_if(is_ready) {
        answer(delivery, waiting, Fate::Done, is_ready, wire);
    }
}

/// Answers the publisher whose ticket is done. `result` is the body for a kick, known only
/// now.
pub(in crate::engine) fn finish(
    delivery: &mut Delivery,
    done: &Done,
    mut result: Option<Vec<u8>>,
    wire: &mut impl Wire,
) {
    let mark = Mark::from(done.ticket);
    let is_ready = |waiting: &Waiting| waiting.mark <= mark;
    if let Some(first) = delivery.publishing.front()
        && matches!(first.answer, Answer::Lines(_))
    {
        line_step::note(&mut delivery.connections, &delivery.hub, first.id, done);
    }
    let problem = done.result.err().map(Problem::from);
    while let Some(mut waiting) = delivery.publishing.pop_if(is_ready) {
        if let (Some(unnumbered), Ok(first)) = (waiting.unnumbered.take(), done.result) {
            let text = unnumbered.number(&delivery.hub, first);
            waiting.answer.set_result(text);
        }
        if waiting.mark == mark
            && let Some(result) = result.take()
        {
            waiting.answer.set_result(result);
        }
        let fate = problem.as_ref().map_or(Fate::Done, Fate::Refused);
        answer(delivery, waiting, fate, is_ready, wire);
    }
}

/// Answers the publishers that have waited for too long.
pub(super) fn expire(delivery: &mut Delivery, wire: &mut impl Wire) {
    let now = delivery.now();
    let is_due = |waiting: &Waiting| waiting.due <= now;
    while let Some(waiting) = delivery.publishing.pop_if(is_due) {
        answer(delivery, waiting, Fate::Late, is_due, wire);
    }
}

/// Writes the response to one publisher, and sends it, unless the next response in the queue is for
/// the same connection and is ready too: then both are sent together.
fn answer(
    delivery: &mut Delivery,
    waiting: Waiting,
    fate: Fate<'_>,
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
    request.waiting_answers -= 1;
    let is_last = request.waiting_answers == 0;
    if !matches!(state, State::Publishing | State::Streaming | State::Body) {
        // Its stream has ended, or its request by lines.
        return;
    }
    if was_full {
        delivery.connections.defer_input(index);
    }
    let is_done = matches!(fate, Fate::Done);
    if let Answer::Lines(failed) = answer {
        return line_step::finish(delivery, index, fate, failed, wire);
    }
    if matches!(answer, Answer::Silence) && !is_done {
        return close_raw(delivery, index, fate, wire);
    }
    let ends = !is_done && matches!(answer, Answer::Acknowledgements { .. });
    let closes = is_last && delivery.drain.is_some();
    write(delivery, index, answer, fate, closes);
    let next = delivery.publishing.front();
    if !ends && next.is_some_and(|next| next.id == id && is_ready(next)) {
        return;
    }
    delivery.flush_behind(index, wire);
    if !is_last && !ends {
        return;
    }
    let is_draining = delivery.drain.is_some();
    let connections = &mut delivery.connections;
    let conn = &mut connections[index];
    match conn.state() {
        State::Body if ends => {
            // This is the last response of its connection.
            conn.request.as_mut().expect("it has lines").lines = None;
            connections.enter(index, State::Idle);
        }
        State::Publishing => {
            if is_draining {
                conn.flags.insert(Flags::CLOSE);
            }
            if let Some(request) = conn.request.as_mut() {
                // The acknowledged messages were refused.
                request.lines = None;
            }
            connections.enter(index, State::Idle);
        }
        State::Streaming | State::Body => {}
        // The connection is broken.
        _ => return,
    }
    if connections[index].has_input() && !connections[index].is_blocked() {
        connections.defer_input(index);
    }
    settle(delivery, index, wire);
}

/// Closes a raw WebSocket whose message was refused.
#[cold]
fn close_raw(delivery: &mut Delivery, index: u32, fate: Fate<'_>, wire: &mut impl Wire) {
    if let Some(problem) = fate.problem()
        && delivery.connections[index].is_duplex()
    {
        let reason = ws::shortened(problem.detail());
        duplex::close(delivery, index, CloseCode::TryLater, reason);
        delivery.flush_behind(index, wire);
    }
    settle(delivery, index, wire);
}

/// Appends the response to one publisher. `closes`: the server drains, and this response is the
/// last of its connection.
fn write(delivery: &mut Delivery, index: u32, answer: Answer, fate: Fate<'_>, closes: bool) {
    let framing = acknowledgements::framing(delivery, index);
    let problem = fate.problem();
    if let Some(problem) = &problem
        && acknowledgements::is_refused(delivery, index)
    {
        return acknowledgements::write_not_saved(delivery, index, problem);
    }
    let Delivery {
        connections,
        response,
        ..
    } = delivery;
    let stats = &mut connections.stats;
    if matches!(fate, Fate::Late) {
        stats.late_answers += 1;
    }
    match answer {
        Answer::Http {
            mut context,
            endpoint,
            json,
        } => {
            if closes {
                context.keep_alive = KeepAlive::Close;
            }
            let status = match (&json, &problem) {
                (_, Some(problem)) => {
                    response.problem(problem, &context);
                    problem.status
                }
                (Some(json), None) => {
                    response.json(&context, json);
                    status::OK
                }
                (None, None) => {
                    response.no_content(&context);
                    204
                }
            };
            stats.requests.count(endpoint, status);
            log::debug!(target: "encke::access", "connection {index}: {status} for what was to be saved");
        }
        Answer::Written(bytes) => response.out.extend_from_slice(&bytes),
        Answer::Acknowledgements {
            piece,
            published_before,
        } => match &problem {
            None => response.out.extend_from_slice(&piece),
            Some(problem) => {
                let out = &mut response.out;
                acknowledgements::write_error(out, framing, problem, published_before);
            }
        },
        Answer::Command { object, reference } => {
            ws::write(&mut response.out, Opcode::Text, |out| {
                match &problem {
                    None => out.extend_from_slice(&object),
                    Some(problem) => write_error(out, problem),
                }
                end_command(out, reference.as_deref());
            });
        }
        Answer::Silence | Answer::Lines(_) => {}
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
