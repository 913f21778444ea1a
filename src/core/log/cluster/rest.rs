//! When a node can be handed over to another process: it rests.
//!
//! Owns the conditions. A node that is told to rest sends nothing new, and goes on with what is
//! under way. What is published meanwhile waits in the outbox. When all its commands have their
//! replies and all that it has read is applied, its state is what it has read and what waits. So a
//! process that goes on from there connects as after a broken connection, and finds nothing
//! undecided: no term is opened for that.

use std::fmt;

use super::node::{Mode, Node};
use super::settings::Halt;

/// The reason for which a node cannot be handed over at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unrest {
    /// It has stopped for good, or leaves.
    Halted,
    /// It has not read the log yet.
    Warming,
    /// The nodes settle a term: it has to have its say.
    Unsettled,
    /// Commands have no reply yet, or it is not told to rest.
    Unanswered,
    /// What it has read is not applied yet.
    Unapplied,
}

impl fmt::Display for Unrest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unrest::Halted => "this node follows the log of the cluster no more: restart it",
            Unrest::Warming => "this node has not read the log of the cluster yet: try again then",
            Unrest::Unsettled => "the nodes settle a new term of the log: try again shortly",
            Unrest::Unanswered => "the engine has not answered yet: try again when it does",
            Unrest::Unapplied => {
                "this node has not applied all that it has read of the log; it may wait for memory, \
                 until readers have received their messages: try again later"
            }
        })
    }
}

impl Node {
    /// Has the node send nothing new, until it is told otherwise. As long as it cannot rest, because
    /// others wait for what it has to say, this has no effect.
    pub fn rest(&mut self, is_wanted: bool) {
        self.rests = is_wanted && self.can_rest().is_ok();
    }

    /// Why it cannot be handed over; `None` if it can.
    pub fn unrest(&self) -> Option<Unrest> {
        if let Err(unrest) = self.can_rest() {
            return Some(unrest);
        }
        if !self.has_all_replies() {
            return Some(Unrest::Unanswered);
        }
        self.replica.has_effects().then_some(Unrest::Unapplied)
    }

    /// Whether it rests, and all commands have their replies: then nothing is to be read either.
    pub fn has_all_replies(&self) -> bool {
        self.rests && self.lane.is_quiet()
    }

    fn can_rest(&self) -> Result<(), Unrest> {
        let is_doubted = self.lane.doubted.is_some();
        let is_live = matches!(self.mode, Mode::Live { is_settled: true }) && !is_doubted;
        // A later version may read what this one cannot.
        let is_halted = match self.halt {
            None => false,
            Some(Halt::Unreadable { .. }) => !is_live,
        };
        match (is_halted || self.is_leaving, self.remembers, is_live) {
            (true, ..) => Err(Unrest::Halted),
            (_, false, _) => Err(Unrest::Warming),
            (_, _, false) => Err(Unrest::Unsettled),
            (false, true, true) => Ok(()),
        }
    }
}
