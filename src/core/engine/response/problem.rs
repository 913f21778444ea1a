//! Refusals, as RFC 9457 problem documents.
//!
//! Owns what a refusal says. Where a script must see it (JSONP), it is a call with the problem.

mod frozen;

pub(in crate::engine) use frozen::FrozenProblem;

use std::borrow::Cow;

use super::context::{BodyLength, ResponseContext};
use super::heads::{Heads, field};
use crate::encode;
use crate::http1::{self, status};
use crate::hub::Refusal;

/// A refused request.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Problem {
    pub(in crate::engine) status: u16,
    detail: Cow<'static, str>,
    /// Parts that few refusals have. They are boxed because a refusal is moved often.
    more: Option<Box<More>>,
}

/// The parts that only some refusals have.
#[derive(Clone, Debug, Default)]
struct More {
    /// Header fields that only this refusal has.
    fields: Vec<(&'static str, Cow<'static, str>)>,
    /// Messages that were published before it, by a request that publishes by lines.
    published: Option<u64>,
}

impl Problem {
    pub(in crate::engine) fn new(status: u16, detail: impl Into<Cow<'static, str>>) -> Problem {
        Problem {
            status,
            detail: detail.into(),
            more: None,
        }
    }

    /// The same, found in a line of a request that publishes by lines.
    pub(in crate::engine) fn in_line(self, line: u64) -> Problem {
        Problem {
            detail: format!("line {line}: {}", self.detail).into(),
            ..self
        }
    }

    /// The same, which says how many messages of its request were published before.
    pub(in crate::engine) fn after_publishing(mut self, published: u64) -> Problem {
        let detail = &self.detail;
        self.detail = format!("{detail}; {published} messages were published before").into();
        self.more.get_or_insert_default().published = Some(published);
        self
    }

    /// 400.
    pub(in crate::engine) fn bad(detail: impl Into<Cow<'static, str>>) -> Problem {
        Problem::new(400, detail)
    }

    /// 503: too many unfinished requests.
    pub(in crate::engine) fn no_room() -> Problem {
        let detail = "the memory for unfinished requests is spent; try again shortly";
        Problem::unavailable(detail, 1)
    }

    /// 503 with `Retry-After`.
    pub(in crate::engine) fn unavailable(detail: &'static str, retry_s: u32) -> Problem {
        Problem::new(503, detail).with("Retry-After", retry_s.to_string())
    }

    /// Adds a header field.
    pub(in crate::engine) fn with(
        mut self,
        name: &'static str,
        value: impl Into<Cow<'static, str>>,
    ) -> Problem {
        let more = self.more.get_or_insert_default();
        more.fields.push((name, value.into()));
        self
    }

    /// Appends the problem document.
    pub(in crate::engine) fn document(&self, out: &mut Vec<u8>) {
        let title = status::reason(self.status);
        encode::problem(out, title, self.status, &self.detail);
    }

    /// The reason and what to do about it, in words.
    pub(in crate::engine) fn detail(&self) -> &str {
        &self.detail
    }

    /// Writes the whole answer.
    pub(in crate::engine) fn write(
        &self,
        heads: &Heads,
        out: &mut Vec<u8>,
        context: &ResponseContext<'_>,
    ) {
        let mut body = Vec::new();
        self.document(&mut body);
        let more = self.more.as_deref();
        if let Some(published) = more.and_then(|more| more.published) {
            body.pop();
            body.extend_from_slice(format!(",\"published\":{published}}}").as_bytes());
        }
        if let Some(callback) = &context.callback {
            let wrapped = [b"{\"error\":", &body[..], b"}"].concat();
            let mut call = Vec::new();
            encode::jsonp(&mut call, callback, &wrapped);
            heads.batch(out, context, None, BodyLength::Known(call.len()));
            if !context.head_only {
                out.extend_from_slice(&call);
            }
            return;
        }
        heads.begin(out, context, self.status);
        for (name, value) in more.into_iter().flat_map(|more| &more.fields) {
            field(out, name, value);
        }
        field(out, "Content-Type", "application/problem+json");
        heads.end(out, BodyLength::Known(body.len()));
        if !context.head_only {
            out.extend_from_slice(&body);
        }
    }
}

impl From<http1::Error> for Problem {
    fn from(error: http1::Error) -> Problem {
        Problem::new(error.status(), error.detail())
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        match refusal {
            Refusal::LogBusy => Problem::unavailable(
                "messages are published faster than they can be saved; publish again shortly",
                1,
            ),
            Refusal::LogFails => Problem::unavailable(
                "messages cannot be saved now, as the log of the server says; publish again later",
                5,
            ),
            Refusal::LogWarming => Problem::unavailable(
                "this node has not read the log of the cluster, or not that far; use another, or try again later",
                2,
            ),
            Refusal::LogSilent { silent_s } => Problem::new(
                503,
                format!("the engine has not answered for {silent_s} s; nothing was published"),
            )
            .with("Retry-After", "5"),
            Refusal::LogUndecided { silent_s } => Problem::new(
                503,
                format!(
                    "the engine has not answered for {silent_s} s, and this may have been accepted; \
                     repeat it with the same Idempotency-Key"
                ),
            )
            .with("Retry-After", "5"),
            Refusal::LogFull => Problem::unavailable(
                "the engine has no memory for more messages; nothing was published",
                5,
            ),
            Refusal::LogRefused => Problem::unavailable(
                "the engine refused this, as the log of the server says; nothing was published",
                5,
            ),
            Refusal::LogHalted => Problem::unavailable(
                "this node does not follow the cluster any more; use another",
                5,
            ),
            Refusal::TooManyTogether => Problem::new(
                413,
                "the engine does not take so many messages at once; publish fewer together",
            ),
            Refusal::Busy => Problem::unavailable(
                "message memory (--history-total-bytes) is full of messages that readers have not \
                 received yet; publish again shortly",
                1,
            ),
            Refusal::ExceedsTotalMemory => Problem::new(
                413,
                "this takes more memory than all messages together may (--history-total-bytes); \
                 publish less at once",
            ),
            Refusal::TooLargeForChannel { max_bytes, .. } => Problem::new(
                413,
                format!(
                    "a message to this channel has at most {max_bytes} bytes \
                     (max-message-bytes of its policy)"
                ),
            ),
            Refusal::TooManyChannels => Problem::unavailable(
                "there are as many channels as allowed (--max-channels, or half of \
                 --history-total-bytes); try again when some are unused",
                5,
            ),
        }
    }
}
