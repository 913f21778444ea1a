//! The rest of the writer, in which another process can take its place.
//!
//! Owns when that is: everything that was handed over is written, the mark is, and the keeper has
//! nothing to do. A segment that is on its way out goes before.

use std::fs::File;
use std::io;
use std::mem;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::super::report::{Event, Health, Usage};
use super::super::store::{self, Store};
use super::{Faults, Rest, Writer};

/// The state of saved history as it is handed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Frozen {
    store: store::Frozen,
    errors: u64,
    credit: u64,
    is_forgotten: bool,
    is_stale: bool,
}

impl Frozen {
    /// The part of the directory.
    pub(in crate::disk) fn store(&self) -> &store::Frozen {
        &self.store
    }

    /// Whether the directory is used.
    pub(in crate::disk) fn is_used(&self) -> bool {
        !self.is_forgotten
    }

    /// The usage of a directory that goes on like this.
    pub(in crate::disk) fn usage(&self, store: &Store) -> Usage {
        Usage {
            health: match self.is_forgotten {
                true => Health::Forgotten,
                false => Health::Works,
            },
            bytes: store.bytes(),
            segments: store.segment_count(),
            errors: self.errors,
        }
    }
}

impl Writer {
    /// Begins nothing any more, or goes on.
    pub(super) fn set_rest(&mut self, is_wanted: bool) {
        let before = mem::replace(&mut self.rest, Rest::No);
        if is_wanted {
            self.rest = Rest::Wanted;
        } else if before != Rest::No {
            if self.is_stale && self.retry_at.is_none() {
                self.retry_at = Some(Instant::now());
            }
            self.sync_later(Instant::now());
            self.let_go();
        }
    }

    /// There is something to do: it comes to rest again afterwards.
    pub(super) fn end_rest(&mut self) {
        if self.rest == Rest::Here {
            self.rest = Rest::Wanted;
        }
    }

    /// Says so, once, when nothing is under way any more.
    pub(super) fn come_to_rest(&mut self) {
        if self.rest != Rest::Wanted || !self.is_still() {
            return;
        }
        self.mark_at = None;
        if !self.is_forgotten
            && let Err(error) = self.store.mark()
        {
            return self.failed("write to", &error, |faults| faults.write = true);
        }
        self.rest = Rest::Here;
        self.report(Event::AtRest);
    }

    fn is_still(&self) -> bool {
        let is_keeper_busy = self.is_syncing || self.sync_is_sent || self.leaving.is_some();
        self.pending.is_none() && self.faults == Faults::default() && !is_keeper_busy
    }

    #[cfg(test)]
    pub(in crate::disk) fn is_syncing(&self) -> bool {
        self.is_syncing
    }

    /// Whether nothing is under way, as it was asked to rest.
    pub(in crate::disk) fn is_at_rest(&self) -> bool {
        self.rest == Rest::Here
    }

    /// The state for a process that takes over, and a duplicate of the file that holds the lock.
    ///
    /// # Errors
    ///
    /// It is not at rest, or there is no descriptor left.
    pub(in crate::disk) fn freeze(&self) -> io::Result<(Frozen, File)> {
        if self.rest != Rest::Here {
            return Err(io::Error::other("saved history is not at rest"));
        }
        debug_assert!(self.is_forgotten || !self.store.has_unmarked());
        let (store, lock) = self.store.freeze()?;
        let frozen = Frozen {
            store,
            errors: self.errors,
            credit: self.plan.credit(),
            is_forgotten: self.is_forgotten,
            is_stale: self.is_stale,
        };
        Ok((frozen, lock))
    }

    /// Goes on where another process was, which may still be there: it rests.
    pub(in crate::disk) fn go_on_as(&mut self, frozen: &Frozen) {
        self.errors = frozen.errors;
        self.is_forgotten = frozen.is_forgotten;
        self.is_stale = frozen.is_stale;
        self.plan.set_credit(frozen.credit);
        self.rest = Rest::Here;
    }
}
