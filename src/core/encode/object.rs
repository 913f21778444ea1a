//! A message, a cursor and a gap as JSON objects, as all transports but plain SSE send them.
//!
//! Owns the names and the order of the objects' members. Every object is one line.

use crate::message::{Data, MessageId, MessageRef, escape_separators};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Appends `{"id":"…","channel":"…","data":…}`, with `"encoding":"base64"` if the data is bytes
/// and `"event"` if it is named.
pub fn object(out: &mut Vec<u8>, content: &MessageRef<'_>) {
    out.extend_from_slice(b"{\"id\":\"");
    content.id.write(out);
    out.extend_from_slice(b"\",\"channel\":");
    write_json_string(out, content.channel);
    out.extend_from_slice(b",\"data\":");
    match content.data {
        Data::Json(json) => {
            out.extend_from_slice(json.as_bytes());
        }
        Data::Text(text) => write_json_string(out, text),
        Data::Binary(bytes) => {
            out.push(b'"');
            write_base64(out, bytes);
            out.extend_from_slice(b"\",\"encoding\":\"base64\"");
        }
    }
    if let Some(event) = content.event {
        out.extend_from_slice(b",\"event\":");
        write_json_string(out, event);
    }
    out.push(b'}');
}

/// Texts up to this length are first looked at for characters to escape. Nearly all names are short
/// and have none; a longer text is not read twice.
const MAX_SHORT_BYTES: usize = 64;

/// Appends a JSON string (RFC 8259, section 7), quotes included. U+0085, U+2028 and U+2029 are
/// escaped as control characters are, since some line readers cut there.
pub fn write_json_string(out: &mut Vec<u8>, text: &str) {
    let is_plain = |b: u8| matches!(b, b' '..=b'~') && !matches!(b, b'"' | b'\\');
    if text.len() <= MAX_SHORT_BYTES && text.bytes().all(is_plain) {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
        return;
    }
    match escape_separators(text) {
        None => serde_json::to_writer(out, text).expect("a Vec takes every byte"),
        Some(_) => {
            let string = serde_json::to_string(text).expect("a text is a JSON string");
            let escaped = escape_separators(&string).unwrap_or(string);
            out.extend_from_slice(escaped.as_bytes());
        }
    }
}

/// Appends base64 (RFC 4648, section 4), padded.
pub(crate) fn write_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    STANDARD
        .encode_slice(bytes, &mut out[start..])
        .expect("base64 takes four bytes for every three");
}

/// Appends `{"cursor":"…"}`.
pub(crate) fn cursor_object(out: &mut Vec<u8>, id: MessageId) {
    out.extend_from_slice(b"{\"cursor\":\"");
    id.write(out);
    out.extend_from_slice(b"\"}");
}

/// Appends `{"cursor":"…","heartbeat":…}`, the object that opens a stream.
pub(crate) fn opening_object(out: &mut Vec<u8>, heartbeat_ms: u64, id: MessageId) {
    cursor_object(out, id);
    out.pop();
    out.extend_from_slice(b",\"heartbeat\":");
    out.extend_from_slice(itoa::Buffer::new().format(heartbeat_ms).as_bytes());
    out.push(b'}');
}

/// Appends `{"gap":true,"cursor":"…"}`.
pub(crate) fn gap_object(out: &mut Vec<u8>, id: MessageId) {
    out.extend_from_slice(b"{\"gap\":true,\"cursor\":\"");
    id.write(out);
    out.extend_from_slice(b"\"}");
}

/// Appends `{"cursor":"…","retry":N}`.
pub(crate) fn closing_object(out: &mut Vec<u8>, retry_ms: u32, id: MessageId) {
    out.extend_from_slice(b"{\"cursor\":\"");
    id.write(out);
    out.extend_from_slice(b"\",\"retry\":");
    out.extend_from_slice(itoa::Buffer::new().format(retry_ms).as_bytes());
    out.push(b'}');
}

/// Appends `{"cursor":"…","end":true}`, the object with which a stream ends when all its channels
/// have ended.
pub(crate) fn end_object(out: &mut Vec<u8>, id: MessageId) {
    cursor_object(out, id);
    out.pop();
    out.extend_from_slice(b",\"end\":true}");
}

/// Appends `{"cursor":"…","ended":[…]}`: these channels of several have ended.
pub(crate) fn ended_object(out: &mut Vec<u8>, channels: &[&str], id: MessageId) {
    cursor_object(out, id);
    out.pop();
    ended_member(out, channels);
    out.push(b'}');
}

/// Appends the member `ended`, after a comma.
pub(super) fn ended_member(out: &mut Vec<u8>, channels: &[&str]) {
    out.extend_from_slice(b",\"ended\":");
    write_json_strings(out, channels.iter().copied());
}

/// Appends a JSON list of strings, each as [`write_json_string`] writes it.
pub(crate) fn write_json_strings<'s>(out: &mut Vec<u8>, texts: impl Iterator<Item = &'s str>) {
    out.push(b'[');
    for (place, text) in texts.enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write_json_string(out, text);
    }
    out.push(b']');
}

/// Appends the object with which a stream ends when the right to receive it has ended: come back
/// at once, with a new token.
pub(crate) fn expired_object(out: &mut Vec<u8>, id: MessageId) {
    closing_object(out, 0, id);
    out.pop();
    out.extend_from_slice(b",\"expired\":true}");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::samples::{Received, id, sample};
    use super::*;
    use crate::message::EventName;

    #[test]
    fn members_and_their_order() {
        let named = EventName::parse(b"e").unwrap();
        let write = |is_named: bool, data: Data| {
            let content = MessageRef {
                id: id(7),
                channel: "a/\"b\"",
                event: named.as_ref().filter(|_| is_named),
                data: &data,
            };
            let mut out = Vec::new();
            object(&mut out, &content);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            write(false, Data::json("{\"n\": 1.0}").unwrap()),
            r#"{"id":"00000000-7","channel":"a/\"b\"","data":{"n": 1.0}}"#,
        );
        assert_eq!(
            write(true, Data::Text("a\nb\0".into())),
            r#"{"id":"00000000-7","channel":"a/\"b\"","data":"a\nb\u0000","event":"e"}"#,
        );
        assert_eq!(
            write(true, Data::Binary((*b"\xff\0").into())),
            concat!(
                r#"{"id":"00000000-7","channel":"a/\"b\"","#,
                r#""data":"/wA=","encoding":"base64","event":"e"}"#,
            ),
        );
        assert_eq!(
            write(false, Data::Binary((*b"").into())),
            r#"{"id":"00000000-7","channel":"a/\"b\"","data":"","encoding":"base64"}"#,
        );
    }

    proptest! {
        #[test]
        fn objects_say_what_was_published(sample in sample()) {
            let mut out = b"before".to_vec();
            object(&mut out, &sample.content());
            let text = std::str::from_utf8(&out).unwrap().strip_prefix("before").unwrap();
            let is_cut = text.contains(['\r', '\n', '\u{85}', '\u{2028}', '\u{2029}']);
            prop_assert!(!is_cut);
            serde_json::from_str::<Received<'_>>(text).unwrap().assert_is(&sample);
        }
    }
}
