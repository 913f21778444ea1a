//! The entries that a node writes for the cluster, beside those with messages.
//!
//! Owns which of them are due, and which were sent and not read back. Their content is decided
//! elsewhere.

use super::lane::Note;
use super::replica::Loss;
use crate::base::time::Time;
use crate::message::EntryId;

/// Milliseconds between checkpoints.
const CHECKPOINT_MS: u64 = 60_000;

/// How far a node has told again.
#[derive(Debug)]
pub(super) struct Telling {
    pub(super) after: EntryId,
    pub(super) told_to: EntryId,
    pub(super) has_settled: bool,
}

/// The node's own entries: which are due, and which are on their way.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) has_answered: bool,
    pub(super) telling: Option<Telling>,
    pub(super) loss: Option<Loss>,
    /// The nonce with which the loss was sent.
    pub(super) loss_sent: Option<u64>,
    pub(super) checkpoint_due: Time,
    pub(super) has_checkpoint: bool,
    pub(super) bytes_since_checkpoint: u64,
    pub(super) says_goodbye: bool,
}

impl Notes {
    /// Records that the connection is broken: entries that were sent may not be in the log.
    pub(super) fn broken(&mut self) {
        self.census_began();
        self.loss_sent = None;
        self.has_checkpoint = false;
        self.stays();
    }

    /// Records that the server has refused an entry.
    pub(super) fn failed(&mut self, note: Note) {
        match note {
            Note::Answer => self.has_answered = false,
            Note::Retold | Note::Settled => self.telling = None,
            Note::Loss => self.loss_sent = None,
            Note::Beat => self.says_goodbye = false,
            Note::Checkpoint => self.has_checkpoint = false,
            // They are told anew, with all that is to be told.
            Note::Readers | Note::Blocks => {}
        }
    }

    pub(super) fn census_began(&mut self) {
        self.has_answered = false;
        self.telling = None;
    }

    /// The last beat does not count.
    pub(super) fn stays(&mut self) {
        self.says_goodbye = false;
    }

    /// Makes an entry due that tells the others that messages may be lost.
    pub(super) fn lose(&mut self, loss: Loss) {
        self.loss = Some(match (self.loss.take(), loss) {
            (None, loss) => loss,
            (Some(_), _) => Loss::All,
        });
        self.loss_sent = None;
    }

    /// An entry of the node itself was read.
    pub(super) fn own_read(&mut self, nonce: u64) {
        if self.loss_sent == Some(nonce) {
            self.loss = None;
            self.loss_sent = None;
        }
    }

    /// An entry was read.
    pub(super) fn read(&mut self, bytes: u64) {
        self.bytes_since_checkpoint += bytes;
    }

    pub(super) fn checkpoint_read(&mut self, now: Time) {
        self.checkpoint_due = now.after_ms(CHECKPOINT_MS);
        self.bytes_since_checkpoint = 0;
        self.has_checkpoint = false;
    }
}
