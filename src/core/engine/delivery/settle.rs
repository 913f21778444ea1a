//! The end of every event: the connection's state is re-established.
//!
//! Owns the end of a stream that has reached its limit, and the refusal after which nothing more is read.

use super::state::Delivery;
use super::stream;
use crate::engine::connections::{Flags, State, Wire};
use crate::engine::response::{KeepAlive, Problem, ResponseContext};
use crate::engine::stats::Endpoint;
use crate::http1;

/// Re-establishes what a connection's state requires, after anything happened to it.
pub(in crate::engine) fn settle(delivery: &mut Delivery, index: u32, wire: &mut impl Wire) {
    // Twice at most: ending a stream makes the connection `Closing`.
    while delivery.connections.settle(index, &mut delivery.hub, wire) {
        stream::end(delivery, index, wire);
    }
}

/// Refuses a request after which the connection cannot continue: the response is its last.
///
/// `head` is as much of the request as was read, from its request line on; it need be neither whole
/// nor right. What it says decides how the response is written: a page can read an error only if
/// the response allows its origin.
pub(in crate::engine) fn refuse(
    delivery: &mut Delivery,
    index: u32,
    problem: &Problem,
    head: &[u8],
) {
    refuse_as(Endpoint::Other, delivery, index, problem, head);
}

/// As [`refuse`], for a request that is counted for an endpoint.
pub(super) fn refuse_as(
    endpoint: Endpoint,
    delivery: &mut Delivery,
    index: u32,
    problem: &Problem,
    head: &[u8],
) {
    let context = last_response(delivery, head);
    delivery.response.problem(problem, &context);
    let connections = &mut delivery.connections;
    connections.stats.requests.count(endpoint, problem.status);
    connections.enter(index, State::Closing);
    let conn = &mut connections[index];
    conn.flags.insert(Flags::CLOSE);
    if let Some(request) = conn.request.as_mut() {
        request.input = Vec::new();
        request.scan = http1::Scan::default();
        request.upload = None;
        request.lines = None;
        request.update_charge();
    }
}

/// How the last response of a connection is written, to a request of which this was read.
pub(super) fn last_response<'b>(delivery: &Delivery, head: &'b [u8]) -> ResponseContext<'b> {
    let heads = &delivery.response.heads;
    ResponseContext {
        keep_alive: KeepAlive::Close,
        head_only: is_head(head),
        origin: http1::origins(head).find_map(|origin| heads.echoed(origin)),
        callback: None,
    }
}

/// Whether bytes begin a HEAD request, whose response has no body even where the request cannot be
/// parsed.
fn is_head(bytes: &[u8]) -> bool {
    let is_empty_line = |byte: &&u8| matches!(byte, b'\r' | b'\n');
    let empty_lines = bytes.iter().take_while(is_empty_line).count();
    bytes[empty_lines..].starts_with(b"HEAD ")
}
