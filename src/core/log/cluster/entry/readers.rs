//! The entry by which a node says how many readers channels have on it.
//!
//! Owns its encoding.

use crate::log::EntryError;
use crate::log::cluster::bytes::{Bytes, write_number, write_word};

/// How many readers channels have on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readers {
    /// The round that it belongs to. In a round a node tells all its channels that have readers,
    /// and what changes meanwhile.
    pub round: u8,
    /// Whether the round is over with it: channels that were not told in the round have no readers.
    pub ends_round: bool,
    /// Whether the node asks the others to begin a round each.
    pub asks: bool,
    /// Keyed hashes of names (the same on all nodes), and how many readers each has; 0:
    /// none any more.
    pub counts: Vec<(u64, u32)>,
}

impl Readers {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.push(self.round);
        out.push(self.ends_round.into());
        out.push(self.asks.into());
        for &(key, readers) in &self.counts {
            write_word(out, key);
            write_number(out, readers.into());
        }
    }

    pub(super) fn read(rest: &mut Bytes<'_>) -> Result<Readers, EntryError> {
        let mut readers = Readers {
            round: rest.byte()?,
            ends_round: rest.flag()?,
            asks: rest.flag()?,
            counts: Vec::new(),
        };
        while !rest.is_empty() {
            let (key, count) = (rest.word()?, rest.number()?);
            let count = u32::try_from(count).map_err(|_| EntryError::Invalid("number"))?;
            readers.counts.push((key, count));
        }
        Ok(readers)
    }
}
