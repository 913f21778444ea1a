//! The fan-out: ready readers, channel by channel, each served as far as its socket takes.
//!
//! Owns the order and the budget of delivery. The budget counts readers, so that a broadcast to all
//! delays an accept, a timer or another channel by one turn and not by its own length.

use super::settle::settle;
use super::state::Delivery;
use super::{expired, poll, stream};
use crate::engine::connections::{Flags, State, Wire};
use crate::engine::routing::MAX_CHANNELS;
use crate::hub::{Item, Take};

/// Readers of one channel that are served before the next channel.
const TURN: usize = 16;

/// The most that a stream is sent in one write.
const STREAM_TAKE: Take = Take {
    messages: 64,
    bytes: 64 << 10,
};

/// The most that a paced stream is sent in one write: what came in its pause, nearly always. With
/// the gaps and the ends of its channels these are as many slices as a write takes (`IOV_MAX`).
const PACED_TAKE: Take = Take {
    messages: 1_024 - 2 * MAX_CHANNELS,
    bytes: 256 << 10,
};

/// Serves ready readers, at most `budget` of them. A paced stream that is sent more than others are
/// counts as several.
pub(in crate::engine) fn deliver(delivery: &mut Delivery, mut budget: usize, wire: &mut impl Wire) {
    while budget > 0 {
        let Some(channel) = delivery.hub.next_turn() else {
            return;
        };
        for _ in 0..TURN.min(budget) {
            let Some(index) = delivery.hub.first_ready(channel) else {
                break;
            };
            budget = budget.saturating_sub(serve_ready(delivery, index, wire));
        }
        if delivery.hub.first_ready(channel).is_none() {
            // Charge the budget for an empty channel as well; otherwise a run queue of empty
            // channels makes this loop unbounded.
            budget = budget.saturating_sub(1);
        }
        delivery.hub.end_turn(channel);
    }
}

/// Serves a reader. Returns what that takes of the budget.
fn serve_ready(delivery: &mut Delivery, index: u32, wire: &mut impl Wire) -> usize {
    let mut cost = 1;
    let mut items = std::mem::take(&mut delivery.items);
    items.clear();
    let now = delivery.now();
    let Delivery {
        connections,
        hub,
        settings,
        ..
    } = delivery;
    let conn = &mut connections[index];
    // fault: ended-is-served
    if conn.has_expired(now) {
        delivery.items = items;
        expired::end(delivery, index, wire);
        return cost;
    }
    hub.dequeue(&mut conn.reader);
    let take = match conn.state() {
        State::Streaming => STREAM_TAKE,
        _ => poll::room(conn, settings.max_batch),
    };
    let mut more = hub.pending_items(&conn.reader, take, &mut items);
    if more && conn.reader.pace_ms > 0 {
        items.clear();
        more = hub.pending_items(&conn.reader, PACED_TAKE, &mut items);
        cost += items.len() / STREAM_TAKE.messages;
    }
    let (state, waited) = (conn.state(), conn.flags.contains(Flags::WAITED));
    if let Some(Item::Message { key, .. }) = items.last()
        && waited
    {
        let delay_ms = now.since_ms(hub.message(*key).at());
        connections.stats.delay_ms.record(delay_ms);
    }
    match state {
        // The reader started at `earliest` and history was evicted before it was served.
        _ if items.is_empty() => {
            let conn = &mut connections[index];
            conn.reader.cursor = hub.head();
            hub.stop_ignoring_losses(&conn.reader, &[]);
            if state == State::Streaming {
                stream::tell_evicted_ends(delivery, index, wire);
            }
        }
        State::Held => poll::deliver(delivery, index, &items, more, wire),
        State::Streaming => stream::deliver(delivery, index, &items, more, wire),
        state => unreachable!("a reader was queued in state {state:?}"),
    }
    delivery.items = items;
    settle(delivery, index, wire);
    cost
}
