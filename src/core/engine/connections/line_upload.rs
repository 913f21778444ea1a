//! The state of a request that publishes by lines, as they come.
//!
//! Owns what each line is, what has arrived of the next one, and what was published so far.

mod frozen;
mod step;

pub(super) use frozen::{FrozenLines, thaw};
pub(super) use step::FrozenStep;
pub(in crate::engine) use step::LineStep;

use crate::base::meter::Charge;
use crate::http1::{Decoder, Error};
use crate::message::lines::LineBuffer;
use crate::message::{ChannelName, EventName, IdempotencyKey, MessageId};

/// A request that publishes each line of its body when its line end arrives.
pub(in crate::engine) struct LineUpload {
    /// The head as received; parsed again for the last answer, and where the rights change.
    pub(in crate::engine) head: Box<[u8]>,
    pub(in crate::engine) decoder: Decoder,
    pub(in crate::engine) plan: LinePlan,
    pub(in crate::engine) lines: LineBuffer,
    pub(in crate::engine) end: BodyEnd,
    /// The number of the line taken last, from 1.
    pub(in crate::engine) line: u64,
    /// Messages that were accepted, now or by an earlier request with the same key.
    pub(in crate::engine) published: u64,
    /// The last of them.
    pub(in crate::engine) last: Option<MessageId>,
    /// The newest of them, which need not be the last: an earlier request may have published that.
    pub(in crate::engine) newest: Option<MessageId>,
    /// Whether the last of them was published by this request.
    pub(in crate::engine) is_last_new: bool,
    /// The channel of the last of them, where each line names its own and that channel is to end.
    pub(in crate::engine) last_channel: Option<ChannelName<'static>>,
    /// The settings under which the request was judged, as a number that changes with them.
    pub(in crate::engine) judged_by: u32,
    /// Lines that the log of a cluster has, and that have no results yet.
    pub(in crate::engine) step: Option<Box<LineStep>>,
    /// Whether the end after the last line was handed to the log of a cluster, or none is due.
    pub(in crate::engine) is_end_handed: bool,
    /// The id of that end.
    pub(in crate::engine) ended: Option<MessageId>,
    /// Counts it among the requests that publish by lines.
    pub(in crate::engine) _open: Charge,
}

/// How a body ended, of which lines may still wait to be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum BodyEnd {
    /// It has not ended.
    Open,
    /// It is whole.
    Whole,
    /// It is malformed after what has arrived.
    Malformed(Error),
}

/// How a request wants its lines to be published, and how it is answered.
pub(in crate::engine) struct LinePlan {
    /// The channel of all lines; `None`: each is a line of a batch, and names its own.
    pub(in crate::engine) channel: Option<ChannelName<'static>>,
    /// The event name of all lines to one channel.
    pub(in crate::engine) event: Option<EventName>,
    /// The key of the request: line `i` has the key `KEY/i`.
    pub(in crate::engine) key: Option<IdempotencyKey>,
    /// Each line to one channel is JSON; else text, or bytes.
    pub(in crate::engine) is_json: bool,
    /// The channel ends after the last line.
    pub(in crate::engine) ends: bool,
    /// Each message is acknowledged when it is accepted.
    pub(in crate::engine) has_acks: bool,
}

impl LineUpload {
    /// Notes a message or an end that was published.
    pub(in crate::engine) fn note_newest(&mut self, id: MessageId) {
        // fault: acknowledged-by-the-last
        if self.newest.is_none_or(|newest| newest.seq < id.seq) {
            self.newest = Some(id);
        }
    }

    /// Decodes the part of the body that `bytes` hold, and returns how many of them that is.
    pub(in crate::engine) fn take(&mut self, bytes: &[u8]) -> usize {
        if self.end != BodyEnd::Open {
            return 0;
        }
        let decoder = &mut self.decoder;
        let decoded = self.lines.fill(bytes.len(), |lines| {
            // A line has a limit, and their number has none.
            decoder.decode(bytes, lines, usize::MAX)
        });
        match decoded {
            Ok(progress) => {
                if progress.done {
                    self.end = BodyEnd::Whole;
                }
                progress.consumed
            }
            Err(error) => {
                self.end = BodyEnd::Malformed(error);
                bytes.len()
            }
        }
    }

    /// The memory that it takes.
    pub(super) fn bytes(&self) -> usize {
        let plan = &self.plan;
        let names = [
            plan.channel.as_deref(),
            self.last_channel.as_deref(),
            plan.event.as_deref(),
            plan.key.as_deref(),
        ];
        let names: usize = names.into_iter().flatten().map(str::len).sum();
        let step = self.step.as_ref().map_or(0, |step| step.bytes());
        size_of::<LineUpload>() + self.head.len() + names + self.lines.allocated_bytes() + step
    }
}
