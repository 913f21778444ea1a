//! The description of an attack.

use serde::{Deserialize, Serialize};

use super::crowd::Tally;
use super::finding::Moved;
use super::script::Script;

/// The size of a trial. Times are parts of its length, so that a short one shows the same.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Size {
    /// Connections of an attack that is about their number.
    pub connections: u32,
    /// The length of the attack, in seconds.
    pub seconds: f64,
}

impl Size {
    /// The time that encke gives a client for a head, a body, or to take something.
    pub(super) fn patience(&self) -> f64 {
        self.seconds / 4.0
    }

    /// A part of the connections, at least one.
    pub(super) fn part(&self, divisor: u32) -> u32 {
        (self.connections / divisor).max(1)
    }
}

/// The memory that clients can make encke use beside that of their connections, each kind with a limit
/// of its own. Each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Keeps {
    /// None.
    Nothing,
    /// Unfinished requests and unsent answers: `--max-buffer-bytes`.
    Buffers,
    /// Messages, and the formats that they are sent in: `--history-total-bytes`.
    Messages,
    /// Channels: half of it.
    Channels,
}

/// An attack, as data.
pub struct Attack {
    /// Its name.
    pub name: &'static str,
    /// A description of what it does.
    pub about: &'static str,
    /// The number of its connections.
    pub(super) connections: fn(&Size) -> u32,
    /// The script of a connection, by its number and the number of its earlier visits.
    pub(super) script: fn(&Size, u32, u32) -> Script,
    /// Options of encke besides those of all trials.
    pub(super) options: fn(&Size) -> Vec<(&'static str, String)>,
    /// The limit on open files that encke is left with when the attack begins.
    pub(super) open_files_left: fn(&Size) -> Option<u64>,
    /// The memory that it may make encke use.
    pub(super) keeps: Keeps,
    /// Returns a sentence for each thing that should have happened and did not.
    pub(super) judge: fn(&Size, &Tally, &Moved) -> Vec<String>,
}

impl Attack {
    /// Many connections, of which nothing is expected but that they do no harm.
    pub(super) const PLAIN: Attack = Attack {
        name: "",
        about: "",
        connections: |size| size.connections,
        script: |_, _, _| Script::new(""),
        options: |_| Vec::new(),
        open_files_left: |_| None,
        keeps: Keeps::Nothing,
        judge: |_, _, _| Vec::new(),
    };
}
