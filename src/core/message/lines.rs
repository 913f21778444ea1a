//! Messages published as NDJSON: one object per line, with `channel` and `data` and, optionally,
//! `event`, `"encoding":"base64"` and `"end":true`. With the latter `data` may be left out: the
//! line is then the end of its channel alone.
//!
//! Owns the form of a line. It never publishes.
//!
//! Invariant: a message object that encke wrote is a line for the same message. Therefore
//! `id` and other unknown members are ignored.

mod buffer;

pub use buffer::LineBuffer;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use memchr::{memchr, memchr_iter};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use thiserror::Error;

use super::json::{BYTE_ORDER_MARK, Json, JsonError, UnpairedSurrogate};
use super::names::{ChannelName, EventError, EventName, NameError};
use super::{Data, Draft, DraftKind};

/// Parses a whole body, so that all of it is published or nothing. A byte order mark before it is
/// skipped.
///
/// # Errors
///
/// There is no message, or a line is refused; the error is that of the first such line.
pub fn parse(body: &[u8], max_message_bytes: usize) -> Result<Vec<Draft<'static>>, LinesError> {
    let body = without_mark(body);
    let mut drafts = Vec::new();
    let mut start = 0;
    let ends = memchr_iter(b'\n', body).chain([body.len()]);
    for (index, end) in ends.enumerate() {
        match parse_line(&body[start..end], max_message_bytes) {
            Ok(draft) => drafts.extend(draft),
            Err(error) => {
                let number = index + 1;
                return Err(LinesError::At { number, error });
            }
        }
        start = end + 1;
    }
    if drafts.is_empty() {
        return Err(LinesError::NoLine);
    }
    Ok(drafts)
}

/// Removes a byte order mark before the text: for the first line of a body or of a stream.
pub fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text)
}

/// Parses one line, with or without its line end; `None` if there is only white space.
///
/// # Errors
///
/// See [`LineError`].
pub fn parse_line(
    line: &[u8],
    max_message_bytes: usize,
) -> Result<Option<Draft<'static>>, LineError> {
    let text = std::str::from_utf8(line).map_err(|_| LineError::NotUtf8)?;
    match text.trim_ascii_start().bytes().next() {
        None => return Ok(None),
        // Serde would also accept an array of the members.
        Some(b'{') => {}
        Some(_) => return Err(LineError::NotObject),
    }
    // Before serde parses the members, because its error for a name would not contain the escape.
    if let Some(unpaired) = UnpairedSurrogate::find(line) {
        return Err(LineError::Surrogate(unpaired));
    }
    let members = serde_json::from_str::<Members<'_>>(text).map_err(json_error)?;
    let kind = members.kind()?;
    let data = members.data()?;
    // JSON counts as it was sent, as it does in a message by itself: to escape line separators
    // makes it longer.
    let bytes = match data {
        Data::Json(_) => members.data.map_or(0, |data| data.get().len()),
        Data::Text(_) | Data::Binary(_) => data.len(),
    };
    if bytes > max_message_bytes {
        return Err(LineError::TooLarge { max_message_bytes });
    }
    let event = members.event.as_deref().unwrap_or_default();
    let event = EventName::parse(event.as_bytes())?;
    let channel = members.channel.into_string();
    let name = ChannelName::parse(channel.clone().into_bytes());
    Ok(Some(Draft {
        channel: name.map_err(|error| LineError::Channel { channel, error })?,
        data,
        event,
        key: None,
        kind,
    }))
}

/// The members of a line, unchecked.
#[derive(Deserialize)]
struct Members<'a> {
    channel: Box<str>,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    event: Option<Box<str>>,
    encoding: Option<Box<str>>,
    #[serde(default)]
    end: bool,
}

/// A member that is there, also if it is `null`: that is data.
fn present<'de, D: Deserializer<'de>>(source: D) -> Result<Option<&'de RawValue>, D::Error> {
    Deserialize::deserialize(source).map(Some)
}

impl Members<'_> {
    fn kind(&self) -> Result<DraftKind, LineError> {
        kind(
            self.data.is_some(),
            self.end,
            self.event.as_deref().is_some_and(|name| !name.is_empty()) || self.encoding.is_some(),
        )
    }

    fn data(&self) -> Result<Data, LineError> {
        match self.data {
            Some(raw) => data(raw, self.encoding.as_deref()),
            None => Ok(Data::Text("".into())),
        }
    }
}

/// The draft of a line, with or without `data`, with `"end":true` or without. `is_described`: the
/// line has members that describe the data.
///
/// # Errors
///
/// There is no data, and the object is not an end alone.
pub fn kind(has_data: bool, ends: bool, is_described: bool) -> Result<DraftKind, LineError> {
    match (has_data, ends) {
        (true, false) => Ok(DraftKind::Message),
        (true, true) => Ok(DraftKind::Last),
        (false, true) if !is_described => Ok(DraftKind::End),
        (false, _) => Err(LineError::NoData),
    }
}

/// The data that the members `data` and `encoding` mean: text for a string, bytes for a string in
/// base64, else JSON.
///
/// # Errors
///
/// See [`LineError`].
pub fn data(data: &RawValue, encoding: Option<&str>) -> Result<Data, LineError> {
    let json = data.get();
    let is_string = json.starts_with('"');
    match encoding {
        None if is_string => Ok(Data::Text(string(json)?)),
        None => Ok(Data::Json(Json::from_valid(json)?)),
        Some("base64") if is_string => {
            let bytes = STANDARD
                .decode(&*string(json)?)
                .map_err(LineError::Base64)?;
            Ok(Data::Binary(bytes.into()))
        }
        Some("base64") => Err(LineError::NotString),
        Some(_) => Err(LineError::Encoding),
    }
}

/// The text of a JSON string, which is valid but for its escapes.
fn string(json: &str) -> Result<Box<str>, LineError> {
    // Nearly every text is what is between the quotes.
    if memchr(b'\\', json.as_bytes()).is_none() {
        let text = json
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'));
        return Ok(text.unwrap_or_default().into());
    }
    serde_json::from_str(json).map_err(json_error)
}

/// The reason for which a body is refused.
#[derive(Debug, Error)]
pub enum LinesError {
    /// There are only empty lines.
    #[error("there is no message; send one {{\"channel\":…,\"data\":…}} per line")]
    NoLine,
    /// A line is refused.
    #[error("line {number}: {error}")]
    At {
        /// Its number, from 1; empty lines count.
        number: usize,
        /// The reason.
        error: LineError,
    },
}

impl LinesError {
    /// Whether a message is too large (413); otherwise the body is malformed (400).
    pub fn is_too_large(&self) -> bool {
        matches!(
            self,
            LinesError::At {
                error: LineError::TooLarge { .. },
                ..
            }
        )
    }
}

/// The reason for which a line is refused.
#[derive(Debug, Error)]
pub enum LineError {
    /// Not UTF-8.
    #[error("it is not UTF-8")]
    NotUtf8,
    /// It does not begin like an object.
    #[error("it must be a JSON object")]
    NotObject,
    /// Not JSON, or a member is missing, given twice or of the wrong type.
    #[error("{cause} at column {column}")]
    Json {
        /// The reason, without its position.
        cause: String,
        /// The position in the line, in bytes, from 1.
        column: usize,
    },
    /// An unpaired surrogate, in any member.
    #[error("{0}")]
    Surrogate(UnpairedSurrogate),
    /// The data is JSON that violates a rule beyond the grammar.
    #[error("`data` is refused: {0}")]
    Data(#[from] JsonError),
    /// There is no data, and the line is not the end of its channel alone.
    #[error("`data` is missing; it may be left out only where `end` is true, without `event`")]
    NoData,
    /// The encoding is base64, and the data is not a string.
    #[error("`data` must be a string where `encoding` is given")]
    NotString,
    /// The encoding is base64, and the data is not valid base64.
    #[error("`data` is not padded base64 of the standard alphabet: {0}")]
    Base64(base64::DecodeError),
    /// An encoding other than base64.
    #[error("`encoding` must be \"base64\" or left out")]
    Encoding,
    /// The channel's name.
    #[error("channel {channel:?}: {error}")]
    Channel {
        /// The name that was given.
        channel: String,
        /// The reason.
        error: NameError,
    },
    /// The event name.
    #[error("{0}")]
    Event(#[from] EventError),
    /// The data is larger than a message may be.
    #[error("a message is at most {max_message_bytes} bytes")]
    TooLarge {
        /// The limit in bytes.
        max_message_bytes: usize,
    },
}

/// Converts serde's error, without its line number, which is not that of the body.
fn json_error(error: serde_json::Error) -> LineError {
    let text = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    LineError::Json {
        column: error.column(),
        cause: text.strip_suffix(&position).unwrap_or(&text).to_owned(),
    }
}

#[cfg(test)]
mod tests;
