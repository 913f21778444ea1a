//! Reads the responses of encke and of other HTTP-push servers, as their clients do.
//!
//! Owns the bytes: HTTP/1.1 framing ([`response`]) and the body formats: batches and JSONP
//! ([`batch`]), server-sent events ([`sse`]), NDJSON and forever frames ([`stream`]), and the
//! frames of WebSockets ([`websocket`]). It uses no
//! code of the server, so that the two can be checked against each other, and it has no sockets,
//! clocks or threads, so that load drivers, simulation and tests share it.
//!
//! Invariant: nothing a server sends makes it panic or keep more than its limits allow; malformed
//! input is an [`Error`], after which the reader is not to be used any more.

pub mod batch;
mod error;
mod object;
pub mod response;
pub mod sse;
pub mod stream;
pub mod websocket;

pub use batch::Batch;
pub use error::Error;
pub use object::{Data, Message, is_answer};
pub use response::{Head, Part, ResponseReader};
pub use stream::{Event, Format, StreamDecoder};
