//! The one exit: every byte that leaves the engine leaves here.
//!
//! Owns sending and what is left of a partial write. It never decides what is said.

use std::io::IoSlice;
use std::ops::Range;
use std::sync::Arc;

use super::conn::Flags;
use super::request_state::UnsentFrame;
use super::state::State;
use super::table::Connections;
use super::wire::{Sent, Wire};
use crate::base::meter::SharedBytes;
use crate::engine::stats::CloseReason;
use crate::hub::{Hub, Item};

/// Sends bytes that were written for this connection alone.
pub(in crate::engine) fn write(
    connections: &mut Connections,
    index: u32,
    bytes: &[u8],
    hub: &mut Hub,
    wire: &mut impl Wire,
) {
    if bytes.is_empty() || connections[index].state() == State::Gone {
        return;
    }
    let sent = wire.send(index, &[IoSlice::new(bytes)]);
    connections.spend(bytes.len());
    match sent {
        Sent::All => {}
        Sent::Some(taken) => {
            let rest = &bytes[taken..];
            if connections.buffers.has_room(rest.len()) {
                let frame = SharedBytes::new(rest, &connections.buffers);
                suspend_writes(connections, index, frame, 0..rest.len(), hub);
            } else {
                // A truncated response is useless, so the connection is closed; the client repeats
                // the request with its last cursor.
                connections.close(index, CloseReason::NoRoom, hub);
            }
        }
        Sent::Failed => connections.close(index, CloseReason::Broken, hub),
    }
}

/// As [`write()`], behind what is unsent.
pub(in crate::engine) fn write_behind(
    connections: &mut Connections,
    index: u32,
    bytes: &[u8],
    hub: &mut Hub,
    wire: &mut impl Wire,
) {
    let request = connections[index].request.as_ref();
    let Some(unsent) = request.and_then(|request| request.unsent.as_ref()) else {
        return write(connections, index, bytes, hub, wire);
    };
    let before = &unsent.frame.bytes()[unsent.rest.clone()];
    if !connections.buffers.has_room(before.len() + bytes.len()) {
        return connections.close(index, CloseReason::NoRoom, hub);
    }
    // fault: overtakes-what-is-unsent
    let all = [before, bytes].concat();
    let rest = 0..all.len();
    let frame = SharedBytes::new(all, &connections.buffers);
    let request = connections[index].request.as_mut();
    request.expect("it had the frame").unsent = Some(UnsentFrame { frame, rest });
}

/// Sends one frame that others share. Returns whether the socket took all of it.
pub(in crate::engine) fn write_shared(
    connections: &mut Connections,
    index: u32,
    frame: Arc<SharedBytes>,
    hub: &mut Hub,
    wire: &mut impl Wire,
) -> bool {
    match wire.send(index, &[IoSlice::new(frame.bytes())]) {
        Sent::All => return true,
        Sent::Some(taken) => {
            let rest = taken..frame.bytes().len();
            keep_unsent(connections, index, frame, rest, hub);
        }
        Sent::Failed => connections.close(index, CloseReason::Broken, hub),
    }
    false
}

/// Sends a stream's next frames, one for each item, and moves its cursor to the last item begun.
/// Returns how many were begun: what is behind them is sent later. It is on the path of every message.
#[inline(always)]
pub(in crate::engine) fn write_frames(
    connections: &mut Connections,
    index: u32,
    items: &[Item],
    frames: &[Arc<SharedBytes>],
    hub: &mut Hub,
    wire: &mut impl Wire,
) -> usize {
    debug_assert_eq!(items.len(), frames.len());
    let Some(last) = items.last() else { return 0 };
    let chunked = !connections[index].flags.contains(Flags::HTTP10);
    let part = |frame: &Arc<SharedBytes>| match chunked {
        true => 0..frame.bytes().len(),
        false => frame.payload(),
    };
    let (sent, total) = match frames {
        [frame] => {
            let bytes = &frame.bytes()[part(frame)];
            (wire.send(index, &[IoSlice::new(bytes)]), bytes.len())
        }
        frames => {
            let slices = frames
                .iter()
                .map(|frame| IoSlice::new(&frame.bytes()[part(frame)]));
            let slices: Vec<IoSlice<'_>> = slices.collect();
            let total = slices.iter().map(|slice| slice.len()).sum();
            (wire.send(index, &slices), total)
        }
    };
    let (count, cursor, spent) = match sent {
        Sent::All => (items.len(), last.seq(), total),
        Sent::Failed => {
            connections.close(index, CloseReason::Broken, hub);
            return 0;
        }
        Sent::Some(taken) => {
            let mut before = 0;
            let begun = frames.iter().position(|frame| {
                let end = before + part(frame).len();
                let holds = taken < end;
                before = if holds { before } else { end };
                holds
            });
            let begun = begun.unwrap_or(frames.len() - 1);
            let range = part(&frames[begun]);
            let frame = Arc::clone(&frames[begun]);
            // A frame that is begun counts whole, since the rest of it is sent too.
            let spent = before + range.len();
            let rest = range.start + taken - before..range.end;
            keep_unsent(connections, index, frame, rest, hub);
            // fault: cursor-before-written
            (begun + 1, items[begun].seq(), spent)
        }
    };
    let conn = &mut connections[index];
    if conn.state() != State::Gone {
        conn.reader.cursor = cursor;
        conn.spend_stream_bytes(spent);
    }
    count
}

/// Keeps the unsent part of a shared frame if the frame budget allows it. Otherwise the connection
/// is closed, and the client resumes from its cursor.
fn keep_unsent(
    connections: &mut Connections,
    index: u32,
    frame: Arc<SharedBytes>,
    rest: Range<usize>,
    hub: &mut Hub,
) {
    if hub.make_room_for_unsent() {
        suspend_writes(connections, index, frame, rest, hub);
    } else {
        connections.close(index, CloseReason::NoRoom, hub);
    }
}

/// Keeps the unsent part of a frame until the socket is writable.
fn suspend_writes(
    connections: &mut Connections,
    index: u32,
    frame: Arc<SharedBytes>,
    rest: Range<usize>,
    hub: &mut Hub,
) {
    let request = connections.request_state(index);
    debug_assert!(request.unsent.is_none(), "sent over an unsent frame");
    request.unsent = Some(UnsentFrame { frame, rest });
    hub.dequeue(&mut connections[index].reader);
    connections.stats.blocked += 1;
    connections.start_write_timeout(index);
}

/// Sends what is unsent, now that the socket is writable. Returns whether that was completed, so
/// that the connection is to be settled.
pub(in crate::engine) fn resume(
    connections: &mut Connections,
    index: u32,
    hub: &mut Hub,
    wire: &mut impl Wire,
) -> bool {
    let request = connections[index].request.as_mut();
    let Some(mut unsent) = request.and_then(|request| request.unsent.take()) else {
        return false;
    };
    let rest = &unsent.frame.bytes()[unsent.rest.clone()];
    match wire.send(index, &[IoSlice::new(rest)]) {
        Sent::All => {
            rearm(connections, index);
            return true;
        }
        Sent::Failed => connections.close(index, CloseReason::Broken, hub),
        Sent::Some(taken) => {
            // fault: rest-of-a-rest
            unsent.rest.start += taken;
            let request = connections[index].request.as_mut();
            request.expect("it had the frame").unsent = Some(unsent);
            if taken > 0 {
                connections.start_write_timeout(index);
            }
        }
    }
    false
}

/// Replaces the write timeout by the deadline of the connection's state.
fn rearm(connections: &mut Connections, index: u32) {
    let now = connections.now();
    let conn = &connections[index];
    let has_input = conn.has_input();
    match conn.state() {
        State::Held => {
            let ends_at = conn.ends_at(now);
            // Its credential may have expired since the end of the hold, which came first.
            if ends_at <= now && !connections.holders.is_anonymous(index) {
                connections[index].end_right(now);
            }
            connections.arm(index, ends_at);
            if has_input {
                // It may be the request that gives up this hold.
                connections.defer_input(index);
            }
        }
        // fault: block-outlives-itself
        State::Streaming => {
            connections.arm_stream(index);
            // Nothing but the pace of a stream may keep it paused after a write.
            let conn = &mut connections[index];
            if conn.reader.is_paused() && conn.reader.pace_ms == 0 {
                conn.reader.end_pause();
            }
            // While it was blocked nothing was read.
            connections.restart_message(index);
            if has_input {
                // Frames of the client that arrived meanwhile.
                connections.defer_input(index);
            }
        }
        State::Idle | State::Head | State::Body if has_input => connections.defer_input(index),
        State::Head => connections.start_head_timeout(index),
        // Lines that have arrived wait until the acknowledgements before them are read.
        // fault: lines-wait-for-ever
        State::Body if conn.line_upload().is_some() => {
            connections.start_body_timeout(index);
            connections.defer_input(index);
        }
        State::Body => connections.start_body_timeout(index),
        // `settle` sets the idle timeout.
        State::Idle => {}
        State::Publishing if has_input => connections.defer_input(index),
        State::Deferred | State::Publishing | State::Closing | State::Gone => {}
    }
}
