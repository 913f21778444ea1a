//! Frames of the clients of WebSockets, from bytes to what they ask for.
//!
//! Owns the decoder of a client whose message has arrived in part, and the answers to control
//! frames. What a message asks for is executed in `socket`.

use super::socket::{self, ClientMessage};
use super::state::Requests;
use crate::engine::connections::UnfinishedMessage;
use crate::engine::delivery::{Delivery, close_socket, echo_close};
use crate::ws::{self, CloseCode, Event, Opcode};

/// The capacity that a decoder keeps between two messages.
const KEPT_BYTES: usize = 16 << 10;

/// The longest message of a socket that only receives, before it is refused like any other.
const MAX_REFUSED_BYTES: usize = 1 << 10;

/// Why a socket is closed for whose client's messages there is no memory.
pub(super) const NO_ROOM: &str = "the memory for unfinished messages is spent";

/// Processes bytes of a client up to the end of the next message or control frame. Returns how many
/// were taken.
pub(super) fn next_frame(
    requests: &mut Requests,
    delivery: &mut Delivery,
    index: u32,
    bytes: &[u8],
) -> usize {
    if is_over(requests, delivery, index) {
        return bytes.len();
    }
    let connections = &mut delivery.connections;
    let now = connections.now();
    let has_room = connections.buffers.has_room(bytes.len());
    let request = connections[index].request.as_mut();
    let message = request.and_then(|request| request.message.take());
    // Nearly always a frame arrives whole, and one decoder serves all connections.
    let (mut decoder, since) = match message {
        Some(message) => (message.decoder, message.since),
        None => (requests.decoder.take().unwrap_or_default(), now),
    };
    // What will be refused in any case takes no memory.
    let only_receives = delivery.connections[index]
        .transport_options
        .only_receives();
    let max_bytes = match only_receives {
        true => MAX_REFUSED_BYTES,
        false => requests.max_body_bytes,
    };
    let taken = match decoder.decode(bytes, max_bytes) {
        Ok((taken, event)) => {
            if let Some(event) = event {
                handle(requests, delivery, index, event);
            }
            taken
        }
        Err(error) if only_receives && error.code() == CloseCode::TooLarge => {
            close_socket(delivery, index, CloseCode::Refused, socket::ONLY_RECEIVES);
            return bytes.len();
        }
        Err(error) => {
            close_socket(delivery, index, error.code(), error.reason());
            return bytes.len();
        }
    };
    if decoder.is_at_boundary() {
        decoder.shrink_to(KEPT_BYTES);
        requests.decoder = Some(decoder);
    } else if !delivery.connections[index].is_duplex() {
        // Nothing counts after a close frame.
    } else if !has_room {
        close_socket(delivery, index, CloseCode::NoRoom, NO_ROOM);
    } else {
        let connections = &mut delivery.connections;
        let request = connections.request_state(index);
        let is_new = request.message.is_none() && since == now;
        request.message = Some(UnfinishedMessage { decoder, since });
        request.update_charge();
        if is_new {
            connections.arm_message(index);
        }
    }
    taken
}

/// Executes the command that was delayed until earlier ones were answered, if they are.
pub(super) fn execute_delayed(requests: &mut Requests, delivery: &mut Delivery, index: u32) {
    let conn = &mut delivery.connections[index];
    if conn.awaits_log() || conn.is_blocked() || !conn.is_duplex() {
        return;
    }
    let request = conn.request.as_mut();
    let Some(text) = request.and_then(|request| request.delayed_command.take()) else {
        return;
    };
    if !is_over(requests, delivery, index) {
        socket::execute(requests, delivery, index, ClientMessage::Text(&text));
    }
}

/// Whether a stream has ended, by its age or with the right of its client. Nothing that the client
/// sends counts then; settling ends the stream. Its right may have ended after the stream did, at a
/// time that is kept nowhere.
fn is_over(requests: &Requests, delivery: &mut Delivery, index: u32) -> bool {
    let Delivery {
        connections,
        hub,
        review,
        ..
    } = delivery;
    if review.is_under_way() {
        review.judge(requests.authorizer.rights(), connections, hub, index);
    }
    // fault: ended-right-publishes
    connections[index].reached_limit(connections.now())
}

/// Handles what has arrived whole.
fn handle(requests: &mut Requests, delivery: &mut Delivery, index: u32, event: Event<'_>) {
    match event {
        Event::Text(text) => {
            delivery.connections.spend(text.len());
            socket::execute(requests, delivery, index, ClientMessage::Text(text));
        }
        Event::Binary(bytes) => {
            delivery.connections.spend(bytes.len());
            socket::execute(requests, delivery, index, ClientMessage::Binary(bytes));
        }
        Event::Ping(payload) => {
            let now = delivery.now();
            if delivery.connections[index].may_answer_ping(now) {
                ws::write(&mut delivery.response.out, Opcode::Pong, |out| {
                    out.extend_from_slice(payload);
                });
            }
        }
        Event::Pong => {}
        Event::Close(code) => echo_close(delivery, index, code),
    }
}
