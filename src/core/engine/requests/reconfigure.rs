//! New settings for a running engine.
//!
//! Owns what a change of rights means for the connections that are parked already.

use super::state::Requests;
use crate::config::Config;
use crate::engine::delivery::Delivery;

/// Parked connections reviewed in one turn after a change of rights.
const REVIEW_BUDGET: u32 = 4_096;

/// Takes the rights of new settings. Parked connections are reviewed over the next turns.
pub(in crate::engine) fn reconfigure(
    requests: &mut Requests,
    delivery: &mut Delivery,
    config: &Config,
) {
    let earlier = requests.authorizer.reconfigure(config);
    if earlier != *requests.authorizer.rights() {
        delivery.review.begin(earlier);
    }
}

/// Reviews the next parked connections, if the rights have changed.
pub(in crate::engine) fn review(requests: &Requests, delivery: &mut Delivery) {
    let Delivery {
        connections,
        hub,
        review,
        ..
    } = delivery;
    let rights = requests.authorizer.rights();
    review.advance(rights, connections, hub, REVIEW_BUDGET);
}
