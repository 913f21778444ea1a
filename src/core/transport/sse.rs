//! Server-sent events (WHATWG HTML, section 9.2 "Server-sent events").
//!
//! Owns the lines of an event stream. Every event is appended as whole blocks, so that events
//! appended one after the other are a stream.
//!
//! Invariant: CR, LF and CRLF are the only line ends of the format, and each one in a message
//! begins a new `data:` line; so no published text ever begins a line.

use memchr::memchr2;

use super::description::{Description, Kind};
use super::event::{Event, Options};
use crate::encode::{ended_object, object, write_base64};
use crate::message::{Data, MessageId, MessageRef};

pub(super) static DESCRIPTION: Description = Description {
    name: "sse",
    kind: Kind::Stream,
    // It is UTF-8 in any case (WHATWG HTML, 9.2.5); some clients take text of a type without a
    // charset for Latin-1.
    content_type: "text/event-stream; charset=utf-8",
    // An EventSource that is refused by a status never reconnects.
    resumes_by_itself: true,
};

/// A comment, which keeps proxies from taking the stream for dead.
const HEARTBEAT: &[u8] = b":\n\n";

/// Appends an event's blocks.
pub(super) fn encode(event: &Event<'_>, options: Options, out: &mut Vec<u8>) {
    match *event {
        // The cursor is an event, so that a client that has seen no message resumes from here.
        Event::Open {
            cursor,
            retry_ms,
            heartbeat_ms,
            ..
        } => {
            heartbeat_comment(out, heartbeat_ms);
            retry_line(out, retry_ms);
            own_event(out, b"cursor", cursor);
        }
        Event::Message { content, .. } => {
            id_and_name(out, content);
            match options.contains(Options::ENVELOPE) {
                true => envelope(out, content),
                false => data(out, content.data),
            }
            out.push(b'\n');
        }
        Event::Gap(cursor) => own_event(out, b"gap", cursor),
        // In a cluster it keeps the cursor young that the client comes back with: a node that has just
        // started knows little of what is old. Without data nothing is dispatched.
        Event::Heartbeat(cursor) if cursor.seq.is_place() => {
            id_line(out, cursor);
            out.push(b'\n');
        }
        Event::Heartbeat(_) => out.extend_from_slice(HEARTBEAT),
        Event::Close { cursor, retry_ms } => last_event(out, b"cursor", cursor, retry_ms),
        // The client's next request is answered 204, after which it does not come back.
        Event::End(cursor) => own_event(out, b"end", cursor),
        Event::Ended { cursor, channels } if options.contains(Options::ENVELOPE) => {
            id_line(out, cursor);
            out.extend_from_slice(b"data: ");
            ended_object(out, channels, cursor);
            out.extend_from_slice(b"\n\n");
        }
        // `end` would make a client close that still follows other channels.
        Event::Ended { cursor, .. } => own_event(out, b"cursor", cursor),
        Event::Expire { cursor, retry_ms } => last_event(out, b"expired", cursor, retry_ms),
        // The client keeps its last id and comes back with it.
        Event::Refuse { retry_ms, .. } => {
            retry_line(out, retry_ms);
            out.push(b'\n');
        }
    }
}

/// The data as it is: JSON as its text, text line by line, bytes as base64.
fn data(out: &mut Vec<u8>, data: &Data) {
    match data {
        Data::Json(json) => {
            out.extend_from_slice(b"data: ");
            out.extend_from_slice(json.as_bytes());
            out.push(b'\n');
        }
        Data::Text(text) => data_lines(out, text.as_bytes()),
        Data::Binary(bytes) => {
            out.extend_from_slice(b"data: ");
            write_base64(out, bytes);
            out.push(b'\n');
        }
    }
}

/// The message's whole [`object`] as the data.
fn envelope(out: &mut Vec<u8>, content: &MessageRef<'_>) {
    out.extend_from_slice(b"data: ");
    object(out, content);
    out.push(b'\n');
}

fn id_and_name(out: &mut Vec<u8>, content: &MessageRef<'_>) {
    id_line(out, content.id);
    if let Some(name) = content.event {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(name.as_bytes());
        out.push(b'\n');
    }
}

/// One `data:` line for each line of the text, and so at least one. Readers remove one space after
/// the colon, so leading spaces of the text are preserved.
fn data_lines(out: &mut Vec<u8>, text: &[u8]) {
    let mut rest = text;
    loop {
        out.extend_from_slice(b"data: ");
        let Some(end) = memchr2(b'\r', b'\n', rest) else {
            out.extend_from_slice(rest);
            out.push(b'\n');
            return;
        };
        out.extend_from_slice(&rest[..end]);
        out.push(b'\n');
        let length = if rest[end..].starts_with(b"\r\n") {
            2
        } else {
            1
        };
        rest = &rest[end + length..];
    }
}

fn own_event(out: &mut Vec<u8>, name: &[u8], id: MessageId) {
    id_line(out, id);
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name);
    out.extend_from_slice(b"\ndata: ");
    id.write(out);
    out.extend_from_slice(b"\n\n");
}

/// The event that ends a stream. It has the `retry` in it, as some clients heed one only with an
/// event around it.
fn last_event(out: &mut Vec<u8>, name: &[u8], cursor: MessageId, retry_ms: u32) {
    own_event(out, name, cursor);
    out.pop();
    retry_line(out, retry_ms);
    out.push(b'\n');
}

fn id_line(out: &mut Vec<u8>, id: MessageId) {
    out.extend_from_slice(b"id: ");
    id.write(out);
    out.push(b'\n');
}

/// The comment that says how often a heartbeat comes. The format has no field for it.
fn heartbeat_comment(out: &mut Vec<u8>, heartbeat_ms: u64) {
    out.extend_from_slice(b": heartbeat ");
    out.extend_from_slice(itoa::Buffer::new().format(heartbeat_ms).as_bytes());
    out.push(b'\n');
}

fn retry_line(out: &mut Vec<u8>, retry_ms: u32) {
    out.extend_from_slice(b"retry: ");
    out.extend_from_slice(itoa::Buffer::new().format(retry_ms).as_bytes());
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use proptest::prelude::*;

    use super::*;
    use crate::encode::samples::{Received, Sample, id, sample};
    use crate::transport::event::Target;

    /// An EventSource, step by step as section 9.2.6 of the standard interprets a stream.
    #[derive(Default)]
    struct EventSource {
        data: String,
        name: String,
        last_id: String,
        retry_ms: Option<u64>,
        dispatched: Vec<Dispatched>,
    }

    #[derive(Clone, Debug, PartialEq)]
    struct Dispatched {
        id: String,
        name: String,
        data: String,
    }

    impl EventSource {
        fn read(stream: &[u8]) -> EventSource {
            let mut source = EventSource::default();
            let text = String::from_utf8_lossy(stream);
            let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
            // A line that no line end follows is not complete, hence dropped.
            let ended = text.replace("\r\n", "\n").replace('\r', "\n");
            let mut lines = ended.split('\n').collect::<Vec<_>>();
            lines.pop();
            lines.into_iter().for_each(|line| source.line(line));
            source
        }

        fn line(&mut self, line: &str) {
            if line.is_empty() {
                return self.dispatch();
            }
            match line.split_once(':') {
                Some(("", _)) => {}
                Some((field, value)) => {
                    self.field(field, value.strip_prefix(' ').unwrap_or(value));
                }
                None => self.field(line, ""),
            }
        }

        fn field(&mut self, field: &str, value: &str) {
            match field {
                "event" => self.name = value.to_owned(),
                "data" => {
                    self.data.push_str(value);
                    self.data.push('\n');
                }
                "id" if !value.contains('\0') => self.last_id = value.to_owned(),
                "retry" if value.bytes().all(|b| b.is_ascii_digit()) => {
                    self.retry_ms = value.parse().ok();
                }
                _ => panic!("a field that no encoder writes: {field:?}"),
            }
        }

        fn dispatch(&mut self) {
            let name = std::mem::take(&mut self.name);
            let mut data = std::mem::take(&mut self.data);
            if data.is_empty() {
                return;
            }
            data.pop();
            let name = if name.is_empty() {
                "message".to_owned()
            } else {
                name
            };
            let id = self.last_id.clone();
            self.dispatched.push(Dispatched { id, name, data });
        }
    }

    fn opening(out: &mut Vec<u8>, retry_ms: u32, cursor: MessageId) {
        let target = Target::PostOwn;
        let event = Event::Open {
            cursor,
            retry_ms,
            heartbeat_ms: 15_000,
            target,
        };
        encode(&event, Options::empty(), out);
    }

    fn closing(out: &mut Vec<u8>, retry_ms: u32, cursor: MessageId) {
        encode(&Event::Close { cursor, retry_ms }, Options::empty(), out);
    }

    fn message(out: &mut Vec<u8>, content: &MessageRef<'_>, options: Options) {
        let spread_ms = None;
        encode(&Event::Message { content, spread_ms }, options, out);
    }

    fn name_of(sample: &Sample) -> String {
        let name = sample.event.as_deref().unwrap_or("message");
        name.to_owned()
    }

    /// The data as it has to arrive.
    fn arrives(data: &Data) -> String {
        match data {
            Data::Json(json) => json.to_string(),
            Data::Text(text) => text.replace("\r\n", "\n").replace('\r', "\n"),
            Data::Binary(bytes) => base64::engine::general_purpose::STANDARD.encode(bytes),
        }
    }

    #[test]
    fn lines() {
        for (text, expected) in [
            ("", "data: \n"),
            ("a", "data: a\n"),
            (" a", "data:  a\n"),
            ("a\n", "data: a\ndata: \n"),
            ("a\r\nb\rc\nd", "data: a\ndata: b\ndata: c\ndata: d\n"),
            ("\n\r", "data: \ndata: \ndata: \n"),
            ("\r\r\n", "data: \ndata: \ndata: \n"),
            (
                "a\u{2028}b\u{85}c\u{b}d\u{c}e",
                "data: a\u{2028}b\u{85}c\u{b}d\u{c}e\n",
            ),
            (
                ":\rid: x\r\rdata: y",
                "data: :\ndata: id: x\ndata: \ndata: data: y\n",
            ),
        ] {
            let mut out = Vec::new();
            data_lines(&mut out, text.as_bytes());
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{text:?}");
        }
    }

    #[test]
    fn blocks() {
        let mut out = Vec::new();
        opening(&mut out, 2000, id(5));
        encode(&Event::Gap(id(6)), Options::empty(), &mut out);
        closing(&mut out, 30, id(7));
        let expected = concat!(
            ": heartbeat 15000\nretry: 2000\nid: 00000000-5\nevent: cursor\ndata: 00000000-5\n\n",
            "id: 00000000-6\nevent: gap\ndata: 00000000-6\n\n",
            "id: 00000000-7\nevent: cursor\ndata: 00000000-7\nretry: 30\n\n",
        );
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    proptest! {
        #[test]
        fn streams_arrive_equal_but_for_line_ends(
            samples in proptest::collection::vec((sample(), any::<bool>()), 1..5),
            retry_ms: u32,
            last_ms: u32,
        ) {
            let first = &samples[0].0;
            let own = |name: &str| Dispatched { id: first.id(), name: name.into(), data: first.id() };
            let mut out = Vec::new();
            opening(&mut out, retry_ms, first.id);
            prop_assert_eq!(EventSource::read(&out).retry_ms, Some(retry_ms.into()));
            let mut expected = vec![own("cursor")];
            for (sample, is_beating) in &samples {
                message(&mut out, &sample.content(), Options::empty());
                let data = arrives(&sample.data);
                expected.push(Dispatched { id: sample.id(), name: name_of(sample), data });
                if *is_beating {
                    encode(&Event::Heartbeat(first.id), Options::empty(), &mut out);
                }
            }
            encode(&Event::Gap(first.id), Options::empty(), &mut out);
            expected.push(own("gap"));
            closing(&mut out, last_ms, first.id);
            expected.push(own("cursor"));
            let expiry = Event::Expire { cursor: first.id, retry_ms: last_ms };
            encode(&expiry, Options::empty(), &mut out);
            expected.push(own("expired"));

            let source = EventSource::read(&out);
            prop_assert_eq!(source.dispatched, expected);
            prop_assert_eq!(source.retry_ms, Some(last_ms.into()));
        }

        #[test]
        fn envelopes_hold_the_object(sample in sample()) {
            let mut out = Vec::new();
            message(&mut out, &sample.content(), Options::ENVELOPE);
            let source = EventSource::read(&out);
            prop_assert_eq!(source.dispatched.len(), 1);
            prop_assert_eq!(&source.dispatched[0].id, &sample.id());
            prop_assert_eq!(&source.dispatched[0].name, &name_of(&sample));
            let data = &source.dispatched[0].data;
            serde_json::from_str::<Received<'_>>(data).unwrap().assert_is(&sample);
        }

        #[test]
        fn truncated_event_is_not_dispatched(sample in sample(), cut: prop::sample::Index) {
            let mut out = Vec::new();
            message(&mut out, &sample.content(), Options::empty());
            let whole = EventSource::read(&out).dispatched;
            let cut = EventSource::read(&out[..cut.index(out.len())]);
            prop_assert!(cut.dispatched.is_empty() && whole.len() == 1);
        }
    }
}
