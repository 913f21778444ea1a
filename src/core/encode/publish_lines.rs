//! Messages published as NDJSON: one object per line, with `channel` and `data` and, where it has
//! them, `event` and `"encoding":"base64"`.
//!
//! Owns the form of a line. It never judges a channel's name beyond its being a string, and never
//! publishes.
//!
//! Invariant: a message object that encke wrote, read back as a line, is the same message. Hence
//! `id` and other members that a line does not need are ignored.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use memchr::memchr_iter;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::data::{Data, EventError, check_event};

/// One message to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Where to; not checked yet.
    pub channel: Box<str>,
    /// Its event name, checked.
    pub event: Option<Box<str>>,
    /// What it says.
    pub data: Data,
}

/// Reads a whole body, to publish all of it or nothing.
///
/// # Errors
///
/// There is no message at all, or a line is refused; the first such line counts.
pub fn parse(body: &[u8], max_message_bytes: usize) -> Result<Vec<Line>, LineError> {
    let mut lines = Vec::new();
    let mut start = 0;
    let ends = memchr_iter(b'\n', body).chain([body.len()]);
    for (place, end) in ends.enumerate() {
        match parse_line(&body[start..end], max_message_bytes) {
            Ok(line) => lines.extend(line),
            Err(fault) => {
                let number = place + 1;
                return Err(LineError::At { number, fault });
            }
        }
        start = end + 1;
    }
    if lines.is_empty() {
        return Err(LineError::NoLine);
    }
    Ok(lines)
}

/// Reads one line, with or without its line end; `None` if there is only white space.
///
/// # Errors
///
/// See [`LineFault`].
pub fn parse_line(line: &[u8], max_message_bytes: usize) -> Result<Option<Line>, LineFault> {
    let text = std::str::from_utf8(line).map_err(|_| LineFault::NotUtf8)?;
    match text.trim_ascii_start().bytes().next() {
        None => return Ok(None),
        // Serde would take an array of the members as well.
        Some(b'{') => {}
        Some(_) => return Err(LineFault::NotObject),
    }
    let members = serde_json::from_str::<Members<'_>>(text).map_err(LineFault::Json)?;
    let data = members.data()?;
    if data.len() > max_message_bytes {
        return Err(LineFault::TooLarge { max_message_bytes });
    }
    let event = members.event.as_deref().unwrap_or_default();
    let event = check_event(event.as_bytes()).map_err(LineFault::Event)?;
    Ok(Some(Line {
        event: event.map(Box::from),
        channel: members.channel,
        data,
    }))
}

/// A line's members as they stand.
#[derive(Deserialize)]
struct Members<'a> {
    channel: Box<str>,
    /// Not an option, since `null` is data.
    #[serde(borrow)]
    data: &'a RawValue,
    event: Option<Box<str>>,
    encoding: Option<Box<str>>,
}

impl Members<'_> {
    fn data(&self) -> Result<Data, LineFault> {
        let json = self.data.get();
        let is_string = json.starts_with('"');
        match self.encoding.as_deref() {
            None if is_string => Ok(Data::Text(string(json)?)),
            None => Ok(Data::checked_json(json)),
            Some("base64") if is_string => {
                let bytes = STANDARD
                    .decode(&*string(json)?)
                    .map_err(LineFault::Base64)?;
                Ok(Data::Binary(bytes.into()))
            }
            Some("base64") => Err(LineFault::NotString),
            Some(_) => Err(LineFault::Encoding),
        }
    }
}

/// What a JSON string says. It can be valid JSON and yet no text: half a surrogate pair.
fn string(json: &str) -> Result<Box<str>, LineFault> {
    serde_json::from_str(json).map_err(LineFault::Data)
}

/// Why a body is refused.
#[derive(Debug)]
pub enum LineError {
    /// There is no line but empty ones.
    NoLine,
    /// A line is refused.
    At {
        /// Which one, from 1; empty lines count.
        number: usize,
        /// Why.
        fault: LineFault,
    },
}

impl LineError {
    /// What is wrong, in which line, and what to do.
    pub fn detail(&self) -> String {
        self.to_string()
    }

    /// Whether it is a matter of size (413) rather than of form (400).
    pub fn is_too_large(&self) -> bool {
        matches!(
            self,
            LineError::At {
                fault: LineFault::TooLarge { .. },
                ..
            }
        )
    }
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LineError::NoLine => {
                f.write_str("there is no message; send one {\"channel\":…,\"data\":…} per line")
            }
            LineError::At { number, fault } => write!(f, "line {number}: {fault}"),
        }
    }
}

impl std::error::Error for LineError {}

/// Why a line is refused.
#[derive(Debug)]
pub enum LineFault {
    /// Not UTF-8.
    NotUtf8,
    /// It does not begin as an object.
    NotObject,
    /// Not JSON, or a member is missing, given twice or of the wrong type.
    Json(serde_json::Error),
    /// The data is a JSON string that is no text.
    Data(serde_json::Error),
    /// The encoding says base64, and the data is no string.
    NotString,
    /// The encoding says base64, and the data is not.
    Base64(base64::DecodeError),
    /// An encoding other than base64.
    Encoding,
    /// The event name.
    Event(EventError),
    /// The data is larger than a message may be.
    TooLarge {
        /// What a message may be.
        max_message_bytes: usize,
    },
}

impl LineFault {
    /// What is wrong and what to do.
    pub fn detail(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for LineFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LineFault::NotUtf8 => f.write_str("it is not UTF-8"),
            LineFault::NotObject => f.write_str("it must be a JSON object"),
            LineFault::Json(error) => write!(f, "{} at column {}", cause(error), error.column()),
            LineFault::Data(error) => write!(
                f,
                "`data` is no text: {} at column {} of the string",
                cause(error),
                error.column()
            ),
            LineFault::NotString => {
                f.write_str("`data` must be a string where `encoding` is given")
            }
            LineFault::Base64(error) => write!(
                f,
                "`data` is not padded base64 of the standard alphabet: {error}"
            ),
            LineFault::Encoding => f.write_str("`encoding` must be \"base64\" or left out"),
            LineFault::Event(error) => error.fmt(f),
            LineFault::TooLarge { max_message_bytes } => {
                write!(f, "a message is at most {max_message_bytes} bytes")
            }
        }
    }
}

/// What serde says, without its place: its lines are not the body's.
fn cause(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&place).map(str::to_owned).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::samples::{json, sample, text};
    use super::super::{ndjson, write_json_string};
    use super::*;

    const MAX: usize = 1 << 20;

    fn one(line: &str) -> Line {
        parse_line(line.as_bytes(), MAX).unwrap().unwrap()
    }

    #[test]
    fn data_of_every_kind() {
        for (member, expected) in [
            (r#""a\nb""#, Data::Text("a\nb".into())),
            (r#""""#, Data::Text("".into())),
            ("null", Data::Json("null".into())),
            ("1.00E400", Data::Json("1.00E400".into())),
            ("{ \"a\" : [1.0] }", Data::Json("{ \"a\" : [1.0] }".into())),
            ("[\r1\r]", Data::Json("[1]".into())),
            (
                r#""/wA=","encoding":"base64""#,
                Data::Binary((*b"\xff\0").into()),
            ),
            (r#""","encoding":"base64""#, Data::Binary((*b"").into())),
            (
                r#""a","encoding":null,"event":null"#,
                Data::Text("a".into()),
            ),
        ] {
            let line = one(&format!(" {{\"channel\":\"c\",\"data\":{member}}}\r"));
            assert_eq!(
                (&*line.channel, line.event, line.data),
                ("c", None, expected)
            );
        }
        let line = one(r#"{"\u0065vent":"e","id":[{}],"data":0,"x":{"data":1},"channel":"\n"}"#);
        assert_eq!((&*line.channel, line.event.as_deref()), ("\n", Some("e")));
    }

    #[test]
    fn faults_are_named() {
        for (line, part) in [
            ("1", "must be a JSON object"),
            (r#"["c",1]"#, "must be a JSON object"),
            (r#"{"channel":"c"}"#, "missing field `data` at column 15"),
            (r#"{"data":1}"#, "missing field `channel`"),
            (r#"{"channel":1,"data":1}"#, "invalid type: integer `1`"),
            (r#"{"channel":null,"data":1}"#, "invalid type: null"),
            (
                r#"{"channel":"c","data":1,"data":1}"#,
                "duplicate field `data`",
            ),
            (
                r#"{"channel":"c","data":1,"ch\u0061nnel":"c"}"#,
                "duplicate field `channel`",
            ),
            (
                r#"{"channel":"c","data":1,"event":null,"event":"e"}"#,
                "duplicate field `event`",
            ),
            (
                r#"{"channel":"c","data":1,}"#,
                "trailing comma at column 25",
            ),
            (r#"{"channel":"c","data":1} {}"#, "trailing characters"),
            (r#"{"channel":"c","data":"#, "EOF"),
            (r#"{"channel":"c","data":"\ud800"}"#, "`data` is no text"),
            (
                r#"{"channel":"c","data":"a","encoding":"base64"}"#,
                "not padded base64",
            ),
            (
                r#"{"channel":"c","data":"_w==","encoding":"base64"}"#,
                "not padded base64",
            ),
            (
                r#"{"channel":"c","data":1,"encoding":"base64"}"#,
                "must be a string",
            ),
            (
                r#"{"channel":"c","data":"a","encoding":"hex"}"#,
                "must be \"base64\"",
            ),
            (r#"{"channel":"c","data":1,"event":"gap"}"#, "encke's own"),
            (
                r#"{"channel":"c","data":1,"event":"a\rb"}"#,
                "CR, LF or NUL",
            ),
            (r#"{"channel":"c","data":1,"event":1}"#, "invalid type"),
        ] {
            let detail = parse_line(line.as_bytes(), MAX).unwrap_err().detail();
            assert!(detail.contains(part), "{line}: {detail}");
            assert!(!detail.contains(" line "), "{detail}");
        }
        assert!(matches!(
            parse_line(b"{\"\xff\"", MAX),
            Err(LineFault::NotUtf8)
        ));
    }

    #[test]
    fn sizes_are_those_of_the_data() {
        let line = br#"{"channel":"c","data":"\u0061\u0062"}"#;
        assert!(parse_line(line, 2).is_ok());
        let error = parse(line, 1).unwrap_err();
        assert!(error.is_too_large());
        assert_eq!(error.detail(), "line 1: a message is at most 1 bytes");
    }

    #[test]
    fn bodies() {
        let line = r#"{"channel":"c","data":1}"#;
        let body = format!("\n{line}\r\n \t\r\n{line}\n\n{line}");
        assert_eq!(parse(body.as_bytes(), MAX).unwrap(), vec![one(line); 3]);
        for empty in ["", "\n", " \r\n\r\n\t"] {
            assert!(matches!(
                parse(empty.as_bytes(), MAX),
                Err(LineError::NoLine)
            ));
        }
        let error = parse(format!("{line}\r\n\n{line}\n{{}}\n!").as_bytes(), MAX).unwrap_err();
        assert_eq!(
            error.detail(),
            "line 4: missing field `channel` at column 2"
        );
        assert!(!error.is_too_large());
    }

    #[test]
    fn nesting_costs_no_stack() {
        let deep = ["[".repeat(MAX), "]".repeat(MAX)].concat();
        let line = format!("{{\"x\":{deep},\"channel\":\"c\",\"data\":{deep}}}");
        let line = parse_line(line.as_bytes(), usize::MAX).unwrap().unwrap();
        assert_eq!(line.data, Data::Json(deep.into()));
    }

    proptest! {
        #[test]
        fn published_objects_can_be_published_again(
            samples in proptest::collection::vec(sample(), 1..4),
        ) {
            let mut body = Vec::new();
            for sample in &samples {
                ndjson::line(&mut body, &sample.content());
            }
            let lines = parse(&body, MAX).unwrap();
            prop_assert_eq!(lines.len(), samples.len());
            for (line, sample) in lines.iter().zip(&samples) {
                prop_assert_eq!(&*line.channel, &*sample.channel);
                prop_assert_eq!(line.event.as_deref(), sample.event.as_deref());
                match &sample.data {
                    // A message that is a JSON string and one that is text look the same.
                    Data::Json(json) if json.starts_with('"') => {
                        let text = serde_json::from_str::<Box<str>>(json).unwrap();
                        prop_assert_eq!(&line.data, &Data::Text(text));
                    }
                    data => prop_assert_eq!(&line.data, data),
                }
            }
        }

        #[test]
        fn json_is_kept_as_in_a_publish_of_its_own(json in json(), channel in text()) {
            let mut line = b"{\"channel\":".to_vec();
            write_json_string(&mut line, &channel);
            line.extend_from_slice(b",\"data\":");
            line.extend_from_slice(json.as_bytes());
            line.push(b'}');
            let line = parse_line(&line, MAX).unwrap().unwrap();
            let alone = Data::accept(Some(b"application/json"), json.as_bytes()).unwrap();
            prop_assert_eq!(&*line.channel, &channel);
            if !matches!(line.data, Data::Text(_)) {
                prop_assert_eq!(line.data, alone);
            }
        }

        #[test]
        fn nothing_panics(body: Vec<u8>, member in text()) {
            let _ = parse(&body, MAX).map_err(|error| error.detail());
            let line = format!("{{\"channel\":\"c\",\"data\":{member}}}\n{member}");
            let _ = parse(line.as_bytes(), 3).map_err(|error| error.detail());
        }
    }
}
