//! What is known of the nodes of a cluster and of the faults that were done to them.
//!
//! Owns the records of faults, and what they excuse: lateness, and losses. A fault by which nothing
//! may be lost excuses no gap.

use crate::run::Span;

/// Messages that may be gone by a fault, and are told as a gap if they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Those published at a time in this stretch, or of which that is not known.
    pub span: Span,
    /// The node alone whose readers may be told of it; `None`: all nodes.
    pub node: Option<u32>,
}

impl Loss {
    /// Whether it may concern readers on a node.
    pub(crate) fn is_at(&self, node: u32) -> bool {
        self.node.is_none_or(|only| only == node)
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
    /// What may be gone.
    pub losses: Vec<Loss>,
}

impl Cluster {
    /// When a node was away or stopped.
    pub(crate) fn node(&self, node: u32) -> &[Span] {
        self.nodes.get(node as usize).map_or(&[], Vec::as_slice)
    }

    /// Whether a message that was under way in a stretch of time may be gone on a node.
    pub(crate) fn may_be_gone(&self, node: u32, from: u64, to: u64) -> bool {
        let mut losses = self.losses.iter();
        losses.any(|loss| loss.is_at(node) && loss.span.touches(from, to))
    }

    /// Whether a message that was under way in a stretch of time may be gone on all nodes.
    pub(crate) fn may_be_gone_everywhere(&self, from: u64, to: u64) -> bool {
        let mut losses = self.losses.iter();
        losses.any(|loss| loss.node.is_none() && loss.span.touches(from, to))
    }
}
