//! Readers that are ahead of the hub: their clients come from another node of the cluster, which
//! has applied more of the log.
//!
//! Owns their order by cursor, and since when they are ahead. They are in no list of a channel until the hub has come to their
//! cursors; then they are placed like all others.
//!
//! A connection that goes ahead from another cursor has a place more, and may have ended since. Such
//! places are skipped, and removed where there are many. The same place is there once.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

use super::conn::ConnId;
use crate::base::time::Time;
use crate::message::Seq;

/// Places beyond which those of connections that do not wait any more are removed.
const MANY: usize = 1_024;

/// The readers that are ahead of the hub.
#[derive(Default)]
pub(super) struct Ahead {
    by_cursor: BTreeMap<(Seq, ConnId), Time>,
    /// How many there may be before they are looked through.
    max: usize,
    /// Beyond which number readers were looked at last.
    reviewed: Seq,
    /// Up to which place they are, while not all are.
    reviewed_to: Option<(Seq, ConnId)>,
}

impl Ahead {
    /// Adds a reader. `waits` says which of the others still do.
    #[cold]
    pub(super) fn add(
        &mut self,
        (cursor, id): (Seq, ConnId),
        now: Time,
        waits: impl Fn(Seq, ConnId) -> bool,
    ) {
        if self.by_cursor.len() >= self.max.max(MANY) {
            self.by_cursor.retain(|(cursor, id), _| waits(*cursor, *id));
            self.max = 2 * self.by_cursor.len();
        }
        self.by_cursor.entry((cursor, id)).or_insert(now);
    }

    /// Whether a reader is there that is not ahead of a head any more.
    #[inline]
    pub(super) fn has_passed(&self, head: Seq) -> bool {
        let first = self.by_cursor.first_key_value();
        first.is_some_and(|((cursor, _), _)| *cursor <= head)
    }

    /// Removes and returns the first reader, if it is not ahead of the head any more.
    pub(super) fn next_passed(&mut self, head: Seq) -> Option<(Seq, ConnId)> {
        let (place, _) = self
            .has_passed(head)
            .then(|| self.by_cursor.pop_first())??;
        Some(place)
    }

    /// The next reader beyond a number, and since when it is ahead. Each is returned once, until the
    /// number has risen.
    pub(super) fn next_beyond(&mut self, number: Seq) -> Option<((Seq, ConnId), Time)> {
        if self.reviewed_to.is_none() && number > self.reviewed {
            self.reviewed = number;
            self.reviewed_to = Some((number, ConnId::LAST));
        }
        let after = self.reviewed_to?;
        let mut beyond = self.by_cursor.range((Excluded(after), Unbounded));
        let next = beyond.next().map(|(place, since)| (*place, *since));
        self.reviewed_to = next.map(|(place, _)| place);
        next
    }

    /// Returns no more readers until the number has risen.
    pub(super) fn stop_review(&mut self) {
        self.reviewed_to = None;
    }

    /// Whether not all readers were returned yet.
    pub(super) fn is_reviewing(&self) -> bool {
        self.reviewed_to.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reader_that_goes_ahead_again_and_again_takes_one_place() {
        let mut ahead = Ahead::default();
        let id = ConnId {
            index: 0,
            generation: 0,
        };
        for _ in 0..100_000 {
            ahead.add((Seq(9), id), Time(0), |_, _| true);
        }
        assert_eq!(ahead.by_cursor.len(), 1);
        assert_eq!(ahead.next_passed(Seq(9)), Some((Seq(9), id)));
        assert!(!ahead.has_passed(Seq(u64::MAX)));
    }

    #[test]
    fn readers_beyond_a_number_are_returned_once() {
        let mut ahead = Ahead::default();
        let place = |seq, index| {
            let generation = 0;
            (Seq(seq), ConnId { index, generation })
        };
        for (seq, index) in [(5, 1), (6, 2), (6, 3), (9, 4)] {
            for ms in [seq, 99] {
                ahead.add(place(seq, index), Time(ms), |_, _| true);
            }
        }
        let mut all = |number| std::iter::from_fn(|| ahead.next_beyond(Seq(number))).count();
        assert_eq!((all(5), all(5), all(4), all(6), all(7)), (3, 0, 0, 1, 1));
        assert!(!ahead.is_reviewing());
        assert_eq!(ahead.next_beyond(Seq(8)), Some((place(9, 4), Time(9))));
        assert!(ahead.is_reviewing());
    }

    #[test]
    fn places_of_readers_that_wait_no_more_take_no_memory() {
        let mut ahead = Ahead::default();
        for index in 0..100_000_u32 {
            let id = ConnId {
                index,
                generation: 0,
            };
            // Ten of them at a time.
            let waits = |_, other: ConnId| other.index + 10 > index;
            ahead.add((Seq(u64::from(index)), id), Time(0), waits);
            assert!(ahead.by_cursor.len() <= MANY);
        }
        assert_eq!(ahead.next_passed(Seq(90_000)), None);
        assert!(ahead.has_passed(Seq(99_999)));
    }
}
