//! A message's data, and what a publisher may hand in.
//!
//! Owns the rules by which a body and its content type become data, and those for event names.
//! It never looks into JSON beyond checking it.

use std::fmt;

use memchr::memchr2;
use serde::de::IgnoredAny;

/// The longest event name.
const MAX_EVENT_BYTES: usize = 255;

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// JSON as its text: valid (RFC 8259), without raw CR or LF and without white space around
    /// it. [`Data::accept`] sees to that, and the encoders rely on it.
    Json(Box<str>),
    /// Any text.
    Text(Box<str>),
    /// Any bytes; they are sent as base64.
    Binary(Box<[u8]>),
}

impl Data {
    /// The bytes it holds.
    pub fn len(&self) -> usize {
        match self {
            Data::Json(text) | Data::Text(text) => text.len(),
            Data::Binary(bytes) => bytes.len(),
        }
    }

    /// Whether it holds no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What a published body is, by the value of its `Content-Type`: JSON for `application/json`
    /// and types that end in `+json`, bytes for `application/octet-stream`; for any other type,
    /// or none, text if it is UTF-8, else bytes.
    ///
    /// # Errors
    ///
    /// The type says JSON and the body is none.
    pub fn accept(content_type: Option<&[u8]>, body: &[u8]) -> Result<Data, DataError> {
        match Kind::of(content_type.unwrap_or_default()) {
            Kind::Json => Data::json(body),
            Kind::Bytes => Ok(Data::Binary(body.into())),
            Kind::Any => Ok(match std::str::from_utf8(body) {
                Ok(text) => Data::Text(text.into()),
                Err(_) => Data::Binary(body.into()),
            }),
        }
    }

    fn json(body: &[u8]) -> Result<Data, DataError> {
        let text = std::str::from_utf8(body).map_err(|error| DataError::NotUtf8 {
            valid_bytes: error.valid_up_to(),
        })?;
        if text.trim_ascii().is_empty() {
            return Err(DataError::Empty);
        }
        serde_json::from_str::<IgnoredAny>(text).map_err(DataError::NotJson)?;
        Ok(Data::checked_json(text))
    }

    /// Takes text that is known to be JSON. Its line ends go: they are between tokens, since
    /// inside a string they can only be escaped.
    pub(super) fn checked_json(text: &str) -> Data {
        let text = text.trim_ascii();
        Data::Json(match memchr2(b'\r', b'\n', text.as_bytes()) {
            None => text.into(),
            Some(_) => text.split(['\r', '\n']).collect::<String>().into(),
        })
    }
}

impl From<&str> for Data {
    fn from(text: &str) -> Data {
        Data::Text(text.into())
    }
}

impl From<String> for Data {
    fn from(text: String) -> Data {
        Data::Text(text.into())
    }
}

impl From<&[u8]> for Data {
    fn from(bytes: &[u8]) -> Data {
        Data::Binary(bytes.into())
    }
}

impl From<Vec<u8>> for Data {
    fn from(bytes: Vec<u8>) -> Data {
        Data::Binary(bytes.into())
    }
}

/// What a content type makes of a body.
enum Kind {
    Json,
    Bytes,
    Any,
}

impl Kind {
    fn of(content_type: &[u8]) -> Kind {
        // Nearly all are one of these.
        match content_type {
            b"" | b"text/plain" => return Kind::Any,
            b"application/json" => return Kind::Json,
            _ => {}
        }
        let essence = content_type
            .split(|&b| b == b';')
            .next()
            .unwrap_or_default();
        let essence = essence.trim_ascii();
        let suffix = essence.len().saturating_sub(b"+json".len());
        if essence.eq_ignore_ascii_case(b"application/json")
            || essence[suffix..].eq_ignore_ascii_case(b"+json")
        {
            Kind::Json
        } else if essence.eq_ignore_ascii_case(b"application/octet-stream") {
            Kind::Bytes
        } else {
            Kind::Any
        }
    }
}

/// Why a body is refused.
#[derive(Debug)]
pub enum DataError {
    /// The type says JSON, and there is nothing.
    Empty,
    /// The type says JSON, which is UTF-8, and the body is not.
    NotUtf8 {
        /// How many bytes of the body are.
        valid_bytes: usize,
    },
    /// The type says JSON, and the body is no JSON.
    NotJson(serde_json::Error),
}

impl DataError {
    /// What is wrong, where, and what to do.
    pub fn detail(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for DataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DataError::Empty => f.write_str(
                "the content type says JSON but the body is empty; send `null` or `\"\"`, or \
                 another content type",
            ),
            DataError::NotUtf8 { valid_bytes } => write!(
                f,
                "the content type says JSON but the body is not UTF-8 after its first \
                 {valid_bytes} bytes; send UTF-8, or application/octet-stream",
            ),
            DataError::NotJson(error) => write!(
                f,
                "the content type says JSON but the body is not: {error}; correct it, or send \
                 text/plain to publish it as text",
            ),
        }
    }
}

impl std::error::Error for DataError {}

/// Checks an event name; an empty one is none.
///
/// # Errors
///
/// See [`EventError`].
pub fn check_event(name: &[u8]) -> Result<Option<&str>, EventError> {
    if name.is_empty() {
        return Ok(None);
    }
    if name.len() > MAX_EVENT_BYTES {
        return Err(EventError::TooLong);
    }
    if name.iter().any(|b| matches!(b, b'\r' | b'\n' | b'\0')) {
        return Err(EventError::LineEnd);
    }
    match std::str::from_utf8(name) {
        Ok("cursor" | "gap") => Err(EventError::Reserved),
        Ok(name) => Ok(Some(name)),
        Err(_) => Err(EventError::NotUtf8),
    }
}

/// Why an event name is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventError {
    /// More than 255 bytes.
    TooLong,
    /// CR, LF or NUL: the name would not arrive as it was sent.
    LineEnd,
    /// `cursor` or `gap`, which are encke's own.
    Reserved,
    /// Not UTF-8.
    NotUtf8,
}

impl EventError {
    /// What is wrong and what is allowed.
    pub fn detail(self) -> &'static str {
        match self {
            EventError::TooLong => "an event name is at most 255 bytes",
            EventError::LineEnd => "an event name must not contain CR, LF or NUL",
            EventError::Reserved => {
                "the event names `cursor` and `gap` are encke's own; choose another"
            }
            EventError::NotUtf8 => "an event name must be UTF-8",
        }
    }
}

impl fmt::Display for EventError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.detail())
    }
}

impl std::error::Error for EventError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::samples;
    use super::*;

    const JSON: Option<&[u8]> = Some(b"application/json");

    #[test]
    fn types() {
        for (content_type, expected) in [
            ("application/json", Data::Json("1".into())),
            ("Application/JSON ; charset=utf-8", Data::Json("1".into())),
            ("application/cloudevents+json", Data::Json("1".into())),
            ("application/vnd.x+JSON;q=\"a;b\"", Data::Json("1".into())),
            ("application/octet-stream", Data::Binary((*b"1").into())),
            (
                "APPLICATION/OCTET-STREAM; x=y",
                Data::Binary((*b"1").into()),
            ),
            ("application/x-www-form-urlencoded", Data::Text("1".into())),
            ("application/x-ndjson", Data::Text("1".into())),
            ("text/plain; note=+json", Data::Text("1".into())),
            ("json", Data::Text("1".into())),
            (";application/json", Data::Text("1".into())),
            ("", Data::Text("1".into())),
        ] {
            let data = Data::accept(Some(content_type.as_bytes()), b"1").unwrap();
            assert_eq!(data, expected, "{content_type}");
        }
        assert_eq!(Data::accept(None, b"").unwrap(), Data::Text("".into()));
        assert_eq!(
            Data::accept(None, b"\xff").unwrap(),
            Data::Binary((*b"\xff").into())
        );
    }

    #[test]
    fn what_is_in_hand_becomes_data() {
        assert_eq!(Data::from("a"), Data::Text("a".into()));
        assert_eq!(Data::from("a".to_owned()), Data::Text("a".into()));
        assert_eq!(Data::from(&b"a"[..]), Data::Binary((*b"a").into()));
        assert_eq!(Data::from(b"a".to_vec()), Data::Binary((*b"a").into()));
    }

    #[test]
    fn bad_json_is_refused_with_its_place() {
        for (body, part) in [
            (&b""[..], "empty"),
            (b" \r\n\t", "empty"),
            (b"{\"a\":\n 1,}", "line 2 column 4"),
            (b"1 2", "line 1 column 3"),
            (b"[1", "line 1 column 2"),
            (b"\"a\nb\"", "control character"),
            (b"\"\x01\"", "control character"),
            (b"01", "line 1 column 2"),
            (b"NaN", "line 1 column 1"),
            (b"\xef\xbb\xbf1", "line 1 column 1"),
            (b"\"ab\xff\"", "first 3 bytes"),
        ] {
            let detail = Data::accept(JSON, body).unwrap_err().detail();
            assert!(detail.contains(part), "{detail}");
        }
    }

    #[test]
    fn nesting_costs_no_stack() {
        let deep = ["[".repeat(1 << 20), "]".repeat(1 << 20)].concat();
        assert_eq!(
            Data::accept(JSON, deep.as_bytes()).unwrap(),
            Data::Json(deep.into())
        );
    }

    #[test]
    fn event_names() {
        let longest = [b'e'; MAX_EVENT_BYTES];
        assert_eq!(check_event(b""), Ok(None));
        assert_eq!(check_event(b"Cursor"), Ok(Some("Cursor")));
        assert_eq!(check_event(b" gap: \xc3\xa9"), Ok(Some(" gap: \u{e9}")));
        assert_eq!(
            check_event(&longest).unwrap().map(str::len),
            Some(MAX_EVENT_BYTES)
        );
        assert_eq!(
            check_event(&[b'e'; MAX_EVENT_BYTES + 1]),
            Err(EventError::TooLong)
        );
        assert_eq!(check_event(b"cursor"), Err(EventError::Reserved));
        assert_eq!(check_event(b"gap"), Err(EventError::Reserved));
        assert_eq!(check_event(b"a\rb"), Err(EventError::LineEnd));
        assert_eq!(check_event(b"gap\n"), Err(EventError::LineEnd));
        assert_eq!(check_event(b"a\0"), Err(EventError::LineEnd));
        assert_eq!(check_event(b"\xc3"), Err(EventError::NotUtf8));
    }

    /// JSON without the white space between its tokens, found the slow way.
    fn tokens(json: &str) -> String {
        let (mut out, mut in_string, mut is_escaped) = (String::new(), false, false);
        for c in json.chars() {
            if in_string {
                in_string = is_escaped || c != '"';
                is_escaped = !is_escaped && c == '\\';
            } else if c.is_ascii_whitespace() {
                continue;
            } else {
                in_string = c == '"';
            }
            out.push(c);
        }
        out
    }

    proptest! {
        #[test]
        fn json_keeps_every_token(json in samples::json()) {
            let Data::Json(kept) = Data::accept(JSON, json.as_bytes()).unwrap() else {
                panic!("JSON became something else");
            };
            prop_assert!(!kept.contains(['\r', '\n']));
            prop_assert_eq!(kept.trim(), &*kept);
            prop_assert_eq!(tokens(&kept), tokens(&json));
            let without = json.replace(['\r', '\n'], "");
            prop_assert_eq!(without.trim_ascii(), &*kept);
        }

        #[test]
        fn anything_else_is_kept_whole(body: Vec<u8>) {
            let data = Data::accept(None, &body).unwrap();
            prop_assert_eq!(data.len(), body.len());
            let kept = match &data {
                Data::Text(text) => text.as_bytes(),
                Data::Binary(bytes) => {
                    prop_assert!(String::from_utf8(body.clone()).is_err());
                    bytes
                }
                Data::Json(_) => panic!("no type became JSON"),
            };
            prop_assert_eq!(kept, &body[..]);
        }

        #[test]
        fn bodies_are_judged_without_panic(content_type: Vec<u8>, body: Vec<u8>) {
            let _ = Data::accept(Some(&content_type), &body);
            let _ = Data::accept(JSON, &body).map_err(|error| error.detail());
            let _ = check_event(&body);
        }
    }
}
