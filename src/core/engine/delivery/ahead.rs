//! Readers that were ahead of this node of a cluster, when it has come to their cursors.
//!
//! Owns how they are placed then.

use super::settle::settle;
use super::state::Delivery;
use super::{poll, stream};
use crate::engine::connections::{State, Wire};

/// Readers that are placed in one tick, or found to be gone.
const PLACED: usize = 1_024;

/// Places the readers to whose cursors the hub has come.
pub(in crate::engine) fn place_passed(delivery: &mut Delivery, wire: &mut impl Wire) {
    for _ in 0..PLACED {
        let head = delivery.hub.head();
        let Some((cursor, id)) = delivery.connections.next_passed(head) else {
            return;
        };
        let Some(index) = delivery.connections.find(id) else {
            continue;
        };
        let conn = &mut delivery.connections[index];
        // It may have come back with another cursor.
        if !conn.reader.is_ahead() || conn.reader.cursor != cursor {
            continue;
        }
        conn.reader.end_ahead();
        let (state, is_blocked) = (conn.state(), conn.is_blocked());
        if !is_blocked && delivery.hub.is_done(&delivery.connections[index].reader) {
            // Its channels ended before its cursor, which could not be told before.
            match state {
                State::Streaming => stream::tell_evicted_ends(delivery, index, wire),
                State::Held => poll::tell_over(delivery, index, wire),
                _ => {}
            }
        }
        settle(delivery, index, wire);
    }
}
