//! HTTP/1 requests as bytes: heads, targets and bodies.
//!
//! Owns the rules of RFC 9112, and of the fields of RFC 9110 that the server uses, in their
//! strict reading: a request that two implementations could read differently is refused, so that
//! encke and a proxy in front of it never disagree about where a request ends.
//!
//! Never reads a socket or a clock, never writes a response and knows nothing of channels. It
//! borrows from the bytes that the caller has received.
//!
//! Invariants:
//!
//! - *Independent of pieces*: the sizes of the pieces in which the bytes arrive do not change the
//!   outcome, only when it is known: a malformed head may be refused later when it comes in pieces.
//! - *Linear*: no byte is searched more than a fixed number of times, however small the pieces.
//! - *Errors close*: after an [`Error`] the end of the request is unknown. The caller may send one
//!   response and must close the connection.

mod body;
mod error;
mod fields;
mod framing;
mod head;
mod scan;
pub mod status;
mod syntax;
mod target;
mod upgrade;

pub use body::{Decoder, FrozenDecoder, Progress};
pub use error::Error;
pub use framing::{Framing, Version};
pub use head::{Head, Method, Outcome, origins, parse};
pub use scan::Scan;
pub use target::{decode, parameters};
pub use upgrade::Upgrade;
