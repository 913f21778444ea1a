//! The messages between the two processes.
//!
//! Owns their encoding: JSON, so that an earlier version can read a message to which a later one
//! has added a field. An unknown field is ignored; an unknown message is an error.

use serde::{Deserialize, Serialize};

/// The formats of the state that this encke can write, and read; the best first.
pub const FORMATS: &[u32] = &encke_core::frozen::FORMATS;

/// The progress of an upgrade, for the service manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It has begun.
    Begun,
    /// It has failed: this process serves on.
    Failed,
    /// A process with this id serves, and this one ends.
    Done {
        /// The id of the process.
        pid: u32,
    },
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Message {
    /// Old to new, first.
    Hello(Hello),
    /// New to old: everything that can fail before the state is there has succeeded.
    Ready(Ready),
    /// New to old, last: why it cannot take over.
    Refused {
        /// The reason, in one line.
        reason: String,
    },
    /// Old to new, with one descriptor: the memory of the state.
    State {
        /// The size of the state in bytes.
        bytes: u64,
        /// The descriptors that follow.
        descriptors: u64,
    },
    /// Old to new: the next descriptors.
    Descriptors {
        /// How many come with this packet.
        count: usize,
    },
    /// New to old: the new process has received everything and waits for `Go`.
    Taken,
    /// Old to new: from here on the new process serves, and the old one never again.
    Go(Go),
    /// New to old, after `Go`: the new process serves.
    Serving,
}

/// The first message of the old process. Descriptors follow: standard input, then those of
/// `opened`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// The version of the old process.
    pub(crate) version: String,
    /// The formats in which it can write its state; the best first.
    pub(crate) formats: Vec<u32>,
    /// The time after which the old process gives up, in milliseconds.
    pub(crate) timeout_ms: u64,
    /// The listening sockets.
    pub(crate) opened: Vec<Listening>,
    /// The bytes of the path of `--data-dir`, if there is one.
    pub(crate) data_dir: Option<Vec<u8>>,
    /// The log of the cluster, if the process is a node of one.
    pub(crate) cluster: Option<Cluster>,
}

/// The log that the nodes of a cluster share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cluster {
    /// The URL of `--engine`.
    pub(crate) engine: String,
    /// `--engine-namespace`.
    pub(crate) namespace: String,
}

/// A listening socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Listening {
    /// It was opened by encke.
    Here {
        /// The address as it was given: each version writes it alike.
        key: String,
        /// The file of a unix socket, if it was created by encke.
        file: Option<FileId>,
    },
    /// It was opened by a service manager.
    Inherited {
        /// Whether the control surface is served there.
        is_control: bool,
    },
}

/// The identity of a file: its device and its inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileId {
    /// The device.
    pub(crate) device: u64,
    /// The inode.
    pub(crate) inode: u64,
}

/// The message of a new process that is ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ready {
    /// The version of the new process.
    pub(crate) version: String,
    /// The format in which it is to be given the state: one of those of the hello.
    pub(crate) format: u32,
}

/// The last message of the old process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Go {
    /// Whether the settings are to be read again, because they may have changed since the new
    /// process read them.
    pub(crate) reload: bool,
}

impl Message {
    /// Its name, for errors.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Message::Hello(_) => "hello",
            Message::Ready(_) => "ready",
            Message::Refused { .. } => "refused",
            Message::State { .. } => "state",
            Message::Descriptors { .. } => "descriptors",
            Message::Taken => "taken",
            Message::Go(_) => "go",
            Message::Serving => "serving",
        }
    }
}
