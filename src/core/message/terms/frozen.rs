//! The terms of a log, in a state that is handed over.
//!
//! Owns their form. Ordinals stay, as they are in the numbers of messages.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{MAX_TERM, Term, Terms};
use crate::frozen::ThawError;
use crate::message::{Epoch, Place};

/// The frozen form of [`Terms`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrozenTerms {
    first: u16,
    /// Each with the number of its last entry, if it is closed.
    terms: Vec<(u64, Option<u64>)>,
}

impl Terms {
    /// Its frozen form.
    pub fn freeze(&self) -> FrozenTerms {
        FrozenTerms {
            first: self.first,
            terms: self.table.iter().map(|one| (one.term, one.end)).collect(),
        }
    }
}

impl FrozenTerms {
    /// The terms.
    ///
    /// # Errors
    ///
    /// [`ThawError::Damaged`] where they do not rise, or a number is out of range.
    pub fn thaw(self) -> Result<Terms, ThawError> {
        let is_term = |term: u64| {
            (1..=MAX_TERM).contains(&term) && Epoch::from_seed(term).seed() == Some(term)
        };
        let is_end = |end: Option<u64>| end.is_none_or(|end| end <= Place::MAX_ENTRY);
        let is_valid = self
            .terms
            .iter()
            .all(|&(term, end)| is_term(term) && is_end(end))
            && self.terms.is_sorted_by(|one, next| one.0 < next.0)
            && usize::from(self.first) + self.terms.len() <= usize::from(Place::MAX_ORDINAL);
        if !is_valid {
            return Err(ThawError::Damaged("the terms of the log are not valid"));
        }
        let term = |(term, end): (u64, Option<u64>)| Term { term, end };
        Ok(Terms {
            first: self.first,
            table: self.terms.into_iter().map(term).collect::<VecDeque<_>>(),
        })
    }
}
