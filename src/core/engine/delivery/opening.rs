//! The opening of streams: heads, first bytes, and refusals.
//!
//! Owns whether a stream opens, and what it is sent before its first message.

use super::ends;
use super::retry_advice::{drain_retry_ms, reconnect_ms, rejected_retry_ms};
use super::right;
use super::start::{ReceiveRequest, Start, check_names, open_channels};
use super::state::Delivery;
use super::stream::{Format, ends_at_gap, leave, write_end, write_ended};
use crate::engine::connections::{Flags, State};
use crate::engine::response::Problem;
use crate::engine::routing::{Params, Since};
use crate::http1::status;
use crate::hub::{Channels, Refusal};
use crate::message::MessageId;
use crate::transport::{Event, Target, Transport};

/// Opens a stream: writes its head and its first bytes, and parks it.
pub(in crate::engine) fn open(
    delivery: &mut Delivery,
    transport: Transport,
    request: &ReceiveRequest<'_, '_>,
) -> Result<u16, Problem> {
    let (index, params, start) = (request.index, request.params, request.start);
    let status = match transport.is_duplex() {
        true => status::SWITCHING_PROTOCOLS,
        false => status::OK,
    };
    check_target(delivery, params)?;
    // While the server drains, a client is sent to another, which may have the channel.
    if delivery.drain.is_none() {
        check_names(&mut delivery.hub, request.names, Some(start))?;
    }
    let is_over =
        !start.is_ahead(&delivery.hub) && ends::are_over(&delivery.hub, request.names, start);
    let ends_at_gap = start.gap && ends_at_gap(transport, params.options);
    let has_end = matches!(params.since, Since::After(_)) && !start.gap;
    if is_over && has_end && transport.describe().resumes_by_itself {
        // An EventSource that has the end reconnects until it gets a 204.
        delivery.response.no_content(request.context);
        return Ok(status::NO_CONTENT);
    }
    delivery.connections[index].flags.insert(Flags::CLOSE);
    let format = Format {
        transport,
        options: params.options,
        framing: delivery.framing(index, transport),
    };
    if request.context.head_only {
        write_head(delivery, format, request);
        return Ok(status);
    }
    if delivery.drain.is_some() {
        if transport.is_duplex() {
            return Err(draining(delivery));
        }
        reject(delivery, format, request);
        return Ok(status);
    }
    if is_over {
        write_head(delivery, format, request);
        write_opening(delivery, format, params, start);
        if !ends_at_gap {
            write_end(delivery, format, start.cursor);
        }
        return Ok(status);
    }
    let channels = match open_channels(&mut delivery.hub, request.names) {
        Ok(channels) => channels,
        Err(_) if transport.describe().resumes_by_itself => {
            reject(delivery, format, request);
            return Ok(status);
        }
        Err(problem) => return Err(problem),
    };
    write_head(delivery, format, request);
    write_opening(delivery, format, params, start);
    // Ends before the cursor are reported again: the client may follow a channel for the first
    // time.
    let ended = match start.is_ahead(&delivery.hub) {
        false => delivery.hub.done_among(&channels, start.cursor),
        true => Channels::new(),
    };
    if !ended.is_empty() {
        write_ended(delivery, format, &ended, start.cursor);
    }
    let max_bytes = u64::from(delivery.settings.stream_max_bytes);
    let stream_bytes = delivery.jitter_down(max_bytes) as u32;
    let age_ms = delivery.jitter_down(delivery.settings.stream_max_age_ms);
    let ends_at = delivery.now().after_ms(age_ms);
    let Delivery {
        connections, hub, ..
    } = delivery;
    connections.enter(index, State::Streaming);
    let conn = &mut connections[index];
    conn.transport_options = params.options;
    if !transport.is_duplex() {
        conn.set_stream_bytes(stream_bytes);
    }
    conn.set_ends_at(ends_at);
    conn.reader.cursor = start.cursor;
    conn.reader.pace_ms = params.pace_ms;
    let class = transport.number();
    hub.follow(
        &mut conn.reader,
        index,
        &channels,
        class,
        start.ignores_earlier_losses,
    );
    right::grant(delivery, index, request.identity);
    delivery.connections.arm_stream(index);
    if ends_at_gap {
        // The opening has said so.
        leave(delivery, index);
    }
    Ok(status)
}

/// The refusal of a handshake while the server drains.
fn draining(delivery: &mut Delivery) -> Problem {
    let retry_s = drain_retry_ms(delivery).div_ceil(1_000);
    Problem::unavailable("the server is draining; connect to another", retry_s)
}

/// Sends a reader away from the node of a cluster that has not read so far yet: it comes back with
/// the cursor that it has. Returns the status.
#[cold]
pub(in crate::engine) fn turn_away(
    delivery: &mut Delivery,
    request: &ReceiveRequest<'_, '_>,
) -> Result<u16, Problem> {
    let transport = request.receive.stream();
    // A program that knows about Retry-After, or one that a 503 would stop for good.
    let Some(transport) = transport.filter(|one| one.describe().resumes_by_itself) else {
        return Err(Refusal::LogWarming.into());
    };
    delivery.connections[request.index]
        .flags
        .insert(Flags::CLOSE);
    let format = Format {
        transport,
        options: request.params.options,
        framing: delivery.framing(request.index, transport),
    };
    match request.context.head_only {
        true => write_head(delivery, format, request),
        false => reject(delivery, format, request),
    }
    Ok(status::OK)
}

/// Rejects a stream (drain, limit of channels or subscribers) with an empty one that carries a
/// retry delay and the client's own cursor, so that the client resumes without losing messages.
fn reject(delivery: &mut Delivery, format: Format, request: &ReceiveRequest<'_, '_>) {
    let retry_ms = rejected_retry_ms(delivery);
    write_head(delivery, format, request);
    if !format.transport.describe().resumes_by_itself {
        write_opening(delivery, format, request.params, request.start);
    }
    let Delivery { hub, response, .. } = delivery;
    let cursor = hub.id(request.start.cursor);
    format.write(response, &Event::Refuse { cursor, retry_ms });
    format.framing.end(&mut response.out);
}

/// Checks that a page of the origin that a frame names may be posted messages.
fn check_target(delivery: &Delivery, params: &Params<'_>) -> Result<(), Problem> {
    let Some(origin) = params.origin.as_deref() else {
        return Ok(());
    };
    let heads = &delivery.response.heads;
    if heads.allows(origin.as_bytes()) {
        return Ok(());
    }
    Err(Problem::new(
        403,
        format!("messages may not be posted to {origin}; allow it with --cors-origin"),
    ))
}

fn write_head(delivery: &mut Delivery, format: Format, request: &ReceiveRequest<'_, '_>) {
    let (response, context) = (&mut delivery.response, request.context);
    if let Some(handshake) = &request.params.handshake {
        return response.upgrade_head(context, &handshake.accept, handshake.subprotocol);
    }
    let content_type = format.transport.describe().content_type;
    response.stream_head(context, content_type, format.framing);
}

fn write_opening(delivery: &mut Delivery, format: Format, params: &Params<'_>, start: Start) {
    let from = delivery.hub.id(start.cursor);
    let retry_ms = reconnect_ms(delivery);
    let target = match (&params.callback, &params.origin) {
        (Some(callback), _) => Target::Call(callback),
        (None, Some(origin)) => Target::PostTo(origin),
        (None, None) => Target::PostOwn,
    };
    let cursor = match start.gap {
        // A client that reconnects before it has received the gap must get it again.
        true => MessageId::UNKNOWN,
        false => from,
    };
    let opening = Event::Open {
        cursor,
        retry_ms,
        heartbeat_ms: delivery.connections.silence_ms(params.pace_ms),
        target,
    };
    format.write(&mut delivery.response, &opening);
    if start.gap {
        delivery.connections.stats.gaps += 1;
        format.write(&mut delivery.response, &Event::Gap(from));
    }
}
