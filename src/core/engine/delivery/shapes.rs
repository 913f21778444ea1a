//! The bytes that connections share: a message or another event in the format of a transport, with
//! the HTTP around it.
//!
//! Owns which bytes are shared. They depend on the event alone (and, for a whole response, on the
//! second in which it is written), never on the connection that receives them. All that is shared
//! is for HTTP/1.1; a connection of HTTP/1.0 is sent the payload of a stream's frames.

use std::ops::Range;
use std::sync::Arc;

use super::retry_advice::spread_ms;
use crate::base::meter::{Meter, SharedBytes};
use crate::encode;
use crate::engine::response::{BodyLength, Framing, Heads, ResponseContext};
use crate::hub::{Hub, ReaderCounts, Shape};
use crate::message::MessageId;
use crate::transport::{Event, Kind, Options, Transport};

/// A message's JSON object, for batches.
const OBJECT: Shape = Shape::new(0);

/// The shape of a message as a transport sends it with these options.
fn shape(transport: Transport, options: Options) -> Shape {
    Shape::new(1 + transport.variant(options))
}

const _: () = assert!(
    1 + Transport::VARIANTS == Shape::COUNT && Transport::ALL.len() == ReaderCounts::CLASSES,
    "the hub has room for as many shapes and classes as there are"
);

/// A message's JSON object, encoded unless it is cached.
pub(super) fn object(hub: &mut Hub, key: u32) -> Arc<SharedBytes> {
    hub.frame(key, OBJECT, |content, meter| {
        let mut out = Vec::new();
        encode::object(&mut out, content);
        SharedBytes::new(out, meter)
    })
}

/// A message as a transport sends it, encoded unless it is cached.
#[inline]
pub(super) fn message(
    hub: &mut Hub,
    heads: &Heads,
    key: u32,
    transport: Transport,
    options: Options,
) -> Arc<SharedBytes> {
    let audience = hub.message(key).subscribers();
    hub.frame(key, shape(transport, options), |content, meter| {
        let event = &Event::Message {
            content,
            spread_ms: spread_ms(audience),
        };
        match transport.describe().kind {
            Kind::Stream | Kind::Duplex => piece(transport, options, event, meter),
            Kind::Answer if options.contains(Options::EARLY) => {
                body(transport, options, event, meter)
            }
            Kind::Answer => answer(heads, transport, event, content.id, meter),
        }
    })
}

/// The piece of a stream that encodes an event.
fn piece(
    transport: Transport,
    options: Options,
    event: &Event<'_>,
    meter: &Arc<Meter>,
) -> Arc<SharedBytes> {
    let (out, payload) = framed(transport, options, event);
    SharedBytes::with_payload(out, payload, meter)
}

/// The piece of a stream that encodes several events; with the end of the stream if `is_last`.
pub(super) fn pieces(
    transport: Transport,
    options: Options,
    events: &[Event<'_>],
    is_last: bool,
    meter: &Arc<Meter>,
) -> Arc<SharedBytes> {
    let mut out = Vec::new();
    let framing = Framing::shared(transport);
    let payload = framing.piece(&mut out, |out| {
        for event in events {
            transport.encode(event, options, out);
        }
    });
    if is_last {
        framing.end(&mut out);
    }
    SharedBytes::with_payload(out, payload, meter)
}

/// The body that encodes an event, for a response whose head was sent early.
fn body(
    transport: Transport,
    options: Options,
    event: &Event<'_>,
    meter: &Arc<Meter>,
) -> Arc<SharedBytes> {
    let (mut out, payload) = framed(transport, options, event);
    Framing::shared(transport).end(&mut out);
    SharedBytes::with_payload(out, payload, meter)
}

/// An event with the framing that connections share, and the range of its payload.
fn framed(transport: Transport, options: Options, event: &Event<'_>) -> (Vec<u8>, Range<usize>) {
    let mut out = Vec::new();
    let write = |out: &mut Vec<u8>| transport.encode(event, options, out);
    let payload = Framing::shared(transport).piece(&mut out, write);
    (out, payload)
}

/// The whole response for an event, after which the client is at `cursor`.
pub(super) fn answer(
    heads: &Heads,
    transport: Transport,
    event: &Event<'_>,
    cursor: MessageId,
    meter: &Arc<Meter>,
) -> Arc<SharedBytes> {
    let (mut out, mut body) = (Vec::new(), Vec::new());
    transport.encode(event, Options::empty(), &mut body);
    let length = BodyLength::Known(body.len());
    heads.batch(&mut out, &ResponseContext::SHARED, Some(cursor), length);
    out.extend_from_slice(&body);
    SharedBytes::new(out, meter)
}
