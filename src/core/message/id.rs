//! Ids: `EPOCH-SEQ`, and in a cluster `EPOCH-ENTRY` or `EPOCH-ENTRY.PART`.
//!
//! Owns how they are written, and the id of an entry of a cluster's log. It never knows which epochs
//! there are.
//!
//! In a cluster the epoch is the term of the entry that the message is in. The first message of an
//! entry has no part in its id, the second has `.1`.

use std::fmt;

use memchr::memchr;
use serde::{Deserialize, Serialize};

use crate::base::decimal;

/// The number of a message in the server's one sequence; 0 is before the first.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Seq(pub u64);

impl Seq {
    /// Before the first message.
    pub const ZERO: Seq = Seq(0);

    /// The number of the message after this one.
    #[must_use]
    pub fn next(self) -> Seq {
        Seq(self.0 + 1)
    }
}

/// The part of every id that changes when history was lost, and in a cluster with each term: lowercase
/// base-36.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "[u8; Epoch::BYTES]", into = "[u8; Epoch::BYTES]")]
pub struct Epoch([u8; Epoch::BYTES]);

impl Epoch {
    /// The bytes of an epoch.
    pub const BYTES: usize = 8;

    /// An epoch that no server has, so that every server treats its cursors as foreign.
    const UNKNOWN: Epoch = Epoch(*b"00000gap");

    /// The epoch of a seed: the seed modulo 36^8 (about 2^41), in base 36. The seed of the epoch of
    /// [`MessageId::UNKNOWN`] gives the next epoch instead.
    pub fn from_seed(seed: u64) -> Epoch {
        match Epoch::in_base_36(seed) {
            Epoch::UNKNOWN => Epoch::in_base_36(seed + 1),
            epoch => epoch,
        }
    }

    /// The reverse of [`Epoch::as_str`], of its bytes; `None` where they are no epoch of a server.
    pub fn from_bytes(bytes: [u8; Epoch::BYTES]) -> Option<Epoch> {
        let epoch = Epoch::try_from(bytes).ok()?;
        (epoch != Epoch::UNKNOWN).then_some(epoch)
    }

    /// Whether a server may have it.
    pub fn is_known(&self) -> bool {
        *self != Epoch::UNKNOWN
    }

    fn in_base_36(seed: u64) -> Epoch {
        const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
        let mut rest = seed;
        let mut text = [0; Epoch::BYTES];
        for digit in text.iter_mut().rev() {
            *digit = DIGITS[(rest % 36) as usize];
            rest /= 36;
        }
        Epoch(text)
    }

    /// The seed that it is of, below 36^8; `None` for that of [`MessageId::UNKNOWN`].
    pub(super) fn seed(&self) -> Option<u64> {
        if !self.is_known() {
            return None;
        }
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => byte - b'0',
            _ => byte - b'a' + 10,
        };
        let digits = self.0.iter().map(|&byte| u64::from(digit(byte)));
        Some(digits.fold(0, |number, digit| number * 36 + digit))
    }

    /// Its text, as in ids, as bytes.
    pub(super) fn as_bytes(&self) -> &[u8; Epoch::BYTES] {
        &self.0
    }

    /// Its text, as in ids.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("an epoch is made of ASCII digits and letters")
    }
}

/// Any epoch that an id may have, that of [`MessageId::UNKNOWN`] too.
impl TryFrom<[u8; Epoch::BYTES]> for Epoch {
    type Error = &'static str;

    fn try_from(bytes: [u8; Epoch::BYTES]) -> Result<Epoch, &'static str> {
        let is_digit = |byte: &u8| byte.is_ascii_digit() || byte.is_ascii_lowercase();
        match bytes.iter().all(is_digit) {
            true => Ok(Epoch(bytes)),
            false => Err("an epoch is made of digits and lowercase letters"),
        }
    }
}

impl From<Epoch> for [u8; Epoch::BYTES] {
    fn from(epoch: Epoch) -> [u8; Epoch::BYTES] {
        epoch.0
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Epoch").field(&self.as_str()).finish()
    }
}

/// The id of a message, and the cursor after it: `EPOCH-SEQ`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageId {
    /// The server's epoch.
    pub epoch: Epoch,
    /// The message's number in that epoch.
    pub seq: Seq,
}

impl MessageId {
    /// A cursor that every server answers with a gap. A stream that begins with a gap opens with
    /// it, so that a client that loses the connection before the gap gets one when it resumes.
    pub const UNKNOWN: MessageId = MessageId {
        epoch: Epoch::UNKNOWN,
        seq: Seq::ZERO,
    };

    /// Appends its text; faster than `Display`.
    pub fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.epoch.0);
        out.push(b'-');
        if self.seq.is_place() {
            return write_place(self.seq, out);
        }
        out.extend_from_slice(itoa::Buffer::new().format(self.seq.0).as_bytes());
    }
}

/// Appends the number of an entry, and the part if it is not the first.
#[cold]
fn write_place(seq: Seq, out: &mut Vec<u8>) {
    let Some(place) = seq.place() else {
        return;
    };
    out.extend_from_slice(itoa::Buffer::new().format(place.entry).as_bytes());
    if place.part > 0 {
        out.push(b'.');
        out.extend_from_slice(itoa::Buffer::new().format(place.part).as_bytes());
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::new();
        self.write(&mut text);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

/// The id of an entry in the log of a cluster, as the server that keeps the log writes it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct EntryId {
    /// The term of the log: the time at which it was opened, in milliseconds since 1970.
    pub term: u64,
    /// The number of the entry in its term, from 0.
    pub number: u64,
}

impl EntryId {
    /// Before the first entry of any log.
    pub const ZERO: EntryId = EntryId { term: 0, number: 0 };

    /// The most bytes of its text.
    pub const MAX_BYTES: usize = 41;

    /// An id of its two numbers.
    pub const fn new(term: u64, number: u64) -> EntryId {
        EntryId { term, number }
    }

    /// The id that follows in the same term.
    #[must_use]
    pub fn next(self) -> EntryId {
        EntryId::new(self.term, self.number.saturating_add(1))
    }

    /// Parses `TERM-NUMBER`: two decimal `u64` without leading zeros. `None` if the text is not of
    /// that form.
    pub fn parse(text: &[u8]) -> Option<EntryId> {
        let (term, number) = text.split_at(memchr(b'-', text)?);
        Some(EntryId {
            term: decimal::canonical(term)?,
            number: decimal::canonical(&number[1..])?,
        })
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.term, self.number)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn epochs_are_the_seed_in_base_36() {
        assert_eq!(Epoch::from_seed(0).as_str(), "00000000");
        assert_eq!(Epoch::from_seed(35 * 36 + 10).as_str(), "000000za");
        assert_eq!(Epoch::from_seed(36u64.pow(8) - 1).as_str(), "zzzzzzzz");
        assert_eq!(Epoch::from_seed(36u64.pow(8)).as_str(), "00000000");
    }

    #[test]
    fn entry_ids_of_any_other_form_are_refused() {
        for text in [
            "", "-", "1", "1-", "-1", "1-2-3", "01-1", "1-01", "+1-1", "1-1 ", "a-1",
        ] {
            assert_eq!(EntryId::parse(text.as_bytes()), None, "{text}");
        }
        let most = EntryId::new(u64::MAX, u64::MAX);
        assert_eq!(most.to_string().len(), EntryId::MAX_BYTES);
        assert_eq!(most.next(), most);
    }

    proptest! {
        #[test]
        fn written_entry_id_parses_to_itself(term: u64, number: u64) {
            let id = EntryId::new(term, number);
            prop_assert_eq!(EntryId::parse(id.to_string().as_bytes()), Some(id));
        }
    }
}
