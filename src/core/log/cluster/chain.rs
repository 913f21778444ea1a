//! The history of a log: its settled terms and their ends.
//!
//! Owns the comparison of two histories. A term that was never settled has no part in it.

use super::entry::MAX_CHAIN;
use crate::message::EntryId;

/// Terms in rising order, each with the number of its last entry; that of the last is what the
/// history has come to. At most the newest [`MAX_CHAIN`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Chain(Vec<EntryId>);

/// How a history compares to another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    /// It is the beginning of the other, or both are the same.
    Behind,
    /// The other is the beginning of it.
    Ahead,
    /// Both have the same entries up to this id, if one is known, and then others.
    Diverged(Option<EntryId>),
}

impl Chain {
    /// The history that an entry tells.
    pub(super) fn new(terms: &[EntryId]) -> Chain {
        Chain(terms.to_vec())
    }

    /// The history that a state tells; `None` where it is none.
    pub(super) fn checked(terms: &[EntryId]) -> Option<Chain> {
        let is_valid = terms.len() <= MAX_CHAIN
            && terms.first().is_none_or(|first| first.term > 0)
            && terms.is_sorted_by(|one, next| one.term < next.term);
        is_valid.then(|| Chain::new(terms))
    }

    pub(super) fn as_slice(&self) -> &[EntryId] {
        &self.0
    }

    /// The last id of the history; zero if it has not begun.
    pub(super) fn tip(&self) -> EntryId {
        self.0.last().copied().unwrap_or(EntryId::ZERO)
    }

    /// Goes on to this id, in the last term or a new one.
    pub(super) fn go_on_to(&mut self, id: EntryId) {
        match self.0.last_mut() {
            Some(last) if last.term == id.term => *last = id,
            last => {
                debug_assert!(last.is_none_or(|last| last.term < id.term));
                if self.0.len() == MAX_CHAIN {
                    self.0.remove(0);
                }
                self.0.push(id);
            }
        }
    }

    /// Whether an id is of this history, or of a term from before what is known of it. It need not
    /// have come to it, if it is of the last term or a later one.
    pub(super) fn may_have(&self, id: EntryId) -> bool {
        let Some((last, closed)) = self.0.split_last() else {
            return true;
        };
        match closed.iter().find(|end| end.term >= id.term) {
            Some(end) if end.term == id.term => id.number <= end.number,
            Some(_) => self.0[0].term > id.term,
            None => id.term >= last.term,
        }
    }

    /// The id after this one.
    pub(super) fn successor(&self, id: EntryId) -> EntryId {
        let place = self.0.iter().position(|end| end.term == id.term);
        match place.and_then(|place| self.0.get(place..=place + 1)) {
            Some([end, next]) if id.number >= end.number => EntryId::new(next.term, 0),
            _ => id.next(),
        }
    }

    /// Compares it to another history.
    pub(super) fn relation(&self, other: &Chain) -> Relation {
        let (mine, theirs) = (&self.0[..], &other.0[..]);
        if mine.is_empty() {
            return Relation::Behind;
        }
        if theirs.is_empty() {
            return Relation::Ahead;
        }
        // Older terms than the other one's oldest are not comparable.
        let first = |one: &[EntryId], term: u64| one.iter().position(|end| end.term == term);
        let (mine, theirs) = match (first(mine, theirs[0].term), first(theirs, mine[0].term)) {
            (Some(place), _) => (&mine[place..], theirs),
            (_, Some(place)) => (mine, &theirs[place..]),
            (None, None) => return Relation::Diverged(None),
        };
        let mut common = None;
        for place in 0.. {
            let (Some(&my_end), Some(&their_end)) = (mine.get(place), theirs.get(place)) else {
                break;
            };
            if my_end.term != their_end.term {
                return Relation::Diverged(common);
            }
            let shorter = my_end.min(their_end);
            let is_last = (place + 1 == mine.len(), place + 1 == theirs.len());
            match my_end.number.cmp(&their_end.number) {
                std::cmp::Ordering::Less if is_last.0 => return Relation::Behind,
                std::cmp::Ordering::Greater if is_last.1 => return Relation::Ahead,
                std::cmp::Ordering::Equal => {}
                _ => return Relation::Diverged(Some(shorter)),
            }
            common = Some(shorter);
        }
        match mine.len() <= theirs.len() {
            true => Relation::Behind,
            false => Relation::Ahead,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chain(terms: &[(u64, u64)]) -> Chain {
        let ids: Vec<EntryId> = terms.iter().map(|&(t, n)| EntryId::new(t, n)).collect();
        Chain::new(&ids)
    }

    #[test]
    fn histories_compare() {
        let id = |term, number| Some(EntryId::new(term, number));
        for (mine, theirs, expected) in [
            (&[][..], &[][..], Relation::Behind),
            (&[], &[(1, 1)], Relation::Behind),
            (&[(1, 1)], &[], Relation::Ahead),
            (&[(1, 1)], &[(1, 1)], Relation::Behind),
            (&[(1, 1)], &[(1, 2)], Relation::Behind),
            (&[(1, 2)], &[(1, 1)], Relation::Ahead),
            (&[(1, 2)], &[(1, 2), (2, 0)], Relation::Behind),
            (&[(1, 2), (2, 0)], &[(1, 2)], Relation::Ahead),
            (&[(1, 3)], &[(1, 2), (2, 9)], Relation::Diverged(id(1, 2))),
            (&[(1, 2), (2, 9)], &[(1, 3)], Relation::Diverged(id(1, 2))),
            (
                &[(1, 2), (2, 9)],
                &[(1, 2), (3, 9)],
                Relation::Diverged(id(1, 2)),
            ),
            (&[(1, 2), (2, 5)], &[(2, 6), (3, 9)], Relation::Behind),
            (&[(2, 5)], &[(1, 2), (2, 5), (3, 1)], Relation::Behind),
            (&[(1, 5)], &[(2, 6)], Relation::Diverged(None)),
        ] {
            let relation = chain(mine).relation(&chain(theirs));
            assert_eq!(relation, expected, "{mine:?} {theirs:?}");
        }
    }

    #[test]
    fn ids_beyond_closed_ends_are_not_of_the_history() {
        let chain = chain(&[(3, 7), (5, 2), (9, 4)]);
        for (term, number, expected) in [
            (2, 99, true),
            (3, 7, true),
            (3, 8, false),
            (4, 0, false),
            (5, 3, false),
            (7, 0, false),
            (9, 4, true),
            (9, 5, true),
            (10, 0, true),
        ] {
            let id = EntryId::new(term, number);
            assert_eq!(chain.may_have(id), expected, "{id}");
        }
        for (term, number, next) in [
            (3, 6, (3, 7)),
            (3, 7, (5, 0)),
            (5, 2, (9, 0)),
            (9, 4, (9, 5)),
        ] {
            let next = EntryId::new(next.0, next.1);
            assert_eq!(chain.successor(EntryId::new(term, number)), next);
        }
    }

    /// All entries of a history, of terms 1 to 3.
    fn entries(chain: &Chain) -> Vec<EntryId> {
        let ends = chain.as_slice().iter();
        ends.flat_map(|end| (0..=end.number).map(|number| EntryId::new(end.term, number)))
            .collect()
    }

    proptest! {
        #[test]
        fn relation_is_that_of_the_entries(
            mine in proptest::collection::btree_map(2..5_u64, 0..3_u64, 0..3),
            theirs in proptest::collection::btree_map(2..5_u64, 0..3_u64, 0..3),
        ) {
            // All histories begin with the same term.
            let with_first = |rest: &std::collections::BTreeMap<u64, u64>| {
                let rest = rest.iter().map(|(&term, &end)| (term, end));
                chain(&std::iter::once((1, 0)).chain(rest).collect::<Vec<_>>())
            };
            let (mine, theirs) = (with_first(&mine), with_first(&theirs));
            let (my, their) = (entries(&mine), entries(&theirs));
            let common = my.iter().zip(&their).take_while(|(one, other)| one == other).count();
            let naive = match (common == my.len(), common == their.len()) {
                (true, _) => Relation::Behind,
                (_, true) => Relation::Ahead,
                _ => Relation::Diverged(Some(my[common - 1])),
            };
            prop_assert_eq!(mine.relation(&theirs), naive);
            for (one, next) in my.iter().zip(&my[1..]) {
                prop_assert_eq!(mine.successor(*one), *next);
            }
        }
    }
}
