//! A message's bytes in each shape: the encoders of `encode`, and the HTTP around them.
//!
//! Owns which bytes are shared. They depend on the message alone (and, for a whole response, on the
//! second it is encoded in), never on the connection that receives them.

use std::sync::Arc;

use super::retry_advice::spread_ms;
use crate::base::meter::Frame;
use crate::encode::{self, Envelope};
use crate::engine::response::{BodyLength, Heads, LAST_CHUNK, ResponseContext, chunk};
use crate::hub::{Hub, Shape, Transport};
use crate::message::Content;

/// A message's bytes in a shape, encoded unless they are cached.
pub(super) fn frame(hub: &mut Hub, heads: &Heads, key: u32, shape: Shape) -> Arc<Frame> {
    let audience = hub.message(key).subscribers();
    hub.frame(key, shape, |content| {
        encode(shape, content, heads, audience)
    })
}

/// Encodes a message in a shape. `audience`: how many connections waited for it.
fn encode(shape: Shape, content: &Content<'_>, heads: &Heads, audience: u32) -> Vec<u8> {
    let mut out = Vec::new();
    match shape {
        Shape::Object => encode::object(&mut out, content),
        Shape::LongPoll => {
            let body = batch_of_one(content, audience);
            let cursor = Some(content.id);
            let length = BodyLength::Known(body.len());
            heads.batch(&mut out, &ResponseContext::SHARED, cursor, length);
            out.extend_from_slice(&body);
        }
        Shape::Early => {
            let body = batch_of_one(content, audience);
            chunk(&mut out, |out| out.extend_from_slice(&body));
            out.extend_from_slice(LAST_CHUNK);
        }
        Shape::Sse => chunk(&mut out, |out| encode::sse::event(out, content)),
        Shape::SseEnvelope => chunk(&mut out, |out| encode::sse::envelope(out, content)),
        Shape::Ndjson => chunk(&mut out, |out| encode::ndjson::line(out, content)),
        Shape::Script => chunk(&mut out, |out| encode::script::frame_message(out, content)),
    }
    out
}

/// The shape in which a stream sends messages.
pub(super) fn of_stream(transport: Transport, envelope: bool) -> Shape {
    match transport {
        Transport::Sse if envelope => Shape::SseEnvelope,
        Transport::Sse => Shape::Sse,
        Transport::Ndjson => Shape::Ndjson,
        Transport::Frame => Shape::Script,
        Transport::LongPoll => unreachable!("a long poll is no stream"),
    }
}

fn batch_of_one(content: &Content<'_>, audience: u32) -> Vec<u8> {
    let mut object = Vec::new();
    encode::object(&mut object, content);
    let envelope = Envelope {
        cursor: content.id,
        more: false,
        gap: false,
        retry_ms: None,
        spread_ms: spread_ms(audience),
    };
    let mut body = Vec::new();
    encode::batch(&mut body, &envelope, [&object[..]]);
    body
}
