//! Whole responses, written into a buffer that is reused from response to response.
//!
//! Owns the bytes that the present connection is to be sent. Several responses of a pipeline gather
//! there and leave in one write.

use super::context::{BodyLength, KeepAlive, ResponseContext};
use super::framing::Framing;
use super::heads::{Heads, field};
use super::problem::Problem;
use crate::encode::{self, Envelope};
use crate::http1::status;

/// Capacity above which a buffer is not kept from one response to the next.
const KEPT_BYTES: usize = 256 << 10;

/// The part of a batch response that is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum ResponsePart {
    /// Head and body, with the body's length in the head.
    Whole,
    /// Head and body as an early response has them: the head does not depend on the body.
    Early,
    /// The body alone, as the head was sent early.
    Body,
}

/// Writes responses for one connection after the other.
pub(in crate::engine) struct ResponseWriter {
    pub(in crate::engine) heads: Heads,
    /// The bytes that the present connection is to be sent.
    pub(in crate::engine) out: Vec<u8>,
    body: Vec<u8>,
}

impl ResponseWriter {
    pub(in crate::engine) fn new(heads: Heads) -> ResponseWriter {
        ResponseWriter {
            heads,
            out: Vec::new(),
            body: Vec::new(),
        }
    }

    /// Forgets what was written: it is sent.
    pub(in crate::engine) fn clear(&mut self) {
        self.out.clear();
        self.out.shrink_to(KEPT_BYTES);
    }

    /// Writes a response with status 200.
    pub(in crate::engine) fn content(
        &mut self,
        context: &ResponseContext<'_>,
        content_type: &str,
        body: &[u8],
    ) {
        self.heads
            .answer(&mut self.out, context, 200, content_type, body);
    }

    /// Writes a response of JSON with status 200.
    pub(in crate::engine) fn json(&mut self, context: &ResponseContext<'_>, body: &[u8]) {
        self.content(context, "application/json", body);
    }

    /// As [`ResponseWriter::json`], with a body that `write` appends to a buffer.
    pub(in crate::engine) fn json_with(
        &mut self,
        context: &ResponseContext<'_>,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        self.body.clear();
        write(&mut self.body);
        self.heads
            .answer(&mut self.out, context, 200, "application/json", &self.body);
    }

    /// Writes a response of plain text with status 200.
    pub(in crate::engine) fn text(&mut self, context: &ResponseContext<'_>, text: &str) {
        self.content(context, "text/plain; charset=utf-8", text.as_bytes());
    }

    /// Writes a response without a body, status 204.
    pub(in crate::engine) fn no_content(&mut self, context: &ResponseContext<'_>) {
        self.heads.begin(&mut self.out, context, 204);
        self.heads.end(&mut self.out, BodyLength::None);
    }

    /// Writes the response to a request that is refused.
    pub(in crate::engine) fn problem(&mut self, problem: &Problem, context: &ResponseContext<'_>) {
        problem.write(&self.heads, &mut self.out, context);
    }

    /// Writes the head of a batch response ahead of its body.
    pub(in crate::engine) fn early_head(
        &mut self,
        context: &ResponseContext<'_>,
        framing: Framing,
    ) {
        let length = BodyLength::Unknown(framing);
        self.heads.batch(&mut self.out, context, None, length);
    }

    /// Writes a batch of message objects, JSON or JSONP. `framing` is that of a body whose head
    /// does not know its length.
    pub(in crate::engine) fn batch<'o>(
        &mut self,
        context: &ResponseContext<'_>,
        envelope: &Envelope<'_>,
        objects: impl IntoIterator<Item = &'o [u8]>,
        part: ResponsePart,
        framing: Framing,
    ) {
        self.body.clear();
        encode::batch(&mut self.body, envelope, objects);
        if let Some(callback) = &context.callback {
            let mut call = Vec::with_capacity(self.body.len() + 128);
            encode::jsonp(&mut call, callback, &self.body);
            self.body = call;
        }
        match part {
            ResponsePart::Whole => {
                let cursor = Some(envelope.cursor);
                let length = BodyLength::Known(self.body.len());
                self.heads.batch(&mut self.out, context, cursor, length);
            }
            ResponsePart::Early => {
                let length = BodyLength::Unknown(framing);
                self.heads.batch(&mut self.out, context, None, length);
            }
            ResponsePart::Body => {}
        }
        if context.head_only {
            return;
        }
        match part {
            ResponsePart::Whole => self.out.extend_from_slice(&self.body),
            ResponsePart::Early | ResponsePart::Body => {
                let body = &self.body;
                framing.piece(&mut self.out, |out| out.extend_from_slice(body));
                framing.end(&mut self.out);
            }
        }
        self.body.shrink_to(KEPT_BYTES);
    }

    /// Writes the response to the handshake of a WebSocket (RFC 6455, section 4.2.2), with the
    /// subprotocol if one is agreed.
    pub(in crate::engine) fn upgrade_head(
        &mut self,
        context: &ResponseContext<'_>,
        accept: &[u8],
        subprotocol: Option<&'static str>,
    ) {
        let context = &ResponseContext {
            keep_alive: KeepAlive::Upgrade,
            callback: None,
            ..*context
        };
        let out = &mut self.out;
        self.heads.begin(out, context, status::SWITCHING_PROTOCOLS);
        field(out, "Upgrade", "websocket");
        out.extend_from_slice(b"Sec-WebSocket-Accept: ");
        out.extend_from_slice(accept);
        out.extend_from_slice(b"\r\n");
        if let Some(subprotocol) = subprotocol {
            field(out, "Sec-WebSocket-Protocol", subprotocol);
        }
        self.heads.end(out, BodyLength::None);
    }

    /// Writes the head of a stream.
    pub(in crate::engine) fn stream_head(
        &mut self,
        context: &ResponseContext<'_>,
        content_type: &str,
        framing: Framing,
    ) {
        let context = &ResponseContext {
            // A stream is the last response of its connection.
            keep_alive: KeepAlive::Close,
            callback: None,
            ..*context
        };
        self.heads
            .stream(&mut self.out, context, content_type, framing);
    }
}
