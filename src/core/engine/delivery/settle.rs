//! The end of every event: a connection is put where its state says.
//!
//! Owns the only loop over [`Step`], and the refusal after which nothing more is read.

use super::state::Delivery;
use super::stream;
use crate::engine::connections::{Flags, State, Step, Wire};
use crate::engine::response::{Problem, ResponseContext};
use crate::engine::stats::Endpoint;

/// Re-establishes what a connection's state requires, after anything happened to it.
pub(in crate::engine) fn settle(delivery: &mut Delivery, index: u32, wire: &mut impl Wire) {
    // Bounded: a step moves the connection to a state that has fewer of them.
    while let Some(step) = {
        let Delivery {
            connections, hub, ..
        } = delivery;
        connections.settle(index, hub, wire)
    } {
        match step {
            Step::EndStream => stream::end(delivery, index, wire),
        }
    }
}

/// Refuses a request that nothing can follow on its connection: the response is the last.
pub(in crate::engine) fn refuse(
    delivery: &mut Delivery,
    index: u32,
    problem: &Problem,
    head_only: bool,
) {
    let context = ResponseContext {
        head_only,
        ..ResponseContext::LAST
    };
    delivery.response.problem(problem, &context);
    let connections = &mut delivery.connections;
    connections
        .stats
        .requests
        .count(Endpoint::Other, problem.status);
    connections.enter(index, State::Closing);
    let conn = &mut connections[index];
    conn.flags.insert(Flags::CLOSE);
    if let Some(request) = conn.request.as_mut() {
        request.input = Vec::new();
        request.upload = None;
        request.update_charge();
    }
}
