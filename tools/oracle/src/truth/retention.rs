//! What history keeps: as the limits of the server allow, or as a simulation has seen.
//!
//! Owns the question whether a message may be gone.

use super::Known;
use crate::cluster::Cluster;
use crate::run::{Deletion, Publish, Rules};
use crate::span::Span;

/// The evidence of what history has dropped.
#[derive(Debug)]
pub(super) enum Retention {
    /// Only the limits that the server was given.
    Limits(Limits),
    /// The messages that it has dropped.
    Exact(Exact),
}

impl Retention {
    pub(super) fn exact(channels: usize) -> Retention {
        Retention::Exact(Exact {
            channels: vec![Kept::default(); channels],
            has_forgotten: false,
        })
    }

    pub(super) fn observe(&mut self, channel: u32, oldest: Option<u64>, lost: u64) {
        let kept = self.channel(channel);
        (kept.oldest, kept.lost) = (oldest, lost);
    }

    /// Sets whether a channel owes only its newest message, which is the one with this number.
    pub(super) fn set_latest(&mut self, channel: u32, is_latest: bool, newest: u64) {
        let kept = self.channel(channel);
        kept.is_latest = is_latest;
        if is_latest {
            kept.replaced_before = newest;
        }
    }

    /// A message of a channel was accepted.
    pub(super) fn accept(&mut self, channel: u32, seq: u64) {
        if let Retention::Exact(_) = self {
            let kept = self.channel(channel);
            if kept.is_latest {
                kept.replaced_before = seq;
            }
        }
    }

    pub(super) fn delete(&mut self, channel: u32, head: u64) {
        self.channel(channel).deleted = head;
    }

    pub(super) fn forget(&mut self) {
        if let Retention::Exact(exact) = self {
            exact.has_forgotten = true;
        }
    }

    fn channel(&mut self, channel: u32) -> &mut Kept {
        match self {
            Retention::Exact(exact) => &mut exact.channels[channel as usize],
            Retention::Limits(_) => panic!("what history keeps is not known exactly"),
        }
    }
}

/// The limits that the server was given, and deletions.
#[derive(Debug)]
pub(super) struct Limits {
    pub(super) rules: Rules,
    pub(super) deletions: Vec<Deletion>,
    pub(super) cluster: Option<Cluster>,
}

impl Limits {
    /// Whether a message, after which there are so many newer ones, may be gone by then.
    pub(super) fn may_be_gone(
        &self,
        channel: u32,
        known: &Known,
        newer: usize,
        at: u64,
        node: u32,
    ) -> bool {
        self.is_lost(known, at, Some(node))
            || newer >= self.rules.history_messages
            // A message that was never acknowledged may have gone to history late.
            || at.saturating_sub(known.begun) + self.rules.slack >= self.rules.history_age
            || self.is_deleted(channel, known.begun, at)
    }

    /// Whether a fault may have lost a message on a node by then; `None`: on all nodes.
    pub(super) fn is_lost(&self, known: &Known, at: u64, node: Option<u32>) -> bool {
        let cluster = self.cluster.as_ref();
        cluster.is_some_and(|cluster| cluster.may_be_gone(node, known.begun, at))
    }

    /// The splits in which a message was sent.
    pub(super) fn splits(&self, known: &Known) -> impl Iterator<Item = &Span> {
        let clusters = self.cluster.iter();
        clusters.flat_map(|cluster| cluster.splits(known.begun, known.begun))
    }

    /// Whether a fault may have lost the key of a publish. Nodes remember keys as long as history.
    pub(super) fn may_have_lost_key(&self, publish: &Publish) -> bool {
        let cluster = self.cluster.as_ref();
        cluster.is_some_and(|cluster| {
            cluster.has_lost(None, publish.begun, publish.done + self.rules.slack)
        })
    }

    pub(super) fn may_tell_empty_gap(
        &self,
        mut channels: impl Iterator<Item = u32>,
        node: u32,
        (from, to): (u64, u64),
    ) -> bool {
        let Some(cluster) = &self.cluster else {
            return true;
        };
        let from = from.saturating_sub(self.rules.slack);
        cluster.has_lost(Some(node), from, to)
            || channels.any(|channel| self.is_deleted(channel, from, to))
    }

    pub(super) fn is_deleted(&self, channel: u32, from: u64, to: u64) -> bool {
        let mut deletions = self.deletions.iter();
        deletions.any(|deletion| deletion.channel == channel && deletion.span.touches(from, to))
    }
}

/// The history of one channel.
#[derive(Clone, Copy, Debug, Default)]
struct Kept {
    /// The oldest message that is there.
    oldest: Option<u64>,
    /// The newest message that is lost.
    lost: u64,
    /// The newest message when the history was last deleted.
    deleted: u64,
    /// Whether only the newest message is owed.
    is_latest: bool,
    /// Messages with lower numbers are replaced: nobody is owed them.
    replaced_before: u64,
}

/// The messages that history has dropped, as a simulation has seen it.
#[derive(Debug)]
pub(crate) struct Exact {
    channels: Vec<Kept>,
    has_forgotten: bool,
}

impl Exact {
    pub(super) fn is_gone(&self, channel: u32, seq: u64) -> bool {
        let oldest = self.channels[channel as usize].oldest;
        oldest.is_none_or(|oldest| oldest > seq)
    }

    /// The newest message that a channel has lost; 0: none.
    pub(crate) fn lost(&self, channel: u32) -> u64 {
        self.channels[channel as usize].lost
    }

    /// Whether a channel's history was deleted after this message was published.
    pub(crate) fn is_deleted(&self, channel: u32, seq: u64) -> bool {
        seq <= self.channels[channel as usize].deleted
    }

    /// Whether a newer message has replaced this one.
    pub(crate) fn is_replaced(&self, channel: u32, seq: u64) -> bool {
        seq < self.channels[channel as usize].replaced_before
    }

    /// Whether a gap may be told for a message that is replaced, to a reader that may have been
    /// told (`is_late`) before it was.
    pub(crate) fn may_be_told(&self, channel: u32, seq: u64, is_late: bool) -> bool {
        let kept = &self.channels[channel as usize];
        !kept.is_latest || is_late && seq <= kept.lost
    }

    /// Whether a channel was forgotten, so that a gap may be said where nothing is missing.
    pub(crate) fn has_forgotten(&self) -> bool {
        self.has_forgotten
    }
}
