//! Which epochs the numbers of a server belong to: one, or those of a cluster's terms.
//!
//! Owns the way from a number to its id. It numbers nothing.

use super::{Epoch, MessageId, Seq, Terms};

/// The epochs of a server's numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Numbering {
    /// All numbers are of one epoch.
    Single(Epoch),
    /// Numbers are places in the log of a cluster.
    Cluster(Box<Terms>),
}

impl Numbering {
    /// The id of a number. In a cluster, a number of no term that is known has the id
    /// [`MessageId::UNKNOWN`], which is a gap to every server.
    #[inline]
    pub fn id(&self, seq: Seq) -> MessageId {
        match self {
            Numbering::Single(epoch) => MessageId { epoch: *epoch, seq },
            Numbering::Cluster(terms) => id_by_term(terms, seq),
        }
    }
}

#[inline(never)]
fn id_by_term(terms: &Terms, seq: Seq) -> MessageId {
    match terms.epoch(seq) {
        Some(epoch) => MessageId { epoch, seq },
        None => MessageId::UNKNOWN,
    }
}
