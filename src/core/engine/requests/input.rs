//! From bytes to requests: heads, bodies, pipelines, and clients that leave.
//!
//! Owns the order of requests on a connection: the next one is processed only when the response to
//! the one before is written or waits to be. It never decides what a request means.

use super::execute::{authorize, handle_request, invite_body, refuse_before_body};
use super::frames::{NO_ROOM, execute_delayed, next_frame};
use super::lines;
use super::state::Requests;
use crate::engine::connections::{ConnId, Flags, State, Upload, Wire};
use crate::engine::delivery::{Delivery, close_socket, give_up_hold, refuse, settle, wait_behind};
use crate::engine::response::Problem;
use crate::engine::routing::{Route, is_by_lines};
use crate::engine::stats::CloseReason;
use crate::http1::{self, Decoder, Framing, Head, Outcome, Scan, Version};
use crate::ws::CloseCode;

/// Requests of one connection processed in one tick.
const PIPELINE_BUDGET: usize = 32;

/// Bytes of responses gathered before they are sent in one write.
const FLUSH_BYTES: usize = 64 << 10;

/// Signatures checked for the requests of one connection in one tick: about 5 ms of the slowest. A
/// forged token is checked with every key that fits it.
const CHECK_BUDGET: u64 = 64;

/// Bytes that a client may send on a stream, where none are expected, before it is closed.
const UNEXPECTED_BYTES: usize = 8 << 10;

/// Processes bytes that a connection has received.
pub(in crate::engine) fn input(
    requests: &mut Requests,
    delivery: &mut Delivery,
    id: ConnId,
    bytes: &[u8],
    wire: &mut impl Wire,
) {
    let connections = &mut delivery.connections;
    let Some(index) = connections.find(id) else {
        return;
    };
    let conn = &connections[index];
    match conn.state() {
        State::Streaming if conn.is_duplex() => {}
        State::Streaming | State::Closing | State::Gone => {
            return discard_unexpected(delivery, index, bytes.len());
        }
        _ => {}
    }
    let has_room = connections.buffers.has_room(bytes.len());
    let request = connections[index].request.as_mut();
    match request.filter(|request| !request.input.is_empty()) {
        None => {
            let done = process_input(requests, delivery, index, bytes, wire);
            buffer_input(delivery, index, &bytes[done..], wire);
        }
        Some(_) if !has_room => end_without_room(delivery, index),
        Some(request) => {
            request.input.extend_from_slice(bytes);
            process_buffered(requests, delivery, index, wire);
        }
    }
    delivery.flush(index, wire);
    settle(delivery, index, wire);
}

/// Handles the end of a client's side.
pub(in crate::engine) fn eof(delivery: &mut Delivery, id: ConnId, wire: &mut impl Wire) {
    let Delivery {
        connections, hub, ..
    } = delivery;
    let Some(index) = connections.find(id) else {
        return;
    };
    let conn = &mut connections[index];
    conn.flags.insert(Flags::EOF);
    let owes_responses = conn.is_blocked()
        || conn.flags.contains(Flags::DEFERRED_INPUT)
        || matches!(conn.state(), State::Deferred | State::Publishing);
    if !conn.is_parked() && owes_responses {
        return settle(delivery, index, wire);
    }
    let why = match conn.state() {
        State::Closing => CloseReason::Closed,
        _ => CloseReason::Left,
    };
    connections.close(index, why, hub);
}

/// Processes requests that were buffered in an earlier tick.
pub(in crate::engine) fn resume_input(
    requests: &mut Requests,
    delivery: &mut Delivery,
    id: ConnId,
    wire: &mut impl Wire,
) {
    let Some(index) = delivery.connections.find(id) else {
        return;
    };
    execute_delayed(requests, delivery, index);
    process_buffered(requests, delivery, index, wire);
    delivery.flush(index, wire);
    settle(delivery, index, wire);
}

/// Processes the requests in `input`. Returns how many bytes of it are done with.
fn process_input(
    requests: &mut Requests,
    delivery: &mut Delivery,
    index: u32,
    input: &[u8],
    wire: &mut impl Wire,
) -> usize {
    let mut done = 0;
    let checks = requests.authorizer.tokens().checks();
    for _ in 0..PIPELINE_BUDGET {
        let checked = requests.authorizer.tokens().checks() - checks;
        if delivery.response.out.len() >= FLUSH_BYTES || checked >= CHECK_BUDGET {
            // One large response per tick, so that a pipeline of them delays no other connection by
            // more.
            delivery.flush(index, wire);
            break;
        }
        let conn = &delivery.connections[index];
        let rest = &input[done..];
        let taken = match conn.state() {
            _ if conn.is_blocked() => return done,
            State::Idle | State::Publishing if conn.flags.contains(Flags::CLOSE) => {
                return input.len();
            }
            State::Body if !conn.may_await_log() => return done,
            State::Body => continue_body(requests, delivery, index, rest),
            State::Idle | State::Head | State::Held if !rest.is_empty() => {
                next_request(requests, delivery, index, rest)
            }
            State::Idle | State::Head | State::Held | State::Deferred => None,
            State::Publishing if !rest.is_empty() && conn.may_await_log() => {
                next_publish(requests, delivery, index, rest)
            }
            State::Publishing => None,
            State::Streaming if conn.is_duplex() => {
                let has_more = !rest.is_empty() && conn.may_await_log();
                has_more.then(|| next_frame(requests, delivery, index, rest))
            }
            State::Streaming | State::Closing | State::Gone => {
                discard_unexpected(delivery, index, rest.len());
                return input.len();
            }
        };
        match taken {
            Some(taken) => done += taken,
            None if delivery.connections[index].state() == State::Body => return input.len(),
            None => return done,
        }
    }
    // fault: pipeline-not-carried-over
    delivery.connections.defer_input(index);
    done
}

fn process_buffered(
    requests: &mut Requests,
    delivery: &mut Delivery,
    index: u32,
    wire: &mut impl Wire,
) {
    let request = delivery.connections[index].request.as_mut();
    let input = request.map_or_else(Vec::new, |request| std::mem::take(&mut request.input));
    let done = process_input(requests, delivery, index, &input, wire);
    let request = delivery.connections[index].request.as_mut();
    let Some(request) = request.filter(|_| done < input.len()) else {
        return buffer_input(delivery, index, &input[done..], wire);
    };
    // The usual case is a head that grows: its buffer is kept.
    request.input = input;
    request.input.drain(..done);
    request.update_charge();
}

/// Buffers unprocessed input. Where `--max-buffer-bytes` is reached, sends the responses that are
/// ready and closes the connection: an incomplete request cannot be answered in the format of its
/// endpoint.
fn buffer_input(delivery: &mut Delivery, index: u32, rest: &[u8], wire: &mut impl Wire) {
    let connections = &mut delivery.connections;
    if rest.is_empty() {
        if let Some(request) = connections[index].request.as_mut() {
            request.update_charge();
        }
        return;
    }
    if connections[index].state() == State::Gone {
        return;
    }
    if !connections.buffers.has_room(rest.len()) {
        delivery.flush(index, wire);
        return end_without_room(delivery, index);
    }
    let request = connections.request_state(index);
    request.input.extend_from_slice(rest);
    request.update_charge();
}

/// Ends a connection for whose input there is no room. A WebSocket that is between two frames is
/// told so.
fn end_without_room(delivery: &mut Delivery, index: u32) {
    let conn = &mut delivery.connections[index];
    if conn.is_blocked() || !conn.is_duplex() {
        return delivery.close(index, CloseReason::NoRoom);
    }
    if let Some(request) = conn.request.as_mut() {
        request.input = Vec::new();
        request.delayed_command = None;
    }
    close_socket(delivery, index, CloseCode::NoRoom, NO_ROOM);
}

/// Counts and discards unexpected input on a stream; closes the connection above
/// [`UNEXPECTED_BYTES`].
fn discard_unexpected(delivery: &mut Delivery, index: u32, bytes: usize) {
    let connections = &mut delivery.connections;
    if bytes == 0 || connections[index].state() != State::Streaming {
        return;
    }
    let request = connections.request_state(index);
    request.unexpected_bytes += bytes;
    if request.unexpected_bytes > UNEXPECTED_BYTES {
        delivery.close(index, CloseReason::UnexpectedInput);
    }
}

/// Processes the next request. Returns the bytes it took, or `None` if its head is incomplete.
fn next_request(
    requests: &mut Requests,
    delivery: &mut Delivery,
    index: u32,
    bytes: &[u8],
) -> Option<usize> {
    let connections = &mut delivery.connections;
    let mut scan = connections[index]
        .request
        .as_ref()
        .map_or_else(Scan::default, |request| request.scan);
    let outcome = http1::parse(bytes, &mut scan, requests.max_head_bytes);
    if let Ok(Outcome::Partial) = outcome {
        connections.request_state(index).scan = scan;
        return None;
    }
    if let Some(request) = connections[index].request.as_mut() {
        request.scan = Scan::default();
    }
    if connections[index].state() == State::Held {
        give_up_hold(delivery, index);
        if delivery.connections[index].flags.contains(Flags::CLOSE) {
            return Some(bytes.len());
        }
    }
    match outcome {
        Ok(Outcome::Complete { head, length }) => {
            let (raw, rest) = bytes.split_at(length);
            Some(length + serve_head(requests, delivery, index, &head, raw, rest))
        }
        Err(error) => {
            refuse(delivery, index, &error.into(), bytes);
            Some(bytes.len())
        }
        Ok(Outcome::Partial) => unreachable!("returned above"),
    }
}

/// Processes the next request behind one that waits for the log, if it is a publish that is
/// complete: so those of a pipeline are saved together. Returns the bytes it took, or `None` if it
/// has to wait.
fn next_publish(
    requests: &mut Requests,
    delivery: &mut Delivery,
    index: u32,
    bytes: &[u8],
) -> Option<usize> {
    let parsed = http1::parse(bytes, &mut Scan::default(), requests.max_head_bytes);
    let Ok(Outcome::Complete { head, length }) = parsed else {
        return None;
    };
    let (raw, rest) = bytes.split_at(length);
    let is_complete = match head.framing {
        Framing::None => true,
        Framing::Length(body) => body <= rest.len().min(requests.max_body_bytes) as u64,
        _ => false,
    };
    let is_publish = Route::of(head.path).is_some_and(|route| route.is_publish());
    // One by lines may last, and its acknowledgements begin its response.
    let is_publish = is_publish && !is_by_lines(&head);
    if !is_complete || !is_publish {
        return None;
    }
    let before = delivery.response.out.len();
    let taken = length + serve_head(requests, delivery, index, &head, raw, rest);
    let written = delivery.response.out.split_off(before);
    if !written.is_empty() {
        // It does not wait itself, as it is refused.
        // fault: refusal-overtakes
        wait_behind(delivery, index, written);
    }
    Some(taken)
}

/// Serves a request whose head is complete, if its body is too. Returns the bytes of body taken.
fn serve_head(
    requests: &mut Requests,
    delivery: &mut Delivery,
    index: u32,
    head: &Head<'_>,
    raw: &[u8],
    rest: &[u8],
) -> usize {
    let is_draining = delivery.drain.is_some();
    let flags = &mut delivery.connections[index].flags;
    flags.set(Flags::HTTP10, head.version == Version::Http10);
    flags.set(Flags::CLOSE, !head.keep_alive || is_draining);
    if is_by_lines(head) {
        return lines::begin(requests, delivery, index, head, raw, rest);
    }
    match head.framing {
        Framing::None => {
            handle_request(requests, delivery, index, head, &[]);
            0
        }
        Framing::Length(length) if length <= rest.len().min(requests.max_body_bytes) as u64 => {
            let length = length as usize;
            handle_request(requests, delivery, index, head, &rest[..length]);
            length
        }
        framing => begin_upload(requests, delivery, index, head, raw, rest, framing),
    }
}

/// Starts to receive a body that is incomplete. Its request is routed and authorized now, so that a
/// refusal comes before the body, and again when the body is complete: keeping what was decided
/// would cost memory for every upload.
fn begin_upload(
    requests: &mut Requests,
    delivery: &mut Delivery,
    index: u32,
    head: &Head<'_>,
    raw: &[u8],
    rest: &[u8],
    framing: Framing,
) -> usize {
    let route = Route::of(head.path);
    let mut upload = Upload {
        head: Box::default(),
        decoder: Decoder::new(framing),
        // Other endpoints ignore bodies.
        body: route.filter(Route::is_publish).map(|_| Vec::new()),
    };
    match upload.take(rest, requests.max_body_bytes) {
        Err(error) => {
            refuse(delivery, index, &error.into(), raw);
            rest.len()
        }
        Ok(progress) if progress.done => {
            handle_request(requests, delivery, index, head, upload.body());
            progress.consumed
        }
        Ok(progress) => {
            if let Err(problem) = authorize(requests, delivery, index, head, route) {
                refuse_before_body(delivery, index, head, route, &problem);
                return rest.len();
            }
            invite_body(delivery, head, rest);
            upload.head = raw.into();
            let connections = &mut delivery.connections;
            connections.enter(index, State::Body);
            let request = connections.request_state(index);
            request.upload = Some(upload);
            request.update_charge();
            connections.start_body_timeout(index);
            progress.consumed
        }
    }
}

/// Continues a body. Returns the bytes taken, or `None` where all were and more must come.
fn continue_body(
    requests: &mut Requests,
    delivery: &mut Delivery,
    index: u32,
    bytes: &[u8],
) -> Option<usize> {
    let connections = &mut delivery.connections;
    let has_room = connections.buffers.has_room(bytes.len());
    let request = connections[index].request.as_mut();
    let request = request.expect("a connection in state Body has an upload");
    if let Some(upload) = request.lines.take() {
        return lines::proceed(requests, delivery, index, upload, bytes);
    }
    let upload = request.upload.take();
    let mut upload = upload.expect("a connection in state Body has an upload");
    match upload.take(bytes, requests.max_body_bytes) {
        Err(error) => {
            refuse(delivery, index, &error.into(), &upload.head);
            Some(bytes.len())
        }
        Ok(progress) if progress.done => {
            let mut scan = Scan::default();
            // The limit may have become lower since.
            match http1::parse(&upload.head, &mut scan, upload.head.len()) {
                Ok(Outcome::Complete { head, .. }) => {
                    handle_request(requests, delivery, index, &head, upload.body());
                }
                _ => unreachable!("the head was complete before"),
            }
            Some(progress.consumed)
        }
        Ok(_) if !has_room => {
            refuse(delivery, index, &Problem::no_room(), &upload.head);
            Some(bytes.len())
        }
        Ok(_) => {
            let request = connections[index].request.as_mut();
            let request = request.expect("the upload was in it");
            request.upload = Some(upload);
            request.update_charge();
            None
        }
    }
}
