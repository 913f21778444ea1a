//! Producers: threads that publish messages from a source outside the server.
//!
//! Owns blocking reads and the warnings about malformed input. A producer uses neither the engine
//! nor the reactor: it passes each message to a closure, whose blocking is the
//! back-pressure. The end of a producer's source ends its thread, never the server.

mod pause;
pub mod stdin;

pub(crate) use pause::{Producer, Rest};
