//! The right of a parked connection to receive, and its end.
//!
//! Owns when a token ends the hold or stream that it was accepted for. The end is the ordinary end
//! of the hold or stream, moved forward, so that it costs a parked connection nothing.

use std::sync::Arc;

use super::state::Delivery;
use crate::base::time::Time;
use crate::engine::connections::CredentialRef;
use crate::engine::routing::Identity;
use crate::tokens::Token;

/// The longest time before the expiry of their tokens over which connections are ended, so that
/// those with one `exp` do not all come back together.
const MAX_SPREAD_MS: u64 = 30_000;

/// The part of the time until the expiry over which connections are ended.
const SPREAD_DIVISOR: u64 = 10;

/// Gives a connection that is being parked the right that its request has proved, and returns when
/// that ends. The end of the hold or stream is set before, and the deadline after.
#[inline]
pub(super) fn grant(delivery: &mut Delivery, index: u32, identity: &Identity) -> Option<Time> {
    let holders = &delivery.connections.holders;
    // fault: holder-outlives-its-request
    if identity.is_anonymous() && holders.is_anonymous(index) {
        return None;
    }
    grant_by(delivery, index, identity)
}

fn grant_by(delivery: &mut Delivery, index: u32, identity: &Identity) -> Option<Time> {
    let credential = match identity {
        Identity::Anonymous => CredentialRef::Anonymous,
        Identity::Publisher => CredentialRef::Publisher,
        Identity::Token(token) => CredentialRef::from(&**token),
    };
    let connections = &mut delivery.connections;
    connections.holders.set(index, credential);
    if let Identity::Token(token) = identity
        && connections[index].is_duplex()
    {
        connections.holders.keep_token(index, Arc::clone(token));
    }
    // fault: newcomer-is-reviewed
    delivery.review.note_parked(index);
    let left_ms = left_ms(delivery, identity.token()?);
    let now = delivery.now();
    let expires_at = now.after_ms(left_ms);
    delivery.connections[index].expire_at(expires_at, now);
    Some(expires_at)
}

/// The time after which a token ends a connection: at its expiry, or shortly before.
fn left_ms(delivery: &mut Delivery, token: &Token) -> u64 {
    let left_ms = token.expires_at_ms.saturating_sub(delivery.unix_ms);
    let spread_ms = MAX_SPREAD_MS.min(left_ms / SPREAD_DIVISOR);
    // fault: right-outlives-its-token
    left_ms - delivery.random.u64(0..=spread_ms)
}
