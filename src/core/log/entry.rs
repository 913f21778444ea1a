//! Entries: what the log says, one message or loss each, as bytes.
//!
//! Owns the encoding, which directories of earlier versions have. All numbers are little-endian.
//!
//! ```text
//! tag u8: version in the high half, kind in the low half
//! message  flags u8 | number u64 | wall clock in ms u64 | subscribers u32 | [floor u64]
//!          | length u8, channel | [length u8, event] | [length u8, key] | data
//! lose     number u64 | channel
//! forget   number u64 | channel
//! ```
//!
//! Bits 0 and 1 of the flags are the type of the data; bits 2, 3 and 4 say that there is an event,
//! a key, a floor; bit 5 that it is no message but the end of its channel, which has neither data
//! nor an event. Those above it are 0.
//!
//! Invariant: *one encoding.* Bytes that are read as an entry are the bytes that it is written as.

use thiserror::Error;

use crate::message::{ChannelName, Data, Draft, DraftKind, EventName, IdempotencyKey, Json, Seq};

/// The version of the encoding that is written.
const VERSION: u8 = 1;

const MESSAGE: u8 = VERSION << 4 | 1;
const LOSE: u8 = VERSION << 4 | 2;
const FORGET: u8 = VERSION << 4 | 3;

/// The highest number of a message. Beyond it there would be no room for those that follow.
const MAX_SEQ: Seq = Seq(1 << 62);

const JSON: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const TYPE: u8 = 3;
const EVENT: u8 = 1 << 2;
const KEY: u8 = 1 << 3;
const FLOOR: u8 = 1 << 4;
const END: u8 = 1 << 5;
const RESERVED: u8 = !(TYPE | EVENT | KEY | FLOOR | END);

/// One event of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry<'e> {
    /// A message was published, or the end of a channel.
    Message(Message<'e>),
    /// The messages of a channel up to a number are lost, that one included.
    Lose {
        /// The channel.
        channel: ChannelName<'e>,
        /// The newest number that is lost.
        up_to: Seq,
    },
    /// A channel was forgotten, and its messages up to a number are lost. The number stands for the
    /// channel's bucket of names as well.
    Forget {
        /// The channel.
        channel: ChannelName<'e>,
        /// The newest number that is lost.
        up_to: Seq,
    },
}

/// A message that was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'e> {
    /// Its number.
    pub seq: Seq,
    /// When it was published, by the wall clock, in milliseconds since 1970.
    pub at_ms: u64,
    /// How many connections were parked on its channel.
    pub subscribers: u32,
    /// The number of the newest message that its channel had evicted by then.
    pub floor: Seq,
    /// The message or end that was published.
    pub draft: Draft<'e>,
}

/// The reason for which bytes are no entry.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum EntryError {
    /// Of another version, or of a kind that this version does not have.
    #[error("it is of a kind that this version of encke does not know")]
    Unknown,
    /// Bytes are missing.
    #[error("it is too short")]
    Short,
    /// A part is not what encke writes.
    #[error("its {0} is not valid")]
    Invalid(&'static str),
}

impl<'e> Entry<'e> {
    /// Reads an entry, which is all of `bytes`.
    ///
    /// # Errors
    ///
    /// See [`EntryError`].
    pub fn read(bytes: &'e [u8]) -> Result<Entry<'e>, EntryError> {
        let mut bytes = Bytes(bytes);
        let tag = bytes.byte()?;
        Ok(match tag {
            MESSAGE => Entry::Message(read_message(bytes)?),
            LOSE | FORGET => {
                let up_to = bytes.seq()?;
                let channel = channel_name(bytes.0)?;
                match tag {
                    LOSE => Entry::Lose { channel, up_to },
                    _ => Entry::Forget { channel, up_to },
                }
            }
            _ => return Err(EntryError::Unknown),
        })
    }

    /// Appends its bytes.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Entry::Message(message) => {
                let Message {
                    seq,
                    at_ms,
                    subscribers,
                    floor,
                    draft,
                } = message;
                write_message(out, *seq, *at_ms, *subscribers, *floor, draft);
            }
            Entry::Lose { channel, up_to } => write_lose(out, channel, *up_to),
            Entry::Forget { channel, up_to } => write_forget(out, channel, *up_to),
        }
    }
}

/// Appends the bytes of a message, as [`Entry::write`] does, from its parts.
pub fn write_message(
    out: &mut Vec<u8>,
    seq: Seq,
    at_ms: u64,
    subscribers: u32,
    floor: Seq,
    draft: &Draft<'_>,
) {
    debug_assert!(draft.kind != DraftKind::Last, "it has two numbers");
    let flag = |flag: u8, is_set: bool| if is_set { flag } else { 0 };
    let flags = draft_flags(draft) | flag(FLOOR, floor != Seq::ZERO);
    out.extend_from_slice(&[MESSAGE, flags]);
    out.extend_from_slice(&seq.0.to_le_bytes());
    out.extend_from_slice(&at_ms.to_le_bytes());
    out.extend_from_slice(&subscribers.to_le_bytes());
    if floor != Seq::ZERO {
        out.extend_from_slice(&floor.0.to_le_bytes());
    }
    write_draft(out, draft);
}

/// The flags of what is published, without those of a record: the type of its data, whether it has
/// an event and a key, and whether it is the end of its channel.
pub(super) fn draft_flags(draft: &Draft<'_>) -> u8 {
    let kind = match &draft.data {
        Data::Json(_) => JSON,
        Data::Text(_) => TEXT,
        Data::Binary(_) => BINARY,
    };
    let flag = |flag: u8, is_set: bool| if is_set { flag } else { 0 };
    kind | flag(EVENT, draft.event.is_some())
        | flag(KEY, draft.key.is_some())
        | flag(END, draft.kind == DraftKind::End)
}

/// Appends what is published, but its flags: channel, event, key and data.
// On the path of every message that is saved.
#[inline(always)]
pub(super) fn write_draft(out: &mut Vec<u8>, draft: &Draft<'_>) {
    write_short(out, &draft.channel);
    if let Some(event) = &draft.event {
        write_short(out, event);
    }
    if let Some(key) = &draft.key {
        write_short(out, key);
    }
    out.extend_from_slice(match &draft.data {
        Data::Json(json) => json.as_bytes(),
        Data::Text(text) => text.as_bytes(),
        Data::Binary(bytes) => bytes,
    });
}

/// What is published, by its parts.
pub(super) struct DraftParts<'e> {
    pub(super) channel: ChannelName<'e>,
    pub(super) event: Option<EventName>,
    pub(super) key: Option<IdempotencyKey>,
    data: &'e [u8],
}

/// Reads the parts of what is published, which is all of `bytes`, by its flags; those of a record are
/// ignored. The data is not looked at.
///
/// # Errors
///
/// See [`EntryError`].
#[inline]
pub(super) fn draft_parts(flags: u8, bytes: &[u8]) -> Result<DraftParts<'_>, EntryError> {
    let mut bytes = Bytes(bytes);
    let channel = channel_name(bytes.short()?)?;
    let event = match flags & EVENT {
        0 => None,
        _ => {
            let event = EventName::parse(bytes.short()?).ok().flatten();
            Some(event.ok_or(EntryError::Invalid("event name"))?)
        }
    };
    let key = match flags & KEY {
        0 => None,
        _ => {
            let key = IdempotencyKey::parse(bytes.short()?);
            Some(key.map_err(|_| EntryError::Invalid("idempotency key"))?)
        }
    };
    Ok(DraftParts {
        channel,
        event,
        key,
        data: bytes.0,
    })
}

/// Reads what is published, which is all of `bytes`, by its flags; those of a record are ignored.
///
/// # Errors
///
/// See [`EntryError`].
pub(super) fn read_draft(flags: u8, bytes: &[u8]) -> Result<Draft<'_>, EntryError> {
    let parts = draft_parts(flags, bytes)?;
    let data = data(flags & TYPE, parts.data).ok_or(EntryError::Invalid("data"))?;
    check_end(flags, &parts)?;
    Ok(draft(flags, parts, data))
}

/// Checks that [`read_draft`] would read these bytes, and makes no copy of the data.
///
/// # Errors
///
/// See [`EntryError`].
pub(super) fn check_draft(flags: u8, bytes: &[u8]) -> Result<DraftKind, EntryError> {
    let parts = draft_parts(flags, bytes)?;
    let is_data = match flags & TYPE {
        JSON => Json::is_written(parts.data),
        TEXT => std::str::from_utf8(parts.data).is_ok(),
        BINARY => true,
        _ => false,
    };
    if !is_data {
        return Err(EntryError::Invalid("data"));
    }
    check_end(flags, &parts)?;
    Ok(kind(flags))
}

/// Reads what [`check_draft`] has checked; `None` if it plainly was not.
#[inline]
pub(super) fn read_checked_draft(flags: u8, bytes: &[u8]) -> Option<Draft<'_>> {
    let parts = draft_parts(flags, bytes).ok()?;
    let text = || std::str::from_utf8(parts.data).ok();
    let data = match flags & TYPE {
        JSON => Data::Json(Json::trusted(text()?)?),
        TEXT => Data::Text(text()?.into()),
        _ => Data::Binary(parts.data.into()),
    };
    Some(draft(flags, parts, data))
}

fn kind(flags: u8) -> DraftKind {
    match flags & END {
        0 => DraftKind::Message,
        _ => DraftKind::End,
    }
}

/// An end has neither data nor an event.
fn check_end(flags: u8, parts: &DraftParts<'_>) -> Result<(), EntryError> {
    let is_bare = parts.event.is_none() && parts.data.is_empty() && flags & TYPE == TEXT;
    match kind(flags) == DraftKind::End && !is_bare {
        true => Err(EntryError::Invalid("end")),
        false => Ok(()),
    }
}

fn draft<'e>(flags: u8, parts: DraftParts<'e>, data: Data) -> Draft<'e> {
    Draft {
        channel: parts.channel,
        data,
        event: parts.event,
        key: parts.key,
        kind: kind(flags),
    }
}

/// Appends a name or key, whose length fits into a byte.
pub(super) fn write_short(out: &mut Vec<u8>, text: &str) {
    let length = u8::try_from(text.len()).expect("names and keys have at most 255 bytes");
    out.push(length);
    out.extend_from_slice(text.as_bytes());
}

/// Appends the bytes of [`Entry::Lose`].
pub fn write_lose(out: &mut Vec<u8>, channel: &str, up_to: Seq) {
    write_loss(out, LOSE, channel, up_to);
}

/// Appends the bytes of [`Entry::Forget`].
pub fn write_forget(out: &mut Vec<u8>, channel: &str, up_to: Seq) {
    write_loss(out, FORGET, channel, up_to);
}

fn write_loss(out: &mut Vec<u8>, tag: u8, channel: &str, up_to: Seq) {
    out.push(tag);
    out.extend_from_slice(&up_to.0.to_le_bytes());
    out.extend_from_slice(channel.as_bytes());
}

fn read_message(mut bytes: Bytes<'_>) -> Result<Message<'_>, EntryError> {
    let flags = bytes.byte()?;
    if flags & RESERVED != 0 {
        return Err(EntryError::Unknown);
    }
    let seq = bytes.seq()?;
    let at_ms = bytes.number()?;
    let subscribers = u32::from_le_bytes(bytes.array()?);
    let floor = match flags & FLOOR {
        0 => Seq::ZERO,
        _ => bytes.seq()?,
    };
    if floor >= seq || (flags & FLOOR != 0 && floor == Seq::ZERO) {
        return Err(EntryError::Invalid("floor"));
    }
    let draft = read_draft(flags, bytes.0)?;
    Ok(Message {
        seq,
        at_ms,
        subscribers,
        floor,
        draft,
    })
}

fn channel_name(bytes: &[u8]) -> Result<ChannelName<'_>, EntryError> {
    ChannelName::parse(bytes).map_err(|_| EntryError::Invalid("channel name"))
}

/// The data of a type; `None` where bytes are not what it is written as.
fn data(kind: u8, bytes: &[u8]) -> Option<Data> {
    let text = || std::str::from_utf8(bytes).ok();
    match kind {
        JSON => {
            let json = Json::parse(bytes).ok()?;
            (json.as_bytes() == bytes).then_some(Data::Json(json))
        }
        TEXT => Some(Data::Text(text()?.into())),
        BINARY => Some(Data::Binary(bytes.into())),
        _ => None,
    }
}

/// The rest of an entry that is being read.
struct Bytes<'e>(&'e [u8]);

impl<'e> Bytes<'e> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], EntryError> {
        let (array, rest) = self.0.split_first_chunk().ok_or(EntryError::Short)?;
        self.0 = rest;
        Ok(*array)
    }

    fn byte(&mut self) -> Result<u8, EntryError> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    fn number(&mut self) -> Result<u64, EntryError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn seq(&mut self) -> Result<Seq, EntryError> {
        let seq = Seq(self.number()?);
        match seq <= MAX_SEQ {
            true => Ok(seq),
            false => Err(EntryError::Invalid("number")),
        }
    }

    /// Bytes after one that says how many there are.
    fn short(&mut self) -> Result<&'e [u8], EntryError> {
        let length = self.byte()?;
        let split = self.0.split_at_checked(length.into());
        let (short, rest) = split.ok_or(EntryError::Short)?;
        self.0 = rest;
        Ok(short)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(entry: &Entry<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        entry.write(&mut out);
        out
    }

    fn name() -> impl Strategy<Value = ChannelName<'static>> {
        "[a-zü:]{1,9}(/[a-z]{1,5}){0,2}"
            .prop_map(|name| ChannelName::parse(name.into_bytes()).unwrap())
    }

    fn any_data() -> impl Strategy<Value = Data> {
        prop_oneof![
            ".{0,30}".prop_map(|text| Data::Text(text.into())),
            any::<Vec<u8>>().prop_map(Data::from),
            (".{0,9}", any::<i64>()).prop_map(|(text, number)| {
                let json = serde_json::json!({ text: [number, null] });
                Data::json(json.to_string()).unwrap()
            }),
        ]
    }

    fn message() -> impl Strategy<Value = Entry<'static>> {
        let event = proptest::option::of("[a-z]{1,9}x");
        let key = proptest::option::of(".{1,20}");
        let numbers = (1..=MAX_SEQ.0, any::<u64>(), any::<u32>(), any::<u64>());
        let data = prop_oneof![4 => any_data().prop_map(Some), 1 => Just(None)];
        (name(), data, event, key, numbers).prop_map(|(channel, data, event, key, numbers)| {
            let (seq, at_ms, subscribers, floor) = numbers;
            let draft = match data {
                Some(data) => Draft {
                    event: event.and_then(|name| EventName::parse(name.as_bytes()).unwrap()),
                    ..Draft::new(channel, data)
                },
                None => Draft::end(channel),
            };
            Entry::Message(Message {
                seq: Seq(seq),
                at_ms,
                subscribers,
                floor: Seq(floor % seq),
                draft: Draft {
                    key: key.map(|key| IdempotencyKey::parse(key.as_bytes()).unwrap()),
                    ..draft
                },
            })
        })
    }

    fn entry() -> impl Strategy<Value = Entry<'static>> {
        let up_to = || (0..=MAX_SEQ.0).prop_map(Seq);
        prop_oneof![
            3 => message(),
            1 => (name(), up_to()).prop_map(|(channel, up_to)| Entry::Lose { channel, up_to }),
            1 => (name(), up_to()).prop_map(|(channel, up_to)| Entry::Forget { channel, up_to }),
        ]
    }

    /// The format must not change: directories of earlier versions are read.
    #[test]
    fn entries_have_these_bytes() {
        let channel = || ChannelName::parse(&b"news"[..]).unwrap();
        let message = Message {
            seq: Seq(258),
            at_ms: 3,
            subscribers: 4,
            floor: Seq::ZERO,
            draft: Draft::new(channel(), Data::json("[1]").unwrap()),
        };
        let all = Message {
            floor: Seq(5),
            draft: Draft {
                data: Data::Binary((*b"\xff").into()),
                event: EventName::parse(b"ev").unwrap(),
                key: IdempotencyKey::parse(b"k").ok(),
                ..message.draft.clone()
            },
            ..message
        };
        let numbers = b"\x02\x01\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x04\0\0\0";
        let up_to = Seq(7);
        let text = Data::from("t");
        let text = Message {
            draft: Draft::new(channel(), text),
            ..all.clone()
        };
        let end = Message {
            draft: Draft::end(channel()),
            ..message.clone()
        };
        for (entry, expected) in [
            (
                Entry::Message(message),
                [b"\x11\x00", &numbers[..], b"\x04news[1]"].concat(),
            ),
            (
                Entry::Message(all),
                [
                    b"\x11\x1e",
                    &numbers[..],
                    b"\x05\0\0\0\0\0\0\0\x04news\x02ev\x01k\xff",
                ]
                .concat(),
            ),
            (
                Entry::Message(text),
                [b"\x11\x11", &numbers[..], b"\x05\0\0\0\0\0\0\0\x04newst"].concat(),
            ),
            (
                Entry::Message(end),
                [b"\x11\x21", &numbers[..], b"\x04news"].concat(),
            ),
            (
                Entry::Lose {
                    channel: channel(),
                    up_to,
                },
                b"\x12\x07\0\0\0\0\0\0\0news".to_vec(),
            ),
            (
                Entry::Forget {
                    channel: channel(),
                    up_to,
                },
                b"\x13\x07\0\0\0\0\0\0\0news".to_vec(),
            ),
        ] {
            assert_eq!(written(&entry), expected);
            assert_eq!(Entry::read(&expected), Ok(entry));
        }
    }

    #[test]
    fn what_is_not_written_is_not_read() {
        let numbers = b"\x02\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x04\0\0\0";
        let message = |flags: u8, rest: &[u8]| [&[0x11, flags][..], numbers, rest].concat();
        for (bytes, error) in [
            (b"".to_vec(), EntryError::Short),
            (b"\x01".to_vec(), EntryError::Unknown),
            (b"\x14".to_vec(), EntryError::Unknown),
            (b"\x21".to_vec(), EntryError::Unknown),
            (message(1 << 6, b"\x01a"), EntryError::Unknown),
            (message(TEXT, b"\x02a"), EntryError::Short),
            (message(TEXT, b"\x00"), EntryError::Invalid("channel name")),
            (message(TEXT, b"\x01a\xff"), EntryError::Invalid("data")),
            (message(JSON, b"\x01a 1"), EntryError::Invalid("data")),
            (message(JSON, b"\x01a"), EntryError::Invalid("data")),
            (message(TYPE, b"\x01a"), EntryError::Invalid("data")),
            (
                message(TEXT | EVENT, b"\x01a\x00"),
                EntryError::Invalid("event name"),
            ),
            (
                message(TEXT | EVENT, b"\x01a\x03gap"),
                EntryError::Invalid("event name"),
            ),
            (
                message(TEXT | KEY, b"\x01a\x00"),
                EntryError::Invalid("idempotency key"),
            ),
            (
                message(TEXT | FLOOR, b"\0\0\0\0\0\0\0\0\x01a"),
                EntryError::Invalid("floor"),
            ),
            (
                message(TEXT | FLOOR, b"\x02\0\0\0\0\0\0\0\x01a"),
                EntryError::Invalid("floor"),
            ),
            (
                b"\x12\x07\0\0\0\0\0\0\0".to_vec(),
                EntryError::Invalid("channel name"),
            ),
            (
                b"\x12\x01\0\0\0\0\0\0\x40a".to_vec(),
                EntryError::Invalid("number"),
            ),
            (b"\x13\x07\0\0\0\0\0\0".to_vec(), EntryError::Short),
        ] {
            assert_eq!(Entry::read(&bytes), Err(error), "{}", bytes.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn written_entry_is_read(entry in entry()) {
            let bytes = written(&entry);
            prop_assert_eq!(Entry::read(&bytes), Ok(entry));
        }

        #[test]
        fn changed_bytes_are_refused_or_written_as_they_are(
            entry in entry(),
            place: prop::sample::Index,
            byte: u8,
            cut: prop::sample::Index,
        ) {
            let mut bytes = written(&entry);
            let place = place.index(bytes.len());
            bytes[place] = byte;
            bytes.truncate(1 + cut.index(bytes.len()));
            if let Ok(entry) = Entry::read(&bytes) {
                prop_assert_eq!(written(&entry), bytes);
            }
        }
    }
}
