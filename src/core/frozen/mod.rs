//! The state of a server as bytes, to be handed from one process to the next.
//!
//! Owns the number of the format, and how values become records. What the values are is decided where
//! the state is: each module that has some defines, in a file `frozen`, the structs that are written,
//! and turns them back into its state.
//!
//! A state is a sequence of records ([`crate::base::record`]): a length, a checksum, and one value in
//! the encoding of postcard 1. There is no other structure: who reads takes the values in the order in
//! which they were written.
//!
//! Invariants:
//! - *Nothing is trusted.* Bytes that are no state of this format give a [`ThawError`]; they never
//!   panic, and never make a reader allocate more than a few times what was read.
//! - *A format does not change.* What is written to a state of one number can be read by every server
//!   that knows the number. Another value, or another order, is another format.

mod freezer;
mod thawer;

#[cfg(test)]
mod tests;

pub use freezer::Freezer;
pub use thawer::{ThawError, Thawer};

/// The number of the format that this server writes.
pub const FORMAT: u32 = 1;
