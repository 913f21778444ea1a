//! Searches for connections that are to end on all nodes of a cluster.
//!
//! Owns their queue, and what each has come to.

use std::collections::{BTreeMap, VecDeque};

use super::connections::Search;
use crate::log::cluster::Ticket;

/// Searches for connections that are to end.
#[derive(Default)]
pub(super) struct Kicks {
    /// Each with the ticket of the request that asked for it, if it was asked here and the log has
    /// taken it.
    pub(super) searches: VecDeque<(Search, Option<Ticket>)>,
    /// How many connections were ended for a ticket, until it is done.
    pub(super) ended: BTreeMap<Ticket, u64>,
}
