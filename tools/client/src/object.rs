//! The JSON objects of which batches, NDJSON streams, frames and enveloped events consist.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::{Error, Event};

/// A message received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its id, which is also the cursor after it: `EPOCH-SEQ`.
    pub id: String,
    /// Its channel; `None` in server-sent events without envelope, which do not name it.
    pub channel: Option<String>,
    /// Its event name.
    pub event: Option<String>,
    /// Its data.
    pub data: Data,
}

/// The data of a message, as far as its format tells what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// Text.
    Text(String),
    /// The text of a JSON value that is not a string.
    Json(String),
    /// Bytes.
    Binary(Vec<u8>),
    /// The data of a server-sent event without envelope: text, the text of a JSON value, or base64.
    Untyped(String),
}

/// Any object: a message, or one of the stream's own.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Object<'a> {
    id: Option<String>,
    channel: Option<String>,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    encoding: Option<String>,
    event: Option<String>,
    cursor: Option<String>,
    #[serde(default, deserialize_with = "only_true")]
    gap: bool,
    retry: Option<u64>,
    #[serde(default, deserialize_with = "only_true")]
    expired: bool,
    heartbeat: Option<u64>,
    #[serde(default, deserialize_with = "only_true")]
    end: bool,
    #[serde(default, deserialize_with = "not_empty")]
    ended: Vec<String>,
}

/// `null` is data too.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    Deserialize::deserialize(from).map(Some)
}

/// A flag, which is `true` or not there.
pub(crate) fn only_true<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    match bool::deserialize(from)? {
        true => Ok(true),
        false => Err(serde::de::Error::custom("a flag is true or not there")),
    }
}

/// A list, which names something or is not there.
pub(crate) fn not_empty<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let names = Vec::deserialize(from)?;
    match names.is_empty() {
        true => Err(serde::de::Error::custom("a list that names nothing")),
        false => Ok(names),
    }
}

/// Whether an object answers what a client of a WebSocket asked for.
pub fn is_answer(json: &str) -> bool {
    let begins = ["{\"channels\":", "{\"published\":", "{\"error\":"];
    begins.iter().any(|begin| json.starts_with(begin))
}

/// The meaning of an object.
pub(crate) fn event(json: &str) -> Result<Event, Error> {
    let object: Object<'_> = serde_json::from_str(json)
        .map_err(|error| Error::about(&error.to_string(), json.as_bytes()))?;
    let has_message_field = object.channel.is_some()
        || object.data.is_some()
        || object.encoding.is_some()
        || object.event.is_some();
    if object.expired && (object.gap || object.retry.is_none()) {
        let json = json.as_bytes();
        return Err(Error::about("expired, and not the end of a stream", json));
    }
    let tells_ends = object.end || !object.ended.is_empty();
    if tells_ends && (has_message_field || object.gap || object.retry.is_some()) {
        let json = json.as_bytes();
        return Err(Error::about("an end, and something else", json));
    }
    match object {
        Object {
            id: None,
            cursor: Some(cursor),
            heartbeat: None,
            ended,
            ..
        } if tells_ends => match (object.end, ended.is_empty()) {
            (true, true) => Ok(Event::End { cursor }),
            (false, false) => Ok(Event::Ended {
                cursor,
                channels: ended,
            }),
            _ => Err(Error::about("two kinds of end", json.as_bytes())),
        },
        Object {
            id: Some(id),
            channel: Some(channel),
            data: Some(data),
            cursor: None,
            gap: false,
            retry: None,
            heartbeat: None,
            ..
        } if !tells_ends => Ok(Event::Message(Message {
            id,
            channel: Some(channel),
            event: object.event,
            data: typed(data.get(), object.encoding.as_deref())?,
        })),
        Object {
            id: None,
            cursor: Some(cursor),
            gap,
            retry,
            expired: has_expired,
            heartbeat,
            ..
        } if !has_message_field => match (gap, retry, heartbeat) {
            (false, None, None) => Ok(Event::Cursor(cursor)),
            (false, None, Some(heartbeat_ms)) => Ok(Event::Opening {
                cursor,
                heartbeat_ms,
            }),
            (true, None, None) => Ok(Event::Gap(cursor)),
            (false, Some(retry_ms), None) => Ok(Event::Closing {
                cursor: Some(cursor),
                retry_ms,
                has_expired,
            }),
            _ => Err(Error::about("an object of two kinds", json.as_bytes())),
        },
        _ => Err(Error::about("an object of no known kind", json.as_bytes())),
    }
}

/// The message that an object is.
pub(crate) fn message(json: &str) -> Result<Message, Error> {
    match event(json)? {
        Event::Message(message) => Ok(message),
        _ => Err(Error::about("not a message", json.as_bytes())),
    }
}

fn typed(json: &str, encoding: Option<&str>) -> Result<Data, Error> {
    let text = || serde_json::from_str::<String>(json);
    match encoding {
        Some("base64") => match STANDARD.decode(text()?) {
            Ok(bytes) => Ok(Data::Binary(bytes)),
            Err(error) => Err(Error::about(&error.to_string(), json.as_bytes())),
        },
        Some(other) => Err(Error::new(format!("an unknown encoding {other:?}"))),
        None if json.starts_with('"') => Ok(Data::Text(text()?)),
        None => Ok(Data::Json(json.to_owned())),
    }
}

/// The JSON of a JavaScript expression as scripts hold it: the JSON itself or `JSON.parse("…")`.
///
/// # Errors
///
/// It holds a character that could end the script or the string around it.
pub(crate) fn of_expression(expression: &str) -> Result<String, Error> {
    if expression.contains(['<', '>', '&', '\u{2028}', '\u{2029}']) {
        return Err(Error::about(
            "an unescaped character in a script",
            expression.as_bytes(),
        ));
    }
    let quoted = expression.strip_prefix("JSON.parse(");
    match quoted.and_then(|rest| rest.strip_suffix(')')) {
        Some(quoted) => Ok(serde_json::from_str(quoted)?),
        None => Ok(expression.to_owned()),
    }
}
