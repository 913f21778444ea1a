//! Responses that take more than one tick.
//!
//! Owns their turns. A connection whose response is deferred is in [`State::Deferred`]: its further
//! requests wait, and it is not read from.

use super::channels::Listing;
use super::state::Requests;
use crate::engine::connections::{ConnId, State, Wire};
use crate::engine::delivery::{Delivery, settle};
use crate::engine::response::ResponseContext;
use crate::engine::stats::CloseReason;

/// What a deferred response is computed by.
pub(super) enum Deferred {
    /// `GET /channels`, of more channels than are looked at in one tick.
    Listing(Listing),
}

/// A response under way.
pub(super) struct DeferredResponse {
    id: ConnId,
    context: ResponseContext<'static>,
    work: Deferred,
}

impl Requests {
    /// Defers the response to a connection's present request.
    pub(super) fn defer(
        &mut self,
        delivery: &mut Delivery,
        index: u32,
        context: &ResponseContext<'_>,
        work: Deferred,
    ) {
        delivery.connections.enter(index, State::Deferred);
        self.deferred.push_back(DeferredResponse {
            id: delivery.connections.id(index),
            context: context.without_callback(),
            work,
        });
    }
}

/// Gives the deferred response whose turn it is one turn. Returns the connection whose response that
/// completed: its input is wanted again.
pub(in crate::engine) fn continue_deferred(
    requests: &mut Requests,
    delivery: &mut Delivery,
    wire: &mut impl Wire,
) -> Option<ConnId> {
    let mut response = requests.deferred.pop_front()?;
    // It may have ended meanwhile.
    let index = delivery.connections.find(response.id)?;
    if delivery.connections[index].state() != State::Deferred {
        return None;
    }
    let is_complete = match &mut response.work {
        Deferred::Listing(listing) => listing.advance(&delivery.hub),
    };
    if !is_complete {
        requests.deferred.push_back(response);
        return None;
    }
    if delivery.connections[index].is_blocked() {
        // The client does not read the responses that precede this one in the pipeline.
        let Delivery {
            connections, hub, ..
        } = delivery;
        connections.close(index, CloseReason::NoRoom, hub);
        return None;
    }
    match response.work {
        Deferred::Listing(listing) => {
            let body = listing.finish(&delivery.hub);
            delivery.response.json(&response.context, &body);
        }
    }
    delivery.connections.enter(index, State::Idle);
    delivery.flush(index, wire);
    if delivery.connections[index].has_input() {
        delivery.connections.defer_input(index);
    }
    settle(delivery, index, wire);
    Some(response.id)
}
