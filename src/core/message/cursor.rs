//! Cursors that clients send: `EPOCH-SEQ`, and in a cluster `EPOCH-ENTRY` or `EPOCH-ENTRY.PART`.
//!
//! Owns their form on the wire. It never decides what a cursor means for a channel: it also parses
//! numbers that no message has.

use memchr::memchr;

use super::{Epoch, Numbering, Seq};
use crate::base::decimal;

/// The longest epoch that parses. Other servers may have longer epochs than this one: their cursors
/// are foreign, not malformed.
const MAX_EPOCH_BYTES: usize = 16;

/// A cursor that a client sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cursor {
    /// A number of an epoch that this server knows, not necessarily of an existing message.
    Known(Seq),
    /// Of a term of the cluster's log that is later than all that are known. This node may not have
    /// come to it yet.
    Later(u64),
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
            (Numbering::Single(epoch), Some(seq)) if given == epoch.as_bytes() => {
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
            (Numbering::Cluster(terms), Some(epoch)) => {
                let seq = terms.cursor(epoch, entry, part);
                let is_later = |term: &u64| terms.newest().is_none_or(|newest| newest < *term);
                match (seq, epoch.seed().filter(is_later)) {
                    (Some(seq), _) => Cursor::Known(seq),
                    (None, Some(term)) => Cursor::Later(term),
                    (None, None) => Cursor::Foreign,
                }
            }
            _ => Cursor::Foreign,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::MessageId;

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

    proptest! {
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
