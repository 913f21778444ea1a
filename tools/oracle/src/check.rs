//! The verdict: logs in, findings out. Pure.
//!
//! Owns what each client was promised, request by request: everything after the place where it
//! began, once, in order, in time, or a gap for which there was cause. A client's log is walked
//! once; what exists is told by `truth`.

mod walk;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::log::{Logs, Rules};
use crate::truth::Truth;

/// Entries of a client's log that are shown with a finding.
const SHOWN: usize = 6;

/// A kind of broken promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A message was passed over in silence.
    Lost,
    /// A message was acknowledged, and at the end a client had neither it nor a gap.
    Undelivered,
    /// A message came again.
    Twice,
    /// A message came after a later one, or has a lower number than one before it.
    OutOfOrder,
    /// A message of a channel that the client does not follow, or under another's name.
    Misrouted,
    /// A message is not as long as it was.
    Mangled,
    /// A message that was never published, or was refused.
    Invented,
    /// One id for two messages.
    OneIdForTwo,
    /// A message with a key, or sent once, is there twice.
    PublishedTwice,
    /// A part of a batch.
    TornBatch,
    /// The epoch changed, and no gap was said.
    Concealed,
    /// A gap where the messages must have been in history.
    Groundless,
    /// A cursor before what had been received.
    Rewound,
    /// A request was not answered when its hold was over.
    LateHold,
    /// A hold ended with nothing before its time.
    EarlyEnd,
    /// A message came long after it was acknowledged to a client that waited for it.
    LateMessage,
    /// An answer without a message that was there before the request was sent.
    Overlooked,
    /// A stream without heartbeat.
    Silence,
    /// The server ended a connection on which a client waited, without a word.
    Dropped,
    /// A client was refused, or not let in, by a server that was up.
    Refused,
    /// Something that no client could make sense of.
    Nonsense,
    /// A client did not do what it should: the instrument is broken.
    Instrument,
}

/// A broken promise.
#[derive(Clone, Debug)]
pub struct Finding {
    pub kind: Kind,
    /// When, where that is known.
    pub at: u64,
    pub text: String,
}

impl Finding {
    /// About publishing, which no client's log shows.
    pub fn of_publish(kind: Kind, text: String) -> Finding {
        Finding { kind, at: 0, text }
    }
}

/// What the checker looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub messages: u64,
    pub gaps: u64,
    /// Gaps after a restart.
    pub epoch_gaps: u64,
    /// Gaps within an epoch in which no known message is missing.
    pub empty_gaps: u64,
    /// Messages missing under a gap.
    pub excused: u64,
    /// Clients that had everything at the end.
    pub complete: u64,
}

/// The checker's answer.
#[derive(Debug, Default)]
pub struct Verdict {
    pub findings: Vec<Finding>,
    pub counts: Counts,
}

impl Verdict {
    /// How many findings there are of each kind.
    pub fn by_kind(&self) -> BTreeMap<Kind, usize> {
        let mut kinds = BTreeMap::new();
        for finding in &self.findings {
            *kinds.entry(finding.kind).or_default() += 1;
        }
        kinds
    }
}

/// Judges a run.
pub fn check(logs: &Logs, rules: Rules) -> Verdict {
    let (truth, findings) = Truth::new(logs, rules);
    let mut verdict = Verdict {
        findings,
        counts: Counts::default(),
    };
    for client in 0..logs.clients.len() {
        walk::walk(client, logs, &truth, rules, &mut verdict);
    }
    verdict.findings.sort_by_key(|finding| finding.at);
    verdict
}
