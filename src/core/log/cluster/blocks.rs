//! Blocked subjects that are told again, as they hold for longer than the log does.
//!
//! Owns when that is due, how far it has come, and how much of the log it may take.
//!
//! If a pass over them is interrupted, its entries may be lost, and another pass follows. The pass under
//! way does not begin anew: with many interruptions it would tell the first ones for ever, and the last
//! ones never.

use super::allowance::Allowance;
use super::entry::Kick;
use crate::base::time::Time;

/// A place in the list of blocked subjects: when a block ends, in milliseconds since 1970, and the
/// subject.
pub type BlockPlace = (u64, Box<str>);

/// Milliseconds from the beginning of a pass to that of the next at least.
const PASS_MS: u64 = 5_000;

/// The part of the log that blocked subjects may take in any case: one in so many bytes. So they
/// are told before the log has dropped them, however fast it moves.
const PART_OF_LOG: u64 = 4;

/// When blocked subjects are told again.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    pub(super) due: Time,
    /// Bytes of the log since they were told last.
    pub(super) bytes: u64,
    /// They are told up to this one, in a pass that is under way.
    pub(super) told_to: Option<BlockPlace>,
    /// When the pass under way, or the last one, began; `None` before the first.
    began: Option<Time>,
    /// Another pass follows the one under way.
    is_again: bool,
    pub(super) allowance: Allowance,
    /// The next entry.
    pub(super) entry: Option<Vec<Kick<'static>>>,
}

impl Blocks {
    /// Makes another pass due: entries of the last one may be lost, or there are more blocks to tell.
    pub(super) fn restart(&mut self) {
        self.is_again = self.told_to.is_some();
        if !self.is_again {
            self.due = self.due.min(self.next_pass());
        }
    }

    /// They are told up to this one, and more are to be told.
    pub(super) fn told(&mut self, to: Option<BlockPlace>, now: Time) {
        if self.told_to.is_none() {
            self.began = Some(now);
        }
        self.told_to = to;
    }

    /// They have all been told. The next pass begins so many milliseconds later, unless what this
    /// one has told may not be in the log.
    pub(super) fn finish(&mut self, pause_ms: u64, now: Time) {
        self.due = now.after_ms(pause_ms);
        self.bytes = 0;
        self.told_to = None;
        if std::mem::take(&mut self.is_again) {
            self.due = self.due.min(self.next_pass());
        }
    }

    fn next_pass(&self) -> Time {
        self.began.map_or(Time(0), |began| began.after_ms(PASS_MS))
    }

    /// An entry of so many bytes was read.
    pub(super) fn read(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        self.allowance.earn(bytes as u64 / PART_OF_LOG);
    }
}
