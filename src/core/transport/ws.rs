//! WebSockets: one frame for each object or message.
//!
//! Owns the frames that a socket is sent. Its objects are those of NDJSON. A raw socket is sent the
//! data alone, so all that is not a message is a control frame there, or nothing.

use super::description::{Description, Kind};
use super::event::{Event, Options};
use crate::encode::{
    closing_object, cursor_object, end_object, ended_object, expired_object, gap_object, object,
    opening_object,
};
use crate::message::Data;
use crate::ws::{CloseCode, Opcode, write, write_close};

pub(super) static DESCRIPTION: Description = Description {
    name: "ws",
    kind: Kind::Duplex,
    content_type: "application/json",
    resumes_by_itself: false,
};

/// Appends an event's frames.
pub(super) fn encode(event: &Event<'_>, options: Options, out: &mut Vec<u8>) {
    let is_raw = options.contains(Options::RAW);
    match *event {
        Event::Open { .. } if is_raw => {}
        Event::Open {
            cursor,
            heartbeat_ms,
            ..
        } => text(out, |out| opening_object(out, heartbeat_ms, cursor)),
        Event::Message { content, .. } if is_raw => raw(out, content.data),
        Event::Message { content, .. } => text(out, |out| object(out, content)),
        Event::Gap(_) if is_raw => write_close(out, CloseCode::Gap, b"gap"),
        Event::Gap(cursor) => text(out, |out| gap_object(out, cursor)),
        Event::Heartbeat(cursor) => {
            write(out, Opcode::Ping, |_| ());
            if !is_raw {
                text(out, |out| cursor_object(out, cursor));
            }
        }
        Event::Close { cursor, retry_ms } => close(out, CloseCode::GoingAway, |out| {
            closing_object(out, retry_ms, cursor);
        }),
        Event::Refuse { cursor, retry_ms } => close(out, CloseCode::TryLater, |out| {
            closing_object(out, retry_ms, cursor);
        }),
        Event::End(cursor) => close(out, CloseCode::Normal, |out| end_object(out, cursor)),
        Event::Ended { .. } if is_raw => {}
        Event::Ended { cursor, channels } => {
            text(out, |out| ended_object(out, channels, cursor));
        }
        Event::Expire { cursor, .. } => close(out, CloseCode::Expired, |out| {
            expired_object(out, cursor);
        }),
    }
}

fn text(out: &mut Vec<u8>, payload: impl FnOnce(&mut Vec<u8>)) {
    write(out, Opcode::Text, payload);
}

/// Appends a message as it was published.
fn raw(out: &mut Vec<u8>, data: &Data) {
    let (opcode, bytes) = match data {
        Data::Json(json) => (Opcode::Text, json.as_bytes()),
        Data::Text(text) => (Opcode::Text, text.as_bytes()),
        Data::Binary(bytes) => (Opcode::Binary, &**bytes),
    };
    write(out, opcode, |out| out.extend_from_slice(bytes));
}

/// Appends a close frame whose reason is an object. The longest, of an expired token, has 71 bytes.
fn close(out: &mut Vec<u8>, code: CloseCode, reason: impl FnOnce(&mut Vec<u8>)) {
    let mut text = Vec::with_capacity(crate::ws::MAX_REASON_BYTES);
    reason(&mut text);
    write_close(out, code, &text);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::encode::samples::{Received, sample};
    use crate::message::{Epoch, MessageId, Seq};
    use crate::transport::event::Target;

    /// The first byte and the payload of each frame.
    fn frames(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut frames = Vec::new();
        while let [first, length, rest @ ..] = bytes {
            let (length, rest) = match length {
                126 => (usize::from(rest[0]) << 8 | usize::from(rest[1]), &rest[2..]),
                127 => panic!("no sample is so long"),
                short => (usize::from(*short), rest),
            };
            frames.push((*first, rest[..length].to_vec()));
            bytes = &rest[length..];
        }
        assert!(bytes.is_empty());
        frames
    }

    fn encoded(event: Event<'_>, options: Options) -> Vec<(u8, Vec<u8>)> {
        let mut out = Vec::new();
        encode(&event, options, &mut out);
        frames(&out)
    }

    /// The code and the reason of the one frame that an event is.
    fn closed(event: Event<'_>, options: Options) -> (u16, Vec<u8>) {
        let [(0x88, payload)] = &encoded(event, options)[..] else {
            panic!("one close frame");
        };
        let (code, reason) = payload.split_at(2);
        (
            u16::from(code[0]) << 8 | u16::from(code[1]),
            reason.to_vec(),
        )
    }

    fn value(bytes: &[u8]) -> Value {
        serde_json::from_slice(bytes).unwrap()
    }

    proptest! {
        #[test]
        fn every_object_is_one_text_frame(sample in sample(), retry_ms: u32, heartbeat_ms: u64) {
            let id = sample.id;
            let target = Target::PostOwn;
            let none = Options::empty();
            let own = |event: Event<'_>| match &encoded(event, none)[..] {
                [(0x81, payload)] => value(payload),
                other => panic!("{other:?}"),
            };
            prop_assert_eq!(own(Event::Open { cursor: id, retry_ms, heartbeat_ms, target }), json!({"cursor": id.to_string(), "heartbeat": heartbeat_ms}));
            prop_assert_eq!(own(Event::Gap(id)), json!({"gap": true, "cursor": id.to_string()}));
            let content = &sample.content();
            let message = encoded(Event::Message { content, spread_ms: None }, none);
            let [(0x81, payload)] = &message[..] else { panic!("one text frame") };
            let text = std::str::from_utf8(payload).unwrap();
            serde_json::from_str::<Received<'_>>(text).unwrap().assert_is(&sample);
        }

        #[test]
        fn raw_message_is_its_data(sample in sample()) {
            let content = &sample.content();
            let frames = encoded(Event::Message { content, spread_ms: None }, Options::RAW);
            let expected = match content.data {
                Data::Json(json) => (0x81, json.as_bytes().to_vec()),
                Data::Text(text) => (0x81, text.as_bytes().to_vec()),
                Data::Binary(bytes) => (0x82, bytes.to_vec()),
            };
            prop_assert_eq!(frames, [expected]);
        }
    }

    #[test]
    fn events_that_are_no_message() {
        let id = MessageId {
            epoch: Epoch::from_seed(10),
            seq: Seq(7),
        };
        let (cursor, retry_ms) = (id, 50);
        let ping = (0x89, Vec::new());
        let beat = encoded(Event::Heartbeat(id), Options::empty());
        assert_eq!(beat[0], ping);
        assert_eq!(
            (beat[1].0, value(&beat[1].1)),
            (0x81, json!({"cursor": "0000000a-7"}))
        );
        assert_eq!(encoded(Event::Heartbeat(id), Options::RAW), [ping]);
        let target = Target::PostOwn;
        let open = Event::Open {
            cursor,
            retry_ms,
            heartbeat_ms: 15_000,
            target,
        };
        assert_eq!(encoded(open, Options::RAW), []);
        assert_eq!(
            closed(Event::Gap(id), Options::RAW),
            (3001, b"gap".to_vec())
        );
        for options in [Options::empty(), Options::RAW] {
            for (event, code, reason) in [
                (
                    Event::Close { cursor, retry_ms },
                    1001,
                    json!({"cursor": "0000000a-7", "retry": 50}),
                ),
                (
                    Event::Refuse { cursor, retry_ms },
                    1013,
                    json!({"cursor": "0000000a-7", "retry": 50}),
                ),
                (
                    Event::Expire { cursor, retry_ms },
                    3000,
                    json!({"cursor": "0000000a-7", "retry": 0, "expired": true}),
                ),
            ] {
                let (was, text) = closed(event, options);
                assert_eq!((was, value(&text)), (code, reason));
            }
        }
    }

    #[test]
    fn longest_reason_fits() {
        let cursor = MessageId {
            epoch: Epoch::from_seed(u64::MAX),
            seq: Seq(u64::MAX),
        };
        let retry_ms = u32::MAX;
        for event in [
            Event::Close { cursor, retry_ms },
            Event::Expire { cursor, retry_ms },
        ] {
            assert!(!closed(event, Options::empty()).1.is_empty());
        }
    }
}
