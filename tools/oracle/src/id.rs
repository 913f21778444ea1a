//! Ids and cursors, as they stand on the wire.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An id or cursor: `EPOCH-SEQ`, of a cluster also `EPOCH-SEQ.PART`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Id {
    /// The server's epoch, as a number of base 36.
    pub epoch: u64,
    /// The number in the sequence; of a cluster, that of an entry of its log.
    pub seq: u64,
    /// The place within the entry of a cluster's log; 0 of a single server.
    pub part: u16,
}

impl Id {
    /// The cursor `00000gap-0`, of an epoch that no server has: with it a client that comes back is
    /// told of the gap that was due when it left.
    pub const UNKNOWN: Id = Id::new(16 * 36 * 36 + 10 * 36 + 25, 0);

    /// The epoch of ids that [`crate::order`] has put into one sequence.
    pub(crate) const ALIGNED: u64 = u64::MAX;

    /// Bits of an aligned number that are the part, and bits that are the number of the entry.
    pub(crate) const PART_BITS: u32 = 14;
    pub(crate) const ENTRY_BITS: u32 = 34;

    /// An id without a part.
    pub const fn new(epoch: u64, seq: u64) -> Id {
        Id {
            epoch,
            seq,
            part: 0,
        }
    }

    /// Reads an id; the epoch is eight digits of base 36. A part of 0 is never written.
    pub fn parse(text: &str) -> Option<Id> {
        let (epoch, rest) = text.split_once('-')?;
        let (seq, part) = match rest.split_once('.') {
            Some((seq, part)) => (seq, part.parse().ok().filter(|&part: &u16| part > 0)?),
            None => (rest, 0),
        };
        Some(Id {
            epoch: u64::from_str_radix(epoch, 36).ok()?,
            seq: seq.parse().ok()?,
            part,
        })
    }
}

/// An epoch as eight digits of base 36.
pub fn epoch_text(epoch: u64) -> String {
    let mut digits = [b'0'; 8];
    let mut rest = epoch;
    for place in digits.iter_mut().rev() {
        let digit = std::char::from_digit((rest % 36) as u32, 36).unwrap_or('?');
        *place = digit as u8;
        rest /= 36;
    }
    String::from_utf8_lossy(&digits).into_owned()
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.epoch == Id::ALIGNED {
            let part = self.seq & ((1 << Id::PART_BITS) - 1);
            let entry = self.seq >> Id::PART_BITS;
            let term = entry >> Id::ENTRY_BITS;
            let entry = entry & ((1 << Id::ENTRY_BITS) - 1);
            return write!(f, "term{term}-{entry}.{part}");
        }
        write!(f, "{}-{}", epoch_text(self.epoch), self.seq)?;
        match self.part {
            0 => Ok(()),
            part => write!(f, ".{part}"),
        }
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_back_as_they_were() {
        for text in [
            "2y9la2gy-17",
            "00000000-0",
            "zzzzzzzz-18446744073709551615",
            "2y9la2gy-17.1",
            "2y9la2gy-0.16383",
        ] {
            assert_eq!(Id::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Id::UNKNOWN.to_string(), "00000gap-0");
        for text in [
            "2y9la2gy",
            "2y9la2gy-",
            "?-1",
            "2y9la2gy-1.",
            "2y9la2gy-1.0",
        ] {
            assert_eq!(Id::parse(text), None, "{text}");
        }
    }

    #[test]
    fn ids_are_ordered_by_epoch_then_number_then_part() {
        let ids = [
            "2y9la2gy-9",
            "2y9la2gy-10",
            "2y9la2gy-10.2",
            "2y9la2gy-10.11",
            "2y9la2gz-0",
        ];
        let ids = ids.map(|text| Id::parse(text).unwrap());
        assert!(ids.is_sorted());
    }
}
