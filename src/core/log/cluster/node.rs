//! A node: the interface of the machine.

use super::command::{Command, Lane, Reply};
use super::effect::{Effect, Ticket};
use crate::base::time::Time;
use crate::message::{ChannelName, Draft, EntryId};

/// The settings of a node. They never change.
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
    /// For how long a node that has just started leaves it to others to open a term, in
    /// milliseconds.
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
            newcomer_ms: 3_000,
            ring_bytes: 16 << 20,
            outbox_bytes: 16 << 20,
            roll_at: 1 << 33,
        }
    }
}

/// What other nodes are told about this one.
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
    /// The server refused the first command, in its words.
    Refused(Box<str>),
}

/// What a node has counted since it started.
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
    /// Entries that were missing in what was read, told as a loss.
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
}

/// What a node measures now.
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
    /// The time that the last own beat took, there and back, in milliseconds.
    pub beat_ms: u64,
    /// Publishes that wait for their result.
    pub waiting: u64,
    /// Bytes of entries that the log has, by this node's sum.
    pub log_bytes: u64,
    /// The age of the oldest of them, in milliseconds.
    pub oldest_ms: u64,
    /// Nodes that are members, this one included.
    pub nodes: u64,
    /// Of these, those whose settings differ from those of this one.
    pub differing: u64,
}

/// What is known of a node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInfo {
    /// Its name.
    pub name: Box<str>,
    /// Whether it is this one.
    pub is_self: bool,
    /// The id up to which it has applied the log, as of its last beat.
    pub applied: EntryId,
    /// Its parked connections then.
    pub connections: u64,
    /// How long ago its last beat was read, in milliseconds.
    pub beat_age_ms: u64,
}

/// A node of a cluster.
#[derive(Debug)]
pub struct Node {
    _settings: Settings,
}

#[allow(unused_variables, clippy::todo, missing_docs)]
impl Node {
    /// A node that has read nothing. `seed` is a random number of this process alone: the node's
    /// identity follows from it.
    pub fn new(settings: Settings, seed: [u64; 3]) -> Node {
        todo!()
    }

    /// Sets the time. Beats, deadlines and the next step of a census follow from it. `unix_ms` is
    /// the wall clock, in milliseconds since 1970. Called at least at [`Node::next_due`].
    pub fn tick(&mut self, now: Time, unix_ms: u64) {
        todo!()
    }

    /// A connection is there. Commands given out before on its lane are forgotten by the thread.
    pub fn connected(&mut self, lane: Lane) {
        todo!()
    }

    /// A connection is broken: commands that have no reply will get none.
    pub fn broken(&mut self, lane: Lane) {
        todo!()
    }

    /// The server has replied to the oldest command that has no reply yet.
    pub fn answered(&mut self, reply: Reply) {
        todo!()
    }

    /// The follow lane has read an entry. Ids that were read before are ignored, so that what was
    /// underway of an earlier connection does no harm.
    pub fn read(&mut self, id: EntryId, bytes: &[u8]) {
        todo!()
    }

    /// Publishes these messages, all or none, in one entry. More than one, and no key but on a
    /// single one. Published with the rest of the tick: when [`Node::next_command`] is called next.
    ///
    /// # Errors
    ///
    /// See [`Refusal`]; nothing is published then.
    pub fn publish(&mut self, drafts: &[Draft<'_>]) -> Result<Ticket, Refusal> {
        todo!()
    }

    /// Deletes the history of a channel.
    ///
    /// # Errors
    ///
    /// See [`Refusal`].
    pub fn delete(&mut self, channel: &ChannelName<'_>) -> Result<Ticket, Refusal> {
        todo!()
    }

    /// Sets what other nodes are told about this one.
    pub fn set_state(&mut self, state: State) {
        todo!()
    }

    /// Publishes nothing more from now on, and says in a last beat that the node leaves. Publishes
    /// that wait have their results first. Gone when [`Node::has_left`].
    pub fn leave(&mut self) {
        todo!()
    }

    /// Whether the last beat was read back, or cannot be.
    pub fn has_left(&self) -> bool {
        todo!()
    }

    /// The next command for the publish lane; `None` until something happens, and while that lane
    /// is not connected. At most 64 commands have no reply.
    pub fn next_command(&mut self) -> Option<Command> {
        todo!()
    }

    /// The id after which the follow lane reads; `None` while it should not read. It changes
    /// when entries are read, and when [`Node::takes_reset`] was true.
    pub fn follows_after(&self) -> Option<EntryId> {
        todo!()
    }

    /// Whether entries may be read: less waits in effects than a bound. While it is false the
    /// caller keeps what was read.
    pub fn has_room(&self) -> bool {
        todo!()
    }

    /// Whether both connections are to be closed and made anew, from the resolution of the
    /// address on. True once each time; [`Node::broken`] is called for both lanes in answer.
    pub fn takes_reset(&mut self) -> bool {
        todo!()
    }

    /// The next effect.
    pub fn next_effect(&mut self) -> Option<Effect> {
        todo!()
    }

    /// Whether the node has read the log, and its own beat within [`Settings::ready_ms`].
    pub fn is_ready(&self) -> bool {
        todo!()
    }

    /// For how long the node has not read its own beat, in milliseconds.
    pub fn silent_ms(&self) -> u64 {
        todo!()
    }

    /// The reason for which it has stopped for good, if it has.
    pub fn halted(&self) -> Option<&Halt> {
        todo!()
    }

    /// What was counted.
    pub fn counts(&self) -> &Counts {
        todo!()
    }

    /// What is measured now.
    pub fn gauges(&self) -> Gauges {
        todo!()
    }

    /// The nodes that are members, this one included.
    pub fn nodes(&self) -> Vec<NodeInfo> {
        todo!()
    }

    /// When [`Node::tick`] is to be called at the latest.
    pub fn next_due(&self) -> Option<Time> {
        todo!()
    }
}
