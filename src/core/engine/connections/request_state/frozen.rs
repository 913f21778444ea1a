//! The parts that only some connections have, in a state that is handed over.
//!
//! Owns the forms of all parts of a [`RequestState`] but a request by lines. Connections that
//! shared a frame share it again.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::frames::{FreezingFrames, FrozenFrame, ThawingFrames};
use super::{
    LingerBatch, LingeredMessage, RequestState, ResponseOptions, UnfinishedMessage, UnsentFrame,
    Upload, is_head,
};
use crate::base::meter::Meter;
use crate::base::time::Time;
use crate::encode::check_callback;
use crate::engine::connections::line_upload::{self, FrozenLines};
use crate::frozen::{Bytes, ThawError};
use crate::http1::{Decoder, FrozenDecoder, Scan};
use crate::hub::Item;
use crate::message::Seq;
use crate::ws;

/// The frozen form of a [`RequestState`].
#[derive(Serialize, Deserialize)]
pub(in crate::engine::connections) struct FrozenRequest<'r> {
    #[serde(borrow)]
    input: Bytes<'r>,
    /// How much of the input was searched for the end of a head.
    scanned: u64,
    #[serde(borrow)]
    upload: Option<FrozenUpload<'r>>,
    #[serde(borrow)]
    lines: Option<FrozenLines<'r>>,
    #[serde(borrow)]
    unsent: Option<FrozenUnsent<'r>>,
    #[serde(borrow)]
    options: Option<FrozenOptions<'r>>,
    #[serde(borrow)]
    message: Option<FrozenMessage<'r>>,
    unexpected_bytes: u32,
    waiting_answers: u32,
    delayed_command: Option<&'r str>,
}

#[derive(Serialize, Deserialize)]
struct FrozenUpload<'u> {
    #[serde(borrow)]
    head: Bytes<'u>,
    decoder: FrozenDecoder,
    #[serde(borrow)]
    body: Option<Bytes<'u>>,
}

#[derive(Serialize, Deserialize)]
struct FrozenUnsent<'u> {
    #[serde(borrow)]
    frame: FrozenFrame<'u>,
    rest: (u64, u64),
}

#[derive(Serialize, Deserialize)]
struct FrozenMessage<'m> {
    #[serde(borrow)]
    decoder: ws::FrozenDecoder<'m>,
    since: Time,
}

#[derive(Serialize, Deserialize)]
struct FrozenOptions<'o> {
    callback: Option<&'o str>,
    origin: Option<u16>,
    limit: u64,
    linger_ms: u64,
    #[serde(borrow)]
    lingered: FrozenBatch<'o>,
}

#[derive(Serialize, Deserialize)]
struct FrozenBatch<'b> {
    #[serde(borrow)]
    messages: Vec<FrozenLingered<'b>>,
    gap: bool,
    ends: Vec<FrozenNotice>,
    more: bool,
    audience: u32,
    cursor: Seq,
}

#[derive(Serialize, Deserialize)]
struct FrozenLingered<'m> {
    channel: u32,
    bytes: u32,
    #[serde(borrow)]
    object: FrozenFrame<'m>,
}

/// A gap, or the end of a channel.
#[derive(Clone, Copy, Serialize, Deserialize)]
enum FrozenNotice {
    Gap(Seq),
    End { seq: Seq, channel: u32 },
}

/// Freezes the state of a request. Frames are frozen in a fixed order.
pub(in crate::engine::connections) fn freeze<'r>(
    request: &'r RequestState,
    frames: &mut FreezingFrames<'_>,
) -> FrozenRequest<'r> {
    FrozenRequest {
        // fault: unread-input-is-lost
        input: Bytes(&request.input),
        scanned: request.scan.searched() as u64,
        upload: request.upload.as_ref().map(FrozenUpload::from),
        lines: request.lines.as_deref().map(FrozenLines::from),
        // fault: rest-of-a-frame-is-lost
        unsent: request.unsent.as_ref().map(|unsent| FrozenUnsent {
            frame: frames.freeze(&unsent.frame),
            rest: (unsent.rest.start as u64, unsent.rest.end as u64),
        }),
        // fault: options-are-not-handed-over
        options: request.options.as_ref().map(|options| FrozenOptions {
            callback: options.callback.as_deref(),
            origin: options.origin,
            limit: options.limit as u64,
            linger_ms: options.linger_ms,
            lingered: freeze_batch(&options.lingered, frames),
        }),
        message: request.message.as_ref().map(|message| FrozenMessage {
            decoder: ws::FrozenDecoder::from(&*message.decoder),
            since: message.since,
        }),
        unexpected_bytes: u32::try_from(request.unexpected_bytes).unwrap_or(u32::MAX),
        waiting_answers: request.waiting_answers,
        // fault: delayed-command-is-lost
        delayed_command: request.delayed_command.as_deref(),
    }
}

fn freeze_batch<'b>(batch: &'b LingerBatch, frames: &mut FreezingFrames<'_>) -> FrozenBatch<'b> {
    let messages = batch.messages.iter().map(|message| FrozenLingered {
        channel: message.channel,
        bytes: u32::try_from(message.bytes).unwrap_or(u32::MAX),
        object: frames.freeze(&message.object),
    });
    let messages = messages.collect();
    let ends = batch.ends.iter().filter_map(|item| match *item {
        Item::Gap(seq) => Some(FrozenNotice::Gap(seq)),
        Item::End { seq, channel } => Some(FrozenNotice::End { seq, channel }),
        Item::Message { .. } => None,
    });
    FrozenBatch {
        messages,
        gap: batch.gap,
        ends: ends.collect(),
        more: batch.more,
        audience: batch.audience,
        cursor: batch.cursor,
    }
}

impl<'u> From<&'u Upload> for FrozenUpload<'u> {
    fn from(upload: &'u Upload) -> FrozenUpload<'u> {
        FrozenUpload {
            head: Bytes(&upload.head),
            // fault: body-begins-again
            decoder: FrozenDecoder::from(&upload.decoder),
            body: upload.body.as_deref().map(Bytes),
        }
    }
}

/// Thaws the state of a request. What it takes is charged to `buffers`, and a request by lines is
/// counted on `line_requests`.
pub(in crate::engine::connections) fn thaw(
    frozen: FrozenRequest<'_>,
    buffers: &Arc<Meter>,
    line_requests: &Arc<Meter>,
    frames: &mut ThawingFrames<'_>,
) -> Result<RequestState, ThawError> {
    let mut request = RequestState::new(buffers);
    request.input = frozen.input.0.to_vec();
    let scanned = usize::try_from(frozen.scanned).ok();
    let scanned = scanned.and_then(|scanned| frozen.input.0.get(..scanned));
    request.scan = scanned
        .and_then(Scan::over)
        .ok_or(ThawError::Damaged("a head was not searched like this"))?;
    request.upload = frozen.upload.map(Upload::try_from).transpose()?;
    let lines = frozen
        .lines
        .map(|lines| line_upload::thaw(lines, line_requests));
    request.lines = lines.transpose()?.map(Box::new);
    let unsent = frozen.unsent.map(|unsent| thaw_unsent(unsent, frames));
    request.unsent = unsent.transpose()?;
    let options = frozen.options.map(|options| thaw_options(options, frames));
    request.options = options.transpose()?;
    let message = frozen.message.map(UnfinishedMessage::try_from);
    request.message = message.transpose()?;
    request.unexpected_bytes = frozen.unexpected_bytes as usize;
    request.waiting_answers = frozen.waiting_answers;
    request.delayed_command = frozen.delayed_command.map(Box::from);
    request.update_charge();
    Ok(request)
}

impl TryFrom<FrozenUpload<'_>> for Upload {
    type Error = ThawError;

    fn try_from(frozen: FrozenUpload<'_>) -> Result<Upload, ThawError> {
        let upload = Upload {
            head: frozen.head.0.into(),
            decoder: Decoder::try_from(frozen.decoder)?,
            body: frozen.body.map(|body| body.0.to_vec()),
        };
        match is_head(&upload.head) && !upload.decoder.is_done() {
            true => Ok(upload),
            false => Err(ThawError::Damaged("a request is not one that is arriving")),
        }
    }
}

impl TryFrom<FrozenMessage<'_>> for UnfinishedMessage {
    type Error = ThawError;

    fn try_from(frozen: FrozenMessage<'_>) -> Result<UnfinishedMessage, ThawError> {
        Ok(UnfinishedMessage {
            decoder: Box::new(ws::Decoder::try_from(frozen.decoder)?),
            since: frozen.since,
        })
    }
}

fn thaw_unsent(
    frozen: FrozenUnsent<'_>,
    frames: &mut ThawingFrames<'_>,
) -> Result<UnsentFrame, ThawError> {
    let frame = frames.thaw(frozen.frame)?;
    let (start, end) = frozen.rest;
    match start < end && end <= frame.bytes().len() as u64 {
        true => Ok(UnsentFrame {
            frame,
            rest: start as usize..end as usize,
        }),
        false => Err(ThawError::Damaged("the rest of a frame is not in it")),
    }
}

fn thaw_options(
    frozen: FrozenOptions<'_>,
    frames: &mut ThawingFrames<'_>,
) -> Result<ResponseOptions, ThawError> {
    const DAMAGED: ThawError = ThawError::Damaged("a response has options that there are not");
    if frozen
        .callback
        .is_some_and(|name| check_callback(name.as_bytes()).is_none())
    {
        return Err(DAMAGED);
    }
    Ok(ResponseOptions {
        callback: frozen.callback.map(Box::from),
        origin: frozen.origin,
        limit: usize::try_from(frozen.limit).map_err(|_| DAMAGED)?,
        linger_ms: frozen.linger_ms,
        lingered: thaw_batch(frozen.lingered, frames)?,
    })
}

fn thaw_batch(
    frozen: FrozenBatch<'_>,
    frames: &mut ThawingFrames<'_>,
) -> Result<LingerBatch, ThawError> {
    let ends = frozen.ends.iter().map(|notice| match *notice {
        FrozenNotice::Gap(seq) => Item::Gap(seq),
        FrozenNotice::End { seq, channel } => Item::End { seq, channel },
    });
    let mut batch = LingerBatch {
        gap: frozen.gap,
        ends: ends.collect(),
        more: frozen.more,
        audience: frozen.audience,
        cursor: frozen.cursor,
        ..LingerBatch::default()
    };
    for message in frozen.messages {
        batch.push(LingeredMessage {
            channel: message.channel,
            bytes: message.bytes as usize,
            object: frames.thaw(message.object)?,
        });
    }
    Ok(batch)
}
