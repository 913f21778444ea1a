//! Readers that are ahead of this node of a cluster, as their clients come from another node that has
//! applied more of the log.
//!
//! Owns how they are placed when this node has come to their cursors, and how they are told a gap where
//! it never will: nothing that is in the log is that far. Such a cursor is of another log, or made up.

use super::settle::settle;
use super::state::Delivery;
use super::{poll, stream};
use crate::engine::connections::{State, Wire};
use crate::engine::routing::{Params, Receive, Since};
use crate::hub::{Hub, Item};
use crate::log::Clustered;

/// Readers that are placed in one tick, or found to be gone.
const PLACED: usize = 1_024;

/// Judges the cursor of a poll that is answered at once: it becomes unknown if it is beyond all that
/// the log has. A parked reader is [told](tell_unfounded) a gap when the node knows that.
pub(in crate::engine) fn judge(
    hub: &Hub,
    log: &mut Clustered,
    receive: Receive,
    params: &Params<'_>,
) -> Since {
    let is_at_once = receive == Receive::Poll || params.hold_ms == Some(0);
    match params.since {
        Since::After(seq) if is_at_once && seq > hub.head() && !log.may_exist_now(hub, seq) => {
            Since::Unknown
        }
        since => since,
    }
}

/// Tells a gap to each reader whose cursor was beyond all that the log had when the reader came, once
/// the node knows that. The reader begins with all that its channels keep.
pub(in crate::engine) fn tell_unfounded(
    delivery: &mut Delivery,
    log: &Clustered,
    wire: &mut impl Wire,
) {
    let Some(heard) = log.heard_at(&delivery.hub) else {
        return delivery.connections.stop_review();
    };
    for _ in 0..PLACED {
        let Some(((cursor, id), since)) = delivery.connections.next_beyond(heard) else {
            return;
        };
        let Some(index) = delivery.connections.find(id) else {
            continue;
        };
        let conn = &mut delivery.connections[index];
        let waits = conn.reader.is_ahead() && conn.reader.cursor == cursor && !conn.is_blocked();
        if !waits || log.may_exist(&delivery.hub, cursor, since) {
            continue;
        }
        conn.reader.end_ahead();
        let begin = delivery.hub.before_all(delivery.hub.followed(&conn.reader));
        conn.reader.cursor = begin;
        match conn.state() {
            State::Held => poll::tell_gap(delivery, index, wire),
            State::Streaming => {
                stream::deliver(delivery, index, &[Item::Gap(begin)], false, wire);
            }
            _ => {}
        }
        settle(delivery, index, wire);
    }
}

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
