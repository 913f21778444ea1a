//! Streams: one response that goes on, whatever its format.
//!
//! Owns what an open stream is sent, and how it ends. The bytes are those of its transport.

use std::sync::Arc;

use super::retry_advice::{reconnect_ms, recycle_ms};
use super::shapes;
use super::state::Delivery;
use crate::base::meter::SharedBytes;
use crate::engine::connections::{Connections, State, Wire, write_frames};
use crate::engine::response::{Framing, ResponseWriter};
use crate::hub::{Channels, Hub, Item, Reader};
use crate::message::Seq;
use crate::transport::{Event, Options, Transport};

/// How events are written to one stream.
#[derive(Clone, Copy)]
pub(super) struct Format {
    pub(super) transport: Transport,
    pub(super) options: Options,
    pub(super) framing: Framing,
}

impl Format {
    /// The format of an open stream.
    fn of(delivery: &Delivery, index: u32) -> Format {
        let conn = &delivery.connections[index];
        Format {
            transport: conn.transport(),
            options: conn.transport_options,
            framing: Framing::of(conn.transport(), conn.flags),
        }
    }

    /// Appends an event to the response under way.
    pub(super) fn write(self, response: &mut ResponseWriter, event: &Event<'_>) {
        let Format {
            transport,
            options,
            framing,
        } = self;
        framing.piece(&mut response.out, |out| {
            transport.encode(event, options, out);
        });
    }
}

/// Whether a stream can report a gap only by its end.
pub(super) fn ends_at_gap(transport: Transport, options: Options) -> bool {
    transport.is_duplex() && options.contains(Options::RAW)
}

/// Takes a stream out of its channels: its last bytes are written.
pub(super) fn leave(delivery: &mut Delivery, index: u32) {
    let Delivery {
        connections, hub, ..
    } = delivery;
    hub.unfollow(&mut connections[index].reader);
    connections.enter(index, State::Closing);
    if let Some(request) = connections[index].request.as_mut() {
        request.message = None;
        request.update_charge();
    }
}

/// Delivers items to a stream, as far as its socket takes them. `more`: there are more. It is on the path
/// of every message, and its other caller is not.
#[inline(always)]
pub(super) fn deliver(
    delivery: &mut Delivery,
    index: u32,
    items: &[Item],
    more: bool,
    wire: &mut impl Wire,
) {
    let Delivery {
        connections,
        hub,
        response,
        frames,
        ..
    } = delivery;
    let conn = &connections[index];
    let (transport, options) = (conn.transport(), conn.transport_options);
    frames.clear();
    for item in items {
        let Item::Message { key, .. } = *item else {
            return deliver_mixed(delivery, index, items, more, wire);
        };
        let heads = &response.heads;
        frames.push(shapes::message(hub, heads, key, transport, options));
    }
    write_items(delivery, index, items, more, wire);
}

/// As [`deliver`], where the items are not all messages.
#[cold]
fn deliver_mixed(
    delivery: &mut Delivery,
    index: u32,
    mut items: &[Item],
    more: bool,
    wire: &mut impl Wire,
) {
    let Delivery {
        connections,
        hub,
        response,
        frames,
        ..
    } = delivery;
    let conn = &connections[index];
    let (transport, options) = (conn.transport(), conn.transport_options);
    frames.clear();
    // After this item the reader is done.
    let mut done_at = None;
    for item in items {
        match *item {
            Item::Message { key, .. } => {
                let heads = &response.heads;
                frames.push(shapes::message(hub, heads, key, transport, options));
            }
            Item::Gap(_) if ends_at_gap(transport, options) => {
                if frames.is_empty() {
                    return end_at_gap(delivery, index, wire);
                }
                // What comes before it is sent first.
                items = &items[..frames.len()];
                break;
            }
            Item::Gap(_) | Item::End { .. } => {
                let followed: Channels = hub.followed(&conn.reader).collect();
                let is_done = hub.are_done(followed.iter().copied(), item.seq());
                if is_done && conn.awaits_log() {
                    if frames.is_empty() {
                        return pause_for_answers(connections, index);
                    }
                    items = &items[..frames.len()];
                    break;
                }
                frames.push(notice(hub, transport, options, *item, &followed, is_done));
                done_at = is_done.then_some(item.seq());
            }
        }
    }
    let sent = write_items(delivery, index, items, more, wire);
    let stats = &mut delivery.connections.stats;
    for item in &items[..sent] {
        stats.delivered -= u64::from(!matches!(item, Item::Message { .. }));
        stats.gaps += u64::from(matches!(item, Item::Gap(_)));
    }
    let conn = &delivery.connections[index];
    if conn.state() == State::Streaming && done_at == Some(conn.reader.cursor) {
        delivery.connections.stats.completed += 1;
        leave(delivery, index);
    }
}

/// Writes the frames of items, one for each, and sets the next deadline. Counts those that were begun
/// as messages, and returns how many these are. It is on the path of every message.
#[inline(always)]
fn write_items(
    delivery: &mut Delivery,
    index: u32,
    items: &[Item],
    more: bool,
    wire: &mut impl Wire,
) -> usize {
    let Delivery {
        connections,
        hub,
        frames,
        ..
    } = delivery;
    let sent = write_frames(connections, index, items, frames, hub, wire);
    connections.stats.delivered += sent as u64;
    frames.clear();
    let conn = &connections[index];
    if conn.state() == State::Streaming {
        hub.stop_ignoring_losses(&conn.reader, items);
        if !conn.is_blocked() {
            let has_request = conn.request.is_some();
            connections.arm_stream(index);
            if more {
                // One write does not hold what came in a pause.
                connections.end_pause(index);
            }
            if has_request {
                connections.arm_message(index);
            }
        }
    }
    sent
}

/// Lets a stream that is done wait until the log has answered what its client has published. Its
/// end comes behind that.
#[cold]
fn pause_for_answers(connections: &mut Connections, index: u32) {
    connections[index].reader.pause();
    connections.arm_soon(index);
}

/// Ends a stream whose next item is a gap, which it can report in no other way.
#[cold]
fn end_at_gap(delivery: &mut Delivery, index: u32, wire: &mut impl Wire) {
    let cursor = delivery.hub.id(delivery.connections[index].reader.cursor);
    delivery.connections.stats.gaps += 1;
    Format::of(delivery, index).write(&mut delivery.response, &Event::Gap(cursor));
    leave(delivery, index);
    delivery.flush(index, wire);
}

/// The frame that tells a stream which follows these channels of a gap, or of the end of one of
/// them. If its reader is done, it is the last.
#[cold]
fn notice(
    hub: &Hub,
    transport: Transport,
    options: Options,
    item: Item,
    followed: &[u32],
    is_done: bool,
) -> Arc<SharedBytes> {
    let cursor = hub.id(item.seq());
    let ended = match item {
        Item::End { channel, .. } => Channels::from_elem(channel, 1),
        _ => hub.done_among(followed, item.seq()),
    };
    let names: Vec<&str> = ended
        .iter()
        .map(|&channel| hub.channel(channel).name())
        .collect();
    let mut events = Vec::new();
    if let Item::Gap(_) = item {
        events.push(Event::Gap(cursor));
    }
    if is_done {
        events.push(Event::End(cursor));
    } else if !names.is_empty() {
        let channels = &names[..];
        events.push(Event::Ended { cursor, channels });
    }
    shapes::pieces(transport, options, &events, is_done, hub.frame_meter())
}

/// Writes the last event of a stream whose reader is done.
pub(super) fn write_end(delivery: &mut Delivery, format: Format, cursor: Seq) {
    let Delivery {
        connections,
        hub,
        response,
        ..
    } = delivery;
    connections.stats.completed += 1;
    format.write(response, &Event::End(hub.id(cursor)));
    format.framing.end(&mut response.out);
}

/// Writes that some of the channels of a stream have ended.
pub(super) fn write_ended(delivery: &mut Delivery, format: Format, channels: &[u32], cursor: Seq) {
    let Delivery { hub, response, .. } = delivery;
    let names = channels.iter().map(|&channel| hub.channel(channel).name());
    let event = Event::Ended {
        cursor: hub.id(cursor),
        channels: &names.collect::<Vec<_>>(),
    };
    format.write(response, &event);
}

/// Tells a stream that has begun to follow other channels which of them have ended. It ends if all
/// have.
pub(super) fn tell_ends(delivery: &mut Delivery, index: u32) {
    let format = Format::of(delivery, index);
    let Delivery {
        connections, hub, ..
    } = delivery;
    let reader = &connections[index].reader;
    let (followed, cursor) = (hub.followed(reader).collect::<Channels>(), reader.cursor);
    let done = hub.done_among(&followed, cursor);
    if done.is_empty() {
        return;
    }
    if done.len() < followed.len() {
        return write_ended(delivery, format, &done, cursor);
    }
    write_end(delivery, format, cursor);
    leave(delivery, index);
}

/// Tells a stream whose items are all evicted which of its channels have ended, if any have.
#[cold]
pub(super) fn tell_evicted_ends(delivery: &mut Delivery, index: u32, wire: &mut impl Wire) {
    tell_ends(delivery, index);
    let is_open = delivery.connections[index].state() == State::Streaming;
    if is_open && !delivery.response.out.is_empty() {
        delivery.connections.arm_stream(index);
        delivery.connections.arm_message(index);
    }
    delivery.flush(index, wire);
}

/// Shows that a stream without messages is alive.
pub(super) fn send_heartbeat(delivery: &mut Delivery, index: u32, wire: &mut impl Wire) {
    let cursor = delivery.connections[index].reader.cursor;
    let head = delivery.hub.id(delivery.hub.head().max(cursor));
    Format::of(delivery, index).write(&mut delivery.response, &Event::Heartbeat(head));
    let bytes = delivery.response.out.len();
    let conn = &mut delivery.connections[index];
    conn.spend_stream_bytes(bytes);
    if conn.reader.pace_ms > 0 {
        delivery.hub.dequeue(&mut conn.reader);
    }
    // fault: one-heartbeat
    delivery.connections.arm_stream(index);
    delivery.connections.arm_message(index);
    delivery.flush(index, wire);
}

/// The number up to which a reader has everything.
pub(super) fn position(hub: &Hub, reader: &Reader) -> Seq {
    match hub.has_pending(reader) {
        true => reader.cursor,
        false => hub.head().max(reader.cursor),
    }
}

/// Ends a stream cleanly: the last event says where and when to go on.
pub(super) fn end(delivery: &mut Delivery, index: u32, wire: &mut impl Wire) {
    let format = Format::of(delivery, index);
    let now = delivery.now();
    let has_expired = delivery.connections[index].has_expired(now);
    let retry_ms = match has_expired {
        // A client that comes back by itself gives its page the time to get a new token.
        true => reconnect_ms(delivery),
        false => recycle_ms(delivery),
    };
    let Delivery {
        connections,
        hub,
        response,
        ..
    } = delivery;
    let conn = &mut connections[index];
    let cursor = hub.id(position(hub, &conn.reader));
    hub.unfollow(&mut conn.reader);
    connections.enter(index, State::Closing);
    let event = match has_expired {
        true => {
            connections.stats.expired += 1;
            Event::Expire { cursor, retry_ms }
        }
        false => {
            connections.stats.recycled += 1;
            Event::Close { cursor, retry_ms }
        }
    };
    format.write(response, &event);
    format.framing.end(&mut response.out);
    delivery.flush(index, wire);
}
