//! The commands that the client of a WebSocket sends in frames.
//!
//! Owns the members of a command. It executes none.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::engine::response::Problem;
use crate::engine::routing::{Names, Since, distinct_names, since};
use crate::message::lines::{self, LineError};
use crate::message::{ChannelName, Data, Draft, EventName, IdempotencyKey, Numbering};

/// The longest `ref`, in bytes of JSON, without the quotes of a string.
const MAX_REF_BYTES: usize = 64;

/// Channels that a command may name, repetitions included.
const MAX_GIVEN: usize = 1_024;

/// The characters of what is wrong that a refusal repeats.
const MAX_REPEATED_CHARS: usize = 300;

/// A command.
#[derive(Debug)]
pub(super) enum Command<'t> {
    /// To follow these channels instead of the present ones.
    Follow {
        names: Names<'static>,
        since: Option<Since>,
    },
    /// To publish a message.
    Publish(Draft<'t>),
}

/// The members of a command, unchecked. Unknown ones are ignored.
#[derive(Deserialize)]
struct Members<'a> {
    channels: Option<Vec<Box<str>>>,
    since: Option<Box<str>>,
    #[serde(borrow)]
    publish: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    event: Option<Text<'a>>,
    #[serde(borrow)]
    key: Option<Text<'a>>,
    #[serde(borrow)]
    encoding: Option<Text<'a>>,
    #[serde(default)]
    end: bool,
    #[serde(borrow, rename = "ref", default, deserialize_with = "present")]
    reference: Option<&'a RawValue>,
}

/// A string, borrowed if it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// A member that is there, also if it is `null`.
fn present<'de, D: Deserializer<'de>>(source: D) -> Result<Option<&'de RawValue>, D::Error> {
    Deserialize::deserialize(source).map(Some)
}

/// Parses a frame: its `ref`, as JSON, if it has one that can be repeated in the answer, and the
/// command.
pub(super) fn parse<'t>(
    text: &'t str,
    numbering: &Numbering,
) -> (Option<&'t str>, Result<Command<'t>, Problem>) {
    // Serde would also accept an array of the members.
    if !text.trim_ascii_start().starts_with('{') {
        return (None, Err(Problem::bad(USAGE)));
    }
    let members: Members<'t> = match serde_json::from_str(text) {
        Ok(members) => members,
        Err(error) => {
            let error = error.to_string();
            let detail = format!("the frame is refused: {}", beginning(&error));
            return (reference_alone(text), Err(Problem::bad(detail)));
        }
    };
    match reference(members.reference) {
        Ok(reference) => (reference, members.command(numbering)),
        Err(problem) => (None, Err(problem)),
    }
}

const USAGE: &str = "send {\"channels\":[…]} to follow other channels, or \
                     {\"publish\":CHANNEL,\"data\":…} to publish";

/// The `ref` of a command whose other members are of wrong types: its sender waits for the answer
/// by it.
fn reference_alone(text: &str) -> Option<&str> {
    #[derive(Deserialize)]
    struct Alone<'a> {
        #[serde(borrow, rename = "ref")]
        reference: Option<&'a RawValue>,
    }
    let alone: Alone<'_> = serde_json::from_str(text).ok()?;
    reference(alone.reference).ok().flatten()
}

fn reference(raw: Option<&RawValue>) -> Result<Option<&str>, Problem> {
    let Some(raw) = raw.map(RawValue::get) else {
        return Ok(None);
    };
    let is_plain = raw.starts_with(|first: char| matches!(first, '"' | '-' | '0'..='9'));
    match is_plain && raw.trim_matches('"').len() <= MAX_REF_BYTES {
        true => Ok(Some(raw)),
        false => Err(Problem::bad(format!(
            "`ref` must be a number or a string of at most {MAX_REF_BYTES} bytes"
        ))),
    }
}

impl<'a> Members<'a> {
    fn command(self, numbering: &Numbering) -> Result<Command<'a>, Problem> {
        match (self.channels, self.publish) {
            (Some(channels), None) if channels.len() > MAX_GIVEN => {
                let detail = format!("a command names at most {MAX_GIVEN} channels, twice or not");
                Err(Problem::bad(detail))
            }
            (Some(channels), None) => {
                let names = distinct_names(channels.iter().map(|name| owned_name(name)))?;
                let given = self.since.as_deref().filter(|text| !text.is_empty());
                let since = given
                    .map(|text| since(text.as_bytes(), numbering))
                    .transpose()?;
                Ok(Command::Follow { names, since })
            }
            (None, Some(channel)) => {
                let is_described = self.event.is_some() || self.encoding.is_some();
                let kind = lines::kind(self.data.is_some(), self.end, is_described);
                let encoding = self.encoding.as_ref().map(|Text(encoding)| &**encoding);
                let event = self.event.as_ref().map_or("", |Text(event)| event);
                let key = self.key.as_ref();
                let key = key.map(|Text(key)| IdempotencyKey::parse(key.as_bytes()));
                Ok(Command::Publish(Draft {
                    channel: channel_name(channel)?,
                    kind: kind.map_err(refused)?,
                    data: match self.data {
                        Some(data) => lines::data(data, encoding).map_err(refused)?,
                        None => Data::from(""),
                    },
                    event: EventName::parse(event.as_bytes())
                        .map_err(|error| Problem::bad(error.to_string()))?,
                    key: key
                        .transpose()
                        .map_err(|error| Problem::bad(error.to_string()))?,
                }))
            }
            _ => Err(Problem::bad(USAGE)),
        }
    }
}

fn refused(error: LineError) -> Problem {
    Problem::bad(error.to_string())
}

fn channel_name(Text(name): Text<'_>) -> Result<ChannelName<'_>, Problem> {
    match name {
        Cow::Borrowed(name) => parsed_name(name),
        Cow::Owned(name) => owned_name(&name),
    }
}

fn owned_name(name: &str) -> Result<ChannelName<'static>, Problem> {
    parsed_name(name).map(ChannelName::into_owned)
}

fn parsed_name(name: &str) -> Result<ChannelName<'_>, Problem> {
    ChannelName::parse(name.as_bytes()).map_err(|error| {
        let name = beginning(name);
        Problem::bad(format!("channel {name:?}: {error}"))
    })
}

/// The beginning of a text that a refusal repeats: a client could have it sent back many times as
/// long, escaped.
fn beginning(text: &str) -> &str {
    let end = text.char_indices().nth(MAX_REPEATED_CHARS);
    &text[..end.map_or(text.len(), |(end, _)| end)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Epoch;

    fn parsed(text: &str) -> (Option<&str>, Result<Command<'_>, Problem>) {
        parse(text, &Numbering::Single(Epoch::from_seed(10)))
    }

    #[test]
    fn channels_and_a_beginning() {
        for (text, expected, beginning) in [
            (r#"{"channels":["a","b/ü"]}"#, &["a", "b/ü"][..], None),
            (r#"{"channels":["a","a"],"other":{}}"#, &["a"], None),
            (r#" {"channels":[],"since":""}"#, &[], None),
            (
                r#"{"since":"now","channels":["a"]}"#,
                &["a"],
                Some(Since::Now),
            ),
            (
                r#"{"since":"other-1","channels":["a"]}"#,
                &["a"],
                Some(Since::Unknown),
            ),
        ] {
            let (_, Ok(Command::Follow { names, since })) = parsed(text) else {
                panic!("{text}");
            };
            let names: Vec<&str> = names.iter().map(|name| &**name).collect();
            assert_eq!((&names[..], since), (expected, beginning), "{text}");
        }
    }

    #[test]
    fn messages() {
        let text = |text: &str| Data::Text(text.into());
        for (frame, data, event, key) in [
            (r#"{"publish":"a","data":"x"}"#, text("x"), None, None),
            (
                r#"{"publish":"a","data":null}"#,
                Data::json("null").unwrap(),
                None,
                None,
            ),
            (
                r#"{"publish":"a","data":{"b":1.0}}"#,
                Data::json(r#"{"b":1.0}"#).unwrap(),
                None,
                None,
            ),
            (
                r#"{"publish":"a","data":"AP8=","encoding":"base64","event":"e","key":"k"}"#,
                Data::Binary((*b"\x00\xff").into()),
                Some("e"),
                Some("k"),
            ),
            (
                r#"{"publish":"a","data":"","event":""}"#,
                text(""),
                None,
                None,
            ),
        ] {
            let (_, Ok(Command::Publish(draft))) = parsed(frame) else {
                panic!("{frame}");
            };
            assert_eq!(draft.data, data, "{frame}");
            assert_eq!(draft.event.as_deref(), event, "{frame}");
            assert_eq!(draft.key.as_deref(), key, "{frame}");
        }
    }

    #[test]
    fn reference_is_repeated_as_it_came() {
        for (raw, is_allowed) in [
            ("1", true),
            ("-1.50e3", true),
            (r#""a\u00e9""#, true),
            ("null", false),
            ("[1]", false),
            ("true", false),
            (&format!("\"{}\"", "x".repeat(64)), true),
            (&format!("\"{}\"", "x".repeat(65)), false),
        ] {
            let text = format!(r#"{{"ref": {raw} ,"channels":["a"]}}"#);
            let (reference, command) = parsed(&text);
            assert_eq!(
                (reference, command.is_ok()),
                (is_allowed.then_some(raw), is_allowed)
            );
        }
        // Also if the rest is refused.
        for (text, expected) in [
            (r#"{"ref":7}"#, Some("7")),
            (r#"{"publish":1,"data":2,"ref":"a"}"#, Some(r#""a""#)),
            (r#"{"channels":["a"],"channels":["b"],"ref":7}"#, Some("7")),
            (r#"{"channels":"a","ref":[7]}"#, None),
            (r#"{"ref":7,"channels":["#, None),
        ] {
            assert_eq!(parsed(text).0, expected, "{text}");
        }
    }

    #[test]
    fn refusals() {
        let names: Vec<String> = (0..65).map(|n| format!("\"{n}\"")).collect();
        for frame in [
            "",
            "1",
            "[]",
            "{",
            "{}",
            r#"["a"]"#,
            r#"{"channels":"a"}"#,
            r#"{"channels":["a,b"]}"#,
            r#"{"channels":["a"],"since":"!"}"#,
            r#"{"channels":["a"],"channels":["b"]}"#,
            r#"{"channels":["a"],"publish":"a","data":1}"#,
            r#"{"publish":"a"}"#,
            r#"{"publish":"","data":1}"#,
            r#"{"publish":"a","data":1,"event":"gap"}"#,
            r#"{"publish":"a","data":1,"key":""}"#,
            r#"{"publish":"a","data":1,"encoding":"base64"}"#,
            r#"{"publish":"a","data":"\ud800"}"#,
            &format!(r#"{{"channels":[{}]}}"#, names.join(",")),
            &format!(r#"{{"channels":["a"{}]}}"#, ",\"a\"".repeat(1024)),
            &format!(r#"{{"channels":["{}"]}}"#, "\u{7f}".repeat(10_000)),
            &format!(r#"{{"channels":"{}"}}"#, "x".repeat(10_000)),
        ] {
            let (_, Err(problem)) = parsed(frame) else {
                panic!("{frame}");
            };
            assert_eq!(problem.status, 400, "{frame}");
            assert!(problem.detail().len() < 4_000, "it repeats what is long");
        }
    }
}
