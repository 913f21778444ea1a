//! The records that were told again during a census.
//!
//! Owns copies of them. They are interpreted when the term is settled.

use std::sync::Arc;

use super::entry::{Entry, Record};
use crate::message::EntryId;

/// A record that was read in a census.
#[derive(Debug)]
pub(super) enum Retold {
    Entry { id: EntryId, bytes: Arc<[u8]> },
    Blank { first: EntryId, last: u64 },
}

impl Retold {
    /// A copy of a record.
    pub(super) fn new(record: &Record<'_>) -> Retold {
        match *record {
            Record::Entry { id, bytes } => Retold::Entry {
                id,
                bytes: bytes.into(),
            },
            Record::Blank { first, last } => Retold::Blank { first, last },
        }
    }

    /// The first id that it is about.
    pub(super) fn first(&self) -> EntryId {
        match *self {
            Retold::Entry { id, .. } => id,
            Retold::Blank { first, .. } => first,
        }
    }

    /// The last id that it is about.
    pub(super) fn last(&self) -> EntryId {
        match *self {
            Retold::Entry { id, .. } => id,
            Retold::Blank { first, last } => EntryId::new(first.term, last),
        }
    }

    /// The nonce that it has, if it is an entry of this node.
    pub(super) fn nonce_of(&self, node: u64) -> Option<u64> {
        let Retold::Entry { bytes, .. } = self else {
            return None;
        };
        let head = Entry::read(bytes).ok()?.head;
        (head.node == node).then_some(head.nonce)
    }

    /// The bytes that it takes in memory, about.
    pub(super) fn cost(&self) -> usize {
        64 + match self {
            Retold::Entry { bytes, .. } => bytes.len(),
            Retold::Blank { .. } => 0,
        }
    }
}
