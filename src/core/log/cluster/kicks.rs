//! Blocked subjects that are told again, as they hold for longer than the log does.
//!
//! Owns when that is due, and how far it has come.

use super::entry::Kick;
use crate::base::time::Time;

/// A place in the list of blocked subjects: when a block ends, in milliseconds since 1970, and the
/// subject.
pub type BlockPlace = (u64, Box<str>);

/// When blocked subjects are told again.
#[derive(Debug, Default)]
pub(super) struct Kicks {
    pub(super) due: Time,
    /// Bytes of the log since they were told last.
    pub(super) bytes: u64,
    /// They are told up to this one.
    pub(super) told_to: Option<BlockPlace>,
    /// The next entry.
    pub(super) entry: Option<Vec<Kick<'static>>>,
}

impl Kicks {
    /// What was told again may not be in the log, or is not all that is to be.
    pub(super) fn restart(&mut self) {
        self.told_to = None;
        self.due = Time(0);
    }

    /// An entry of so many bytes was read.
    pub(super) fn read(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }
}
