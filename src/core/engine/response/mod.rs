//! How responses are written: heads, bodies, and the facts of a request that decide them.
//!
//! Owns the bytes of a response that is written for one connection. It sends nothing and knows
//! neither a channel nor a connection's state.

mod context;
mod framing;
mod heads;
mod origins;
mod problem;
mod writer;

pub(super) use context::{BodyLength, FrozenContext, KeepAlive, ResponseContext};
pub(super) use framing::Framing;
pub(super) use heads::{Heads, field};
pub(super) use origins::FrozenOrigins;
pub(super) use problem::{FrozenProblem, Problem};
pub(super) use writer::{ResponsePart, ResponseWriter};
