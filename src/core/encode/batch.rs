//! The answer to a poll and to a long poll, and the problem document of a refusal.
//!
//! Owns the envelope around message objects. It never encodes a message: the objects come as
//! bytes, so that they can be shared.

use super::object::{ended_member, write_json_string};
use crate::message::MessageId;

const BEFORE_CURSOR: &[u8] = b"{\"cursor\":\"";
const BEFORE_MESSAGES: &[u8] = b"\",\"messages\":[";
const AFTER_MESSAGES: &[u8] = b"]";
const GAP: &[u8] = b",\"gap\":true";
const MORE: &[u8] = b",\"more\":true";
const ALL_ENDED: &[u8] = b",\"end\":true";
const RETRY: &[u8] = b",\"retry\":";
const SPREAD: &[u8] = b",\"spread\":";
const END: &[u8] = b"}";

/// The ends of channels that a batch reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ends<'e> {
    /// Nothing.
    #[default]
    None,
    /// All channels have ended: there is nothing to come back for.
    All,
    /// These have, of several.
    Of(&'e [&'e str]),
}

/// A batch without its messages.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'e> {
    /// The cursor to come back with.
    pub cursor: MessageId,
    /// The limit cut the batch short.
    pub more: bool,
    /// Messages after the client's cursor are gone.
    pub gap: bool,
    /// The channels that have ended.
    pub ends: Ends<'e>,
    /// When one client should ask again, in milliseconds.
    pub retry_ms: Option<u32>,
    /// Within what time many clients should come back at random, in milliseconds.
    pub spread_ms: Option<u32>,
}

/// Appends `{"cursor":"…","messages":[…]}`, with `gap`, `more`, `end`, `ended`, `retry` and
/// `spread` where they say something. `objects` are message objects, as [`object`](super::object())
/// writes them.
pub fn batch<'o>(
    out: &mut Vec<u8>,
    envelope: &Envelope<'_>,
    objects: impl IntoIterator<Item = &'o [u8]>,
) {
    out.extend_from_slice(BEFORE_CURSOR);
    envelope.cursor.write(out);
    out.extend_from_slice(BEFORE_MESSAGES);
    for (place, object) in objects.into_iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        out.extend_from_slice(object);
    }
    out.extend_from_slice(AFTER_MESSAGES);
    if envelope.gap {
        out.extend_from_slice(GAP);
    }
    if envelope.more {
        out.extend_from_slice(MORE);
    }
    match envelope.ends {
        Ends::None => {}
        Ends::All => out.extend_from_slice(ALL_ENDED),
        Ends::Of(channels) => ended_member(out, channels),
    }
    for (name, ms) in [(RETRY, envelope.retry_ms), (SPREAD, envelope.spread_ms)] {
        if let Some(ms) = ms {
            out.extend_from_slice(name);
            out.extend_from_slice(itoa::Buffer::new().format(ms).as_bytes());
        }
    }
    out.extend_from_slice(END);
}

/// Appends a problem document (RFC 9457, section 3): `{"title":…,"status":…,"detail":…}`.
pub fn problem(out: &mut Vec<u8>, title: &str, status: u16, detail: &str) {
    out.extend_from_slice(b"{\"title\":");
    write_json_string(out, title);
    out.extend_from_slice(b",\"status\":");
    out.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
    out.extend_from_slice(b",\"detail\":");
    write_json_string(out, detail);
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::super::object;
    use super::super::samples::{Received, id, sample, text};
    use super::*;

    /// A batch as another program reads it.
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Read<'a> {
        cursor: String,
        #[serde(borrow)]
        messages: Vec<Received<'a>>,
        gap: Option<bool>,
        more: Option<bool>,
        retry: Option<u32>,
        spread: Option<u32>,
    }

    #[test]
    fn members_and_their_order() {
        let mut envelope = Envelope {
            cursor: id(1042),
            more: false,
            gap: false,
            ends: Ends::None,
            retry_ms: None,
            spread_ms: None,
        };
        let mut out = Vec::new();
        batch(&mut out, &envelope, []);
        assert_eq!(out, br#"{"cursor":"00000000-1042","messages":[]}"#);
        envelope.more = true;
        envelope.gap = true;
        envelope.retry_ms = Some(0);
        envelope.spread_ms = Some(900);
        out.clear();
        batch(&mut out, &envelope, [&b"{}"[..], b"{}"]);
        let expected = concat!(
            r#"{"cursor":"00000000-1042","messages":[{},{}],"#,
            r#""gap":true,"more":true,"retry":0,"spread":900}"#,
        );
        assert_eq!(std::str::from_utf8(&out).unwrap(), expected);
        (envelope.more, envelope.gap) = (false, false);
        (envelope.retry_ms, envelope.spread_ms) = (None, None);
        for (ends, member) in [
            (Ends::All, r#""end":true"#),
            (Ends::Of(&["a"]), r#""ended":["a"]"#),
            (Ends::Of(&["a", "b/\""]), r#""ended":["a","b/\""]"#),
        ] {
            envelope.ends = ends;
            out.clear();
            batch(&mut out, &envelope, []);
            let expected = format!(r#"{{"cursor":"00000000-1042","messages":[],{member}}}"#);
            assert_eq!(std::str::from_utf8(&out).unwrap(), expected);
        }
    }

    proptest! {
        #[test]
        fn batches_say_what_they_were_given(
            samples in proptest::collection::vec(sample(), 0..5),
            cursor: u64,
            more: bool,
            gap: bool,
            retry_ms: Option<u32>,
            spread_ms: Option<u32>,
        ) {
            let cursor = id(cursor);
            let ends = Ends::None;
            let envelope = Envelope { cursor, more, gap, ends, retry_ms, spread_ms };
            let objects = samples.iter().map(|sample| {
                let mut out = Vec::new();
                object(&mut out, &sample.content());
                out
            });
            let objects = objects.collect::<Vec<_>>();
            let mut out = Vec::new();
            batch(&mut out, &envelope, objects.iter().map(|object| &object[..]));
            let read = serde_json::from_slice::<Read<'_>>(&out).unwrap();
            prop_assert_eq!(read.cursor, cursor.to_string());
            prop_assert_eq!(read.messages.len(), samples.len());
            for (message, sample) in read.messages.iter().zip(&samples) {
                message.assert_is(sample);
            }
            prop_assert_eq!(read.gap, gap.then_some(true));
            prop_assert_eq!(read.more, more.then_some(true));
            prop_assert_eq!(read.retry, retry_ms);
            prop_assert_eq!(read.spread, spread_ms);
        }

        #[test]
        fn problems_are_json(title in text(), status: u16, detail in text()) {
            let mut out = Vec::new();
            problem(&mut out, &title, status, &detail);
            let read = serde_json::from_slice::<serde_json::Value>(&out).unwrap();
            let expected = serde_json::json!({"title": title, "status": status, "detail": detail});
            prop_assert_eq!(read, expected);
        }
    }
}
