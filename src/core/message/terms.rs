//! The terms of a cluster's log: which epoch an ordinal is, and where each term ended.
//!
//! Owns the table of terms, and what a cursor of any node means by it. It never decides which terms
//! there are: the log does.
//!
//! Ordinals are this node's own: another node, which has read the log from another entry on, has
//! others. On the wire a term is an epoch.
//!
//! Invariants:
//! - *Ordered.* Terms rise with their ordinals, as they do in the log.
//! - *An ordinal is for ever.* A term that is known keeps its ordinal. Ordinals are left below that
//!   of the first term that became known, for earlier ones that become known later.

mod frozen;

pub use frozen::FrozenTerms;

use std::collections::VecDeque;

use thiserror::Error;

use super::{EntryId, Epoch, Place, Seq};

/// The ordinal of the term that becomes known first.
const FIRST_ORDINAL: u16 = 1 << 10;

/// The greatest term: so each has an epoch of its own: the eight digits of an epoch, in
/// base 36. As milliseconds since 1970 they reach until the year 2059.
pub const MAX_TERM: u64 = 36_u64.pow(8) - 1;

/// A term of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Term {
    term: u64,
    /// The number of its last entry, if it is closed.
    end: Option<u64>,
}

/// The terms that a node knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// The ordinal of the first in the table.
    first: u16,
    table: VecDeque<Term>,
}

/// Why a term cannot be in the table.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum TermError {
    /// It is 0, or above [`MAX_TERM`].
    #[error("the term is out of range")]
    OutOfRange,
    /// All ordinals are given. It takes tens of thousands of terms in the life of one process.
    #[error("there were more terms than a node can number; it has to be restarted")]
    Exhausted,
}

impl Terms {
    /// No terms.
    pub fn new() -> Terms {
        Terms {
            first: FIRST_ORDINAL,
            table: VecDeque::new(),
        }
    }

    /// Adds a term, if it is not known. It may be the newest, or older than all that are known. A
    /// term between two that are known stays unknown: its cursors are foreign.
    ///
    /// # Errors
    ///
    /// See [`TermError`]. For a term older than all that are known, that there is no ordinal left
    /// is no error: it stays unknown.
    pub fn add(&mut self, term: u64) -> Result<(), TermError> {
        if term == 0 || term > MAX_TERM || Epoch::from_seed(term).seed() != Some(term) {
            return Err(TermError::OutOfRange);
        }
        let (oldest, newest) = match (self.table.front(), self.table.back()) {
            (Some(oldest), Some(newest)) => (oldest.term, newest.term),
            _ => (term, 0),
        };
        let new = Term { term, end: None };
        if term > newest {
            if usize::from(self.first) + self.table.len() > usize::from(Place::MAX_ORDINAL) {
                return Err(TermError::Exhausted);
            }
            self.table.push_back(new);
        } else if term < oldest && self.first > 0 {
            self.first -= 1;
            self.table.push_front(new);
        }
        Ok(())
    }

    /// A term ended with the entry of this number. If it is said twice, the first holds.
    pub fn close(&mut self, term: u64, end: u64) {
        if let Some(at) = self.find(term) {
            let closed = &mut self.table[at];
            closed.end.get_or_insert(end.min(Place::MAX_ENTRY));
        }
    }

    /// The number of a part of an entry; `None` if the term is not known, or a number is out of
    /// range.
    pub fn seq(&self, entry: EntryId, part: u16) -> Option<Seq> {
        let at = self.find(entry.term)?;
        let is_in_range = entry.number <= Place::MAX_ENTRY && part <= Place::MAX_PART;
        is_in_range.then(|| self.place(at, entry.number, part))
    }

    fn place(&self, at: usize, entry: u64, part: u16) -> Seq {
        let ordinal = self.first + at as u16;
        let place = Place {
            ordinal,
            entry,
            part,
        };
        place.seq()
    }

    /// The entry of a number, which is a place of a term that is known.
    pub fn entry(&self, seq: Seq) -> Option<EntryId> {
        let place = seq.place()?;
        Some(EntryId {
            term: self.term_of(place)?,
            number: place.entry,
        })
    }

    fn term_of(&self, place: Place) -> Option<u64> {
        let at = usize::from(place.ordinal).checked_sub(self.first.into())?;
        Some(self.table.get(at)?.term)
    }

    /// The epoch of a number. One that is before all places is of the oldest term; `None` where no
    /// term is known.
    pub fn epoch(&self, seq: Seq) -> Option<Epoch> {
        let term = match seq.place() {
            // Just before a term, if a cursor is one below its first place.
            Some(place) => self.term_of(place)?,
            None => self.table.front()?.term,
        };
        Some(Epoch::from_seed(term))
    }

    /// The newest term.
    pub fn newest(&self) -> Option<u64> {
        Some(self.table.back()?.term)
    }

    /// The place that a cursor means, by its epoch, the number of an entry, and the part. A number
    /// after the end of a closed term means that end, because entries beyond it are not of this
    /// log. `None` if the cursor is foreign.
    pub(super) fn cursor(&self, epoch: Epoch, number: u64, part: u64) -> Option<Seq> {
        let at = self.find(epoch.seed()?)?;
        let part = part.min(Place::MAX_PART.into()) as u16;
        match self.table[at].end {
            Some(end) if number > end => Some(self.place(at, end, Place::MAX_PART)),
            None if number > Place::MAX_ENTRY => None,
            _ => Some(self.place(at, number, part)),
        }
    }

    fn find(&self, term: u64) -> Option<usize> {
        self.table.binary_search_by_key(&term, |one| one.term).ok()
    }
}

#[cfg(test)]
mod tests;
