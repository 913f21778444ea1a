//! JSON objects, read strictly: as the RFCs of tokens and keys ask, and more strictly than JSON
//! does.
//!
//! Owns the rule that a member is there once. Values stay texts until they are read, so what is
//! not read costs nothing, and no depth of nesting is recursion.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::message::json_depth;

/// Levels of arrays and objects in a text.
const MAX_DEPTH: usize = 64;

/// A JSON object: its members, in the order of their names.
pub(super) struct Object<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

/// The reason for which a text is not such an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotObject {
    /// It is not UTF-8, not JSON, or not an object.
    Syntax,
    /// A member is in it twice (RFC 7515, section 4; RFC 7519, section 4).
    Twice,
    /// It is nested deeper than 64 levels.
    Deep,
}

impl<'a> Object<'a> {
    /// Parses a whole text.
    pub(super) fn parse(text: &'a [u8]) -> Result<Object<'a>, NotObject> {
        let text = std::str::from_utf8(text).map_err(|_| NotObject::Syntax)?;
        let Members(mut members) = serde_json::from_str(text).map_err(|_| NotObject::Syntax)?;
        members.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        if members.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(NotObject::Twice);
        }
        if json_depth(text.as_bytes()) > MAX_DEPTH {
            return Err(NotObject::Deep);
        }
        Ok(Object(members))
    }

    /// The value of a member.
    pub(super) fn get(&self, name: &str) -> Option<Value<'a>> {
        let found = self.0.binary_search_by(|(member, _)| (**member).cmp(name));
        found.ok().map(|at| Value(self.0[at].1.get()))
    }
}

/// The text of a JSON value, without blanks around it.
#[derive(Clone, Copy)]
pub(super) struct Value<'a>(&'a str);

impl<'a> Value<'a> {
    /// The value, if it is a string. One with an unpaired surrogate is none.
    pub(super) fn string(self) -> Option<Cow<'a, str>> {
        let Text(text) = serde_json::from_str(self.0).ok()?;
        Some(text)
    }

    /// The value, if it is a list of strings.
    pub(super) fn strings(self) -> Option<Vec<Cow<'a, str>>> {
        let texts: Vec<Text<'a>> = serde_json::from_str(self.0).ok()?;
        Some(texts.into_iter().map(|Text(text)| text).collect())
    }

    /// The values in it, if it is a list.
    pub(super) fn list(self) -> Option<Vec<Value<'a>>> {
        let values: Vec<&'a RawValue> = serde_json::from_str(self.0).ok()?;
        Some(values.into_iter().map(|value| Value(value.get())).collect())
    }

    /// The value, if it is a whole number, written in digits alone, of at most 2^53, up to which
    /// every reader of JSON agrees (RFC 8259, section 6).
    pub(super) fn integer(self) -> Option<u64> {
        // JSON allows no sign `+` and no zero before other digits.
        let is_digits = self.0.bytes().all(|byte| byte.is_ascii_digit());
        let number = self.0.parse().ok().filter(|_| is_digits)?;
        (number <= 1 << 53).then_some(number)
    }

    /// The value, if it is a number from 0 to below 2^53, written in any way.
    pub(super) fn number(self) -> Option<f64> {
        let number: f64 = serde_json::from_str(self.0).ok()?;
        let limit = (1_u64 << 53) as f64;
        (number.is_sign_positive() && number < limit).then_some(number)
    }

    /// The value, if it is an object.
    pub(super) fn object(self) -> Result<Object<'a>, NotObject> {
        Object::parse(self.0.as_bytes())
    }

    /// Whether it is an object, whose members are not looked at.
    pub(super) fn is_object(self) -> bool {
        self.0.starts_with('{')
    }
}

struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Members<'de>, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some((Text(name), value)) = map.next_entry()? {
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }
        from.deserialize_map(InOrder)
    }
}

/// A string that is borrowed where it has no escapes: serde copies every `Cow` otherwise.
#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> Option<NotObject> {
        Object::parse(text.as_bytes()).err()
    }

    #[test]
    fn member_that_is_there_twice_is_refused_however_it_is_spelt() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"b":2,"\u0061":3}"#,
            r#"{"":1,"":null}"#,
        ] {
            assert_eq!(fault(text), Some(NotObject::Twice), "{text}");
        }
        for text in [
            r#"{"a":1,"A":1}"#,
            r#"{"a":{"a":1}}"#,
            r#"{"a":{"b":1,"b":1}}"#,
        ] {
            assert_eq!(fault(text), None, "{text}");
        }
    }

    #[test]
    fn text_that_is_no_object_is_refused() {
        for text in [
            "",
            " ",
            "null",
            "1",
            "[]",
            "\"a\"",
            "{",
            "{}x",
            "{}{}",
            "{'a':1}",
            "{a:1}",
            "{\"a\":1,}",
            "{\"a\"}",
            "{\"a\":01}",
            "{\"a\":\"\n\"}",
            "\u{feff}{}",
            "{\"a\":nul}",
            "{1:1}",
            "/**/{}",
        ] {
            assert_eq!(fault(text), Some(NotObject::Syntax), "{text:?}");
        }
        assert_eq!(
            Object::parse(b"{\"\xff\":1}").err(),
            Some(NotObject::Syntax)
        );
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |levels: usize| {
            let (open, close) = ("[".repeat(levels - 1), "]".repeat(levels - 1));
            format!("{{\"a\":{open}{close}}}")
        };
        assert_eq!(fault(&nested(64)), None);
        assert_eq!(fault(&nested(65)), Some(NotObject::Deep));
        assert_eq!(fault(&nested(100_000)), Some(NotObject::Deep));
        // What is in a string does not nest.
        assert_eq!(
            fault(&format!("{{\"a\":\"{}\\\"[\"}}", "[{".repeat(100))),
            None
        );
        assert_eq!(fault(&format!("{{\"a\":[{}0]}}", "[],".repeat(100))), None);
    }

    #[test]
    fn only_plain_numbers_are_integers() {
        let text = r#"{"a":0,"b":9007199254740992,"c":9007199254740993,"d":-1,"e":1.0,"f":1e3,
            "g":"1","h":null,"i":18446744073709551616,"j":-0,"k":[1],"l":true}"#;
        let object = Object::parse(text.as_bytes()).unwrap();
        let integers: Vec<_> = "abcdefghijkl"
            .chars()
            .map(|name| object.get(&name.to_string()).unwrap().integer())
            .collect();
        let mut expected = [None; 12];
        (expected[0], expected[1]) = (Some(0), Some(1 << 53));
        assert_eq!(integers, expected);
        assert!(object.get("m").is_none());
    }

    #[test]
    fn strings_are_unescaped_and_whole() {
        let text = r#"{"a":"x","b":"\u0078\n","c":"\ud800","d":["x","\u0079"],"e":["x",1],"f":[]}"#;
        let object = Object::parse(text.as_bytes()).unwrap();
        let get = |name| object.get(name).unwrap();
        assert!(matches!(get("a").string(), Some(Cow::Borrowed("x"))));
        assert_eq!(get("b").string().as_deref(), Some("x\n"));
        assert_eq!(get("c").string(), None);
        assert_eq!(get("d").strings().unwrap(), ["x", "y"]);
        assert_eq!(get("e").strings(), None);
        assert_eq!(get("f").strings().unwrap(), [""; 0]);
        assert_eq!(get("e").list().unwrap()[1].integer(), Some(1));
        assert!(get("d").list().is_some() && get("a").list().is_none());
        assert!(!get("d").is_object() && get("a").object().is_err());
    }
}
