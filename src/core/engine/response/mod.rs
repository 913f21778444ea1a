//! How responses are written: heads, and what of a request decides them.

pub(super) mod context;
pub(super) mod heads;
pub(super) mod problem;
