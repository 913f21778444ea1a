//! The promise that encke makes to its clients, stated once: after a cursor, a client receives every
//! message of its channels once and in order, or is told of a gap.
//!
//! Owns the log that clients and publishers write, and the judge that reads it. Knows nothing of
//! encke's code, of sockets, files or clocks: logs in, findings out.

pub mod check;
pub mod log;
mod truth;
