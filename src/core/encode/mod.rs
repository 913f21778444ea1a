//! The bytes of messages, cursors and batches as JSON and as JavaScript.
//!
//! Owns the parts of which [transports](crate::transport) and responses are made. Every encoder
//! appends to a `Vec<u8>`; none does I/O, reads a clock, writes an HTTP head or knows a transport.
//!
//! Invariants:
//! - *No injection.* Published data, event names and channel names cannot add a JSON member or
//!   start a script: each is escaped inside its own field.
//! - *One line.* A message's JSON object never holds a raw CR, LF, U+0085, U+2028 or U+2029: some
//!   line readers cut at any of them.

mod batch;
mod jsonp;
mod object;

pub use batch::{Ends, Envelope, batch, problem};
pub use jsonp::{check_callback, jsonp};
pub(crate) use object::write_json_strings;
pub use object::{object, write_json_string};
pub(crate) use {
    jsonp::{escape_into, expression},
    object::{
        closing_object, cursor_object, end_object, ended_object, expired_object, gap_object,
        opening_object, write_base64,
    },
};

/// Messages that the tests of every format publish, and the slow ways to read them back.
#[cfg(test)]
pub(crate) mod samples {
    use std::borrow::Cow;

    use proptest::prelude::*;
    use serde::Deserialize;
    use serde_json::Value;
    use serde_json::value::RawValue;

    use crate::message::{ChannelName, Data, Epoch, EventName, MessageId, MessageRef, Seq};

    /// Text made of what has broken encoders before.
    pub(crate) fn text() -> impl Strategy<Value = String> {
        const PIECES: &[&str] = &[
            "\r",
            "\n",
            "\r\n",
            "\n\r",
            "\0",
            "\u{feff}",
            "\u{2028}",
            "\u{2029}",
            "\u{85}",
            "\u{b}",
            "\u{c}",
            "\u{7f}",
            "\u{1b}",
            "\t",
            " ",
            ":",
            "\"",
            "'",
            "\\",
            "\\u003c",
            "<",
            ">",
            "&",
            "`",
            "${x}",
            "data:",
            "data: ",
            "id: b-9",
            "event: gap",
            "retry: 1",
            ":x",
            "</script>",
            "<!--",
            "<script>",
            "]]>",
            "*/",
            "//",
            ");",
            "}]}",
            "{\"",
            "\",\"id\":\"",
            "__proto__",
            "\u{e9}",
            "\u{1f980}",
            "x",
            "0",
            "\u{2026}",
            "\u{2000}",
        ];
        let piece = prop_oneof![
            4 => proptest::sample::select(PIECES).prop_map(str::to_owned),
            1 => any::<String>(),
        ];
        proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    /// JSON as people write it: numbers that no float holds, every escape, odd white space.
    pub(crate) fn json() -> impl Strategy<Value = String> {
        const ATOMS: &[&str] = &[
            "null",
            "true",
            "0",
            "-0",
            "1.0",
            "1E400",
            "1e-999",
            "0.10",
            "12345678901234567890123",
            "\"\"",
            "\"\\u003c\\/\"",
            "\"\\\\\"",
            "\"\\ud83e\\udd80\"",
            "\"\\\"\"",
            "\"\u{2028}</script>&\"",
            "\"__proto__\"",
            "\"\\u005f_proto__\"",
            "\"a  b\"",
            "[]",
            "{}",
        ];
        const SPACES: &[&str] = &["", "", " ", "\n", "\r\n", "\r", "\t", " \n \r "];
        let string = text()
            .prop_map(|text| serde_json::to_string(&text).unwrap())
            .boxed();
        let atom = prop_oneof![
            3 => proptest::sample::select(ATOMS).prop_map(str::to_owned),
            1 => string.clone(),
        ];
        let tree = atom.prop_recursive(4, 24, 4, move |inner| {
            let space = proptest::sample::select(SPACES);
            let items = proptest::collection::vec((space.clone(), inner.clone()), 0..4);
            let list = (items, space.clone()).prop_map(|(items, end)| {
                let items = items
                    .into_iter()
                    .map(|(space, item)| [space, &*item].concat());
                format!("[{}{end}]", items.collect::<Vec<_>>().join(","))
            });
            let key = prop_oneof![
                6 => string.clone(),
                1 => Just("\"__proto__\"".to_owned()),
                1 => Just("\"__pr\\u006Fto__\"".to_owned()),
            ];
            let member = (space.clone(), key, space, inner);
            let map = proptest::collection::vec(member, 0..4).prop_map(|members| {
                let members = members
                    .into_iter()
                    .map(|(a, key, b, value)| format!("{a}{key}{b}:{b}{value}{a}"));
                format!("{{{}}}", members.collect::<Vec<_>>().join(","))
            });
            prop_oneof![list, map]
        });
        let space = proptest::sample::select(SPACES);
        (space.clone(), tree, space)
            .prop_map(|(before, tree, after)| [before, &*tree, after].concat())
    }

    /// Any data that a publisher can make.
    pub(crate) fn data() -> impl Strategy<Value = Data> {
        prop_oneof![
            text().prop_map(|text| Data::accept(None, text.as_bytes()).unwrap()),
            json().prop_map(|json| Data::json(json).unwrap()),
            proptest::collection::vec(any::<u8>(), 0..40)
                .prop_map(|bytes| Data::Binary(bytes.into())),
        ]
    }

    /// A whole message, owned.
    #[derive(Clone, Debug)]
    pub(crate) struct Sample {
        pub(crate) id: MessageId,
        pub(crate) channel: String,
        pub(crate) event: Option<EventName>,
        pub(crate) data: Data,
    }

    impl Sample {
        pub(crate) fn content(&self) -> MessageRef<'_> {
            MessageRef {
                id: self.id,
                channel: &self.channel,
                event: self.event.as_ref(),
                data: &self.data,
            }
        }

        pub(crate) fn id(&self) -> String {
            self.id.to_string()
        }
    }

    /// A message with any data, and any event name that passes the check.
    pub(crate) fn sample() -> impl Strategy<Value = Sample> {
        let event = proptest::option::of(text()).prop_map(|name| {
            let name = name.unwrap_or_default();
            EventName::parse(name.as_bytes()).ok().flatten()
        });
        (any::<u64>(), any::<u64>(), name(), event, data()).prop_map(
            |(seed, seq, channel, event, data)| Sample {
                id: MessageId {
                    epoch: Epoch::from_seed(seed),
                    seq: Seq(seq),
                },
                channel,
                event,
                data,
            },
        )
    }

    /// An id of the epoch `00000000`.
    pub(crate) fn id(seq: u64) -> MessageId {
        MessageId {
            epoch: Epoch::from_seed(0),
            seq: Seq(seq),
        }
    }

    /// Any name of a channel: text without the characters that none may have.
    pub(crate) fn name() -> impl Strategy<Value = String> {
        text().prop_map(|text| {
            let is_bad = |c: char| c.is_control() || matches!(c, ',' | '*' | '/' | '.');
            let mut name = String::from("c");
            for c in text.chars().filter(|&c| !is_bad(c)).take(60) {
                name.push(c);
            }
            ChannelName::parse(name.as_bytes()).unwrap();
            name
        })
    }

    /// The JSON of an expression, checked to be safe inside a script.
    pub(crate) fn value(expression: &str) -> String {
        let unsafe_characters = ['<', '>', '&', '\u{2028}', '\u{2029}', '\r', '\n'];
        assert!(!expression.contains(unsafe_characters), "{expression}");
        match expression.strip_prefix("JSON.parse(") {
            Some(rest) => serde_json::from_str(rest.strip_suffix(')').unwrap()).unwrap(),
            None => {
                assert!(!names_prototype(expression), "{expression}");
                expression.to_owned()
            }
        }
    }

    /// Whether any object has the key `__proto__`, found by looking at every key.
    fn names_prototype(json: &str) -> bool {
        fn any(value: &Value) -> bool {
            match value {
                Value::Array(items) => items.iter().any(any),
                Value::Object(map) => map
                    .iter()
                    .any(|(key, value)| key == "__proto__" || any(value)),
                _ => false,
            }
        }
        // Numbers that no float holds are of no interest here.
        let json = json.replace("1E400", "1").replace("1e-999", "1");
        any(&serde_json::from_str(&json).unwrap())
    }

    /// The text with the five escapes undone wherever they stand.
    pub(crate) fn unescaped(text: &str) -> String {
        let escapes = [("3c", "<"), ("3e", ">"), ("26", "&")];
        let text = text
            .replace("\\u2028", "\u{2028}")
            .replace("\\u2029", "\u{2029}");
        escapes.iter().fold(text, |text, (hex, plain)| {
            text.replace(&format!("\\u00{hex}"), plain)
        })
    }

    /// A message's object as another program reads it.
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(crate) struct Received<'a> {
        id: String,
        channel: String,
        #[serde(borrow)]
        data: &'a RawValue,
        encoding: Option<Cow<'a, str>>,
        event: Option<String>,
    }

    impl Received<'_> {
        /// Panics unless it says what was published.
        pub(crate) fn assert_is(&self, sample: &Sample) {
            use base64::Engine;
            assert_eq!(self.id, sample.id());
            assert_eq!(self.channel, sample.channel);
            assert_eq!(self.event.as_deref(), sample.event.as_deref());
            let string = || serde_json::from_str::<String>(self.data.get()).unwrap();
            match &sample.data {
                Data::Json(json) => assert_eq!(self.data.get(), &**json),
                Data::Text(text) => assert_eq!(string(), **text),
                Data::Binary(bytes) => {
                    let decoded = base64::engine::general_purpose::STANDARD.decode(string());
                    assert_eq!(decoded.unwrap(), **bytes);
                }
            }
            let is_binary = matches!(sample.data, Data::Binary(_));
            assert_eq!(self.encoding.as_deref(), is_binary.then_some("base64"));
        }
    }
}
