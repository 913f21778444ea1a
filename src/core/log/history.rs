//! History that is read back: the entries of a saved log, as a hub and a log that goes on.
//!
//! Owns what a start makes of entries and of the way in which the log ended. It reads no file, and
//! knows the wall clock only as an argument.

use super::entry::{Entry, EntryError, Message};
use super::{Log, Saved};
use crate::base::time::Time;
use crate::config::Config;
use crate::hub::{Hub, Restore, Restored};
use crate::message::{Epoch, Seq};

/// By how much numbers skip ahead after a crash. Readers may have received messages that were not
/// saved; none of their numbers is given again.
const SKIPPED: u64 = 1 << 32;

/// The time at which an engine with history starts. Messages are older than that, and none is kept
/// for longer than the 30 days that this is at least.
const START: Time = Time(1 << 32);

/// The properties of a saved log that never change.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The epoch of its numbers.
    pub epoch: Epoch,
    /// The secret by which names are put into buckets: a floor of forgotten channels is that of a
    /// bucket, so the buckets must be the same after a restart.
    pub name_keys: (u64, u64),
}

impl Identity {
    /// The bytes of an identity.
    pub const BYTES: usize = 24;

    /// A new identity, from random numbers.
    pub fn new(random: [u64; 3]) -> Identity {
        let [epoch, first, second] = random;
        Identity {
            epoch: Epoch::from_seed(epoch),
            name_keys: (first, second),
        }
    }

    /// Its bytes, by which it is kept.
    pub fn to_bytes(&self) -> [u8; Identity::BYTES] {
        let mut bytes = [0; Identity::BYTES];
        bytes[..8].copy_from_slice(self.epoch.as_str().as_bytes());
        bytes[8..16].copy_from_slice(&self.name_keys.0.to_le_bytes());
        bytes[16..].copy_from_slice(&self.name_keys.1.to_le_bytes());
        bytes
    }

    /// The reverse of [`Identity::to_bytes`]; `None` where the epoch is none that a server has.
    pub fn from_bytes(bytes: &[u8; Identity::BYTES]) -> Option<Identity> {
        let number = |at: usize| {
            let mut number = [0; 8];
            number.copy_from_slice(&bytes[at..at + 8]);
            number
        };
        Some(Identity {
            epoch: Epoch::from_bytes(number(0))?,
            name_keys: (
                u64::from_le_bytes(number(8)),
                u64::from_le_bytes(number(16)),
            ),
        })
    }
}

/// How the log ended from which history is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogEnding {
    /// All its records are there: numbers go on.
    Clean,
    /// All acknowledged messages are there, but readers may have received more: numbers skip ahead,
    /// and a cursor within what is skipped is current.
    Crashed,
    /// Acknowledged messages may be missing: history goes on in this epoch, and every reader with a
    /// cursor of the one before gets a gap.
    TailLost(Epoch),
}

/// History under construction from the entries of a saved log.
pub struct History {
    identity: Identity,
    restore: Restore,
    unix_ms: u64,
    newest: Seq,
}

impl History {
    /// No history yet, for an engine with these settings and at most `max_connections`. `unix_ms`
    /// is the wall clock, in milliseconds since 1970.
    pub fn new(
        identity: Identity,
        config: &Config,
        max_connections: usize,
        unix_ms: u64,
    ) -> History {
        let Identity { epoch, name_keys } = identity;
        let mut hub = Hub::new(config, max_connections, epoch, name_keys);
        hub.set_now(START);
        History {
            identity,
            restore: Restore::new(hub),
            unix_ms,
            newest: Seq::ZERO,
        }
    }

    /// Adds what an entry says. Entries may come in any order, and more than once.
    ///
    /// # Errors
    ///
    /// See [`EntryError`]; nothing is added.
    pub fn replay(&mut self, entry: &[u8]) -> Result<(), EntryError> {
        let seq = match Entry::read(entry)? {
            Entry::Message(message) => {
                let seq = message.seq;
                self.replay_message(message);
                seq
            }
            Entry::Lose { channel, up_to } => {
                self.restore.lose(&channel, up_to, true);
                up_to
            }
            Entry::Forget { channel, up_to } => {
                self.restore.forget(&channel, up_to);
                up_to
            }
        };
        self.newest = self.newest.max(seq);
        Ok(())
    }

    /// Numbers go on after this one at least: it was saved beside the log.
    pub fn go_on_after(&mut self, newest: Seq) {
        self.newest = self.newest.max(newest);
    }

    /// The highest number of any entry so far.
    pub fn newest(&self) -> Seq {
        self.newest
    }

    fn replay_message(&mut self, message: Message<'_>) {
        let Message {
            seq,
            at_ms,
            subscribers,
            floor,
            draft,
        } = message;
        // A message of the future, by a clock that went back since, begins its age now.
        let age_ms = self.unix_ms.saturating_sub(at_ms);
        let at = Time(START.0.saturating_sub(age_ms));
        self.restore.message(Restored {
            seq,
            at,
            subscribers,
            floor,
            draft,
        });
    }

    /// The hub and the log that follow what was added.
    pub(crate) fn finish(self, how: LogEnding) -> (Hub, Log) {
        let (epoch, newest) = match how {
            LogEnding::Clean => (self.identity.epoch, self.newest),
            // fault: numbers-do-not-skip
            LogEnding::Crashed => {
                let skipped = self.newest.0.saturating_add(SKIPPED);
                (self.identity.epoch, Seq(skipped))
            }
            LogEnding::TailLost(epoch) => (epoch, self.newest),
        };
        let hub = self.restore.finish(epoch, newest);
        let log = Saved::new(epoch, newest, self.unix_ms);
        (hub, Log::Saved(Box::new(log)))
    }
}
