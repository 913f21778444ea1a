//! Broken promises, and what was looked at to find them.
//!
//! Owns the vocabulary of verdicts. Uses no other module, so that all may.

use std::collections::BTreeMap;

/// A kind of broken promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A message was passed over in silence.
    Lost,
    /// A message was acknowledged, and at the end a client had neither it nor a gap.
    Undelivered,
    /// History dropped a message that a reader was to be sent next, and no write had blocked.
    Evicted,
    /// A message came again.
    Twice,
    /// A message came after a later one, or has a lower number than one before it.
    OutOfOrder,
    /// A message of a channel that the client does not follow, or under another's name.
    Misrouted,
    /// The data of a message is not what was published.
    Mangled,
    /// A message that was never published, or was refused.
    Invented,
    /// One id for two messages.
    OneIdForTwo,
    /// A message with a key, or sent once, is there twice.
    PublishedTwice,
    /// A part of a batch.
    TornBatch,
    /// A gap is due at the beginning, and something else came before it.
    Concealed,
    /// A gap where the messages must have been in history, or where none is missing.
    Groundless,
    /// A cursor from which something that had been received would come again.
    Rewound,
    /// A request for the next message began before it was sent, or in the future.
    Misplaced,
    /// A batch is larger than the request or the settings allow.
    Oversized,
    /// A request was not answered when its hold was over.
    LateHold,
    /// A hold ended with nothing before its time.
    EarlyEnd,
    /// A message came long after it was acknowledged to a client that waited for it.
    LateMessage,
    /// A response without a message that was there before the request was sent.
    Overlooked,
    /// A stream without heartbeat.
    Silence,
    /// The server ended a connection on which a client waited, without a word.
    Dropped,
    /// A client was refused, or not let in, by a server that was up.
    Refused,
    /// Nothing that is published arrives, long after a fault.
    Stuck,
    /// Something that no client could make sense of.
    Nonsense,
    /// The server acted before or after a deadline of its settings.
    Deadline,
    /// A number that the server keeps or reports is wrong.
    Miscounted,
    /// Connections, bytes or deadlines are left behind.
    Leak,
    /// A client did not do what it should: the instrument is broken.
    Instrument,
}

/// A broken promise.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Which.
    pub kind: Kind,
    /// When, in microseconds, where that is known.
    pub at: u64,
    /// Where and how, for people.
    pub text: String,
}

impl Finding {
    /// A finding about publishing, which no client's log shows.
    pub fn of_publish(kind: Kind, text: String) -> Finding {
        Finding { kind, at: 0, text }
    }
}

/// Counts of the judge's work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages received.
    pub messages: u64,
    /// Gaps.
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

/// The judge's answer.
#[derive(Debug, Default)]
pub struct Verdict {
    /// All broken promises.
    pub findings: Vec<Finding>,
    /// The counts of what was checked.
    pub counts: Counts,
    /// The terms of a cluster in their order: the first is `term1` in the texts of findings.
    pub terms: Vec<String>,
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
