//! Ids and cursors: `EPOCH-SEQ`, and in a cluster `EPOCH-ENTRY` or `EPOCH-ENTRY.PART`.
//!
//! Owns their form on the wire. It never decides what a cursor means for a channel: it also parses
//! numbers that no message has.
//!
//! In a cluster the epoch is the term of the entry that the message is in. The first message of an
//! entry has no part in its id, the second has `.1`.

use std::fmt;

use memchr::memchr;
use serde::{Deserialize, Serialize};

use super::Numbering;
use crate::base::decimal;

/// The longest epoch that parses. Other servers may have longer epochs than this one: their cursors
/// are foreign, not malformed.
const MAX_EPOCH_BYTES: usize = 16;

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

/// The part of every id that changes when history was lost: lowercase base-36.
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

/// A cursor that a client sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cursor {
    /// A number of an epoch that this server knows, not necessarily of an existing message.
    Known(Seq),
    /// Well-formed, but of another epoch.
    Foreign,
}

impl Cursor {
    /// Parses `EPOCH-SEQ` or `EPOCH-ENTRY.PART`: 1 to 16 of `0-9a-z`, a hyphen, and decimal numbers
    /// below 2^64 without leading zeros, of which the part is not 0. `None` if the text is not of
    /// that form.
    pub fn parse(text: &[u8], numbering: &Numbering) -> Option<Cursor> {
        let (given, number) = text.split_at(memchr(b'-', text)?);
        let is_epoch = |b: &u8| b.is_ascii_digit() || b.is_ascii_lowercase();
        if given.is_empty() || given.len() > MAX_EPOCH_BYTES || !given.iter().all(is_epoch) {
            return None;
        }
        let number = &number[1..];
        match (numbering, decimal::canonical(number)) {
            (Numbering::Single(epoch), Some(seq)) if *given == epoch.0 => {
                Some(Cursor::Known(Seq(seq)))
            }
            (Numbering::Single(_), Some(_)) => Some(Cursor::Foreign),
            _ => Cursor::parse_place(given, number, numbering),
        }
    }

    /// Parses a cursor of a cluster. To a server that is none it is foreign.
    #[cold]
    fn parse_place(given: &[u8], number: &[u8], numbering: &Numbering) -> Option<Cursor> {
        let (entry, part) = match memchr(b'.', number) {
            None => (decimal::canonical(number)?, 0),
            Some(dot) => {
                let part = decimal::canonical(&number[dot + 1..]).filter(|&part| part > 0)?;
                (decimal::canonical(&number[..dot])?, part)
            }
        };
        let epoch = <[u8; Epoch::BYTES]>::try_from(given).ok();
        let epoch = epoch.and_then(Epoch::from_bytes);
        Some(match (numbering, epoch) {
            (Numbering::Cluster(terms), Some(epoch)) => terms.cursor(epoch, entry, part),
            _ => Cursor::Foreign,
        })
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
    fn unknown_cursor_is_foreign_to_every_server() {
        let seed = u64::from_str_radix("gap", 36).unwrap();
        assert_eq!(Epoch::from_seed(seed).as_str(), "00000gaq");
        let text = MessageId::UNKNOWN.to_string();
        assert_eq!(text, "00000gap-0");
        for seed in [0, seed - 1, seed, seed + 1, seed + 36u64.pow(8)] {
            let cursor = Cursor::parse(text.as_bytes(), &Numbering::Single(Epoch::from_seed(seed)));
            assert_eq!(cursor, Some(Cursor::Foreign));
        }
    }

    #[test]
    fn cursors_of_any_other_form_are_refused() {
        let epoch = Epoch::from_seed(u64::MAX);
        let own = |number: &str| format!("{}-{number}", epoch.as_str());
        for (text, expected) in [
            (own("0"), Some(Cursor::Known(Seq(0)))),
            (
                own("18446744073709551615"),
                Some(Cursor::Known(Seq(u64::MAX))),
            ),
            (own("18446744073709551616"), None),
            (own("00"), None),
            (own("01"), None),
            (own("+1"), None),
            (own("-1"), None),
            (own("1-"), None),
            (own(""), None),
            (own("1 "), None),
            (own("\u{663}"), None),
            ("b7k-1042".into(), Some(Cursor::Foreign)),
            ("abcdefghij012345-1".into(), Some(Cursor::Foreign)),
            ("abcdefghij0123456-1".into(), None),
            ("B7k-1".into(), None),
            ("-1".into(), None),
            ("b7k".into(), None),
            ("".into(), None),
            ("earliest".into(), None),
        ] {
            let numbering = Numbering::Single(epoch);
            assert_eq!(
                Cursor::parse(text.as_bytes(), &numbering),
                expected,
                "{text}"
            );
        }
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

        #[test]
        fn written_cursor_parses_to_itself(seed: u64, other: u64, seq in 0..1_u64 << 63) {
            let (epoch, other) = (Epoch::from_seed(seed), Epoch::from_seed(other));
            let mut text = Vec::new();
            let id = MessageId { epoch, seq: Seq(seq) };
            id.write(&mut text);
            prop_assert_eq!(&text, &format!("{}-{seq}", epoch.as_str()).into_bytes());
            prop_assert_eq!(&text, &id.to_string().into_bytes());
            prop_assert_eq!(Cursor::parse(&text, &Numbering::Single(epoch)), Some(Cursor::Known(Seq(seq))));
            if other != epoch {
                prop_assert_eq!(Cursor::parse(&text, &Numbering::Single(other)), Some(Cursor::Foreign));
            }
        }

        #[test]
        fn parsed_cursor_is_written_as_it_was(
            text in "([0-9a-zA-Z]{0,17}|00000000)-?[0-9]{0,21}[-x]?",
        ) {
            let epoch = Epoch::from_seed(0);
            let naive = text.split_once('-').and_then(|(given, number)| {
                let seq = number.parse::<u128>().ok()?;
                let is_written = seq.to_string() == number && seq <= u128::from(u64::MAX);
                let is_epoch = (1..=16).contains(&given.len())
                    && given.chars().all(|c| c.is_ascii_alphanumeric() && !c.is_ascii_uppercase());
                (is_written && is_epoch).then_some(match given {
                    "00000000" => Cursor::Known(Seq(seq as u64)),
                    _ => Cursor::Foreign,
                })
            });
            prop_assert_eq!(Cursor::parse(text.as_bytes(), &Numbering::Single(epoch)), naive);
        }
    }
}
