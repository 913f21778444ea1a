//! What a node tells about itself and the others, and what it knows of cursors that it has not come to.
//!
//! Owns these answers. It changes nothing but the claims that it remembers.

use super::node::Node;
use super::settings::{Counts, Gauges, Halt, NodeInfo};
use crate::base::histogram::Histogram;
use crate::base::time::Time;
use crate::message::EntryId;

impl Node {
    /// Whether the node has read the log, and its own beat within [`super::Settings::ready_ms`].
    pub fn is_ready(&self) -> bool {
        let ready_ms = self.settings.ready_ms;
        let is_heard = ready_ms == 0 || self.silent_ms() <= ready_ms;
        let is_in = self.is_joined || (ready_ms == 0 && self.remembers);
        self.halt.is_none() && is_in && is_heard
    }

    /// For how long the node has not read its own beat, in milliseconds.
    pub fn silent_ms(&self) -> u64 {
        self.now.since_ms(self.pulse.heard.unwrap_or(Time(0)))
    }

    /// Whether a term that was not told may be one that other nodes serve already: a cursor of it
    /// is ahead of this node, and not foreign. It is later than the terms that were told, and its
    /// beginning [may exist](Node::may_exist). So it is asked again, after a while.
    pub fn may_come(&mut self, term: u64) -> bool {
        let beginning = EntryId::new(term, 0);
        if term <= self.replica.tip().term {
            return false;
        }
        // It has begun, and is not settled here yet.
        if beginning <= self.read_to {
            return true;
        }
        let since = self.claims.since(beginning, self.now);
        self.has_not_heard_since(since)
    }

    /// Whether the log had an entry with this id at a time, as far as this node knows: it may not
    /// have read it yet. The log had not if an own beat has come back that was sent later: with that
    /// beat this node would have read it.
    pub fn may_exist(&self, id: EntryId, since: Time) -> bool {
        id <= self.read_to || self.has_not_heard_since(since)
    }

    /// As [`Node::may_exist`], for a client that does not wait, and comes back with the same.
    /// After `false` the claim is forgotten; the next call begins anew.
    pub fn may_exist_now(&mut self, id: EntryId) -> bool {
        if id <= self.read_to {
            return true;
        }
        let since = self.claims.since(id, self.now);
        let may_exist = self.has_not_heard_since(since);
        if !may_exist {
            // Those that claim it from now on may be right.
            self.claims.drop(id);
        }
        may_exist
    }

    fn has_not_heard_since(&self, since: Time) -> bool {
        self.pulse.heard.is_none_or(|sent| sent <= since)
    }

    /// The id of the newest own beat that was read.
    pub fn heard_at(&self) -> EntryId {
        self.pulse.heard_at
    }

    /// The reason for which it has stopped for good, if it has.
    pub fn halted(&self) -> Option<&Halt> {
        self.halt.as_ref()
    }

    /// What was counted.
    pub fn counts(&self) -> &Counts {
        &self.replica.counts
    }

    /// The time that beats of this node took through the server, there and back, in milliseconds.
    pub fn beat_ms(&self) -> &Histogram {
        &self.pulse.took_ms
    }

    /// Gauges.
    pub fn gauges(&self) -> Gauges {
        let differs = |digest: u64| digest != self.settings.digest;
        let differing = self
            .members
            .iter()
            .filter(|(_, member)| differs(member.digest));
        let oldest = self.window.oldest();
        Gauges {
            is_up: self.lane.opened.is_some() && self.is_following,
            term: self.term().unwrap_or(0),
            applied: self.replica.tip(),
            tip: self.lane.tip.max(self.read_to),
            waiting: self.outbox.waiting() + self.replica.results() as u64,
            log_bytes: self.window.bytes(),
            oldest_ms: oldest.map_or(0, |at| self.now.since_ms(at)),
            nodes: self.members.len() as u64,
            differing: differing.count() as u64,
        }
    }

    /// The nodes that are members, this one included.
    pub fn nodes(&self) -> Vec<NodeInfo> {
        let info = |(node, member): (u64, &super::members::Member)| NodeInfo {
            name: member.name.clone(),
            is_self: node == self.own,
            applied: member.applied,
            lag: member.lag,
            connections: member.connections,
            beat_age_ms: self.now.since_ms(member.beat_at),
        };
        self.members.iter().map(info).collect()
    }
}
