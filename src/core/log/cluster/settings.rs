//! The settings of a node, its counters, and its state as the others are told it.
//!
//! Owns only the types.

use crate::message::EntryId;

/// The settings of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Its name, for people: at most 64 bytes are told.
    pub name: Box<str>,
    /// Bytes of entries that the server keeps (`--engine-log-bytes`).
    pub log_bytes: u64,
    /// For how long the server keeps entries and keys, in milliseconds (`--history-age`).
    pub log_age_ms: u64,
    /// For how long a publisher is held while the log does not answer, in milliseconds
    /// (`--engine-patience`).
    pub patience_ms: u64,
    /// After how long without its own beat a node is not ready, in milliseconds; 0: never
    /// (`--engine-ready`).
    pub ready_ms: u64,
    /// A digest of the settings that should be the same on all nodes.
    pub digest: u64,
    /// Whether replies to publishes are held until replicas have them (`--engine-wait`). Then
    /// reading a publish back is not enough to finish it.
    pub awaits_replicas: bool,
    /// For how long a node that has just started leaves it to others to open a term, in
    /// milliseconds. Nodes that remember what a server has forgotten notice it with their next beat.
    pub newcomer_ms: u64,
    /// Bytes of entries that are kept to tell them again.
    pub ring_bytes: usize,
    /// Bytes of publishes that may wait.
    pub outbox_bytes: usize,
    /// The number of an entry from which a new term is opened.
    pub roll_at: u64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            name: "node".into(),
            log_bytes: 256 << 20,
            log_age_ms: 600_000,
            patience_ms: 5_000,
            ready_ms: 10_000,
            digest: 0,
            awaits_replicas: false,
            newcomer_ms: 1_000,
            ring_bytes: 16 << 20,
            outbox_bytes: 16 << 20,
            roll_at: 1 << 33,
        }
    }
}

/// The state of this node that other nodes are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Its connections that are parked.
    pub connections: u64,
}

/// The reason for which a publish or deletion is refused at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The node has not read the log yet.
    Warming,
    /// The log has not answered for longer than publishers are held.
    Silent {
        /// For how long, in milliseconds.
        silent_ms: u64,
    },
    /// Too much waits to be published.
    Busy,
    /// More messages than an entry can have.
    TooMany,
    /// The node has halted, or leaves.
    Halted,
}

/// The reason for which a node has stopped for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Halt {
    /// The log has an entry that this version cannot read and must not skip.
    Unreadable {
        /// Its id.
        id: EntryId,
    },
}

/// Counters of a node since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Terms that were settled.
    pub terms: u64,
    /// Of these, those that this node opened.
    pub opened: u64,
    /// Entries that this node has told again.
    pub retold: u64,
    /// Losses of all channels, told to readers here.
    pub losses_all: u64,
    /// Losses of some channels.
    pub losses_some: u64,
    /// Entries that were missing in the log, and were told as a loss.
    pub holes: u64,
    /// Entries that this node has appended with messages.
    pub groups: u64,
    /// Messages in them.
    pub messages: u64,
    /// Entries that were sent again in a later term.
    pub resent: u64,
    /// Publishes of which it is not known whether they were published.
    pub unknown: u64,
    /// Times that the connections were reset because the own beat did not come back.
    pub deaf: u64,
    /// Entries that were skipped because this version does not know their kind.
    pub skipped: u64,
    /// Entries that were skipped because no node has written them.
    pub foreign: u64,
    /// Times that an older log was found in place of the one that this node had read.
    pub rolled: u64,
}

/// Gauges of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Whether both connections are there and the log was opened on them.
    pub is_up: bool,
    /// The term that is served; 0 before the first.
    pub term: u64,
    /// The newest id that was applied.
    pub applied: EntryId,
    /// The newest id that is known to exist.
    pub tip: EntryId,
    /// Publishes that wait for their result.
    pub waiting: u64,
    /// Bytes of entries that the log has, by this node's sum.
    pub log_bytes: u64,
    /// How long ago this node has read the oldest of them, in milliseconds.
    pub oldest_ms: u64,
    /// Nodes that are members, this one included.
    pub nodes: u64,
    /// Of these, those whose settings differ from those of this one.
    pub differing: u64,
}

/// A node of the cluster, as this one knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInfo {
    /// Its name.
    pub name: Box<str>,
    /// Whether it is this one.
    pub is_self: bool,
    /// The id up to which it has applied the log, as of its last beat.
    pub applied: EntryId,
    /// How many entries it had still to apply then, beats not counted; `None` if that is not known.
    pub lag: Option<u64>,
    /// Its parked connections then.
    pub connections: u64,
    /// How long ago its last beat was read, in milliseconds.
    pub beat_age_ms: u64,
}
