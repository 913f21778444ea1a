//! Bodies as clients read them: batches, JSONP, event streams, NDJSON and forever frames.
//!
//! Owns decoding, independent of the server's encoders. It never judges what was received.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use encke_core::message::MessageId;
use serde::Deserialize;
use serde_json::value::RawValue;

/// One thing received.
#[derive(Debug)]
pub(crate) enum Got {
    Message(Message),
    /// Everything up to here was sent.
    Cursor(u64),
    /// Messages up to here are gone.
    Gap(u64),
    /// The stream ends; the cursor and when to come back.
    Closing(u64),
}

/// A message received.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) seq: u64,
    /// Plain server-sent events do not say it.
    pub(crate) channel: Option<String>,
    pub(crate) payload: Payload,
    pub(crate) event: Option<String>,
}

/// What it said, as far as the format tells.
#[derive(Debug)]
pub(crate) enum Payload {
    Text(String),
    Json(String),
    Binary(Vec<u8>),
    /// The data of a server-sent event.
    Event(String),
}

/// A batch received.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) cursor: u64,
    pub(crate) messages: Vec<Message>,
    pub(crate) gap: bool,
    pub(crate) more: bool,
    pub(crate) retry: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Object<'a> {
    id: Option<String>,
    channel: Option<String>,
    #[serde(borrow, default, deserialize_with = "some")]
    data: Option<&'a RawValue>,
    encoding: Option<String>,
    event: Option<String>,
    cursor: Option<String>,
    gap: Option<bool>,
    retry: Option<u64>,
}

/// `null` is data too.
fn some<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    Deserialize::deserialize(from).map(Some)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBatch<'a> {
    cursor: String,
    #[serde(borrow)]
    messages: Vec<&'a RawValue>,
    #[serde(default)]
    gap: bool,
    #[serde(default)]
    more: bool,
    retry: Option<u64>,
    #[serde(rename = "spread")]
    _spread: Option<u64>,
}

/// Stands for the cursor of no server, which a stream opens with before it sends a gap.
pub(crate) const UNKNOWN: u64 = u64::MAX;

/// The number of an id or cursor of this epoch.
pub(crate) fn seq_of(epoch: &str, id: &str) -> u64 {
    if id == MessageId::UNKNOWN.to_string() {
        return UNKNOWN;
    }
    let number = id
        .strip_prefix(epoch)
        .and_then(|rest| rest.strip_prefix('-'));
    number
        .and_then(|number| number.parse().ok())
        .unwrap_or_else(|| panic!("{id:?} is no id of epoch {epoch}"))
}

/// The JSON inside `/**/CALLBACK(…);`.
pub(crate) fn jsonp(body: &[u8], callback: &str) -> String {
    let text = std::str::from_utf8(body).expect("JSONP is text");
    let inner = text
        .strip_prefix(&format!("/**/{callback}("))
        .and_then(|rest| rest.strip_suffix(");"))
        .unwrap_or_else(|| panic!("no call of {callback}: {text:?}"));
    expression(inner)
}

/// The JSON of a JavaScript expression as encke writes them.
fn expression(text: &str) -> String {
    assert!(
        !text.contains(['<', '>', '&', '\u{2028}', '\u{2029}']),
        "a way out of the script: {text:?}"
    );
    match text
        .strip_prefix("JSON.parse(")
        .and_then(|rest| rest.strip_suffix(')'))
    {
        Some(quoted) => serde_json::from_str(quoted).expect("a string of JSON"),
        None => text.to_owned(),
    }
}

pub(crate) fn batch(epoch: &str, json: &str) -> Batch {
    let raw: RawBatch<'_> =
        serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"));
    let messages = raw
        .messages
        .iter()
        .map(|json| match object(epoch, json.get()) {
            Got::Message(message) => message,
            other => panic!("in a batch: {other:?}"),
        });
    Batch {
        cursor: seq_of(epoch, &raw.cursor),
        messages: messages.collect(),
        gap: raw.gap,
        more: raw.more,
        retry: raw.retry,
    }
}

/// A message's object, or one of the stream's own.
fn object(epoch: &str, json: &str) -> Got {
    let object: Object<'_> =
        serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"));
    let cursor = object.cursor.as_ref().map(|cursor| seq_of(epoch, cursor));
    match (object.id, cursor, object.gap, object.retry) {
        (Some(id), None, None, None) => Got::Message(Message {
            seq: seq_of(epoch, &id),
            channel: Some(object.channel.expect("a message names its channel")),
            payload: payload(
                object.data.expect("a message has data").get(),
                object.encoding,
            ),
            event: object.event,
        }),
        (None, Some(cursor), None, None) => Got::Cursor(cursor),
        (None, Some(cursor), Some(true), None) => Got::Gap(cursor),
        (None, Some(cursor), None, Some(_)) => Got::Closing(cursor),
        _ => panic!("what is this: {json}"),
    }
}

fn payload(raw: &str, encoding: Option<String>) -> Payload {
    let string = || serde_json::from_str::<String>(raw).expect("a string");
    match encoding.as_deref() {
        Some("base64") => Payload::Binary(STANDARD.decode(string()).expect("base64")),
        Some(other) => panic!("encoding {other}"),
        None if raw.starts_with('"') => Payload::Text(string()),
        None => Payload::Json(raw.to_owned()),
    }
}

/// A decoder of one streamed body.
pub(crate) enum Decoder {
    Sse(Box<Sse>),
    Ndjson {
        bytes: Vec<u8>,
        closed: bool,
    },
    Frame {
        bytes: Vec<u8>,
        opened: bool,
        closed: bool,
    },
}

impl Decoder {
    pub(crate) fn feed(&mut self, epoch: &str, bytes: &[u8]) -> Vec<Got> {
        let mut found = Vec::new();
        match self {
            Decoder::Sse(sse) => bytes
                .iter()
                .for_each(|&byte| sse.byte(epoch, byte, &mut found)),
            Decoder::Ndjson {
                bytes: rest,
                closed,
            } => {
                rest.extend_from_slice(bytes);
                while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
                    let line: Vec<u8> = rest.drain(..=end).collect();
                    let line = std::str::from_utf8(&line).expect("lines are text");
                    found.push(object(epoch, line.trim_end_matches('\n')));
                    *closed = matches!(found.last(), Some(Got::Closing(_)));
                }
            }
            Decoder::Frame {
                bytes: rest,
                opened,
                closed,
            } => {
                rest.extend_from_slice(bytes);
                while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
                    let line: Vec<u8> = rest.drain(..=end).collect();
                    let line = std::str::from_utf8(&line)
                        .expect("a page is text")
                        .trim_end();
                    if let Some(call) = line.strip_prefix("<script>e(") {
                        assert!(*opened, "a script before the page's head");
                        let inner = call.strip_suffix(")</script>").expect("a whole script");
                        found.push(object(epoch, &expression(inner)));
                        *closed = matches!(found.last(), Some(Got::Closing(_)));
                    } else if line.starts_with("<!--") {
                        assert!(line.ends_with("-->") && line.len() > 1_024, "padding");
                        *opened = true;
                    } else {
                        assert!(line.starts_with("<!DOCTYPE html>"), "{line:?}");
                    }
                }
            }
        }
        found
    }

    /// Whether a stream may end here: nothing is half received, and the last thing said was when
    /// to come back.
    pub(crate) fn may_end(&self) -> bool {
        self.is_between()
            && match self {
                Decoder::Sse(sse) => sse.said_retry,
                Decoder::Ndjson { closed, .. } | Decoder::Frame { closed, .. } => *closed,
            }
    }

    /// Whether nothing is half received.
    pub(crate) fn is_between(&self) -> bool {
        match self {
            Decoder::Sse(sse) => sse.line.is_empty() && !sse.has_fields,
            Decoder::Ndjson { bytes, .. } | Decoder::Frame { bytes, .. } => bytes.is_empty(),
        }
    }
}

/// An EventSource, as WHATWG HTML 9.2.6 interprets a stream.
#[derive(Default)]
pub(crate) struct Sse {
    envelope: bool,
    line: Vec<u8>,
    after_cr: bool,
    data: String,
    has_data: bool,
    event: String,
    last_id: String,
    has_fields: bool,
    /// Whether the last thing said was when to come back.
    said_retry: bool,
}

impl Sse {
    pub(crate) fn new(envelope: bool) -> Sse {
        Sse {
            envelope,
            ..Sse::default()
        }
    }

    fn byte(&mut self, epoch: &str, byte: u8, found: &mut Vec<Got>) {
        match byte {
            b'\n' if std::mem::take(&mut self.after_cr) => {}
            b'\n' | b'\r' => {
                self.after_cr = byte == b'\r';
                let line = std::mem::take(&mut self.line);
                let line = String::from_utf8(line).expect("an event stream is text");
                self.interpret(epoch, &line, found);
            }
            byte => {
                self.after_cr = false;
                self.line.push(byte);
            }
        }
    }

    fn interpret(&mut self, epoch: &str, line: &str, found: &mut Vec<Got>) {
        if line.is_empty() {
            return self.dispatch(epoch, found);
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        self.has_fields |= !name.is_empty();
        self.said_retry = false;
        match name {
            "" => {}
            "event" => self.event = value.to_owned(),
            "data" => {
                self.has_data = true;
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" => self.last_id = value.to_owned(),
            "retry" => {
                value.parse::<u64>().expect("retry is a number");
                self.said_retry = true;
            }
            other => panic!("a field {other:?} in an event stream"),
        }
    }

    fn dispatch(&mut self, epoch: &str, found: &mut Vec<Got>) {
        self.has_fields = false;
        let mut data = std::mem::take(&mut self.data);
        let event = std::mem::take(&mut self.event);
        if !std::mem::take(&mut self.has_data) {
            return;
        }
        data.pop();
        let seq = seq_of(epoch, &self.last_id);
        match event.as_str() {
            "cursor" | "gap" => {
                assert_eq!(data, self.last_id);
                found.push(match event.as_str() {
                    "gap" => Got::Gap(seq),
                    _ => Got::Cursor(seq),
                });
            }
            _ if self.envelope => match object(epoch, &data) {
                Got::Message(message) => {
                    assert_eq!(message.seq, seq);
                    assert_eq!(message.event.as_deref().unwrap_or_default(), event);
                    found.push(Got::Message(message));
                }
                other => panic!("in an envelope: {other:?}"),
            },
            _ => found.push(Got::Message(Message {
                seq,
                channel: None,
                payload: Payload::Event(data),
                event: (!event.is_empty()).then_some(event),
            })),
        }
    }
}
