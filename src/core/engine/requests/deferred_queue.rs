//! The order of deferred responses, which take more than one tick.
//!
//! Owns the queue: one step continues the response that has waited longest, which then goes to the
//! end.

use super::deferred::Deferred;
use super::kicks::node_of;
use super::state::Requests;
use crate::engine::connections::{ConnId, State, Wire};
use crate::engine::delivery::{Delivery, settle};
use crate::engine::stats::CloseReason;

/// Continues the deferred response that has waited longest. If that completes it, returns its
/// connection, whose input is wanted again.
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
        Deferred::Search(search) => search.advance(delivery),
    };
    if !is_complete {
        requests.deferred.push_back(response);
        return None;
    }
    if delivery.connections[index].is_blocked() {
        // The client does not read the responses that precede this one in the pipeline.
        delivery.close(index, CloseReason::NoRoom);
        return None;
    }
    let body = match response.work {
        Deferred::Listing(listing) => listing.finish(&delivery.hub),
        Deferred::Search(search) => search.finish(node_of(&requests.log)),
    };
    delivery.response.json(&response.context, &body);
    delivery.connections.enter(index, State::Idle);
    delivery.flush(index, wire);
    if delivery.connections[index].has_input() {
        delivery.connections.defer_input(index);
    }
    settle(delivery, index, wire);
    Some(response.id)
}
