//! JSON as text, checked once.
//!
//! Owns the rules beyond the grammar (RFC 8259): the maximum depth, the refusal of unpaired
//! surrogates, and the characters that are rewritten. It never builds a value, so digits and
//! members stay as they were sent, and deep nesting uses no stack.

use std::borrow::Cow;
use std::ops::Deref;

use memchr::{memchr, memchr2, memchr2_iter};
use serde::de::IgnoredAny;
use thiserror::Error;

/// Maximum levels of arrays and objects. Common parsers stop between 100 and 1,000.
pub const MAX_JSON_DEPTH: usize = 128;

/// U+FEFF in UTF-8. Some programs put it before every text that they save.
pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// JSON as its text: valid, at most [`MAX_JSON_DEPTH`] levels deep, without an unpaired surrogate,
/// and on one line.
///
/// It is the text that was sent, with two exceptions that change no value: raw line ends between
/// tokens are removed, and U+0085, U+2028 and U+2029 are escaped, because many line readers end a
/// line there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Json(Box<str>);

impl Json {
    /// Parses JSON; a byte order mark before it is skipped.
    ///
    /// # Errors
    ///
    /// See [`JsonError`].
    pub fn parse(text: impl AsRef<[u8]>) -> Result<Json, JsonError> {
        let given = text.as_ref();
        let bytes = given.strip_prefix(BYTE_ORDER_MARK).unwrap_or(given);
        let text = std::str::from_utf8(bytes).map_err(|error| JsonError::NotUtf8 {
            valid_bytes: given.len() - bytes.len() + error.valid_up_to(),
        })?;
        if text.trim_ascii().is_empty() {
            return Err(JsonError::Empty);
        }
        serde_json::from_str::<IgnoredAny>(text)
            .map_err(|error| JsonError::Syntax(error.into()))?;
        Json::from_valid(text)
    }

    /// Whether these bytes are JSON as [`Json::parse`] keeps it: it would change nothing in them.
    pub(crate) fn is_written(bytes: &[u8]) -> bool {
        // Of these, nothing is left to be checked that needs a copy.
        let is_plain = bytes.is_ascii() && memchr2(b'\r', b'\n', bytes).is_none();
        let ends = [bytes.first(), bytes.last()].into_iter().flatten();
        let is_trimmed = ends.filter(|end| end.is_ascii_whitespace()).count() == 0;
        if !is_plain || !is_trimmed {
            return Json::parse(bytes).is_ok_and(|json| json.as_bytes() == bytes);
        }
        serde_json::from_slice::<IgnoredAny>(bytes).is_ok()
            && !is_too_deep(bytes)
            && UnpairedSurrogate::find(bytes).is_none()
    }

    /// JSON that was checked before; `None` where it plainly was not, as it is empty or has line
    /// ends.
    pub(crate) fn trusted(text: &str) -> Option<Json> {
        let is_line = memchr2(b'\r', b'\n', text.as_bytes()).is_none();
        (is_line && !text.is_empty()).then(|| Json(text.into()))
    }

    /// Checks the further rules on text that a parser has accepted as JSON.
    pub(super) fn from_valid(text: &str) -> Result<Json, JsonError> {
        if is_too_deep(text.as_bytes()) {
            return Err(JsonError::TooDeep);
        }
        if let Some(unpaired) = UnpairedSurrogate::find(text.as_bytes()) {
            return Err(JsonError::Surrogate(unpaired));
        }
        let text = text.trim_ascii();
        // A raw line end is between tokens, as inside a string it can only be escaped.
        let text = match memchr2(b'\r', b'\n', text.as_bytes()) {
            None => Cow::Borrowed(text),
            Some(_) => Cow::Owned(text.split(['\r', '\n']).collect::<String>()),
        };
        Ok(Json(match escape_separators(&text) {
            Some(escaped) => escaped.into(),
            None => text.into(),
        }))
    }
}

impl Deref for Json {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// Why a text is not accepted as JSON.
#[derive(Clone, Debug, Error)]
pub enum JsonError {
    /// Only white space.
    #[error("it is empty; the shortest JSON is a value such as `null` or `\"\"`")]
    Empty,
    /// JSON is UTF-8 (RFC 8259, section 8.1).
    #[error("it is not UTF-8 after its first {valid_bytes} bytes")]
    NotUtf8 {
        /// Bytes before the first that is not UTF-8.
        valid_bytes: usize,
    },
    /// Not in the grammar; the error has the position.
    #[error("{0}")]
    Syntax(std::sync::Arc<serde_json::Error>),
    /// More than [`MAX_JSON_DEPTH`] arrays and objects inside each other.
    #[error("it is nested deeper than {MAX_JSON_DEPTH} levels")]
    TooDeep,
    /// An escape that is half a character.
    #[error("{0}")]
    Surrogate(UnpairedSurrogate),
}

/// An escape of half a surrogate pair without the other half (RFC 8259, section 8.2). Strict
/// parsers refuse a text that contains one.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("unpaired surrogate \\u{code:04x} at {}column {column}", line_if_many(*.line))]
pub struct UnpairedSurrogate {
    /// The code unit, from 0xd800 to 0xdfff.
    pub code: u16,
    /// Its line, from 1.
    pub line: usize,
    /// The position of its backslash in the line, in bytes, from 1.
    pub column: usize,
}

fn line_if_many(line: usize) -> String {
    match line {
        1 => String::new(),
        _ => format!("line {line} "),
    }
}

impl UnpairedSurrogate {
    /// Finds the first one. The text need not be valid JSON.
    pub(super) fn find(text: &[u8]) -> Option<UnpairedSurrogate> {
        let unit = |at: usize| code_unit(text.get(at..)?);
        let mut at = 0;
        loop {
            at += memchr(b'\\', text.get(at..)?)?;
            at += match unit(at) {
                Some(0xd800..=0xdbff) if matches!(unit(at + 6), Some(0xdc00..=0xdfff)) => 12,
                Some(code @ 0xd800..=0xdfff) => {
                    let before = &text[..at];
                    let line_start = memchr::memrchr(b'\n', before).map_or(0, |end| end + 1);
                    return Some(UnpairedSurrogate {
                        code,
                        line: 1 + memchr::memchr_iter(b'\n', before).count(),
                        column: 1 + at - line_start,
                    });
                }
                Some(_) => 6,
                // Any other escape is two bytes.
                None => 2,
            };
        }
    }
}

/// The code unit of the escape `\uXXXX` at the start of the text.
fn code_unit(text: &[u8]) -> Option<u16> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    digits.iter().try_fold(0, |code, &digit| {
        let digit = (digit as char).to_digit(16)?;
        Some(code << 4 | digit as u16)
    })
}

/// Whether valid JSON has too many levels.
fn is_too_deep(json: &[u8]) -> bool {
    // Cheap test first: most JSON has fewer brackets than the maximum depth. The masked bit is the
    // difference between `[` and `{`.
    let opening = json.iter().filter(|&&byte| byte & !0x20 == b'[').count();
    opening > MAX_JSON_DEPTH && json_depth(json) > MAX_JSON_DEPTH
}

/// The number of levels of valid JSON.
pub(crate) fn json_depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut is_escaped) = (0_usize, 0, false, false);
    for &byte in json {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_string => is_escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Escapes U+0085, U+2028 and U+2029; `None` if there are none. They are not white space
/// of JSON, so in valid JSON they occur only inside strings.
pub fn escape_separators(json: &str) -> Option<String> {
    // Cheaper than the search below, and sufficient for nearly every text.
    if json.is_ascii() {
        return None;
    }
    let separator = |at: usize| match json.as_bytes()[at..] {
        [0xc2, 0x85, ..] => Some(("\\u0085", 2)),
        [0xe2, 0x80, 0xa8, ..] => Some(("\\u2028", 3)),
        [0xe2, 0x80, 0xa9, ..] => Some(("\\u2029", 3)),
        _ => None,
    };
    let mut found = memchr2_iter(0xc2, 0xe2, json.as_bytes())
        .filter_map(|at| Some((at, separator(at)?)))
        .peekable();
    found.peek()?;
    let mut escaped = String::with_capacity(json.len() + 16);
    let mut kept = 0;
    for (at, (escape, length)) in found {
        escaped.push_str(&json[kept..at]);
        escaped.push_str(escape);
        kept = at + length;
    }
    escaped.push_str(&json[kept..]);
    Some(escaped)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::encode::samples;

    fn error(json: impl AsRef<[u8]>) -> String {
        Json::parse(json).unwrap_err().to_string()
    }

    fn nested(levels: usize) -> String {
        ["[".repeat(levels), "]".repeat(levels)].concat()
    }

    #[test]
    fn bad_json_is_refused_with_its_position() {
        for (json, part) in [
            (&b""[..], "empty"),
            (b" \r\n\t", "empty"),
            (b"\xef\xbb\xbf", "empty"),
            (b"{\"a\":\n 1,}", "line 2 column 4"),
            (b"1 2", "line 1 column 3"),
            (b"[1", "line 1 column 2"),
            (b"\"a\nb\"", "control character"),
            (b"\"\x01\"", "control character"),
            (b"01", "line 1 column 2"),
            (b"NaN", "line 1 column 1"),
            (b"\xef\xbb\xbf\xef\xbb\xbf1", "line 1 column 1"),
            (b" \xef\xbb\xbf1", "line 1 column 2"),
            (b"\"ab\xff\"", "first 3 bytes"),
            (b"\xef\xbb\xbf\"\xff\"", "first 4 bytes"),
        ] {
            let error = error(json);
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn byte_order_mark_before_json_is_skipped() {
        assert_eq!(&*Json::parse("\u{feff} [1]").unwrap(), "[1]");
        assert_eq!(&*Json::parse("\"\u{feff}\"").unwrap(), "\"\u{feff}\"");
    }

    #[test]
    fn json_is_at_most_128_levels_deep() {
        assert_eq!(&*Json::parse(nested(128)).unwrap(), nested(128));
        let objects = format!("{}1{}", "{\"[\":".repeat(128), "}".repeat(128));
        assert!(Json::parse(&objects).is_ok());
        assert!(Json::parse(format!("[{objects}]")).is_err());
        for levels in [129, 1 << 20] {
            assert_eq!(
                error(nested(levels)),
                "it is nested deeper than 128 levels",
                "{levels}"
            );
        }
        let wide = format!("[{}[]]", "[],{},".repeat(1_000));
        assert!(Json::parse(wide).is_ok());
        assert!(Json::parse(format!("\"\\\"{}\"", "[".repeat(1_000))).is_ok());
    }

    #[test]
    fn unpaired_surrogates_are_refused_with_their_position() {
        for (json, expected) in [
            (
                r#"{"emo":"\ud83d"}"#,
                r"unpaired surrogate \ud83d at column 9",
            ),
            (r#""\uD83D""#, r"unpaired surrogate \ud83d at column 2"),
            (r#""\ud83d\ud83d\ude00""#, r"\ud83d at column 2"),
            (r#""\ud83d\n""#, r"\ud83d at column 2"),
            (r#""\ud83dx\ude00""#, r"\ud83d at column 2"),
            (r#""\ude00\ud83d""#, r"\ude00 at column 2"),
            (r#""\\\udfff""#, r"\udfff at column 4"),
            (r#"{"\ud800":1}"#, r"\ud800 at column 3"),
            ("[1,\r\n \"\\udead\"]", r"\udead at line 2 column 3"),
        ] {
            let error = error(json);
            assert!(error.contains(expected), "{error}");
        }
        for json in [
            r#""\ud83d\ude00""#,
            r#""\uD83D\uDE00""#,
            r#""\\ud83d""#,
            r#""\ud7ff\ue000""#,
            r#""\"\\""#,
        ] {
            assert_eq!(&*Json::parse(json).unwrap(), json);
        }
    }

    #[test]
    fn separators_are_escaped() {
        let json = Json::parse("[\"a\u{85}\u{2028}b\",\"\u{2029}\u{2027}\u{84}\u{c2}\"]").unwrap();
        assert_eq!(
            &*json,
            "[\"a\\u0085\\u2028b\",\"\\u2029\u{2027}\u{84}\u{c2}\"]"
        );
        assert_eq!(escape_separators("\u{c2}\u{2026}"), None);
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

    /// Levels, by walking the value.
    fn levels(value: &Value) -> usize {
        match value {
            Value::Array(items) => 1 + items.iter().map(levels).max().unwrap_or(0),
            Value::Object(map) => 1 + map.values().map(levels).max().unwrap_or(0),
            _ => 0,
        }
    }

    #[test]
    fn written_json_is_what_parsing_leaves_as_it_is() {
        for (text, expected) in [
            ("[1, 2]", true),
            ("\"\u{e9}\"", true),
            ("", false),
            (" 1", false),
            ("1 ", false),
            ("[\n1]", false),
            ("\u{feff}1", false),
            ("\"\u{2028}\"", false),
            ("\"\\ud800\"", false),
            ("{", false),
        ] {
            assert_eq!(Json::is_written(text.as_bytes()), expected, "{text:?}");
        }
        let deep = |levels| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(Json::is_written(deep(MAX_JSON_DEPTH).as_bytes()));
        assert!(!Json::is_written(deep(MAX_JSON_DEPTH + 1).as_bytes()));
    }

    proptest! {
        #[test]
        fn json_keeps_every_token(json in samples::json()) {
            let kept = Json::parse(&json).unwrap();
            let is_cut = kept.contains(['\r', '\n', '\u{85}', '\u{2028}', '\u{2029}']);
            prop_assert!(!is_cut);
            prop_assert_eq!(kept.trim(), &*kept);
            let escaped = json
                .replace('\u{85}', "\\u0085")
                .replace('\u{2028}', "\\u2028")
                .replace('\u{2029}', "\\u2029");
            prop_assert_eq!(tokens(&kept), tokens(&escaped));
            let without = escaped.replace(['\r', '\n'], "");
            prop_assert_eq!(without.trim_ascii(), &*kept);
            prop_assert_eq!(&Json::parse(&*kept).unwrap(), &kept);
            prop_assert!(Json::is_written(kept.as_bytes()));
            prop_assert_eq!(Json::is_written(json.as_bytes()), *json == *kept);
        }

        #[test]
        fn depth_is_that_of_the_value(json in samples::json()) {
            let json = json.replace("1E400", "1").replace("1e-999", "1");
            let value = serde_json::from_str::<Value>(&json).unwrap();
            // A key given twice keeps its last value only.
            prop_assert!(json_depth(json.as_bytes()) >= levels(&value));
            prop_assert_eq!(json_depth(value.to_string().as_bytes()), levels(&value));
        }

        #[test]
        fn surrogates_are_found_as_a_strict_reader_finds_them(
            pieces in proptest::collection::vec(
                proptest::sample::select(vec![
                    "\\ud83d", "\\uDE00", "\\u0041", "\\\\", "\\\"", "\\n", "u", "d83d", "\u{e9}",
                ]),
                0..8,
            ),
        ) {
            let json = format!("\"{}\"", pieces.concat());
            let strict = serde_json::from_str::<String>(&json).is_ok();
            prop_assert_eq!(Json::parse(&json).is_ok(), strict);
        }

        #[test]
        fn any_bytes_are_parsed_or_refused(bytes: Vec<u8>, text in samples::text()) {
            let _ = Json::parse(&bytes).map_err(|error| error.to_string());
            let _ = UnpairedSurrogate::find(&bytes);
            let _ = Json::parse(&text).map_err(|error| error.to_string());
        }
    }
}
