//! The newest part of the history as it was read, to tell it again.
//!
//! Owns records of entries, and a bound on their bytes. Invariant: *no hole.* The records follow
//! one another in the history, so what is told again from a place on is complete.

mod frozen;

use std::collections::VecDeque;
use std::sync::Arc;

use super::entry::Record;
use crate::message::EntryId;

/// The memory of a record beside its bytes.
const OVERHEAD: usize = 64;

/// A record in the ring.
#[derive(Debug)]
enum Kept {
    Entry { id: EntryId, bytes: Arc<[u8]> },
    Blank { first: EntryId, last: u64 },
}

impl Kept {
    fn as_record(&self) -> Record<'_> {
        match *self {
            Kept::Entry { id, ref bytes } => Record::Entry { id, bytes },
            Kept::Blank { first, last } => Record::Blank { first, last },
        }
    }

    fn cost(&self) -> usize {
        OVERHEAD
            + match self {
                Kept::Entry { bytes, .. } => bytes.len(),
                Kept::Blank { .. } => 0,
            }
    }
}

/// The newest records of the history.
#[derive(Debug)]
pub(super) struct Ring {
    records: VecDeque<Kept>,
    bytes: usize,
    max_bytes: usize,
}

impl Ring {
    pub(super) fn new(max_bytes: usize) -> Ring {
        Ring {
            records: VecDeque::new(),
            bytes: 0,
            max_bytes,
        }
    }

    /// Removes all records, because the next one does not follow them.
    pub(super) fn clear(&mut self) {
        self.records.clear();
        self.bytes = 0;
    }

    /// Appends an entry that has an effect.
    pub(super) fn push(&mut self, id: EntryId, bytes: &Arc<[u8]>) {
        let bytes = Arc::clone(bytes);
        self.push_kept(Kept::Entry { id, bytes });
    }

    /// Appends entries that have none, of one term.
    pub(super) fn push_blank(&mut self, first: EntryId, last: u64) {
        if let Some(Kept::Blank {
            first: begin,
            last: end,
        }) = self.records.back_mut()
            && begin.term == first.term
            && end.checked_add(1) == Some(first.number)
        {
            *end = last;
            return;
        }
        self.push_kept(Kept::Blank { first, last });
    }

    fn push_kept(&mut self, kept: Kept) {
        let newest = self.records.back().map(|kept| kept.as_record().last());
        debug_assert!(newest.is_none_or(|newest| newest < kept.as_record().first()));
        self.bytes += kept.cost();
        self.records.push_back(kept);
        while self.bytes > self.max_bytes
            && let Some(oldest) = self.records.pop_front()
        {
            self.bytes -= oldest.cost();
        }
    }

    /// The first id that it has.
    pub(super) fn first(&self) -> Option<EntryId> {
        self.records.front().map(|kept| kept.as_record().first())
    }

    /// The records with ids after this one, oldest first.
    pub(super) fn after(&self, id: EntryId) -> impl Iterator<Item = Record<'_>> {
        let start = self
            .records
            .partition_point(|kept| kept.as_record().last() <= id);
        self.records.range(start..).map(Kept::as_record)
    }

    /// The records after an id that are told again in one entry: at least one, if there is one, and
    /// no more than `max_bytes` of entries otherwise. Also whether more follow.
    pub(super) fn piece_after(&self, id: EntryId, max_bytes: usize) -> (Vec<Record<'_>>, bool) {
        let mut piece = Vec::new();
        let mut bytes = 0;
        for record in self.after(id) {
            bytes += match record {
                Record::Entry { bytes, .. } => bytes.len(),
                Record::Blank { .. } => 0,
            };
            if !piece.is_empty() && bytes > max_bytes {
                return (piece, true);
            }
            piece.push(record);
        }
        (piece, false)
    }

    /// Removes the records after this id, where another history begins.
    pub(super) fn truncate_after(&mut self, id: EntryId) {
        while let Some(newest) = self.records.back_mut()
            && newest.as_record().last() > id
        {
            if let Kept::Blank { first, last } = newest
                && first.term == id.term
                && first.number <= id.number
            {
                *last = id.number;
                return;
            }
            self.bytes -= newest.cost();
            self.records.pop_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ring: &Ring, after: u64) -> Vec<(u64, u64)> {
        ring.after(EntryId::new(1, after))
            .map(|record| (record.first().number, record.last().number))
            .collect()
    }

    #[test]
    fn blanks_are_one_record_and_can_be_cut() {
        let mut ring = Ring::new(1_000);
        let id = |number| EntryId::new(1, number);
        ring.push(id(1), &Arc::from(*b"one"));
        ring.push_blank(id(2), 3);
        ring.push_blank(id(4), 4);
        ring.push(id(5), &Arc::from(*b"five"));
        assert_eq!(ids(&ring, 0), [(1, 1), (2, 4), (5, 5)]);
        assert_eq!(ids(&ring, 3), [(2, 4), (5, 5)]);
        assert_eq!(ids(&ring, 5), []);
        ring.truncate_after(id(3));
        assert_eq!(ids(&ring, 0), [(1, 1), (2, 3)]);
        ring.truncate_after(id(0));
        assert_eq!((ids(&ring, 0), ring.bytes), (vec![], 0));
    }

    #[test]
    fn each_piece_has_a_record_however_large() {
        let mut ring = Ring::new(1 << 20);
        for (number, length) in [(1, 9), (2, 30), (3, 4), (4, 6), (5, 1), (6, 11)] {
            ring.push(EntryId::new(1, number), &vec![0; length].into());
        }
        let (mut at, mut pieces) = (EntryId::new(1, 0), Vec::new());
        loop {
            let (piece, is_cut) = ring.piece_after(at, 10);
            pieces.push(piece.len());
            at = piece.last().expect("there is one").last();
            if !is_cut {
                break;
            }
        }
        assert_eq!((pieces, at.number), (vec![1, 1, 2, 1, 1], 6));
        assert_eq!(ring.piece_after(at, 10), (vec![], false));
    }

    #[test]
    fn oldest_go_beyond_the_bound() {
        let mut ring = Ring::new(3 * OVERHEAD + 10);
        for number in 1..9 {
            ring.push(EntryId::new(1, number), &Arc::from(*b"1234"));
        }
        assert_eq!(ids(&ring, 0), [(7, 7), (8, 8)]);
        assert_eq!(ring.first(), Some(EntryId::new(1, 7)));
        assert_eq!(ring.bytes, 2 * (OVERHEAD + 4));
    }
}
