//! The steps of a tick that only a node of a cluster has.
//!
//! Owns their order; `sharing` has their state.

use std::time::Instant;

use super::{INBOX_BUDGET, LOG_BUDGET, Reactor};
use crate::inbox::Submitted;
use encke_core::log::Placed;
use encke_core::log::cluster::Unrest;

impl Reactor {
    /// Applies the entries of the log that the lanes have read, and answers publishers.
    pub(super) fn take_cluster_events(&mut self) {
        let Some(sharing) = &mut self.sharing else {
            return;
        };
        if let Some(node) = self.engine.cluster() {
            sharing.take(node);
        }
        self.engine.gauges().reconnects = Some(*sharing.reconnects());
        self.engine.apply_log(LOG_BUDGET, &mut self.sockets);
        // The drain is logged already; a node that leaves stops reading its own beats.
        if !self.engine.is_draining() {
            sharing.readiness.note(self.engine.unready());
        }
        while let Some((ticket, result)) = self.engine.next_receipt() {
            self.inbox.done(ticket, result);
        }
    }

    /// Gives the lanes the commands of the node.
    pub(super) fn send_cluster_commands(&mut self) {
        let now = self.engine.now();
        if let Some(sharing) = &mut self.sharing
            && let Some(node) = self.engine.cluster()
        {
            sharing.give(node, now);
        }
    }

    /// Whether the lanes have events that the node can take.
    pub(super) fn has_cluster_events(&mut self) -> bool {
        match (&self.sharing, self.engine.cluster()) {
            (Some(sharing), Some(node)) => sharing.has_work(node),
            _ => false,
        }
    }

    /// Hands messages of producers to the log of the cluster.
    pub(super) fn send_messages(&mut self) {
        let engine = &mut self.engine;
        self.inbox
            .take_messages(INBOX_BUDGET, |draft| match engine.send(&draft) {
                Ok(Placed::Now(published)) => Ok(Submitted::Published(published)),
                Ok(Placed::Later { ticket, .. }) => Ok(Submitted::Sent(ticket, draft)),
                Err(refusal) => Err((refusal, draft)),
            });
    }

    /// Brings the node of a cluster to rest, if the server is one. Returns why it does not rest yet.
    pub(super) fn rest_cluster(&mut self) -> Option<Unrest> {
        self.engine.cluster()?.rest(true);
        self.engine.unrest()
    }

    /// Tells the other nodes that this one leaves. Returns whether the end of the process waits until
    /// they know.
    pub(super) fn leave_cluster(&mut self) -> bool {
        match (&mut self.sharing, self.engine.cluster()) {
            (Some(sharing), Some(node)) => sharing.leave(node, Instant::now()),
            _ => false,
        }
    }
}
