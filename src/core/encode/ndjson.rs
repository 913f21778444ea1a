//! NDJSON streams: one JSON object per line.
//!
//! Owns the lines of a stream. A line that is a message has `id`; one that is not has `cursor`.

use super::object::{closing_object, cursor_object, gap_object, object};
use crate::message::{Content, MessageId};

/// Appends a message's line.
pub fn line(out: &mut Vec<u8>, content: &Content<'_>) {
    object(out, content);
    out.push(b'\n');
}

/// Appends the line that opens a stream and serves as its heartbeat: `{"cursor":"…"}`.
pub fn cursor(out: &mut Vec<u8>, id: MessageId) {
    cursor_object(out, id);
    out.push(b'\n');
}

/// Appends the line that says messages were lost: `{"gap":true,"cursor":"…"}`.
pub fn gap(out: &mut Vec<u8>, id: MessageId) {
    gap_object(out, id);
    out.push(b'\n');
}

/// Appends a stream's last line, with the cursor to come back with and when, in milliseconds:
/// `{"cursor":"…","retry":N}`.
pub fn closing(out: &mut Vec<u8>, retry_ms: u32, id: MessageId) {
    closing_object(out, retry_ms, id);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::samples::{Received, sample};
    use super::*;

    proptest! {
        #[test]
        fn every_line_is_one_object(
            samples in proptest::collection::vec(sample(), 1..4),
            retry_ms: u32,
        ) {
            let mut out = Vec::new();
            let id = samples[0].id;
            cursor(&mut out, id);
            gap(&mut out, id);
            for sample in &samples {
                line(&mut out, &sample.content());
            }
            closing(&mut out, retry_ms, id);

            let id = samples[0].id();
            let text = String::from_utf8(out).unwrap();
            // Readers may take CR for a line end as well.
            let mut lines = text.split_terminator(['\n', '\r']);
            let mut own = || serde_json::from_str::<Value>(lines.next().unwrap()).unwrap();
            prop_assert_eq!(own(), json!({"cursor": id}));
            prop_assert_eq!(own(), json!({"gap": true, "cursor": id}));
            for sample in &samples {
                let line = lines.next().unwrap();
                serde_json::from_str::<Received<'_>>(line).unwrap().assert_is(sample);
            }
            let mut own = || serde_json::from_str::<Value>(lines.next().unwrap()).unwrap();
            prop_assert_eq!(own(), json!({"cursor": id, "retry": retry_ms}));
            prop_assert_eq!(lines.next(), None);
        }
    }
}
