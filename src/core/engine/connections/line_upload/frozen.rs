//! A request that publishes by lines, in a state that is handed over.
//!
//! Owns its form.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{BodyEnd, LinePlan, LineUpload};
use crate::base::meter::{Charge, Meter};
use crate::engine::connections::request_state::is_head;
use crate::frozen::{Bytes, ThawError};
use crate::http1::{self, Decoder, Framing, FrozenDecoder};
use crate::message::lines::LineBuffer;
use crate::message::{ChannelName, EventName, IdempotencyKey, MessageId};

/// The frozen form of a [`LineUpload`].
#[derive(Serialize, Deserialize)]
pub(in crate::engine::connections) struct FrozenLines<'l> {
    #[serde(borrow)]
    head: Bytes<'l>,
    body: FrozenBody,
    #[serde(borrow)]
    channel: Option<ChannelName<'l>>,
    event: Option<EventName>,
    key: Option<IdempotencyKey>,
    is_json: bool,
    ends: bool,
    has_acks: bool,
    #[serde(borrow)]
    lines: Bytes<'l>,
    #[serde(deserialize_with = "crate::frozen::count")]
    line: u64,
    #[serde(deserialize_with = "crate::frozen::count")]
    published: u64,
    last: Option<MessageId>,
    newest: Option<MessageId>,
    is_last_new: bool,
    #[serde(borrow)]
    last_channel: Option<ChannelName<'l>>,
    judged_by: u32,
}

/// How far the body has come.
#[derive(Serialize, Deserialize)]
enum FrozenBody {
    Open(FrozenDecoder),
    Whole,
    /// By the number of the error.
    Malformed(u8),
}

impl<'l> From<&'l LineUpload> for FrozenLines<'l> {
    fn from(upload: &'l LineUpload) -> FrozenLines<'l> {
        let plan = &upload.plan;
        FrozenLines {
            head: Bytes(&upload.head),
            body: match upload.end {
                BodyEnd::Open => FrozenBody::Open(FrozenDecoder::from(&upload.decoder)),
                BodyEnd::Whole => FrozenBody::Whole,
                BodyEnd::Malformed(error) => FrozenBody::Malformed(error as u8),
            },
            channel: plan.channel.as_ref().map(ChannelName::borrowed),
            event: plan.event.clone(),
            key: plan.key.clone(),
            is_json: plan.is_json,
            ends: plan.ends,
            has_acks: plan.has_acks,
            // fault: lines-that-wait-are-lost
            lines: Bytes(upload.lines.untaken()),
            line: upload.line,
            published: upload.published,
            last: upload.last,
            newest: upload.newest,
            is_last_new: upload.is_last_new,
            last_channel: upload.last_channel.as_ref().map(ChannelName::borrowed),
            judged_by: upload.judged_by,
        }
    }
}

/// Thaws a request, which is counted on a meter of such requests.
pub(in crate::engine::connections) fn thaw(
    frozen: FrozenLines<'_>,
    open: &Arc<Meter>,
) -> Result<LineUpload, ThawError> {
    let (decoder, end) = match frozen.body {
        FrozenBody::Open(decoder) => (Decoder::try_from(decoder)?, BodyEnd::Open),
        // Nothing more is decoded.
        FrozenBody::Whole => (Decoder::new(Framing::None), BodyEnd::Whole),
        FrozenBody::Malformed(error) => {
            let error = http1::Error::ALL.get(usize::from(error)).copied();
            let error = error.ok_or(ThawError::Damaged("a body is malformed in no way"))?;
            (Decoder::new(Framing::None), BodyEnd::Malformed(error))
        }
    };
    let key = frozen.key.as_ref();
    let is_possible = is_head(frozen.head.0)
        && key.is_none_or(IdempotencyKey::has_room_for_parts)
        && decoder.is_done() == (end != BodyEnd::Open);
    if !is_possible {
        return Err(ThawError::Damaged("a request by lines is not valid"));
    }
    let mut counted = Charge::new(open);
    counted.set(1);
    Ok(LineUpload {
        head: frozen.head.0.into(),
        decoder,
        plan: LinePlan {
            channel: frozen.channel.map(ChannelName::into_owned),
            event: frozen.event,
            key: frozen.key,
            is_json: frozen.is_json,
            ends: frozen.ends,
            has_acks: frozen.has_acks,
        },
        lines: LineBuffer::with_untaken(frozen.lines.0.to_vec()),
        end,
        line: frozen.line,
        published: frozen.published,
        last: frozen.last,
        newest: frozen.newest,
        is_last_new: frozen.is_last_new,
        last_channel: frozen.last_channel.map(ChannelName::into_owned),
        judged_by: frozen.judged_by,
        step: None,
        is_end_handed: false,
        ended: None,
        _open: counted,
    })
}
