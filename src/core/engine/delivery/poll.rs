//! Polls and long polls: answered at once, or parked until there is something to send.
//!
//! Owns every response to a poll. It does not decide which reader is served when (`deliver`) nor
//! when a hold ends (`deadlines`).

use std::sync::Arc;

use super::batch::{
    Batch, batch_of, empty_cursor, has_gap, message_count, write_items, write_objects,
};
use super::ends::{self, EndsNotice};
use super::linger;
use super::retry_advice::{AHEAD_RETRY_MS, held_retry_ms, poll_retry_ms, spread_ms};
use super::right;
use super::shapes;
use super::start::{ReceiveRequest, check_names, check_subscribers, open_channels};
use super::state::Delivery;
use crate::base::meter::SharedBytes;
use crate::engine::connections::{
    Conn, Flags, LingerBatch, ResponseOptions, State, Wire, write_shared,
};
use crate::engine::response::{KeepAlive, Problem, ResponseContext, ResponsePart};
use crate::engine::routing::Receive;
use crate::hub::{Channels, Item, Take};
use crate::message::Seq;
use crate::transport::{Event, Options, Transport};

/// Opens a poll: writes its response, or parks it.
pub(in crate::engine) fn open(
    delivery: &mut Delivery,
    request: &ReceiveRequest<'_, '_>,
) -> Result<(), Problem> {
    let index = request.index;
    check_names(&mut delivery.hub, request.names, Some(request.start))?;
    let conn = &mut delivery.connections[index];
    if request.params.options.contains(Options::EARLY) && conn.flags.contains(Flags::HTTP10) {
        // HTTP/1.0 has no chunks: only the end of the connection can end a body of unknown length.
        conn.flags.insert(Flags::CLOSE);
    }
    let context = &ResponseContext {
        keep_alive: KeepAlive::of(conn.flags),
        callback: request.params.callback.clone(),
        ..*request.context
    };
    let start = request.start;
    let mut known = Channels::new();
    // The newest loss that is not among the items: of channels that are unknown, or whose
    // earlier losses are ignored.
    let mut floor = Seq::ZERO;
    for name in request.names {
        let channel = delivery.hub.find(name);
        known.extend(channel);
        if channel.is_none() || start.ignores_earlier_losses {
            floor = floor.max(delivery.hub.evicted_up_to(name));
        }
    }
    let max_batch = delivery.settings.max_batch;
    let limit = request.params.limit.unwrap_or(usize::MAX);
    let take = Take {
        messages: limit.min(max_batch.messages),
        ..max_batch
    };
    let mut items = std::mem::take(&mut delivery.items);
    items.clear();
    let followed = known
        .iter()
        .map(|&channel| (channel, start.ignores_earlier_losses));
    let more = delivery
        .hub
        .collect(followed, start.cursor, take, &mut items);
    let is_lost = floor > start.cursor && !start.ignores_earlier_losses;
    let gap = start.gap || is_lost || has_gap(&items);
    // fault: cursor-beyond-the-batch
    let now = delivery.hub.head().max(start.cursor);
    let last = items.last().map_or(now, Item::seq);
    // The next request is not told of losses before this one.
    let cursor = match (is_lost || start.ignores_earlier_losses) && !more {
        true => last.max(floor),
        false => last,
    };
    let asked = (request.names, request.params.since);
    let is_ahead = start.is_ahead(&delivery.hub);
    let ends = match is_ahead {
        false => ends::at_poll(&delivery.hub, &known, asked, cursor, (&items, gap)),
        true => EndsNotice::Nothing,
    };
    let is_empty = items.is_empty() && !gap && ends.is_nothing();
    let hold_ms = match is_empty && request.receive != Receive::Poll {
        true => hold_ms(delivery, request),
        false => 0,
    };
    if hold_ms > 0 {
        delivery.items = items;
        return park(delivery, &known, request, context, take.messages, hold_ms);
    }
    let messages = message_count(&items);
    // An immediate response without messages invites an endless loop of requests: a gap does so for
    // a client whose requests reach two servers in turn that do not know each other's cursors.
    // So does a client that keeps polling after all its channels have ended.
    let is_immediate = request.receive == Receive::Poll || gap || ends.is_all();
    let is_barren = messages == 0 && is_immediate;
    let batch = Batch {
        cursor,
        more,
        gap,
        ends,
        retry_ms: match is_barren || delivery.drain.is_some() {
            true if is_ahead => Some(AHEAD_RETRY_MS),
            true => Some(poll_retry_ms(delivery, &known)),
            false => None,
        },
        spread_ms: None,
    };
    let part = match request.params.options.contains(Options::EARLY) {
        true => ResponsePart::Early,
        false => ResponsePart::Whole,
    };
    delivery.connections.stats.record_delivery(messages, gap);
    write_items(delivery, index, context, &batch, &items, part);
    delivery.items = items;
    Ok(())
}

/// How long a poll may be held; 0 where it must be answered at once.
fn hold_ms(delivery: &mut Delivery, request: &ReceiveRequest<'_, '_>) -> u64 {
    if request.context.head_only || delivery.drain.is_some() {
        return 0;
    }
    match request.params.hold_ms {
        Some(hold_ms) => hold_ms.min(delivery.settings.max_hold_ms),
        None => {
            // Clients that were parked together do not all come back together.
            let hold_ms = delivery.settings.hold_ms;
            hold_ms - delivery.random.u64(0..=hold_ms / 10)
        }
    }
}

fn park(
    delivery: &mut Delivery,
    known: &[u32],
    request: &ReceiveRequest<'_, '_>,
    context: &ResponseContext<'_>,
    limit: usize,
    hold_ms: u64,
) -> Result<(), Problem> {
    let opened;
    let channels = match known.len() == request.names.len() {
        true => {
            check_subscribers(&mut delivery.hub, known)?;
            known
        }
        false => {
            opened = open_channels(&mut delivery.hub, request.names)?;
            &opened[..]
        }
    };
    let (index, params) = (request.index, request.params);
    let is_plain = limit == delivery.settings.max_batch.messages
        && params.linger_ms == 0
        && context.callback.is_none()
        && context.origin.is_none();
    let now = delivery.now();
    let ends_at = now.after_ms(hold_ms);
    let Delivery {
        connections, hub, ..
    } = delivery;
    if !is_plain {
        connections.request_state(index).options = Some(ResponseOptions {
            callback: context.callback.as_deref().map(Box::from),
            origin: context.origin,
            limit,
            linger_ms: params.linger_ms,
            ..ResponseOptions::default()
        });
    }
    connections.enter(index, State::Held);
    let conn = &mut connections[index];
    conn.transport_options = params.options;
    conn.set_held_since(now);
    conn.set_ends_at(ends_at);
    conn.reader.cursor = hub.head().max(request.start.cursor);
    let class = Transport::LongPoll.number();
    hub.follow(&mut conn.reader, index, channels, class, false);
    let expires_at = right::grant(delivery, index, request.identity);
    let ends_at = expires_at.map_or(ends_at, |expires_at| expires_at.min(ends_at));
    delivery.connections.arm(index, ends_at);
    if params.options.contains(Options::EARLY) {
        let framing = delivery.framing(index, Transport::LongPoll);
        delivery.response.early_head(context, framing);
    }
    Ok(())
}

/// Delivers items to a held poll: it is answered now, or lingers on.
pub(super) fn deliver(
    delivery: &mut Delivery,
    index: u32,
    items: &[Item],
    more: bool,
    wire: &mut impl Wire,
) {
    let messages = message_count(items);
    if let Some(frame) = shared_response(delivery, index, items, messages, more) {
        let gap = messages < items.len();
        delivery.connections.stats.record_delivery(messages, gap);
        end_hold_with(delivery, index, frame, wire);
        return;
    }
    if linger::gather(delivery, index, items, more) {
        return;
    }
    respond(delivery, index, items, more);
    delivery.flush(index, wire);
}

/// The response that all plain polls with these items share; `None` where the poll gets its own.
#[inline]
fn shared_response(
    delivery: &mut Delivery,
    index: u32,
    items: &[Item],
    messages: usize,
    more: bool,
) -> Option<Arc<SharedBytes>> {
    // A gap without messages has a `retry` of its own for each reader.
    if messages == 0 || !is_plain(delivery, index) {
        return None;
    }
    let conn = &delivery.connections[index];
    let (transport, options) = (conn.transport(), conn.transport_options);
    match *items {
        [Item::Message { key, .. }] if !more => {
            let Delivery { hub, response, .. } = delivery;
            let heads = &response.heads;
            Some(shapes::message(hub, heads, key, transport, options))
        }
        _ if options.contains(Options::EARLY) => None,
        // What a reader is told of ends depends on all the channels that it follows.
        // fault: end-of-others
        _ if messages < items.len() => None,
        _ => Some(shared_batch(delivery, index, items, more)),
    }
}

/// Whether a held poll is answered with the bytes that all get.
#[inline]
fn is_plain(delivery: &Delivery, index: u32) -> bool {
    let conn = &delivery.connections[index];
    conn.options().is_none()
        && !conn.flags.intersects(Flags::HTTP10 | Flags::CLOSE)
        && delivery.drain.is_none()
}

/// The response with several items, shared by all polls for which the same items are pending.
fn shared_batch(
    delivery: &mut Delivery,
    index: u32,
    items: &[Item],
    more: bool,
) -> Arc<SharedBytes> {
    let date_s = delivery.response.heads.date_s();
    if let Some((same, and_more, at_s, frame)) = &delivery.shared.batch
        // fault: answer-of-others
        && same == items
        && (*and_more, *at_s) == (more, date_s)
    {
        return Arc::clone(frame);
    }
    let batch = batch_of(delivery, index, items, more);
    let context = ResponseContext::SHARED;
    write_items(
        delivery,
        index,
        &context,
        &batch,
        items,
        ResponsePart::Whole,
    );
    let frame = SharedBytes::new(&delivery.response.out[..], delivery.hub.frame_meter());
    delivery.response.clear();
    delivery.shared.batch = Some((items.to_vec(), more, date_s, Arc::clone(&frame)));
    frame
}

/// The empty response, shared by all polls whose holds end before the next message.
fn shared_empty(delivery: &mut Delivery) -> Arc<SharedBytes> {
    let (head, date_s) = (delivery.hub.head(), delivery.response.heads.date_s());
    if let Some((at, at_s, frame)) = &delivery.shared.empty
        // fault: stale-empty-answer
        && (*at, *at_s) == (head, date_s)
    {
        return Arc::clone(frame);
    }
    let (transport, cursor) = (Transport::LongPoll, delivery.hub.id(head));
    let (heads, meter) = (&delivery.response.heads, delivery.hub.frame_meter());
    let empty = Event::Heartbeat(cursor);
    let frame = shapes::answer(heads, transport, &empty, cursor, meter);
    delivery.shared.empty = Some((head, date_s, Arc::clone(&frame)));
    frame
}

/// Writes the response to a held poll and ends its hold: what it has accumulated, else `items`.
fn respond(delivery: &mut Delivery, index: u32, items: &[Item], more: bool) {
    let is_draining = delivery.drain.is_some();
    let conn = &mut delivery.connections[index];
    let is_early = conn.transport_options.contains(Options::EARLY);
    if is_draining {
        conn.flags.insert(Flags::CLOSE);
    }
    let request = conn.request.as_mut();
    let options = request.and_then(|request| request.options.take());
    let mut options = options.unwrap_or_default();
    let lingered = std::mem::take(&mut options.lingered);
    let context = ResponseContext {
        keep_alive: KeepAlive::of(conn.flags),
        origin: options.origin,
        callback: options.callback.as_deref().map(Into::into),
        ..ResponseContext::SHARED
    };
    let part = match is_early {
        true => ResponsePart::Body,
        false => ResponsePart::Whole,
    };
    let messages = lingered.messages.len() + message_count(items);
    let ends = ends_notice(delivery, index, &lingered, items);
    let is_barren_gap = messages == 0 && (lingered.gap || has_gap(items)) && !ends.is_all();
    let retry_ms = match is_draining || is_barren_gap {
        true => Some(held_retry_ms(delivery, index)),
        false => None,
    };
    if lingered.is_empty() {
        let batch = Batch {
            ends,
            retry_ms,
            ..batch_of(delivery, index, items, more)
        };
        let messages = message_count(items);
        delivery
            .connections
            .stats
            .record_delivery(messages, batch.gap);
        write_items(delivery, index, &context, &batch, items, part);
    } else {
        let LingerBatch { messages, gap, .. } = &lingered;
        delivery
            .connections
            .stats
            .record_delivery(messages.len(), *gap);
        let batch = Batch {
            cursor: lingered.cursor,
            more: lingered.more,
            gap: *gap,
            ends,
            retry_ms,
            spread_ms: spread_ms(lingered.audience),
        };
        let objects = messages.iter().map(|message| &message.object);
        write_objects(delivery, index, &context, &batch, objects, part);
    }
    end_hold(delivery, index);
}

/// The ends that the response to a held poll reports: those it has accumulated, else those among
/// `items`.
fn ends_notice(
    delivery: &Delivery,
    index: u32,
    lingered: &LingerBatch,
    items: &[Item],
) -> EndsNotice {
    let ends = match lingered.is_empty() {
        true => items,
        false => &lingered.ends[..],
    };
    if lingered.is_empty() && items.is_empty() {
        return ends_of_caught_up(delivery, index);
    }
    if ends.iter().all(|item| matches!(item, Item::Message { .. })) {
        return EndsNotice::Nothing;
    }
    let cursor = match lingered.is_empty() {
        true => items.last().map_or(Seq::ZERO, Item::seq),
        false => lingered.cursor,
    };
    let hub = &delivery.hub;
    let followed = hub.followed(&delivery.connections[index].reader);
    ends::among(hub, followed, cursor, ends)
}

/// The ends that an empty response to a held poll reports: all, where the poll was ahead of this node
/// of a cluster and its channels had ended before its cursor.
#[cold]
fn ends_of_caught_up(delivery: &Delivery, index: u32) -> EndsNotice {
    let (hub, reader) = (&delivery.hub, &delivery.connections[index].reader);
    match reader.cursor <= hub.head() && hub.is_done(reader) {
        true => EndsNotice::All,
        false => EndsNotice::Nothing,
    }
}

/// Answers a held poll that was ahead of this node and whose channels had ended before its cursor.
pub(super) fn tell_over(delivery: &mut Delivery, index: u32, wire: &mut impl Wire) {
    respond(delivery, index, &[], false);
    delivery.flush(index, wire);
}

/// Answers a held poll whose cursor is none of this log, with a gap and what history has.
pub(super) fn tell_gap(delivery: &mut Delivery, index: u32, wire: &mut impl Wire) {
    let mut items = std::mem::take(&mut delivery.items);
    items.clear();
    let (conn, hub) = (&delivery.connections[index], &delivery.hub);
    let take = room(conn, delivery.settings.max_batch);
    let more = hub.pending_items(&conn.reader, take, &mut items);
    let at = match items.is_empty() {
        true => hub.head(),
        false => conn.reader.cursor,
    };
    items.insert(0, Item::Gap(at));
    respond(delivery, index, &items, more);
    delivery.items = items;
    delivery.flush(index, wire);
}

/// Ends the hold of a client that has sent a further request, with the items that are pending.
pub(in crate::engine) fn give_up_hold(delivery: &mut Delivery, index: u32) {
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
    hub.dequeue(&mut conn.reader);
    let mut more = false;
    let may_receive = !conn.has_expired(now);
    // fault: given-up-hold-loses
    if may_receive && !conn.has_lingered() && hub.has_pending(&conn.reader) {
        let take = room(conn, settings.max_batch);
        more = hub.pending_items(&conn.reader, take, &mut items);
    }
    respond(delivery, index, &items, more);
    delivery.items = items;
}

/// Ends a hold whose time is over, with an empty batch.
pub(super) fn expire(delivery: &mut Delivery, index: u32, wire: &mut impl Wire) {
    let now = delivery.now();
    let has_expired = delivery.connections[index].has_expired(now);
    let stats = &mut delivery.connections.stats;
    match has_expired {
        true => stats.expired += 1,
        false => stats.holds_expired += 1,
    }
    let options = delivery.connections[index].transport_options;
    let is_early = options.contains(Options::EARLY);
    let is_at_head = delivery.hub.head() == empty_cursor(delivery, index);
    if is_plain(delivery, index) && !is_early && is_at_head {
        let frame = shared_empty(delivery);
        end_hold_with(delivery, index, frame, wire);
    } else {
        respond(delivery, index, &[], false);
        delivery.flush(index, wire);
    }
}

/// Answers a poll that has lingered long enough.
pub(super) fn end_linger(delivery: &mut Delivery, index: u32, wire: &mut impl Wire) {
    let Delivery {
        connections, hub, ..
    } = delivery;
    hub.dequeue(&mut connections[index].reader);
    respond(delivery, index, &[], false);
    delivery.flush(index, wire);
}

/// Ends a hold with a response that connections share.
#[inline]
fn end_hold_with(
    delivery: &mut Delivery,
    index: u32,
    frame: Arc<SharedBytes>,
    wire: &mut impl Wire,
) {
    end_hold(delivery, index);
    let Delivery {
        connections, hub, ..
    } = delivery;
    write_shared(connections, index, frame, hub, wire);
}

/// Ends a hold: the connection follows nothing and is between requests.
#[inline]
fn end_hold(delivery: &mut Delivery, index: u32) {
    let now = delivery.now();
    let Delivery {
        connections, hub, ..
    } = delivery;
    let conn = &mut connections[index];
    let held_ms = now.since_ms(conn.held_since(now));
    hub.unfollow(&mut conn.reader);
    connections.stats.hold_ms.record(held_ms);
    connections.enter(index, State::Idle);
}

/// The room that the response to a held poll has left.
pub(super) fn room(conn: &Conn, max_batch: Take) -> Take {
    let messages = conn.options().map_or(max_batch.messages, |options| {
        let lingered = options.lingered.messages.len();
        // The largest batch may have become smaller since the poll was parked.
        let limit = options.limit.min(max_batch.messages);
        limit.saturating_sub(lingered).max(1)
    });
    Take {
        messages,
        ..max_batch
    }
}
