//! The answer to a poll, as JSON or as JSONP.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::object::{self, not_empty, only_true};
use crate::{Error, Message};

/// A batch of messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The cursor to go on with.
    pub cursor: String,
    /// The messages, in order.
    pub messages: Vec<Message>,
    /// Messages before these were lost.
    pub gap: bool,
    /// More messages are there to be fetched at once.
    pub more: bool,
    /// All channels have ended.
    pub end: bool,
    /// Those of several channels that have ended.
    pub ended: Vec<String>,
    /// When this client should ask again, in milliseconds.
    pub retry_ms: Option<u64>,
    /// Within how many milliseconds this client should ask again, at a random time.
    pub spread_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw<'a> {
    cursor: String,
    #[serde(borrow)]
    messages: Vec<&'a RawValue>,
    #[serde(default, deserialize_with = "only_true")]
    gap: bool,
    #[serde(default, deserialize_with = "only_true")]
    more: bool,
    #[serde(default, deserialize_with = "only_true")]
    end: bool,
    #[serde(default, deserialize_with = "not_empty")]
    ended: Vec<String>,
    retry: Option<u64>,
    spread: Option<u64>,
}

impl Batch {
    /// Decodes a JSON body.
    ///
    /// # Errors
    ///
    /// It is not JSON, not a batch, or holds something that is not a message.
    pub fn decode(body: &[u8]) -> Result<Batch, Error> {
        let raw: Raw<'_> =
            serde_json::from_slice(body).map_err(|error| Error::about(&error.to_string(), body))?;
        let messages = raw.messages.iter().map(|json| object::message(json.get()));
        Ok(Batch {
            cursor: raw.cursor,
            messages: messages.collect::<Result<_, _>>()?,
            gap: raw.gap,
            more: raw.more,
            end: raw.end,
            ended: raw.ended,
            retry_ms: raw.retry,
            spread_ms: raw.spread,
        })
    }
}

/// The JSON inside `/**/CALLBACK(…);`.
///
/// # Errors
///
/// The body is not a call of this callback, or could break out of the script.
pub fn jsonp(body: &[u8], callback: &str) -> Result<String, Error> {
    let text = std::str::from_utf8(body).map_err(|error| Error::new(error.to_string()))?;
    let inner = text
        .strip_prefix("/**/")
        .and_then(|rest| rest.strip_prefix(callback))
        .and_then(|rest| rest.strip_prefix('('))
        .and_then(|rest| rest.strip_suffix(");"))
        .ok_or_else(|| Error::about(&format!("no call of {callback}"), body))?;
    object::of_expression(inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Data;

    #[test]
    fn batch_holds_messages_flags_and_advice() {
        let json = br#"{"cursor":"a-2","messages":[
            {"id":"a-1","channel":"c","event":"e","data":"text"},
            {"id":"a-2","channel":"c","data":"AQI=","encoding":"base64"},
            {"id":"a-3","channel":"c","data":null}],"gap":true,"more":true,"end":true,
            "ended":["a"],"retry":1,"spread":2}"#;
        let batch = Batch::decode(json).unwrap();
        let data: Vec<&Data> = batch.messages.iter().map(|message| &message.data).collect();
        assert_eq!(
            data,
            [
                &Data::Text("text".into()),
                &Data::Binary(vec![1, 2]),
                &Data::Json("null".into())
            ]
        );
        assert_eq!(batch.messages[0].event.as_deref(), Some("e"));
        assert_eq!((batch.gap, batch.more, batch.end), (true, true, true));
        assert_eq!(batch.ended, ["a"]);
        assert_eq!((batch.retry_ms, batch.spread_ms), (Some(1), Some(2)));
    }

    #[test]
    fn malformed_batches_are_refused() {
        for json in [
            "",
            "[]",
            "{}",
            r#"{"cursor":"a-1","messages":[],"gap":false}"#,
            r#"{"cursor":"a-1","messages":[],"ended":[]}"#,
            r#"{"cursor":"a-1","messages":[],"other":1}"#,
            r#"{"cursor":"a-1","messages":[{"id":"a-1","data":1}]}"#,
            r#"{"cursor":"a-1","messages":[{"cursor":"a-1"}]}"#,
            r#"{"cursor":"a-1","messages":[{"id":"a-1","channel":"c"}]}"#,
            r#"{"cursor":"a-1","messages":[{"id":"a-1","channel":"c","data":"!","encoding":"base64"}]}"#,
        ] {
            assert!(Batch::decode(json.as_bytes()).is_err(), "{json}");
        }
    }

    #[test]
    fn jsonp_is_unwrapped_and_checked() {
        let inner = |body: &str| jsonp(body.as_bytes(), "f.g");
        assert_eq!(inner("/**/f.g({\"a\":1});").unwrap(), "{\"a\":1}");
        assert_eq!(inner("/**/f.g(JSON.parse(\"{}\"));").unwrap(), "{}");
        for body in ["f.g({});", "/**/g({});", "/**/f.g({})", "/**/f.g(\"<\");"] {
            assert!(inner(body).is_err(), "{body}");
        }
    }
}
