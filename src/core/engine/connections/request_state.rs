//! Per-connection state that is allocated only while it is needed: buffered input, an unfinished
//! upload, an unfinished write, response options other than the defaults.
//!
//! Owns that state and its charge: its bytes count against `--max-buffer-bytes`.

mod frames;
mod frozen;

pub(super) use frames::{FreezingFrames, ThawingFrames};
pub(super) use frozen::{FrozenRequest, freeze, thaw};

use std::ops::Range;
use std::sync::Arc;

use super::line_upload::LineUpload;
use crate::base::meter::{Charge, Meter, SharedBytes};
use crate::base::time::Time;
use crate::http1::{self, Decoder, Error, Outcome, Progress, Scan};
use crate::hub::Item;
use crate::message::Seq;
use crate::ws;

/// The state of a request that is under way, or of a response that is individual.
pub(in crate::engine) struct RequestState {
    /// Bytes received and not yet processed.
    pub(in crate::engine) input: Vec<u8>,
    pub(in crate::engine) scan: Scan,
    pub(in crate::engine) upload: Option<Upload>,
    /// In place of an upload, a request that publishes by lines.
    pub(in crate::engine) lines: Option<Box<LineUpload>>,
    pub(in crate::engine) unsent: Option<UnsentFrame>,
    pub(in crate::engine) options: Option<ResponseOptions>,
    /// A message of a duplex stream that has arrived in part.
    pub(in crate::engine) message: Option<UnfinishedMessage>,
    /// Bytes that arrived on a stream, where none are expected.
    pub(in crate::engine) unexpected_bytes: usize,
    /// Responses that wait until the log has what they answer.
    pub(in crate::engine) waiting_answers: u32,
    /// A command of a duplex stream that is executed when they are sent.
    pub(in crate::engine) delayed_command: Option<Box<str>>,
    charge: Charge,
}

impl RequestState {
    pub(in crate::engine) fn new(buffers: &Arc<Meter>) -> RequestState {
        RequestState {
            input: Vec::new(),
            scan: Scan::default(),
            upload: None,
            lines: None,
            unsent: None,
            options: None,
            message: None,
            unexpected_bytes: 0,
            waiting_answers: 0,
            delayed_command: None,
            charge: Charge::new(buffers),
        }
    }

    /// Whether it holds nothing, so that it can be dropped.
    pub(in crate::engine) fn is_empty(&self) -> bool {
        self.input.is_empty()
            && self.upload.is_none()
            && self.lines.is_none()
            && self.unsent.is_none()
            && self.options.is_none()
            && self.message.is_none()
            && self.unexpected_bytes == 0
            && self.waiting_answers == 0
            && self.delayed_command.is_none()
    }

    /// Updates the charge for buffered bytes; to be called after they changed.
    pub(in crate::engine) fn update_charge(&mut self) {
        let upload = self.upload.as_ref().map_or(0, Upload::bytes);
        let lines = self.lines.as_ref().map_or(0, |lines| lines.bytes());
        let message = self.message.as_ref().map_or(0, UnfinishedMessage::bytes);
        let delayed = self.delayed_command.as_ref().map_or(0, |text| text.len());
        self.charge.set(
            size_of::<RequestState>() + self.input.capacity() + upload + lines + message + delayed,
        );
    }
}

/// Whether bytes are a request head, and nothing else.
pub(super) fn is_head(bytes: &[u8]) -> bool {
    let parsed = http1::parse(bytes, &mut Scan::default(), bytes.len());
    matches!(parsed, Ok(Outcome::Complete { length, .. }) if length == bytes.len())
}

/// A request whose body is incomplete.
pub(in crate::engine) struct Upload {
    /// The head as received; parsed again when the body is whole.
    pub(in crate::engine) head: Box<[u8]>,
    pub(in crate::engine) decoder: Decoder,
    /// The body so far; `None` where the endpoint ignores bodies.
    pub(in crate::engine) body: Option<Vec<u8>>,
}

impl Upload {
    /// Decodes the part of the body that `bytes` hold.
    pub(in crate::engine) fn take(
        &mut self,
        bytes: &[u8],
        max_bytes: usize,
    ) -> Result<Progress, Error> {
        match &mut self.body {
            Some(body) => {
                if body.capacity() - body.len() < bytes.len() {
                    // Doubling could allocate twice what the client has sent, and the limit on
                    // buffers counts allocated bytes.
                    body.reserve_exact(bytes.len().max(body.len() / 4));
                }
                self.decoder.decode(bytes, body, max_bytes)
            }
            None => self.decoder.discard(bytes, max_bytes),
        }
    }

    /// The decoded body so far.
    pub(in crate::engine) fn body(&self) -> &[u8] {
        self.body.as_deref().unwrap_or_default()
    }

    fn bytes(&self) -> usize {
        self.head.len() + self.body.as_ref().map_or(0, Vec::capacity)
    }
}

/// A message of a duplex stream that has arrived in part.
pub(in crate::engine) struct UnfinishedMessage {
    pub(in crate::engine) decoder: Box<ws::Decoder>,
    /// When its first byte arrived, or reading went on after a block.
    pub(in crate::engine) since: Time,
}

impl UnfinishedMessage {
    fn bytes(&self) -> usize {
        size_of::<ws::Decoder>() + self.decoder.allocated_bytes()
    }
}

/// The unsent part of one frame.
pub(in crate::engine) struct UnsentFrame {
    pub(in crate::engine) frame: Arc<SharedBytes>,
    /// The bytes of the frame that are still to be sent.
    pub(in crate::engine) rest: Range<usize>,
}

/// Options by which the response to a parked long poll differs from the shared one.
#[derive(Default)]
pub(in crate::engine) struct ResponseOptions {
    /// The function to call, for JSONP.
    pub(in crate::engine) callback: Option<Box<str>>,
    /// The allowed origin to echo: its index in the configured list.
    pub(in crate::engine) origin: Option<u16>,
    /// Most messages in the batch.
    pub(in crate::engine) limit: usize,
    pub(in crate::engine) linger_ms: u64,
    pub(in crate::engine) lingered: LingerBatch,
}

/// A message that a lingering poll has accumulated.
pub(in crate::engine) struct LingeredMessage {
    pub(in crate::engine) channel: u32,
    /// Bytes of its data.
    pub(in crate::engine) bytes: usize,
    pub(in crate::engine) object: Arc<SharedBytes>,
}

/// The messages that a lingering poll has accumulated.
#[derive(Default)]
pub(in crate::engine) struct LingerBatch {
    pub(in crate::engine) messages: Vec<LingeredMessage>,
    pub(in crate::engine) bytes: usize,
    pub(in crate::engine) gap: bool,
    /// The gaps and the ends among the items.
    pub(in crate::engine) ends: Vec<Item>,
    pub(in crate::engine) more: bool,
    /// The largest number of subscribers that one of the messages had.
    pub(in crate::engine) audience: u32,
    pub(in crate::engine) cursor: Seq,
}

impl LingerBatch {
    pub(in crate::engine) fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.ends.is_empty()
    }

    /// Adds a message.
    pub(in crate::engine) fn push(&mut self, message: LingeredMessage) {
        self.bytes += message.bytes;
        self.messages.push(message);
    }

    /// Drops the messages of a channel: a newer one replaces them.
    pub(in crate::engine) fn drop_replaced(&mut self, channel: u32) {
        let bytes = &mut self.bytes;
        self.messages.retain(|message| {
            let is_kept = message.channel != channel;
            *bytes -= if is_kept { 0 } else { message.bytes };
            is_kept
        });
    }
}
