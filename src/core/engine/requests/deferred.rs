//! Responses that take more than one tick.
//!
//! Owns the state of such a computation. A connection whose response is deferred is in
//! [`State::Deferred`]: its further requests wait, and it is not read from.

use super::channels::Listing;
use super::connections::Search;
use crate::engine::connections::{ConnId, State};
use crate::engine::delivery::Delivery;
use crate::engine::response::ResponseContext;

/// The computation of a deferred response.
pub(super) enum Deferred {
    /// `GET /channels`, of more channels than are looked at in one tick.
    Listing(Listing),
    /// `/connections`, of more connections than are looked at in one tick.
    Search(Search),
}

/// A response under way.
pub(super) struct DeferredResponse {
    pub(super) id: ConnId,
    pub(super) context: ResponseContext<'static>,
    pub(super) work: Deferred,
}

impl DeferredResponse {
    /// Defers the response to a connection's present request.
    pub(super) fn new(
        delivery: &mut Delivery,
        index: u32,
        context: &ResponseContext<'_>,
        work: Deferred,
    ) -> DeferredResponse {
        delivery.connections.enter(index, State::Deferred);
        DeferredResponse {
            id: delivery.connections.id(index),
            context: context.without_callback(),
            work,
        }
    }
}
