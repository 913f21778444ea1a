//! Everything that was written down in a run: the logs of clients, what publishers were answered,
//! and when either end was stopped or away.
//!
//! Owns these records. Times are microseconds of the clock of the logs.

use crate::cluster::Cluster;
use crate::id::Id;
use crate::log::Entry;
use crate::span::Span;

/// How a publish ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// The server gave the message this id.
    Accepted(Id),
    /// Every attempt was refused.
    Refused,
    /// The connection was lost before the response.
    #[default]
    Unknown,
}

/// A message as its publisher remembers it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Publish {
    /// The channel that it was published to.
    pub channel: u32,
    /// Its number, which no other message of the run has.
    pub number: u64,
    /// Bytes of its data.
    pub length: u32,
    /// When it was first sent.
    pub begun: u64,
    /// When its last response came, or was given up.
    pub done: u64,
    /// Messages of the same batch share a number and follow each other; 0 for one by itself.
    pub batch: u64,
    /// Whether it was sent with an idempotency key, and so perhaps more than once.
    pub keyed: bool,
    /// How it ended.
    pub outcome: Outcome,
    /// The response to a further attempt with the same key.
    pub again: Option<Id>,
    /// The node that was asked last; 0 where there is one server.
    pub node: u32,
}

impl Publish {
    /// Its id, if it was accepted.
    pub fn id(&self) -> Option<Id> {
        match self.outcome {
            Outcome::Accepted(id) => Some(id),
            Outcome::Refused | Outcome::Unknown => None,
        }
    }
}

/// A channel's history was deleted.
#[derive(Clone, Copy, Debug)]
pub struct Deletion {
    /// The channel.
    pub channel: u32,
    /// From the request to its response.
    pub span: Span,
}

/// How the server was told to keep history and time.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Messages kept of each channel.
    pub history_messages: usize,
    /// How long they are kept.
    pub history_age: u64,
    /// The longest silence of a stream.
    pub heartbeat: u64,
    /// The longest `linger` that clients ask for.
    pub linger: u64,
    /// By how much anything may be late on a busy machine.
    pub slack: u64,
}

/// Everything that was written down in a run.
#[derive(Clone, Debug, Default)]
pub struct Logs {
    /// Each client's entries, in order.
    pub clients: Vec<Vec<Entry>>,
    /// The process that each client was in.
    pub processes: Vec<usize>,
    /// All that was published.
    pub publishes: Vec<Publish>,
    /// All deletions.
    pub deletions: Vec<Deletion>,
    /// From the signal that ended the server until it served again.
    pub outages: Vec<Span>,
    /// When the server was stopped.
    pub server_stops: Vec<Span>,
    /// When each process of clients was stopped.
    pub client_stops: Vec<Vec<Span>>,
    /// When the run ended.
    pub end: u64,
    /// Whether history outlives the server. Then what was answered for is never lost, and ids go
    /// on.
    pub keeps_history: bool,
    /// The cluster that the servers are nodes of, if they are.
    pub cluster: Option<Cluster>,
}

/// The excuses for lateness: the rules, and the times in which either end was stopped or away.
#[derive(Clone, Copy, Debug)]
pub struct Conditions<'a> {
    /// The rules of the run.
    pub rules: Rules,
    /// When the server was away.
    pub outages: &'a [Span],
    /// When the server was stopped.
    pub server_stops: &'a [Span],
    /// When the client's process was stopped.
    pub client_stops: &'a [Span],
    /// When the run ended.
    pub end: u64,
    /// The cluster that the servers are nodes of, if they are.
    pub cluster: Option<&'a Cluster>,
}

impl Conditions<'_> {
    /// Conditions in which nothing is late: for clocks that are not those of the logs.
    pub const TIMELESS: Conditions<'static> = Conditions {
        rules: Rules {
            history_messages: 0,
            history_age: 0,
            heartbeat: 0,
            linger: 0,
            slack: 1 << 60,
        },
        outages: &[],
        server_stops: &[],
        client_stops: &[],
        end: 0,
        cluster: None,
    };
}

impl Logs {
    /// Whether a message of this id may have gone with the server, of which readers may have
    /// received it: it was not answered for when the server ended. A server may be late by `slack`,
    /// in microseconds.
    pub fn may_be_unsaved(&self, publish: &Publish, id: Id, slack: u64) -> bool {
        // A publisher that hangs up at once is not answered, and is done before the message is
        // read.
        let done = publish.done + slack;
        // A retry may have been answered with another id.
        let is_answered = publish.outcome == Outcome::Accepted(id);
        let mut outages = self.outages.iter();
        self.keeps_history
            && !is_answered
            && outages.any(|outage| outage.touches(publish.begun, done))
    }

    /// The conditions in which a client was.
    pub fn conditions(&self, client: usize, rules: Rules) -> Conditions<'_> {
        let process = self.processes.get(client).copied().unwrap_or(0);
        Conditions {
            rules,
            outages: &self.outages,
            server_stops: &self.server_stops,
            client_stops: self.client_stops.get(process).map_or(&[], Vec::as_slice),
            end: self.end,
            cluster: self.cluster.as_ref(),
        }
    }
}
