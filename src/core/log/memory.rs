//! The log in memory: a counter.
//!
//! Owns the epoch and the newest number. Both are lost with the process, so every start has an
//! epoch of its own, by which a client notices that history was lost.

use crate::message::{Epoch, Seq};

/// A log that keeps nothing but its newest number.
pub struct Memory {
    epoch: Epoch,
    newest: Seq,
}

impl Memory {
    /// A log of an epoch in which no message was numbered yet.
    pub fn new(epoch: Epoch) -> Memory {
        Memory {
            epoch,
            newest: Seq::ZERO,
        }
    }

    /// A log of an epoch that goes on after a number.
    pub(super) fn continuing(epoch: Epoch, newest: Seq) -> Memory {
        Memory { epoch, newest }
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(super) fn newest(&self) -> Seq {
        self.newest
    }

    /// Gives the next message its number.
    pub(super) fn next(&mut self) -> Seq {
        self.newest = self.newest.next();
        self.newest
    }
}
