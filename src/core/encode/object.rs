//! A message, a cursor and a gap as JSON objects, as all transports but plain SSE send them.
//!
//! Owns the names and the order of the objects' members. Every object is one line.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use memchr::memchr2;

use super::data::Data;
use super::id::{Epoch, Seq, write_cursor};

/// What the encoders need of a message.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a> {
    /// The epoch of its id.
    pub epoch: &'a Epoch,
    /// Its number.
    pub seq: Seq,
    /// The name of its channel.
    pub channel: &'a str,
    /// Its event name, which has passed [`check_event`](super::check_event).
    pub event: Option<&'a str>,
    /// What it says.
    pub data: &'a Data,
}

/// Appends `{"id":"…","channel":"…","data":…}`, with `"encoding":"base64"` if the data is bytes
/// and `"event"` if it is named.
pub fn object(out: &mut Vec<u8>, content: &Content<'_>) {
    out.extend_from_slice(b"{\"id\":\"");
    write_cursor(out, content.epoch, content.seq);
    out.extend_from_slice(b"\",\"channel\":");
    write_json_string(out, content.channel);
    out.extend_from_slice(b",\"data\":");
    match content.data {
        Data::Json(json) => {
            debug_assert!(is_one_line(json), "JSON is kept without line ends");
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

/// Appends a JSON string (RFC 8259, section 7), quotes included.
pub fn write_json_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a Vec takes every byte");
}

/// Appends base64 (RFC 4648, section 4), padded.
pub(super) fn write_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    STANDARD
        .encode_slice(bytes, &mut out[start..])
        .expect("base64 takes four bytes for every three");
}

/// Appends `{"cursor":"…"}`.
pub(super) fn cursor_object(out: &mut Vec<u8>, epoch: &Epoch, seq: Seq) {
    out.extend_from_slice(b"{\"cursor\":\"");
    write_cursor(out, epoch, seq);
    out.extend_from_slice(b"\"}");
}

/// Appends `{"gap":true,"cursor":"…"}`.
pub(super) fn gap_object(out: &mut Vec<u8>, epoch: &Epoch, seq: Seq) {
    out.extend_from_slice(b"{\"gap\":true,\"cursor\":\"");
    write_cursor(out, epoch, seq);
    out.extend_from_slice(b"\"}");
}

/// Appends `{"cursor":"…","retry":N}`.
pub(super) fn closing_object(out: &mut Vec<u8>, retry_ms: u32, epoch: &Epoch, seq: Seq) {
    out.extend_from_slice(b"{\"cursor\":\"");
    write_cursor(out, epoch, seq);
    out.extend_from_slice(b"\",\"retry\":");
    out.extend_from_slice(itoa::Buffer::new().format(retry_ms).as_bytes());
    out.push(b'}');
}

fn is_one_line(text: &str) -> bool {
    memchr2(b'\r', b'\n', text.as_bytes()).is_none()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::samples::{Received, sample};
    use super::*;

    #[test]
    fn members_and_their_order() {
        let epoch = Epoch::from_seed(0);
        let write = |event, data: Data| {
            let content = Content {
                epoch: &epoch,
                seq: Seq(7),
                channel: "a/\"b\"",
                event,
                data: &data,
            };
            let mut out = Vec::new();
            object(&mut out, &content);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            write(None, Data::Json("{\"n\": 1.0}".into())),
            r#"{"id":"00000000-7","channel":"a/\"b\"","data":{"n": 1.0}}"#,
        );
        assert_eq!(
            write(Some("e"), Data::Text("a\nb\0".into())),
            r#"{"id":"00000000-7","channel":"a/\"b\"","data":"a\nb\u0000","event":"e"}"#,
        );
        assert_eq!(
            write(Some("e"), Data::Binary((*b"\xff\0").into())),
            concat!(
                r#"{"id":"00000000-7","channel":"a/\"b\"","#,
                r#""data":"/wA=","encoding":"base64","event":"e"}"#,
            ),
        );
        assert_eq!(
            write(None, Data::Binary((*b"").into())),
            r#"{"id":"00000000-7","channel":"a/\"b\"","data":"","encoding":"base64"}"#,
        );
    }

    proptest! {
        #[test]
        fn objects_say_what_was_published(sample in sample()) {
            let mut out = b"before".to_vec();
            object(&mut out, &sample.content());
            let text = std::str::from_utf8(&out).unwrap().strip_prefix("before").unwrap();
            prop_assert!(is_one_line(text));
            serde_json::from_str::<Received<'_>>(text).unwrap().assert_is(&sample);
        }
    }
}
