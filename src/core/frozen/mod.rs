//! The state of a server as bytes, to be handed from one process to the next.
//!
//! Owns the numbers of the formats, and how values become records. Each module that has state has a
//! file `frozen`: it defines the structs that are written, and makes the state of them again.
//!
//! A state is a sequence of records ([`crate::base::record`]): a length, a checksum, and one value
//! in the encoding of postcard 1. A record of a sequence has many values, behind a byte that says
//! whether further records of the sequence follow. There is no other structure: the reader takes
//! the values in the order in which they were written.
//!
//! A server knows two formats, so that it can hand over to the version before it, and take over
//! from that. Where they differ, the owner of a value asks the [`Freezer`] or [`Thawer`], in one
//! place:
//!
//! | format | |
//! |---|---|
//! | 1 | a server that is no node of a cluster |
//! | 2 | the same, and beside it what a node of a cluster has ([`Freezer::has_nodes`]) |
//!
//! Invariants:
//! - *Nothing is trusted.* Bytes that are not a state of this format give a [`ThawError`]. They
//!   cause no panic, and no allocation of more than a few times their own length.
//! - *A format does not change.* Every server that knows the number of a format can read all states
//!   with that number. A changed value, or another order of values, is a new format. States of
//!   earlier versions, in the folders of tests, show that it does not.

mod bytes;
mod freezer;
mod thawer;

#[cfg(test)]
pub(crate) mod damage;
#[cfg(test)]
mod tests;

pub use bytes::Bytes;
pub use freezer::Freezer;
pub use thawer::{ThawError, Thawer, Values};

use serde::{Deserialize, Deserializer, Serialize, de};

/// The number of the newest format that this server writes and reads.
pub const FORMAT: u32 = 2;

/// All of them, the newest first.
pub const FORMATS: [u32; 2] = [FORMAT, 1];

/// Those that have the state of a node of a cluster.
pub const FORMATS_OF_NODES: [u32; 1] = [FORMAT];

/// The first of these.
const NODES: u32 = 2;

/// The most bytes of a record that are read at once, so that a false length cannot cause a large
/// allocation. A record of a sequence is written when it has this many bytes.
const PIECE_BYTES: usize = 64 << 10;

/// The first byte of a record of a sequence: another follows.
const MORE: u8 = 1;

/// The first byte of the last record of a sequence.
const LAST: u8 = 0;

/// The highest count that is accepted from a state: counting on from it never overflows.
const MAX_COUNT: u64 = 1 << 62;

/// A counter that continues after the hand-over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count(#[serde(deserialize_with = "count")] pub u64);

/// Reads a counter, for `#[serde(deserialize_with = "crate::frozen::count")]`.
///
/// # Errors
///
/// There is no number, or one so high that counting on would overflow.
pub fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let count = u64::deserialize(deserializer)?;
    match count <= MAX_COUNT {
        true => Ok(count),
        false => Err(de::Error::custom("a count is out of range")),
    }
}
