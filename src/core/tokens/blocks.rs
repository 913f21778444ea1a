//! Subjects whose tokens are refused until a date.
//!
//! Owns the table and its limit. When it is full, the block that ends first makes room for a new
//! one, so that the newest word of an operator always holds, and a long block outlasts many short
//! ones.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

/// The most subjects.
const MAX_SUBJECTS: usize = 65_536;

/// The most entries that one call removes because they have ended.
const MAX_REMOVED: usize = 16;

/// Blocked subjects. They are trees and not hash tables, so that chosen subjects cannot make them
/// slow.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    until_ms: BTreeMap<Arc<str>, u64>,
    /// The same entries, the one that ends first before all others.
    ends: BTreeSet<(u64, Arc<str>)>,
}

impl Blocks {
    /// Blocks a subject until a date. A later call for the same subject replaces the date.
    pub(super) fn block(&mut self, subject: &str, until_ms: u64) {
        self.block_within(MAX_SUBJECTS, subject, until_ms);
    }

    fn block_within(&mut self, max_subjects: usize, subject: &str, until_ms: u64) {
        let subject: Arc<str> = subject.into();
        if let Some(before_ms) = self.until_ms.remove(&subject) {
            self.ends.remove(&(before_ms, subject.clone()));
        }
        if self.until_ms.len() >= max_subjects {
            self.remove_first();
        }
        self.until_ms.insert(subject.clone(), until_ms);
        self.ends.insert((until_ms, subject));
    }

    fn remove_first(&mut self) {
        if let Some((_, subject)) = self.ends.pop_first() {
            self.until_ms.remove(&subject);
        }
    }

    /// Whether a subject is blocked at a date. Some of the blocks that have ended are removed.
    pub(super) fn is_blocked(&mut self, subject: &str, unix_ms: u64) -> bool {
        for _ in 0..MAX_REMOVED {
            match self.ends.first() {
                Some((until_ms, _)) if *until_ms <= unix_ms => self.remove_first(),
                _ => break,
            }
        }
        let until_ms = self.until_ms.get(subject);
        until_ms.is_some_and(|until_ms| unix_ms < *until_ms)
    }

    /// The subjects and their dates, the one that ends first before all others.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.ends
            .iter()
            .map(|(until_ms, subject)| (&**subject, *until_ms))
    }

    /// The subjects and their dates after this date and subject, or all, in this order.
    pub(super) fn after(
        &self,
        place: Option<(u64, &str)>,
    ) -> impl Iterator<Item = (u64, &Arc<str>)> {
        let start = match place {
            Some((until_ms, subject)) => Bound::Excluded((until_ms, subject.into())),
            None => Bound::Unbounded,
        };
        let ends = self.ends.range((start, Bound::Unbounded));
        ends.map(|(until_ms, subject)| (*until_ms, subject))
    }

    /// The number of entries.
    pub(super) fn len(&self) -> usize {
        self.until_ms.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn is_a_list_of_subjects_and_dates(
            steps in prop::collection::vec((0..8_u8, 1..40_u64, any::<bool>()), 1..200),
        ) {
            const MAX: usize = 5;
            let mut blocks = Blocks::default();
            let mut model: Vec<(u64, String)> = Vec::new();
            let mut unix_ms = 0;
            for (name, number, is_block) in steps {
                let subject = format!("user-{name}");
                if is_block {
                    let until_ms = unix_ms + number;
                    blocks.block_within(MAX, &subject, until_ms);
                    model.retain(|(_, blocked)| *blocked != subject);
                    model.sort();
                    if model.len() >= MAX {
                        model.remove(0);
                    }
                    model.push((until_ms, subject));
                } else {
                    unix_ms += number / 4;
                    model.retain(|(until_ms, _)| *until_ms > unix_ms);
                    let is_blocked = model.iter().any(|(_, blocked)| *blocked == subject);
                    prop_assert_eq!(blocks.is_blocked(&subject, unix_ms), is_blocked);
                }
                prop_assert_eq!(blocks.len(), model.len());
                prop_assert_eq!(blocks.ends.len(), model.len());
            }
        }
    }

    #[test]
    fn ended_blocks_are_removed_within_a_budget() {
        let mut blocks = Blocks::default();
        for number in 0..40 {
            blocks.block(&format!("user-{number}"), 10);
        }
        for left in [24, 8, 0, 0] {
            assert!(!blocks.is_blocked("user-39", 10));
            assert_eq!(blocks.len(), left);
        }
    }

    #[test]
    fn newest_block_of_a_full_table_holds() {
        let mut blocks = Blocks::default();
        for number in 0..MAX_SUBJECTS as u64 {
            blocks.block(&format!("user-{number}"), 1_000_000 + number);
        }
        blocks.block("new", 10);
        assert_eq!(blocks.len(), MAX_SUBJECTS);
        assert!(blocks.is_blocked("new", 9));
        assert!(!blocks.is_blocked("user-0", 9) && blocks.is_blocked("user-1", 9));
    }
}
