//! Messages of producers that were accepted and not published, as they are handed over.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use encke_core::frozen::ThawError;
use encke_core::message::{ChannelName, Data, Draft, DraftKind, EventName, IdempotencyKey, Json};

/// A message.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Waiting<'a> {
    channel: Cow<'a, str>,
    data: Bytes<'a>,
    event: Option<Cow<'a, str>>,
    key: Option<Cow<'a, str>>,
    kind: u8,
}

/// The data of a message.
#[derive(Debug, Serialize, Deserialize)]
enum Bytes<'a> {
    Json(Cow<'a, str>),
    Text(Cow<'a, str>),
    Binary(Cow<'a, [u8]>),
}

impl<'a> Waiting<'a> {
    /// The frozen form of a message.
    pub(crate) fn of(draft: &'a Draft<'_>) -> Waiting<'a> {
        Waiting {
            channel: Cow::Borrowed(&draft.channel),
            data: match &draft.data {
                Data::Json(json) => Bytes::Json(Cow::Borrowed(json)),
                Data::Text(text) => Bytes::Text(Cow::Borrowed(text)),
                Data::Binary(bytes) => Bytes::Binary(Cow::Borrowed(bytes)),
            },
            event: draft.event.as_ref().map(|event| Cow::Borrowed(&**event)),
            key: draft.key.as_ref().map(|key| Cow::Borrowed(&**key)),
            kind: match draft.kind {
                DraftKind::Message => 0,
                DraftKind::Last => 1,
                DraftKind::End => 2,
            },
        }
    }

    /// The message, which is checked like one that is published.
    ///
    /// # Errors
    ///
    /// It is not valid.
    pub(crate) fn draft(self) -> Result<Draft<'static>, ThawError> {
        let invalid = || ThawError::Damaged("a message of a producer is not valid");
        let channel = self.channel.into_owned().into_bytes();
        let channel = ChannelName::parse(channel).map_err(|_| invalid())?;
        let data = match self.data {
            Bytes::Json(text) => Data::Json(Json::parse(&*text).map_err(|_| invalid())?),
            Bytes::Text(text) => Data::Text(text.into()),
            Bytes::Binary(bytes) => Data::Binary(bytes.into()),
        };
        let event = match self.event {
            Some(event) => EventName::parse(event.as_bytes()).map_err(|_| invalid())?,
            None => None,
        };
        let key = self.key.map(|key| IdempotencyKey::parse(key.as_bytes()));
        Ok(Draft {
            channel,
            data,
            event,
            key: key.transpose().map_err(|_| invalid())?,
            kind: match self.kind {
                0 => DraftKind::Message,
                1 => DraftKind::Last,
                2 => DraftKind::End,
                _ => return Err(invalid()),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use encke_core::frozen::{Freezer, Thawer};

    #[test]
    fn message_is_read_as_it_was_written() {
        let name = |name: &'static str| ChannelName::parse(name.as_bytes()).unwrap();
        let with_all = Draft {
            event: EventName::parse(b"e").unwrap(),
            key: Some(IdempotencyKey::parse(b"k").unwrap()),
            kind: DraftKind::Last,
            ..Draft::new(name("a/b"), Data::json("{\"n\": 1.50}").unwrap())
        };
        for draft in [
            with_all,
            Draft::new(name("a"), Data::Text("text".into())),
            Draft::new(name("a"), Data::Binary([0, 255].into())),
            Draft::end(name("a")),
        ] {
            let mut state = Freezer::new(Vec::new());
            state.put(&Waiting::of(&draft)).unwrap();
            let bytes = state.into_inner();
            let mut state = Thawer::new(&bytes[..]);
            assert_eq!(state.take::<Waiting<'_>>().unwrap().draft().unwrap(), draft);
        }
        for (channel, text, kind) in [("", "1", 0), ("a", "{", 0), ("a", "1", 3)] {
            let wrong = Waiting {
                channel: channel.into(),
                data: Bytes::Json(text.into()),
                event: None,
                key: None,
                kind,
            };
            assert!(wrong.draft().is_err());
        }
    }
}
