//! The nodes of a cluster, and the faults that were done to them.
//!
//! Owns the records of faults, and what they excuse: lateness, and losses. A fault by which nothing
//! may be lost excuses no gap.
//!
//! *A split.* While some nodes are still with a server that another one has replaced, there are two
//! logs, and neither side knows of the other one. So:
//!
//! - What the side took that is given up is lost. It is told as a gap when its nodes are back, to all
//!   who follow the channels: until then it is not passed over in silence. That side is in the term
//!   that there was at the beginning, so nothing of a term that began in the split is excused.
//! - A node has no term that the other side has begun: with a cursor of that a client is answered
//!   503, or told a gap. After such a gap it begins anew on the side of the node, and what it had may
//!   come again. Not so where the node itself has told the client of that term.
//! - The order of publishing holds on each side, and not between the two.
//!
//! All else holds as ever: on each side a client has every message once and in order.

use crate::span::Span;

/// A fault by which messages may be gone, which is told as a gap.
///
/// A loss counts as an eviction: what a channel had before it is not kept either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// When: what was published up to its end may be gone, from its beginning on.
    pub span: Span,
    /// The node alone whose readers may be told of it; `None`: all nodes.
    pub node: Option<u32>,
}

impl Loss {
    /// Whether it may concern readers on a node; `None`: those on all nodes.
    fn is_at(&self, node: Option<u32>) -> bool {
        self.node.is_none() || self.node == node
    }
}

/// A cluster in a run.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    /// When each node was away or stopped.
    pub nodes: Vec<Vec<Span>>,
    /// When messages may have been delayed on their way between nodes: the log server was away, or
    /// a node could not reach it.
    pub delays: Vec<Span>,
    /// The messages that may be lost.
    pub losses: Vec<Loss>,
    /// When there were two logs, and until the nodes have come together again.
    pub splits: Vec<Span>,
}

impl Cluster {
    /// When a node was away or stopped.
    pub(crate) fn node(&self, node: u32) -> &[Span] {
        self.nodes.get(node as usize).map_or(&[], Vec::as_slice)
    }

    /// Whether there were two logs at some moment of a stretch of time.
    pub(crate) fn was_split(&self, from: u64, to: u64) -> bool {
        self.splits(from, to).next().is_some()
    }

    /// The splits that have a moment in common with a stretch of time.
    pub(crate) fn splits(&self, from: u64, to: u64) -> impl Iterator<Item = &Span> {
        let splits = self.splits.iter();
        splits.filter(move |split| split.touches(from, to))
    }

    /// Whether a message that was sent at a time may be gone on a node at another one; `None`: on all
    /// nodes.
    pub(crate) fn may_be_gone(&self, node: Option<u32>, begun: u64, at: u64) -> bool {
        let mut losses = self.losses.iter().filter(|loss| loss.is_at(node));
        losses.any(|loss| begun <= loss.span.to && loss.span.from <= at)
    }

    /// Whether there was a loss on a node in a stretch of time; `None`: on all nodes.
    pub(crate) fn has_lost(&self, node: Option<u32>, from: u64, to: u64) -> bool {
        let mut losses = self.losses.iter();
        losses.any(|loss| loss.is_at(node) && loss.span.touches(from, to))
    }
}
