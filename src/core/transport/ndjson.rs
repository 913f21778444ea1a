//! NDJSON streams: one JSON object per line.
//!
//! Owns the lines of a stream. A line that is a message has `id`; one that is not has `cursor`.

use super::description::{Description, Kind};
use super::event::{Event, Options};
use crate::encode::{
    closing_object, cursor_object, end_object, ended_object, expired_object, gap_object, object,
    opening_object,
};

pub(super) static DESCRIPTION: Description = Description {
    name: "ndjson",
    kind: Kind::Stream,
    content_type: "application/x-ndjson",
    resumes_by_itself: false,
};

/// Appends an event's line. The line that opens a stream has the members of a heartbeat, and says
/// how often one comes.
pub(super) fn encode(event: &Event<'_>, _: Options, out: &mut Vec<u8>) {
    match *event {
        Event::Open {
            cursor,
            heartbeat_ms,
            ..
        } => opening_object(out, heartbeat_ms, cursor),
        Event::Heartbeat(cursor) => cursor_object(out, cursor),
        Event::Message { content, .. } => object(out, content),
        Event::Gap(cursor) => gap_object(out, cursor),
        Event::Close { cursor, retry_ms } | Event::Refuse { cursor, retry_ms } => {
            closing_object(out, retry_ms, cursor);
        }
        Event::End(cursor) => end_object(out, cursor),
        Event::Ended { cursor, channels } => ended_object(out, channels, cursor),
        Event::Expire { cursor, .. } => expired_object(out, cursor),
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::encode::samples::{Received, sample};
    use crate::transport::event::Target;

    proptest! {
        #[test]
        fn every_line_is_one_object(
            samples in proptest::collection::vec(sample(), 1..4),
            retry_ms: u32,
            heartbeat_ms: u64,
        ) {
            let mut out = Vec::new();
            let id = samples[0].id;
            let target = Target::PostOwn;
            let mut write = |event: Event<'_>| encode(&event, Options::empty(), &mut out);
            write(Event::Open { cursor: id, retry_ms, heartbeat_ms, target });
            write(Event::Heartbeat(id));
            write(Event::Gap(id));
            for sample in &samples {
                let content = &sample.content();
                write(Event::Message { content, spread_ms: None });
            }
            write(Event::Close { cursor: id, retry_ms });
            write(Event::Expire { cursor: id, retry_ms });

            let id = samples[0].id();
            let text = String::from_utf8(out).unwrap();
            // Readers may take CR for a line end as well.
            let mut lines = text.split_terminator(['\n', '\r']);
            let mut own = || serde_json::from_str::<Value>(lines.next().unwrap()).unwrap();
            prop_assert_eq!(own(), json!({"cursor": id, "heartbeat": heartbeat_ms}));
            prop_assert_eq!(own(), json!({"cursor": id}));
            prop_assert_eq!(own(), json!({"gap": true, "cursor": id}));
            for sample in &samples {
                let line = lines.next().unwrap();
                serde_json::from_str::<Received<'_>>(line).unwrap().assert_is(sample);
            }
            let mut own = || serde_json::from_str::<Value>(lines.next().unwrap()).unwrap();
            prop_assert_eq!(own(), json!({"cursor": id, "retry": retry_ms}));
            prop_assert_eq!(own(), json!({"cursor": id, "retry": 0, "expired": true}));
            prop_assert_eq!(lines.next(), None);
        }
    }
}
