//! Losses of all channels and of many, which only the hub of a node of a cluster has.
//!
//! Owns the progress of the present loss, and whether floors of other nodes may still correct the
//! last one of all channels.

use crate::message::{ChannelName, Seq};

/// The losses of a hub of a node of a cluster.
#[derive(Default)]
pub(super) struct Losses {
    /// The newest loss of all channels.
    pub(super) lost_all: Seq,
    /// Whether buckets of names have the floor of that loss, which another node may lower.
    pub(super) awaits_floors: bool,
    /// The slot of the first channel that does not have the present loss yet.
    pub(super) losing_from: Option<usize>,
    /// The channels that are to be told a loss up to a number.
    pub(super) losing: Option<(Seq, Vec<ChannelName<'static>>)>,
}
