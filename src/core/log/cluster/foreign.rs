//! Entries of the log that no node has written.
//!
//! Owns the newest of them, and their lines in the log of the process. They have no part in the
//! history. One that begins a term of its own ends the term before: nothing can be appended to that
//! any more, and a new one is opened above it.

use crate::base::time::Time;
use crate::message::EntryId;

/// Milliseconds between two lines about them.
const WARN_MS: u64 = 60_000;

/// Entries that no node has written.
#[derive(Debug, Default)]
pub(super) struct Foreign {
    /// The newest; zero if there was none.
    newest: EntryId,
    warned: Option<Time>,
    /// How many were not logged.
    unwarned: u64,
}

impl Foreign {
    /// That of a node which goes on after an entry.
    pub(super) fn after(newest: EntryId) -> Foreign {
        Foreign {
            newest,
            ..Foreign::default()
        }
    }

    pub(super) fn newest(&self) -> EntryId {
        self.newest
    }

    /// Whether an entry is of a term that did not begin with the entry of a node.
    pub(super) fn has_term(&self, id: EntryId) -> bool {
        self.newest != EntryId::ZERO && self.newest.term == id.term
    }

    /// Notes one that was read. Returns whether it was not read before.
    pub(super) fn note(&mut self, id: EntryId, now: Time) -> bool {
        if id <= self.newest {
            return false;
        }
        self.newest = id;
        self.unwarned += 1;
        let is_due = |at: Time| now.since_ms(at) >= WARN_MS;
        if self.warned.is_none_or(is_due) {
            let count = std::mem::take(&mut self.unwarned);
            log::warn!(
                "engine: entry {id} of the log is not of encke, and is skipped ({count} since the \
                 last such line): nothing else may write to the log"
            );
            self.warned = Some(now);
        }
        true
    }
}
