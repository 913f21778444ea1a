//! One entry of a log, and everything that it is judged with.

use crate::finding::{Counts, Finding, Kind, Verdict};
use crate::id::Id;
use crate::log::{Entry, Event};
use crate::order;
use crate::run::Conditions;
use crate::truth::Truth;

/// Entries of a client's log that are shown with a finding.
const SHOWN: usize = 6;

/// One entry, and everything that it is judged with.
pub(crate) struct Case<'a> {
    /// The client's log, up to and with the entry.
    pub(crate) log: &'a [Entry],
    /// When it happened.
    pub(crate) at: u64,
    /// The node that the client is connected to; 0 where there is one server.
    pub(crate) node: u32,
    pub(crate) truth: &'a Truth,
    pub(crate) conditions: &'a Conditions<'a>,
    pub(crate) verdict: &'a mut Verdict,
}

impl Case<'_> {
    /// By how much the client's node may be behind another one at a time: a node serves what it has
    /// read of the log, and catches up within the slack. 0 for a single server.
    pub(crate) fn lag(&self, at: u64) -> u64 {
        let Some(cluster) = self.conditions.cluster else {
            return 0;
        };
        let slack = self.conditions.rules.slack;
        let spans = cluster.delays.iter().chain(cluster.node(self.node));
        let spans = spans.filter(|span| span.touches(at.saturating_sub(slack), at));
        let delayed: u64 = spans.map(|span| span.overlap(0, at)).sum();
        slack + delayed
    }

    /// Whether an id may be unknown to the client's node, as the other side of a split has given it:
    /// its term has begun in a split that lasted at some moment since a time, and the node has told
    /// the client nothing of it.
    pub(crate) fn is_of_other_side(&self, id: Id, since: u64) -> bool {
        let cluster = self.conditions.cluster.into_iter();
        let mut splits = cluster.flat_map(|cluster| cluster.splits(since, self.at));
        id != Id::UNKNOWN
            && splits.any(|split| self.truth.has_begun_in(id, split))
            && !self.has_told_of_term(order::term_of(id.seq))
    }

    /// Whether the client's node has told the client an id of a term, before this entry.
    fn has_told_of_term(&self, term: u64) -> bool {
        let mut node = 0;
        let before = &self.log[..self.log.len().saturating_sub(1)];
        before.iter().any(|entry| {
            if let Event::Connected(other) | Event::Unreachable(other) = entry.event {
                node = other;
            }
            let mut told = entry.told();
            node == self.node && told.any(|id| order::term_of(id.seq) == term)
        })
    }

    /// Since when what is read now may have been sent: the client did not read for some time, and
    /// reads on since less than the slack.
    pub(crate) fn sent_since(&self) -> u64 {
        let mut since = self.at;
        for entry in self.log.iter().rev() {
            match entry.event {
                Event::Paused => since = entry.at,
                _ if since - entry.at.min(since) > self.conditions.rules.slack => break,
                Event::Asked { .. } | Event::Begin(_) => break,
                _ => {}
            }
        }
        since
    }

    pub(crate) fn counts(&mut self) -> &mut Counts {
        &mut self.verdict.counts
    }

    /// Reports a broken promise, with the request, what came first, and what came last.
    pub(crate) fn report(&mut self, kind: Kind, text: impl AsRef<str>) {
        let is_request = |entry: &Entry| matches!(entry.event, Event::Asked { .. });
        let request = self.log.iter().rposition(is_request).unwrap_or(0);
        let from = self.log.len().saturating_sub(SHOWN);
        let first = request.min(from)..(request + SHOWN / 2).min(from);
        let shown = self.log[first].iter().chain(&self.log[from..]);
        let lines: String = shown
            .map(|entry| format!("\n    {} {:?}", entry.at, entry.event))
            .collect();
        let client = self.log.last().map_or(0, |entry| entry.client);
        self.verdict.findings.push(Finding {
            kind,
            at: self.at,
            text: format!("client {client}: {}; its log:{lines}", text.as_ref()),
        });
    }
}
