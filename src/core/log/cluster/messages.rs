//! The messages of an entry, as its bytes.
//!
//! Owns how they are framed: a length each, then the flags and the message as in `log::entry`. They
//! are checked where the entry is read, without a copy, and made into drafts one after another where
//! they are applied: of all that a node reads, only what the hub keeps is allocated.
//!
//! Invariant: *checked.* [`Messages`] and [`Drafts`] have only bytes that nodes write, so each of
//! their drafts can be made.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::bytes::{Bytes, write_number};
use crate::log::EntryError;
use crate::log::entry::{
    DraftParts, check_draft, draft_flags, draft_parts, read_checked_draft, write_draft,
};
use crate::message::{ChannelName, Draft, DraftKind, IdempotencyKey};

/// The most parts of an entry.
pub const MAX_PARTS: usize = 1 << 14;

/// The flag of a floor in the records of a saved log, which have the same flags otherwise. In a message of
/// a cluster it is an error.
const FLOOR: u8 = 1 << 4;
const LAST: u8 = 1 << 6;
const RESERVED: u8 = 1 << 7;

/// Messages of an entry, in their order.
#[derive(Clone, PartialEq, Eq)]
pub struct Messages<'e>(Cow<'e, [u8]>);

impl<'e> Messages<'e> {
    /// These messages, of which there is at least one.
    pub fn of(drafts: &[Draft<'_>]) -> Messages<'static> {
        let mut bytes = Vec::new();
        for draft in drafts {
            write_message(&mut bytes, draft);
        }
        Messages(Cow::Owned(bytes))
    }

    /// Checks the messages that are all of `bytes`.
    pub(super) fn read(bytes: &'e [u8]) -> Result<Messages<'e>, EntryError> {
        let mut rest = Bytes(bytes);
        let mut parts = 0;
        while !rest.is_empty() {
            let (flags, draft) = next_framed(&mut rest)?;
            if flags & (RESERVED | FLOOR) != 0 {
                return Err(EntryError::Unknown);
            }
            let kind = check_draft(flags, draft)?;
            if flags & LAST != 0 && kind == DraftKind::End {
                return Err(EntryError::Invalid("end"));
            }
            parts += parts_of(flags);
        }
        match (1..=MAX_PARTS).contains(&parts) {
            true => Ok(Messages(Cow::Borrowed(bytes))),
            false => Err(EntryError::Invalid("number of messages")),
        }
    }

    /// Their bytes.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// How many there are, and how many parts they have: a message with an end has two.
    pub(super) fn count(&self) -> (usize, usize) {
        let mut rest = Bytes(&self.0);
        let (mut messages, mut parts) = (0, 0);
        while let Ok((flags, _)) = next_framed(&mut rest) {
            messages += 1;
            parts += parts_of(flags);
        }
        (messages, parts)
    }

    /// The channel of each, and its key if it has one.
    pub(super) fn names(&self) -> impl Iterator<Item = (ChannelName<'_>, Option<IdempotencyKey>)> {
        let mut rest = Bytes(&self.0);
        std::iter::from_fn(move || {
            let (flags, draft) = next_framed(&mut rest).ok()?;
            let DraftParts { channel, key, .. } = draft_parts(flags, draft).ok()?;
            Some((channel, key))
        })
    }
}

/// The parts of a message with these flags: one that ends its channel has two.
fn parts_of(flags: u8) -> usize {
    1 + usize::from(flags & LAST != 0)
}

impl fmt::Debug for Messages<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let drafts = Drafts::new(Arc::from(self.as_bytes()), 0);
        fmt::Debug::fmt(&drafts, f)
    }
}

/// Messages of an entry that are not applied yet. The bytes are those of the whole entry, which may
/// be kept elsewhere too.
#[derive(Clone)]
pub struct Drafts {
    entry: Arc<[u8]>,
    /// Where the next message begins.
    at: usize,
}

impl Drafts {
    /// The messages of an entry, whose bytes they are from `at` on. They were checked.
    pub(super) fn new(entry: Arc<[u8]>, at: usize) -> Drafts {
        debug_assert!(Messages::read(&entry[at..]).is_ok());
        Drafts { entry, at }
    }

    /// The bytes of the entry.
    pub(super) fn entry_len(&self) -> usize {
        self.entry.len()
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.at >= self.entry.len()
    }

    /// The next message. It stays the next one until [`Drafts::skip_to`] is called with what comes
    /// beside it.
    #[inline]
    pub fn peek(&self) -> Option<(Draft<'_>, Next)> {
        let mut rest = Bytes(self.entry.get(self.at..)?);
        let (flags, draft) = next_framed(&mut rest).ok()?;
        let next = Next(self.entry.len() - rest.0.len());
        let mut draft = read_checked_draft(flags, draft)?;
        if flags & LAST != 0 {
            draft.kind = DraftKind::Last;
        }
        Some((draft, next))
    }

    /// The message before this place is applied.
    #[inline]
    pub fn skip_to(&mut self, next: Next) {
        debug_assert!(next.0 > self.at);
        self.at = next.0;
    }

    /// All that are left.
    pub fn to_vec(&self) -> Vec<Draft<'static>> {
        let mut rest = self.clone();
        let mut drafts = Vec::new();
        while let Some((draft, next)) = rest.peek() {
            let channel = draft.channel.clone().into_owned();
            drafts.push(Draft { channel, ..draft });
            rest.skip_to(next);
        }
        drafts
    }
}

impl PartialEq for Drafts {
    fn eq(&self, other: &Drafts) -> bool {
        self.entry[self.at..] == other.entry[other.at..]
    }
}

impl fmt::Debug for Drafts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.to_vec()).finish()
    }
}

/// Where the message after another one begins.
#[derive(Clone, Copy, Debug)]
pub struct Next(usize);

/// The flags and the bytes of the next message.
#[inline]
fn next_framed<'e>(rest: &mut Bytes<'e>) -> Result<(u8, &'e [u8]), EntryError> {
    let length = rest.number()?;
    let framed = rest.take(length)?;
    let (&flags, draft) = framed.split_first().ok_or(EntryError::Short)?;
    Ok((flags, draft))
}

/// Appends a message to an entry of messages.
pub fn write_message(out: &mut Vec<u8>, draft: &Draft<'_>) {
    let last = if draft.kind == DraftKind::Last {
        LAST
    } else {
        0
    };
    write_number(out, message_len(draft) as u64);
    let start = out.len();
    out.push(draft_flags(draft) | last);
    write_draft(out, draft);
    debug_assert_eq!(out.len() - start, message_len(draft));
}

/// The bytes of a message in an entry, without their length.
pub(super) fn message_len(draft: &Draft<'_>) -> usize {
    let short = |text: usize| text + 1;
    1 + short(draft.channel.len())
        + draft.event.as_ref().map_or(0, |event| short(event.len()))
        + draft.key.as_ref().map_or(0, |key| short(key.len()))
        + draft.data.len()
}

/// How many parts messages have: a message with an end has two.
pub fn count_parts(drafts: &[Draft<'_>]) -> usize {
    let lasts = drafts.iter().filter(|draft| draft.kind == DraftKind::Last);
    drafts.len() + lasts.count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::log::cluster::entry::tests::draft;

    /// All messages, each looked at twice.
    fn taken(mut drafts: Drafts) -> Vec<Draft<'static>> {
        let all = drafts.to_vec();
        let mut taken = Vec::new();
        while let Some((draft, next)) = drafts.peek() {
            assert_eq!(drafts.peek().map(|(again, _)| again), Some(draft.clone()));
            let channel = draft.channel.clone().into_owned();
            taken.push(Draft { channel, ..draft });
            drafts.skip_to(next);
        }
        assert!(drafts.is_empty());
        assert_eq!(taken, all);
        taken
    }

    proptest! {
        #[test]
        fn messages_are_made_of_their_bytes(
            drafts in proptest::collection::vec(draft(), 1..5),
            head in "[a-z]{0,9}",
        ) {
            let messages = Messages::of(&drafts);
            let again = Messages::read(messages.as_bytes());
            prop_assert_eq!(again, Ok(messages.clone()));
            let names: Vec<_> = messages.names().map(|(name, key)| (name.into_owned(), key)).collect();
            let expected = drafts.iter().map(|draft| (draft.channel.clone(), draft.key.clone()));
            prop_assert_eq!(names, expected.collect::<Vec<_>>());
            let entry = [head.as_bytes(), messages.as_bytes()].concat();
            prop_assert_eq!(taken(Drafts::new(entry.into(), head.len())), drafts);
        }

        #[test]
        fn changed_bytes_are_refused_or_made_into_drafts(
            drafts in proptest::collection::vec(draft(), 1..4),
            place: prop::sample::Index,
            byte: u8,
        ) {
            let mut bytes = Messages::of(&drafts).as_bytes().to_vec();
            let place = place.index(bytes.len());
            bytes[place] = byte;
            if let Ok(messages) = Messages::read(&bytes) {
                let count = messages.names().count();
                prop_assert_eq!(taken(Drafts::new(bytes.clone().into(), 0)).len(), count);
            }
        }
    }
}
