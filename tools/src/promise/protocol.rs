//! Messages between the conductor and a process of clients: one JSON object per line.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The first line to a process of clients.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Config {
    pub(super) run: u32,
    pub(super) seed: u64,
    /// The address of each node; of one where there is no cluster.
    pub(super) servers: Vec<SocketAddrV4>,
    /// Where no token is asked for: the addresses for those who have none.
    pub(super) controls: Vec<SocketAddrV4>,
    /// The newest key for tokens; without it nobody has one.
    pub(super) key: Option<u64>,
    pub(super) from: Vec<Ipv4Addr>,
    pub(super) first_client: u32,
    pub(super) clients: u32,
    pub(super) channels: Channels,
    /// They leave in order and take what is coming, so that everything sent can be counted.
    pub(super) is_gentle: bool,
    /// The mean of the whims is so many times as long.
    pub(super) calmness: f64,
    pub(super) log: PathBuf,
}

/// The channels in use: so many, of which one makes room for a new one every so often.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Channels {
    pub(super) count: u32,
    pub(super) begun: u64,
    pub(super) every: u64,
}

impl Channels {
    /// The first of those in use.
    pub(super) fn first(&self, now: u64) -> u32 {
        (now.saturating_sub(self.begun) / self.every) as u32
    }
}

/// A command to a process of clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Command {
    /// New connections go to these nodes, as a balancer would have it; to any if there are none.
    Nodes(Vec<u32>),
    /// New tokens are signed with the key of this number.
    Key(u64),
    /// All clients only receive from now on.
    Settle,
    /// All leave, and the log is closed.
    Finish,
}

/// A report from a process of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Said {
    /// So many messages were received, and so many clients wait for more.
    Progress { messages: u64, waiting: u64 },
    /// The log is closed.
    Finished,
}
