//! Streams: server-sent events, NDJSON and the forever frame.
//!
//! Owns how a stream opens, what it is sent, and how it ends.

use std::sync::Arc;

use super::retry_advice::{reconnect_ms, recycle_ms, rejected_retry_ms};
use super::shapes;
use super::start::{ReceiveRequest, Start};
use super::state::Delivery;
use crate::base::meter::Frame;
use crate::encode::{Deliver, ndjson, script, sse};
use crate::engine::connections::{Flags, State, Wire, write_frames};
use crate::engine::response::{BodyLength, EVENT_STREAM, Problem, ResponseContext, chunk};
use crate::engine::routing::Params;
use crate::hub::{Item, Transport};
use crate::message::MessageId;

/// Opens a stream: writes its head and its first bytes, and parks it.
pub(in crate::engine) fn open(
    delivery: &mut Delivery,
    transport: Transport,
    request: &ReceiveRequest<'_, '_>,
) -> Result<(), Problem> {
    let (index, params, start) = (request.index, request.params, request.start);
    check_target(delivery, transport, params)?;
    delivery.connections[index].flags.insert(Flags::CLOSE);
    let length = delivery.unknown_length(index);
    if request.context.head_only {
        write_head(delivery, transport, request.context, length);
        return Ok(());
    }
    if delivery.drain.is_some() {
        reject(delivery, transport, request, length);
        return Ok(());
    }
    let names = request.names.iter();
    let channels = match delivery.hub.open_all(names) {
        Ok(channels) => channels,
        // An EventSource that is refused by a status never reconnects.
        Err(_) if transport == Transport::Sse => {
            reject(delivery, transport, request, length);
            return Ok(());
        }
        Err(refusal) => return Err(refusal.into()),
    };
    write_head(delivery, transport, request.context, length);
    write_opening(delivery, transport, params, start, length);
    let max_bytes = u64::from(delivery.settings.stream_max_bytes);
    let stream_bytes = delivery.jitter_down(max_bytes) as u32;
    let age_ms = delivery.jitter_down(delivery.settings.stream_max_age_ms);
    let ends_at = delivery.now().after_ms(age_ms);
    let Delivery {
        connections, hub, ..
    } = delivery;
    connections.enter(index, State::Streaming);
    let conn = &mut connections[index];
    conn.transport = transport;
    conn.flags.set(Flags::ENVELOPE, params.envelope);
    conn.set_stream_bytes(stream_bytes);
    conn.set_ends_at(ends_at);
    conn.reader.cursor = start.cursor;
    hub.follow(&mut conn.reader, index, &channels, transport, start.fresh);
    connections.arm_stream(index);
    Ok(())
}

/// Rejects a stream (drain, channel limit) with an empty one that carries a retry delay and the
/// client's own cursor, so that the client resumes without losing messages.
fn reject(
    delivery: &mut Delivery,
    transport: Transport,
    request: &ReceiveRequest<'_, '_>,
    length: BodyLength,
) {
    let retry_ms = rejected_retry_ms(delivery);
    write_head(delivery, transport, request.context, length);
    if transport == Transport::Sse {
        // An EventSource keeps its last id and comes back with that.
        delivery
            .response
            .piece(length, |out| sse::refusal(out, retry_ms));
    } else {
        write_opening(delivery, transport, request.params, request.start, length);
        let cursor = delivery.hub.id(request.start.cursor);
        delivery.response.piece(length, |out| {
            closing(out, transport, retry_ms, cursor);
        });
    }
    delivery.response.end_body(length);
}

/// Checks that a frame may post messages to the origin that it names.
fn check_target(
    delivery: &Delivery,
    transport: Transport,
    params: &Params<'_>,
) -> Result<(), Problem> {
    let origin = params.origin.as_deref();
    let Some(origin) = origin.filter(|_| transport == Transport::Frame) else {
        return Ok(());
    };
    let heads = &delivery.response.heads;
    if heads.allows_any() || heads.allowed(origin.as_bytes()).is_some() {
        return Ok(());
    }
    Err(Problem::new(
        403,
        format!("messages may not be posted to {origin}; allow it with --cors-origin"),
    ))
}

fn write_head(
    delivery: &mut Delivery,
    transport: Transport,
    context: &ResponseContext<'_>,
    length: BodyLength,
) {
    let content_type = match transport {
        Transport::Sse => EVENT_STREAM,
        Transport::Ndjson => "application/x-ndjson",
        Transport::Frame => "text/html; charset=utf-8",
        Transport::LongPoll => unreachable!("a long poll is no stream"),
    };
    delivery.response.stream_head(context, content_type, length);
}

fn write_opening(
    delivery: &mut Delivery,
    transport: Transport,
    params: &Params<'_>,
    start: Start,
    length: BodyLength,
) {
    let from = delivery.hub.id(start.cursor);
    let reconnect_ms = reconnect_ms(delivery);
    let target = match (&params.callback, &params.origin) {
        (Some(callback), _) => Deliver::Call(callback),
        (None, Some(origin)) => Deliver::PostTo(origin),
        (None, None) => Deliver::PostOwn,
    };
    let cursor = match start.gap {
        // A client that comes back before it has the gap must be told of it again.
        true => MessageId::UNKNOWN,
        false => from,
    };
    delivery.response.piece(length, |out| match transport {
        Transport::Sse => sse::opening(out, reconnect_ms, cursor),
        Transport::Frame => script::frame_opening(out, target, cursor),
        Transport::Ndjson => ndjson::cursor(out, cursor),
        Transport::LongPoll => unreachable!("a long poll is no stream"),
    });
    if start.gap {
        delivery.connections.stats.gaps += 1;
        delivery
            .response
            .piece(length, |out| gap(out, transport, from));
    }
}

/// Delivers items to a stream, as far as its socket takes them.
pub(super) fn deliver(delivery: &mut Delivery, index: u32, items: &[Item], wire: &mut impl Wire) {
    let Delivery {
        connections,
        hub,
        response,
        frames,
        ..
    } = delivery;
    let conn = &connections[index];
    let transport = conn.transport;
    let shape = shapes::of_stream(transport, conn.flags.contains(Flags::ENVELOPE));
    frames.clear();
    for item in items {
        match *item {
            Item::Message { key, .. } => {
                frames.push(shapes::frame(hub, &response.heads, key, shape));
                connections.stats.delivered += 1;
            }
            Item::Gap(seq) => {
                frames.push(gap_frame(transport, hub.id(seq), hub.frame_meter()));
                connections.stats.gaps += 1;
            }
        }
    }
    write_frames(connections, index, items, frames, hub, wire);
    frames.clear();
    let conn = &connections[index];
    if conn.state() == State::Streaming {
        hub.note_given(&conn.reader, items);
        if !conn.is_blocked() {
            connections.arm_stream(index);
        }
    }
}

fn gap_frame(
    transport: Transport,
    id: MessageId,
    meter: &Arc<crate::base::meter::Meter>,
) -> Arc<Frame> {
    let mut text = Vec::new();
    chunk(&mut text, |out| gap(out, transport, id));
    Frame::new(text, meter)
}

/// Shows that a stream without messages is alive.
pub(super) fn send_heartbeat(delivery: &mut Delivery, index: u32, wire: &mut impl Wire) {
    let length = delivery.unknown_length(index);
    let head = delivery.hub.id(delivery.hub.head());
    let transport = delivery.connections[index].transport;
    delivery.response.piece(length, |out| match transport {
        Transport::Sse => out.extend_from_slice(sse::HEARTBEAT),
        Transport::Frame => script::frame_cursor(out, head),
        Transport::Ndjson => ndjson::cursor(out, head),
        Transport::LongPoll => unreachable!("a long poll is no stream"),
    });
    let bytes = delivery.response.out.len();
    delivery.connections[index].spend_stream_bytes(bytes);
    // fault: one-heartbeat
    delivery.connections.arm_stream(index);
    delivery.flush(index, wire);
}

/// Ends a stream cleanly: its last words are where and when to go on.
pub(super) fn end(delivery: &mut Delivery, index: u32, wire: &mut impl Wire) {
    let length = delivery.unknown_length(index);
    let retry_ms = recycle_ms(delivery);
    let Delivery {
        connections, hub, ..
    } = delivery;
    let conn = &mut connections[index];
    let cursor = match hub.is_owed(&conn.reader) {
        true => conn.reader.cursor,
        false => hub.head(),
    };
    let cursor = hub.id(cursor);
    let transport = conn.transport;
    hub.unfollow(&mut conn.reader);
    connections.enter(index, State::Closing);
    connections.stats.recycled += 1;
    delivery.response.piece(length, |out| {
        closing(out, transport, retry_ms, cursor);
    });
    delivery.response.end_body(length);
    delivery.flush(index, wire);
}

fn gap(out: &mut Vec<u8>, transport: Transport, id: MessageId) {
    match transport {
        Transport::Sse => sse::gap(out, id),
        Transport::Frame => script::frame_gap(out, id),
        Transport::Ndjson => ndjson::gap(out, id),
        Transport::LongPoll => unreachable!("a long poll is no stream"),
    }
}

fn closing(out: &mut Vec<u8>, transport: Transport, retry_ms: u32, id: MessageId) {
    match transport {
        Transport::Sse => sse::closing(out, retry_ms, id),
        Transport::Frame => script::frame_closing(out, retry_ms, id),
        Transport::Ndjson => ndjson::closing(out, retry_ms, id),
        Transport::LongPoll => unreachable!("a long poll is no stream"),
    }
}
