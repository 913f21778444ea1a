//! The state of a server as bytes, to be handed from one process to the next.
//!
//! Owns the number of the format, and how values become records. What the values are is decided
//! where the state is: each module that has some defines, in a file `frozen`, the structs that are
//! written, and turns them back into its state.
//!
//! A state is a sequence of records ([`crate::base::record`]): a length, a checksum, and one value
//! in the encoding of postcard 1; or, of a sequence, a byte that says whether more records of it
//! follow, and many values. There is no other structure: the reader takes the values in the order
//! in which they were written.
//!
//! Invariants:
//! - *Nothing is trusted.* Bytes that are no state of this format give a [`ThawError`]; they never
//!   panic, and never make a reader allocate more than a few times what was read.
//! - *A format does not change.* What is written to a state of one number can be read by every
//!   server that knows the number. Another value, or another order, is another format.

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

/// The number of the format that this server writes.
pub const FORMAT: u32 = 2;

/// Bytes of a record that are read at once, so that a length alone allocates no more; and those
/// with which a record of a sequence ends.
const PIECE_BYTES: usize = 64 << 10;

/// The first byte of a record of a sequence: another follows.
const MORE: u8 = 1;

/// The first byte of the last record of a sequence.
const LAST: u8 = 0;

/// The highest count that is taken from a state: it can be counted on for ever.
const MAX_COUNT: u64 = 1 << 62;

/// A number that goes on being counted.
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
