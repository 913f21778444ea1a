//! Refusals, as RFC 9457 problem documents.
//!
//! Owns what a refusal says. Where a script must see it (JSONP), it is a call with the problem.

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
    /// Header fields that only this refusal has.
    fields: Vec<(&'static str, Cow<'static, str>)>,
}

impl Problem {
    pub(in crate::engine) fn new(status: u16, detail: impl Into<Cow<'static, str>>) -> Problem {
        Problem {
            status,
            detail: detail.into(),
            fields: Vec::new(),
        }
    }

    /// 400.
    pub(in crate::engine) fn bad(detail: impl Into<Cow<'static, str>>) -> Problem {
        Problem::new(400, detail)
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
        self.fields.push((name, value.into()));
        self
    }

    /// Appends the problem document.
    pub(in crate::engine) fn document(&self, out: &mut Vec<u8>) {
        let title = status::reason(self.status);
        encode::problem(out, title, self.status, &self.detail);
    }

    /// What is to be done, in words.
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
        for (name, value) in &self.fields {
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
            Refusal::Busy => Problem::unavailable(
                "message memory is full of messages that readers have not received yet; \
                 publish again shortly",
                1,
            ),
            Refusal::TooLarge => Problem::new(
                413,
                "this takes more memory than all messages together may; publish less at once",
            ),
            Refusal::MessageTooLarge { max_bytes, .. } => Problem::new(
                413,
                format!(
                    "a message to this channel has at most {max_bytes} bytes \
                     (max-message-bytes of its policy)"
                ),
            ),
            Refusal::TooManyChannels => Problem::unavailable(
                "there are as many channels as allowed; try again when some are unused",
                5,
            ),
        }
    }
}
