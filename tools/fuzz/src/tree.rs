//! JSON as a tree that keeps members in their order, so that one given twice shows.

use std::fmt;

use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A JSON value.
#[derive(Debug)]
pub(crate) enum Tree {
    /// `null`, a boolean, or a negative number in digits.
    Other,
    /// A number that is not in digits alone, or is beyond 2^64.
    Number(f64),
    /// A number in digits alone, up to 2^64 - 1.
    Integer(u64),
    Text(String),
    List(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

impl Tree {
    /// Reads a whole text.
    pub(crate) fn read(text: &[u8]) -> Option<Tree> {
        serde_json::from_slice(text).ok()
    }

    /// Whether serde_json may refuse a text for a value of which only its form matters where it is
    /// not looked at: half a surrogate, a number that no float holds.
    pub(crate) fn may_be_beyond(text: &[u8]) -> bool {
        let is_escape = |pair: &[u8]| pair == b"\\u";
        let is_exponent = |pair: &[u8]| pair[0].is_ascii_digit() && matches!(pair[1], b'e' | b'E');
        let digits = text.iter().filter(|byte| byte.is_ascii_digit());
        let mut pairs = text.windows(2);
        digits.count() > 300 || pairs.any(|pair| is_escape(pair) || is_exponent(pair))
    }

    /// The members, if it is an object in which none is twice.
    pub(crate) fn members(&self) -> Option<&[(String, Tree)]> {
        let Tree::Object(members) = self else {
            return None;
        };
        let is_twice = |at: usize| members[..at].iter().any(|(name, _)| *name == members[at].0);
        let is_distinct = !(0..members.len()).any(is_twice);
        is_distinct.then_some(members)
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Tree::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The texts, if it is a list of texts.
    pub(crate) fn texts(&self) -> Option<Vec<&str>> {
        match self {
            Tree::List(items) => items.iter().map(Tree::text).collect(),
            _ => None,
        }
    }

    /// Levels of lists and objects.
    pub(crate) fn levels(&self) -> usize {
        match self {
            Tree::List(items) => 1 + items.iter().map(Tree::levels).max().unwrap_or(0),
            Tree::Object(members) => {
                1 + members
                    .iter()
                    .map(|(_, value)| value.levels())
                    .max()
                    .unwrap_or(0)
            }
            _ => 0,
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Tree, D::Error> {
        from.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Tree, E> {
        Ok(Tree::Other)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Tree, E> {
        Ok(Tree::Other)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Tree, E> {
        Ok(Tree::Other)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Tree, E> {
        Ok(Tree::Number(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Tree, E> {
        Ok(Tree::Integer(number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::Text(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element()? {
            all.push(item);
        }
        Ok(Tree::List(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Tree, A::Error> {
        let mut all = Vec::new();
        while let Some(member) = members.next_entry()? {
            all.push(member);
        }
        Ok(Tree::Object(all))
    }
}
