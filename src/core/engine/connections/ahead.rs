//! Readers that are ahead of the hub: their clients come from another node of the cluster, which
//! has applied more of the log.
//!
//! Owns their order by cursor. They are in no list of a channel until the hub has come to their
//! cursors; then they are placed like all others.
//!
//! A connection that goes ahead from another cursor has a place more, and may have ended since. Such
//! places are skipped, and removed where there are many. The same place is there once.

use std::collections::BTreeSet;

use super::conn::ConnId;
use crate::message::Seq;

/// Places beyond which those of connections that do not wait any more are removed.
const MANY: usize = 1_024;

/// The readers that are ahead of the hub.
#[derive(Default)]
pub(super) struct Ahead {
    by_cursor: BTreeSet<(Seq, ConnId)>,
    /// How many there may be before they are looked through.
    max: usize,
}

impl Ahead {
    /// Adds a reader. `waits` says which of the others still do.
    #[cold]
    pub(super) fn add(&mut self, cursor: Seq, id: ConnId, waits: impl Fn(Seq, ConnId) -> bool) {
        if self.by_cursor.len() >= self.max.max(MANY) {
            self.by_cursor.retain(|(cursor, id)| waits(*cursor, *id));
            self.max = 2 * self.by_cursor.len();
        }
        self.by_cursor.insert((cursor, id));
    }

    /// Whether a reader is there that is not ahead of a head any more.
    #[inline]
    pub(super) fn has_passed(&self, head: Seq) -> bool {
        let first = self.by_cursor.first();
        first.is_some_and(|(cursor, _)| *cursor <= head)
    }

    /// Removes and returns the first reader, if it is not ahead of the head any more.
    pub(super) fn next_passed(&mut self, head: Seq) -> Option<(Seq, ConnId)> {
        self.has_passed(head).then(|| self.by_cursor.pop_first())?
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
            ahead.add(Seq(9), id, |_, _| true);
        }
        assert_eq!(ahead.by_cursor.len(), 1);
        assert_eq!(ahead.next_passed(Seq(9)), Some((Seq(9), id)));
        assert!(!ahead.has_passed(Seq(u64::MAX)));
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
            ahead.add(Seq(u64::from(index)), id, waits);
            assert!(ahead.by_cursor.len() <= MANY);
        }
        assert_eq!(ahead.next_passed(Seq(90_000)), None);
        assert!(ahead.has_passed(Seq(99_999)));
    }
}
