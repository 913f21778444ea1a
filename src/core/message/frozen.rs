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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::de::DeserializeOwned;

    use super::*;
    use crate::frozen::{Freezer, Thawer};
    use crate::message::{Epoch, MessageId, Seq};

    fn frozen(value: &(impl Serialize + ?Sized)) -> Vec<u8> {
        let mut freezer = Freezer::new(Vec::new());
        freezer.put(value).unwrap();
        freezer.into_inner()
    }

    fn thawed<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
        Thawer::new(bytes).take().ok()
    }

    fn thawed_data(bytes: &[u8]) -> Option<Data> {
        Thawer::new(bytes).take::<FrozenData<'_>>().ok()?.thaw()
    }

    fn any_data() -> impl Strategy<Value = Data> {
        prop_oneof![
            ".{0,30}".prop_map(Data::from),
            any::<Vec<u8>>().prop_map(Data::from),
            ".{0,9}".prop_map(|text| Data::json(serde_json::json!([text]).to_string()).unwrap()),
        ]
    }

    proptest! {
        #[test]
        fn data_and_names_come_back(data in any_data(), name in "[a-zü:]{1,9}", seed: u64) {
            prop_assert_eq!(thawed_data(&frozen(&data.freeze())), Some(data));
            let channel = ChannelName::parse(name.as_bytes()).unwrap();
            let bytes = frozen(&channel);
            let mut thawer = Thawer::new(&bytes[..]);
            prop_assert_eq!(thawer.take::<ChannelName<'_>>().unwrap(), channel);
            let event = EventName::parse(name.as_bytes()).unwrap();
            prop_assert_eq!(thawed(&frozen(&event)), Some(event));
            let key = IdempotencyKey::parse(name.as_bytes()).unwrap();
            prop_assert_eq!(thawed(&frozen(&key)), Some(key));
            let id = MessageId { epoch: Epoch::from_seed(seed), seq: Seq(seed) };
            prop_assert_eq!(thawed(&frozen(&id)), Some(id));
        }
    }

    #[test]
    fn values_that_no_parser_accepts_are_refused() {
        for name in ["", "a,b", "a//b"] {
            let bytes = frozen(name);
            assert!(Thawer::new(&bytes[..]).take::<ChannelName<'_>>().is_err());
        }
        for name in ["", "gap", "a\nb"] {
            assert_eq!(thawed::<EventName>(&frozen(name)), None);
        }
        assert_eq!(thawed::<IdempotencyKey>(&frozen("")), None);
        assert_eq!(thawed::<Epoch>(&frozen(b"0000000A")), None);
        for json in ["", "[1,\n2]", "[1]\r"] {
            assert_eq!(thawed_data(&frozen(&FrozenData::Json(json))), None);
        }
        assert_eq!(
            thawed(&frozen(&MessageId::UNKNOWN)),
            Some(MessageId::UNKNOWN)
        );
    }
}
