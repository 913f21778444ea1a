//! The frozen forms of names and data.
//!
//! Owns how they are written and read. Names and keys are read by the parsers that check them. Text
//! is checked to be UTF-8. JSON is not parsed again, as that takes longer than all the rest: it was
//! checked when it was published. Only that it is on one line, on which framing relies, is checked.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{ChannelName, Data, EventName, IdempotencyKey, Json};
use crate::frozen::Bytes;

impl Serialize for ChannelName<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'de: 'n, 'n> Deserialize<'de> for ChannelName<'n> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = <&str>::deserialize(deserializer)?;
        ChannelName::parse(name.as_bytes()).map_err(de::Error::custom)
    }
}

impl Serialize for EventName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'de> Deserialize<'de> for EventName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = <&str>::deserialize(deserializer)?;
        let name = EventName::parse(name.as_bytes()).map_err(de::Error::custom)?;
        name.ok_or_else(|| de::Error::custom("an event name is not empty"))
    }
}

impl Serialize for IdempotencyKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'de> Deserialize<'de> for IdempotencyKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let key = <&str>::deserialize(deserializer)?;
        IdempotencyKey::parse(key.as_bytes()).map_err(de::Error::custom)
    }
}

/// The frozen form of [`Data`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FrozenData<'d> {
    /// The text of JSON.
    Json(&'d str),
    /// Any text.
    Text(&'d str),
    /// Any bytes.
    #[serde(borrow)]
    Binary(Bytes<'d>),
}

impl Data {
    /// Its frozen form.
    pub fn freeze(&self) -> FrozenData<'_> {
        match self {
            Data::Json(json) => FrozenData::Json(json),
            Data::Text(text) => FrozenData::Text(text),
            Data::Binary(bytes) => FrozenData::Binary(Bytes(bytes)),
        }
    }
}

impl FrozenData<'_> {
    /// The data; `None` where what should be JSON cannot be.
    pub fn thaw(self) -> Option<Data> {
        Some(match self {
            FrozenData::Json(text) => Data::Json(Json::trusted(text)?),
            FrozenData::Text(text) => Data::Text(text.into()),
            FrozenData::Binary(Bytes(bytes)) => Data::Binary(bytes.into()),
        })
    }
}
