//! The end of a parked connection whose right to receive has ended.
//!
//! Owns its last response: whether its deadline or a new message comes first, no further message is
//! sent.

use super::poll;
use super::settle::settle;
use super::state::Delivery;
use crate::engine::connections::{State, Wire};

/// Ends the hold or stream of a connection whose right to receive has ended. What is pending is not
/// sent: the last cursor is before it.
pub(super) fn end(delivery: &mut Delivery, index: u32, wire: &mut impl Wire) {
    let conn = &delivery.connections[index];
    match conn.state() {
        State::Held if conn.has_lingered() => poll::end_linger(delivery, index, wire),
        State::Held => poll::expire(delivery, index, wire),
        // Settling ends a stream that has reached its end.
        _ => {}
    }
    settle(delivery, index, wire);
}
