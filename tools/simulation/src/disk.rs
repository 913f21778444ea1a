//! The disk of a log that is saved.
//!
//! Owns the records that were taken and are written, said to be, or not yet, and the segments that a
//! start reads. What is done with them is in `saving`.

use std::collections::VecDeque;

use encke_core::base::record;
use encke_core::log::{Identity, Mark};

/// Records that are written, or are to be, and that the engine was not told of.
pub(crate) struct Batch {
    pub(crate) records: Vec<u8>,
    pub(crate) up_to: Mark,
    pub(crate) is_written: bool,
}

/// The effect of a record on the model when it was learnt, so that it can be undone.
pub(crate) struct Learnt {
    /// How many records of the log of this process come before it.
    pub(crate) place: usize,
    pub(crate) what: What,
}

pub(crate) enum What {
    Message(u64),
    Delete { channel: usize, up_to: u64 },
}

/// The disk of a world.
pub(crate) struct Disk {
    pub(crate) identity: Identity,
    /// The newest number at the last start, which is saved beside the log.
    pub(crate) started_at: u64,
    /// The records of each segment, oldest first.
    pub(crate) segments: Vec<Vec<u8>>,
    /// Taken, in order, the written ones first.
    pub(crate) batches: VecDeque<Batch>,
    /// Records taken, written and told by this process.
    pub(crate) taken: usize,
    pub(crate) written: usize,
    pub(crate) told: usize,
    pub(crate) learnt: Vec<Learnt>,
    pub(crate) fails: bool,
    /// The oldest segment is carried over up to here.
    pub(crate) carried: Option<Mark>,
}

impl Disk {
    pub(crate) fn new(identity: Identity) -> Disk {
        Disk {
            identity,
            started_at: 0,
            segments: vec![Vec::new()],
            batches: VecDeque::new(),
            taken: 0,
            written: 0,
            told: 0,
            learnt: Vec::new(),
            fails: false,
            carried: None,
        }
    }

    /// Whether the record of a message is written and told.
    pub(crate) fn is_told(&self, is_it: impl Fn(&What) -> bool) -> bool {
        let mut found = self
            .learnt
            .iter()
            .rev()
            .filter(|learnt| is_it(&learnt.what));
        found.next().is_none_or(|learnt| learnt.place < self.told)
    }
}

/// The records in bytes, and their entries.
pub(crate) fn records(mut bytes: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut all = Vec::new();
    while let record::Read::Record { entry, rest } = record::read(bytes) {
        all.push((&bytes[..bytes.len() - rest.len()], entry));
        bytes = rest;
    }
    assert!(bytes.is_empty(), "bytes that are no record");
    all
}
