//! HTTP/1 requests as bytes: heads, targets and bodies.
//!
//! Owns the rules of RFC 9112 and of the fields of RFC 9110 that this server asks about, in their
//! strict reading: whatever two implementations could read in two ways is refused, so that no
//! proxy in front can be made to disagree about where a request ends.
//!
//! Never reads a socket or a clock, never writes a response and knows nothing of channels. It is
//! handed the bytes that have arrived and borrows from them.
//!
//! Invariants:
//!
//! - *Cut-proof*: how the bytes were cut on their way does not change the outcome. Only the moment
//!   may differ: a head that is not complete yet may be refused later when it comes in pieces.
//! - *Linear*: no byte is searched more than a fixed number of times, however small the pieces.
//! - *Errors close*: after an [`Error`] the end of the request is not known, hence the connection
//!   is answered once more at most and closed.

mod body;
mod error;
mod fields;
mod framing;
mod head;
mod scan;
pub mod status;
mod syntax;
mod target;

pub use body::{Decoder, Progress};
pub use error::Error;
pub use framing::{Framing, Version};
pub use head::{Head, Method, Outcome, origins, parse};
pub use scan::Scan;
pub use target::{decode, parameters};
