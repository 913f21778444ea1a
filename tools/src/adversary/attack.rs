//! What an attack is.

use serde::{Deserialize, Serialize};

use super::crowd::Tally;
use super::finding::Moved;
use super::script::Script;

/// How large a trial is. Times are parts of its length, so that a short one shows the same.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Size {
    /// Connections of an attack that is about their number.
    pub connections: u32,
    /// How long it attacks, in seconds.
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

/// What clients can make encke keep, each kind against a limit of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keeps {
    /// Unfinished requests and unsent answers: `--max-buffer-bytes`.
    pub(super) buffers: bool,
    /// Messages, and the formats that they are sent in: `--history-total-bytes`.
    pub(super) messages: bool,
    /// Channels: half of it.
    pub(super) channels: bool,
}

impl Keeps {
    /// Nothing beside the connections themselves.
    pub(super) const NOTHING: Keeps = Keeps {
        buffers: false,
        messages: false,
        channels: false,
    };

    /// Unfinished requests and unsent answers.
    pub(super) const BUFFERS: Keeps = Keeps {
        buffers: true,
        ..Keeps::NOTHING
    };

    /// These, and messages.
    pub(super) const MESSAGES: Keeps = Keeps {
        messages: true,
        ..Keeps::BUFFERS
    };

    /// These, and channels.
    pub(super) const CHANNELS: Keeps = Keeps {
        channels: true,
        ..Keeps::MESSAGES
    };
}

/// An attack, as data.
pub struct Attack {
    /// What it is called.
    pub name: &'static str,
    /// What it does.
    pub about: &'static str,
    /// How many connections it has.
    pub(super) connections: fn(&Size) -> u32,
    /// What a connection does, by its number and by how often it has come before.
    pub(super) script: fn(&Size, u32, u32) -> Script,
    /// Options of encke besides those of all trials.
    pub(super) options: fn(&Size) -> Vec<(&'static str, String)>,
    /// The limit on open files that encke is left with when the attack begins.
    pub(super) open_files_left: fn(&Size) -> Option<u64>,
    /// What it may make encke keep.
    pub(super) keeps: Keeps,
    /// What must have happened, as sentences about what did not.
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
        keeps: Keeps::NOTHING,
        judge: |_, _, _| Vec::new(),
    };
}
