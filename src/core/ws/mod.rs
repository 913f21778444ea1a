//! The WebSocket protocol as bytes (RFC 6455): the key of a handshake, frames in, frames out.
//!
//! Owns the rules of RFC 6455 in their strict reading: a client that breaks one is told so by a
//! close code, and nothing after it is read. Extensions are not supported, so reserved bits are
//! refused.
//!
//! Never reads a socket or a clock and knows nothing of channels or of HTTP.
//!
//! Invariants:
//!
//! - *Independent of pieces*: the sizes of the pieces in which the bytes arrive do not change what
//!   is decoded.
//! - *Linear*: every byte is looked at a fixed number of times, however small the pieces.
//! - *Bounded*: a decoder keeps no more than a message of the allowed size and a control frame. It
//!   allocates for what has arrived, not for what a header announces.

mod close;
mod decoder;
mod frame;
mod handshake;

pub use close::{CloseCode, MAX_REASON_BYTES, shortened};
pub use decoder::{Decoder, Error, Event, FrozenDecoder};
pub use frame::{Opcode, unmask, write, write_close};
pub use handshake::{ACCEPT_BYTES, accept};
