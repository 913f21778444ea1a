//! The names that publishers and readers choose: of channels and events, and idempotency keys.
//!
//! Owns their rules. Names are compared byte by byte: case-sensitively and without Unicode
//! normalisation.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use thiserror::Error;

/// The longest channel name.
const MAX_CHANNEL_BYTES: usize = 250;

/// The longest event name.
const MAX_EVENT_BYTES: usize = 255;

/// The longest idempotency key.
const MAX_KEY_BYTES: usize = 255;

/// The longest key of a request whose parts have keys: a slash and up to 20 digits follow.
pub const MAX_KEY_BYTES_WITH_PARTS: usize = MAX_KEY_BYTES - 21;

/// Event names with another meaning for readers: those of encke's own events, and those that
/// run `onerror` and `onopen` of a browser's EventSource.
const RESERVED_EVENTS: [&str; 6] = ["cursor", "gap", "end", "expired", "error", "open"];

/// The name of a channel: 1 to 250 bytes of UTF-8, in segments separated by `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelName<'a>(Cow<'a, str>);

impl<'a> ChannelName<'a> {
    /// Parses a percent-decoded name. A borrowed name stays borrowed.
    ///
    /// # Errors
    ///
    /// See [`NameError`].
    #[inline]
    pub fn parse(name: impl Into<Cow<'a, [u8]>>) -> Result<ChannelName<'a>, NameError> {
        Ok(ChannelName(match name.into() {
            Cow::Borrowed(name) => Cow::Borrowed(check(name)?),
            Cow::Owned(name) => {
                check(&name)?;
                Cow::Owned(String::from_utf8(name).map_err(|_| NameError::Utf8)?)
            }
        }))
    }

    /// The same name, borrowed from this one.
    pub fn borrowed(&self) -> ChannelName<'_> {
        ChannelName(Cow::Borrowed(&self.0))
    }

    /// The same name, owned.
    pub fn into_owned(self) -> ChannelName<'static> {
        ChannelName(Cow::Owned(self.0.into_owned()))
    }
}

impl Deref for ChannelName<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ChannelName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn check(name: &[u8]) -> Result<&str, NameError> {
    if name.is_empty() || name.len() > MAX_CHANNEL_BYTES {
        return Err(NameError::Length);
    }
    let name = std::str::from_utf8(name).map_err(|_| NameError::Utf8)?;
    // Cheap test first: nearly every name is one segment of these characters.
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b':');
    if name.bytes().all(is_plain) {
        return Ok(name);
    }
    let is_bad = |c: char| c.is_control() || matches!(c, ',' | '*');
    if name.chars().any(is_bad) {
        return Err(NameError::Character);
    }
    let is_segment = |segment: &[u8]| !matches!(segment, b"" | b"." | b"..");
    match name.as_bytes().split(|&byte| byte == b'/').all(is_segment) {
        true => Ok(name),
        false => Err(NameError::Segment),
    }
}

/// The reason for which a channel name is refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum NameError {
    /// Empty, or more than 250 bytes.
    #[error("a channel name is 1 to 250 bytes after percent-decoding")]
    Length,
    /// Not UTF-8.
    #[error("a channel name must be UTF-8 after percent-decoding")]
    Utf8,
    /// A control character (C0, C1 or DEL), a comma or `*`.
    #[error("a channel name must not contain control characters, a comma or `*`")]
    Character,
    /// An empty, `.` or `..` segment.
    #[error("a channel name must not have an empty, `.` or `..` segment")]
    Segment,
}

/// The name of an event: 1 to 255 bytes of UTF-8 without line ends, and not a reserved name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventName(Box<str>);

impl EventName {
    /// Parses an event name; an empty one means that the message has none.
    ///
    /// # Errors
    ///
    /// See [`EventError`].
    pub fn parse(name: &[u8]) -> Result<Option<EventName>, EventError> {
        if name.is_empty() {
            return Ok(None);
        }
        if name.len() > MAX_EVENT_BYTES {
            return Err(EventError::TooLong);
        }
        if name.iter().any(|b| matches!(b, b'\r' | b'\n' | b'\0')) {
            return Err(EventError::LineEnd);
        }
        let name = std::str::from_utf8(name).map_err(|_| EventError::NotUtf8)?;
        if name.contains(['\u{85}', '\u{2028}', '\u{2029}']) {
            return Err(EventError::LineEnd);
        }
        if RESERVED_EVENTS.contains(&name) {
            return Err(EventError::Reserved);
        }
        Ok(Some(EventName(name.into())))
    }
}

impl Deref for EventName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// The reason for which an event name is refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum EventError {
    /// More than 255 bytes.
    #[error("an event name is at most 255 bytes")]
    TooLong,
    /// CR, LF or NUL, which a server-sent event cannot carry, or U+0085, U+2028 or U+2029, at which
    /// many readers of lines cut.
    #[error("an event name must not contain CR, LF, NUL, U+0085, U+2028 or U+2029")]
    LineEnd,
    /// The name of an event of encke itself, or of the browser.
    #[error(
        "the event names `cursor`, `gap`, `end`, `expired`, `error` and `open` are reserved; \
         choose another"
    )]
    Reserved,
    /// Not UTF-8.
    #[error("an event name must be UTF-8")]
    NotUtf8,
}

/// The key that makes a retry of a publish harmless: 1 to 255 bytes of UTF-8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey(Box<str>);

impl IdempotencyKey {
    /// Parses a key.
    ///
    /// # Errors
    ///
    /// See [`IdempotencyKeyError`].
    pub fn parse(key: &[u8]) -> Result<IdempotencyKey, IdempotencyKeyError> {
        match std::str::from_utf8(key) {
            Ok(key) if (1..=MAX_KEY_BYTES).contains(&key.len()) => Ok(IdempotencyKey(key.into())),
            _ => Err(IdempotencyKeyError),
        }
    }

    /// Whether each part of a request may have a key of its own, made of this one.
    pub fn has_room_for_parts(&self) -> bool {
        self.0.len() <= MAX_KEY_BYTES_WITH_PARTS
    }

    /// The key of a part of the request that has this key: a line, by its number, or the end.
    pub fn of_part(&self, part: impl fmt::Display) -> IdempotencyKey {
        debug_assert!(self.has_room_for_parts());
        IdempotencyKey(format!("{}/{part}", self.0).into())
    }
}

impl Deref for IdempotencyKey {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// An idempotency key is refused: it is empty, longer than 255 bytes or not UTF-8.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("Idempotency-Key must be 1 to 255 bytes of UTF-8")]
pub struct IdempotencyKeyError;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn malformed_channel_names_are_refused() {
        let long = [b'x'; 251];
        for (name, expected) in [
            (&b"news"[..], Ok("news")),
            (b"a/b.c/..d", Ok("a/b.c/..d")),
            (" sp ace ".as_bytes(), Ok(" sp ace ")),
            ("grüße/世界".as_bytes(), Ok("grüße/世界")),
            (b"", Err(NameError::Length)),
            (&long, Err(NameError::Length)),
            (b"\xff", Err(NameError::Utf8)),
            (b"a\x00", Err(NameError::Character)),
            (b"a\x7f", Err(NameError::Character)),
            ("a\u{85}".as_bytes(), Err(NameError::Character)),
            (b"a,b", Err(NameError::Character)),
            (b"a*", Err(NameError::Character)),
            (b"/a", Err(NameError::Segment)),
            (b"a//b", Err(NameError::Segment)),
            (b"a/", Err(NameError::Segment)),
            (b".", Err(NameError::Segment)),
            (b"a/../b", Err(NameError::Segment)),
        ] {
            let borrowed = ChannelName::parse(name);
            assert_eq!(borrowed.as_deref().map_err(|&error| error), expected);
            assert_eq!(ChannelName::parse(name.to_vec()), borrowed, "{name:?}");
        }
        let name = |text: &'static str| ChannelName::parse(text.as_bytes()).unwrap();
        assert_ne!(name("e\u{301}"), name("\u{e9}"), "NFD is not NFC");
        assert_ne!(name("News"), name("news"));
    }

    #[test]
    fn malformed_event_names_are_refused() {
        let parse = |name: &[u8]| EventName::parse(name).map(|name| name.map(|n| n.to_string()));
        let good = |name: &str| Ok(Some(name.to_owned()));
        let longest = "e".repeat(MAX_EVENT_BYTES);
        assert_eq!(parse(b""), Ok(None));
        assert_eq!(parse(b"Cursor"), good("Cursor"));
        assert_eq!(parse(b"ERROR"), good("ERROR"));
        assert_eq!(parse(b"errors"), good("errors"));
        assert_eq!(parse(b"message"), good("message"));
        assert_eq!(parse(b" gap: \xc3\xa9"), good(" gap: \u{e9}"));
        assert_eq!(parse(longest.as_bytes()), good(&longest));
        assert_eq!(
            parse(&[b'e'; MAX_EVENT_BYTES + 1]),
            Err(EventError::TooLong)
        );
        for reserved in ["cursor", "gap", "end", "expired", "error", "open"] {
            assert_eq!(parse(reserved.as_bytes()), Err(EventError::Reserved));
            let detail = EventError::Reserved.to_string();
            assert!(detail.contains(&format!("`{reserved}`")), "{detail}");
        }
        assert_eq!(parse(b"a\rb"), Err(EventError::LineEnd));
        assert_eq!(parse(b"gap\n"), Err(EventError::LineEnd));
        assert_eq!(parse(b"a\0"), Err(EventError::LineEnd));
        for separator in ["\u{85}", "\u{2028}", "\u{2029}"] {
            let name = format!("a{separator}id: 1");
            assert_eq!(parse(name.as_bytes()), Err(EventError::LineEnd));
        }
        assert_eq!(parse(b"\xc3"), Err(EventError::NotUtf8));
    }

    #[test]
    fn malformed_idempotency_keys_are_refused() {
        let longest = "k".repeat(MAX_KEY_BYTES);
        for good in ["k", " ", "a/1", &longest] {
            assert_eq!(&*IdempotencyKey::parse(good.as_bytes()).unwrap(), good);
        }
        let too_long = [b'k'; MAX_KEY_BYTES + 1];
        for bad in [&b""[..], b"\xff", &too_long] {
            assert_eq!(IdempotencyKey::parse(bad), Err(IdempotencyKeyError));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(bytes: Vec<u8>) {
            if let Ok(name) = ChannelName::parse(&bytes[..]) {
                prop_assert_eq!(name.as_bytes(), &bytes[..]);
            }
            if let Ok(Some(name)) = EventName::parse(&bytes) {
                prop_assert_eq!(name.as_bytes(), &bytes[..]);
            }
            if let Ok(key) = IdempotencyKey::parse(&bytes) {
                prop_assert_eq!(key.as_bytes(), &bytes[..]);
            }
        }
    }
}
