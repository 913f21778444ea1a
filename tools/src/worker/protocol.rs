//! What conductor and worker say to each other: one JSON object per line.

use std::net::{Ipv4Addr, SocketAddrV4};

use serde::{Deserialize, Serialize};

use crate::receipt::Counts;

/// What a worker's clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// One answer that does not end.
    Stream,
    /// Answers with messages, each followed by the next request: long polls, and polls at intervals.
    LongPoll,
    /// Answers that come at once; the next request when told so.
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
    /// What the clients do.
    pub kind: Kind,
    /// The first request on a connection.
    pub first: String,
    /// The requests after it.
    pub next: String,
    /// How many clients.
    pub clients: u32,
    /// The number of the first of them among all clients of the run.
    pub first_client: u32,
    /// How many channels; client N is on channel N modulo this.
    pub channels: u32,
    /// Report each time so many more messages have been received; 0: never.
    pub report_every: u64,
    /// Whether to ask for the processor before others.
    pub eager: bool,
    /// Whether a client leaves after its first message.
    pub leaves: bool,
    /// How many connections may be in the making at once.
    pub connecting: usize,
    /// Whether a client that is dropped before its first message comes again.
    pub comes_again: bool,
    /// Nanoseconds between two requests of a client that polls; `None`: it asks again at once.
    pub every_ns: Option<u64>,
    /// How a long poll comes back after an answer; without it, at once on its connection.
    pub returns: Option<Returns>,
}

/// How clients come back after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Returns {
    /// When the answer advises, and not at once.
    pub heeds: bool,
    /// By a new connection.
    pub renews: bool,
    /// Where to, when the server says that it goes.
    pub elsewhere: SocketAddrV4,
}

/// What a worker is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Command {
    /// All clients that are away come back, to get what comes after this number.
    Connect {
        /// The last message published.
        after: u64,
    },
    /// Begin so many polls.
    Poll {
        /// How many answers to wait for.
        answers: u64,
    },
    /// Clients that poll at intervals ask now.
    Fetch,
    /// Forget delays and counts, but not what each client has had.
    Reset,
    /// Say what was received since the last reset.
    Snapshot,
}

/// What a worker says.
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
    /// What was received.
    Snapshot(Box<Snapshot>),
}

/// What was received since the last reset.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Snapshot {
    /// Counts.
    pub counts: Counts,
    /// Delays in nanoseconds, and how often each.
    pub delays: Vec<(u64, u64)>,
}
