//! One entry of a log, and everything that it is judged with.

use crate::finding::{Counts, Finding, Kind, Verdict};
use crate::log::{Entry, Event};
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
    pub(crate) truth: &'a Truth,
    pub(crate) conditions: &'a Conditions<'a>,
    pub(crate) verdict: &'a mut Verdict,
}

impl Case<'_> {
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
