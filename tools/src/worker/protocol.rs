//! The messages between conductor and worker: one JSON object per line.

use std::net::{Ipv4Addr, SocketAddrV4};

use serde::{Deserialize, Serialize};

use crate::receipt::Counts;

/// The behaviour of a worker's clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A response that does not end.
    Stream,
    /// Answers with messages, each followed by the next request: long polls, and polls at
    /// intervals.
    LongPoll,
    /// Polls: responses that come at once, and further requests only on command.
    Poll,
}

/// The first line to a worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Config {
    /// The number that the run's messages carry.
    pub run: u32,
    /// The server.
    pub server: SocketAddrV4,
    /// Source addresses, taken in turn.
    pub from: Vec<Ipv4Addr>,
    /// The CPU to stay on.
    pub cpu: Option<usize>,
    /// Their behaviour.
    pub kind: Kind,
    /// The first request on a connection.
    pub first: String,
    /// The requests after it.
    pub next: String,
    /// The number of clients.
    pub clients: u32,
    /// The number of the first of them among all clients of the run.
    pub first_client: u32,
    /// The number of channels; client N is on channel N modulo this.
    pub channels: u32,
    /// Report each time so many more messages have been received; 0: never.
    pub report_every: u64,
    /// Whether to raise its priority.
    pub eager: bool,
    /// Whether a client leaves after its first message.
    pub leaves: bool,
    /// Most connections that may be in the making at once.
    pub connecting: usize,
    /// Whether a client that loses its connection before its first message connects again.
    pub comes_again: bool,
    /// Nanoseconds between two requests of a client that polls; `None`: it asks again at once.
    pub every_ns: Option<u64>,
    /// The way a long poll comes back after a response; `None`: at once on its connection.
    pub returns: Option<Returns>,
}

/// The way clients come back after a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Returns {
    /// At the time that the response advises, and not at once.
    pub heeds: bool,
    /// By a new connection.
    pub renews: bool,
    /// The server to come back to when this one closes the connection.
    pub elsewhere: SocketAddrV4,
}

/// A command to a worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Command {
    /// All clients without a connection connect, to receive the messages after this number.
    Connect {
        /// The last message published.
        after: u64,
    },
    /// Begin so many polls.
    Poll {
        /// The number of responses to wait for.
        answers: u64,
    },
    /// Clients that poll at intervals ask now.
    Fetch,
    /// Forget delays and counts, but not which messages each client has received.
    Reset,
    /// Report the receipts since the last reset.
    Snapshot,
}

/// A report of a worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Event {
    /// All clients are connected and have asked.
    Ready,
    /// So many messages, or answers to polls, have been received since the last reset.
    Reached(u64),
    /// All clients have left.
    Left,
    /// The reset is done; these were the counts.
    Reset(Counts),
    /// The receipts since the last reset.
    Snapshot(Box<Snapshot>),
}

/// The receipts since the last reset.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Snapshot {
    /// Counts.
    pub counts: Counts,
    /// Delays in nanoseconds, and how often each.
    pub delays: Vec<(u64, u64)>,
}
