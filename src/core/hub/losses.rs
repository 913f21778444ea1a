//! Losses of all channels, which only the hub of a cluster's node is told.
//!
//! Owns how far the present one has come, and what may be learned about the last.

use crate::message::Seq;

/// What the hub of a cluster's node knows of losses of all channels.
#[derive(Default)]
pub(super) struct Losses {
    /// The newest loss of all channels.
    pub(super) lost_all: Seq,
    /// Whether buckets of names still have the floor of that loss, about which more may be known.
    pub(super) awaits_floors: bool,
    /// The slot from which on channels are to be told a loss of all.
    pub(super) losing_from: Option<usize>,
}
