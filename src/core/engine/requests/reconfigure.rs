//! New settings for a running engine.
//!
//! Owns the order in which they take effect, and what a change of rights means for the connections
//! that are parked already.

use super::state::Requests;
use crate::base::time::millis;
use crate::config::Config;
use crate::engine::delivery::Delivery;

/// The budget of one tick for the review after a change of rights: about a millisecond. Each parked
/// connection takes some of it, more where there are many policies.
const REVIEW_BUDGET: usize = 8_192;

/// Takes new settings. What is under way goes on: a deadline that is set stays, and a request whose
/// body is arriving is judged by the new settings when it is whole. Parked connections are reviewed
/// over the next ticks, if the rights have changed.
pub(in crate::engine) fn reconfigure(
    requests: &mut Requests,
    delivery: &mut Delivery,
    config: &Config,
) {
    delivery.reconfigure(config);
    requests.reconfigure(config);
    if let Some(log) = requests.log.as_clustered() {
        let patience_ms = millis(config.engine.patience);
        log.set_times(patience_ms, millis(config.engine.ready));
        delivery.publishing.hold_for(patience_ms);
    }
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

#[cfg(test)]
mod tests;
