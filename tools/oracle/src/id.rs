//! Ids and cursors, as they stand on the wire.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An id or cursor: `EPOCH-SEQ`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Id {
    /// The server's epoch, as a number of base 36.
    pub epoch: u64,
    /// The number in the sequence.
    pub seq: u64,
}

impl Id {
    /// The cursor `00000gap-0`, of an epoch that no server has: with it a client that comes back is
    /// told of the gap that was due when it left.
    pub const UNKNOWN: Id = Id {
        epoch: 16 * 36 * 36 + 10 * 36 + 25,
        seq: 0,
    };

    /// Reads an id; the epoch is eight digits of base 36.
    pub fn parse(text: &str) -> Option<Id> {
        let (epoch, seq) = text.split_once('-')?;
        Some(Id {
            epoch: u64::from_str_radix(epoch, 36).ok()?,
            seq: seq.parse().ok()?,
        })
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [b'0'; 8];
        let mut rest = self.epoch;
        for place in digits.iter_mut().rev() {
            let digit = std::char::from_digit((rest % 36) as u32, 36).unwrap_or('?');
            *place = digit as u8;
            rest /= 36;
        }
        write!(f, "{}-{}", String::from_utf8_lossy(&digits), self.seq)
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
        for text in ["2y9la2gy-17", "00000000-0", "zzzzzzzz-18446744073709551615"] {
            assert_eq!(Id::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Id::UNKNOWN.to_string(), "00000gap-0");
        assert_eq!(Id::parse("2y9la2gy"), None);
        assert_eq!(Id::parse("2y9la2gy-"), None);
        assert_eq!(Id::parse("?-1"), None);
    }
}
