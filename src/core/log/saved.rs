//! A log that is saved: it numbers messages like one in memory, and keeps its records until they
//! are saved.
//!
//! Owns the records that are not saved yet, and the decision which of the saved ones still hold. It
//! saves nothing: the caller takes the records, and says up to where they are written.
//!
//! Every number has a record. If the policy of a message has `persist = false`, its record has the
//! number alone, so that readers get a gap after a restart. Losses have records where nothing else
//! says that they are lost: a deletion at once, a forgotten channel when it is forgotten, and an
//! eviction when the first record of an evicted message goes ([`Saved::carry`]).
//!
//! Invariants:
//! - *Appended before answered.* A publisher is answered when the log is saved up to the [`Mark`]
//!   that the record of its message has.
//! - *Nothing that holds goes.* The records that [`Saved::carry`] appends say all that holds of
//!   those that it was given.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::entry::{self, Entry, EntryError};
use crate::base::record;
use crate::hub::{Hub, Refusal, Room, Standing};
use crate::message::{Draft, Epoch, Seq};

/// Bytes of records that may wait to be saved. Beyond this, publishes are refused.
pub(super) const MAX_UNSAVED_BYTES: usize = 16 << 20;

/// The capacity with which a new buffer of records begins, unless the last one needed less.
const BUFFER_BYTES: usize = 64 << 10;

/// A place in the log: how many records were appended up to it; in a cluster, a ticket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mark(pub(super) u64);

/// Records to be saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsaved {
    /// The records, one after another.
    pub records: Vec<u8>,
    /// Their end.
    pub up_to: Mark,
}

/// Whether the log can be saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It can.
    Works,
    /// It cannot, for now: publishes are refused.
    Fails,
}

/// Records that were taken and are not saved yet.
pub(super) struct InFlight {
    pub(super) up_to: Mark,
    /// The newest number that the log had given.
    pub(super) newest: Seq,
    pub(super) bytes: usize,
}

/// A log that is saved.
pub struct Saved {
    pub(super) epoch: Epoch,
    pub(super) newest: Seq,
    /// The wall clock, in milliseconds since 1970.
    pub(super) unix_ms: u64,
    /// Records that were not taken yet.
    pub(super) records: Vec<u8>,
    /// The end of `records`.
    pub(super) appended: Mark,
    pub(super) in_flight: VecDeque<InFlight>,
    /// The bytes of `records` and of what is in flight.
    pub(super) unsaved_bytes: usize,
    pub(super) saved: Mark,
    /// Messages up to this number are saved.
    pub(super) saved_seq: Seq,
    pub(super) health: Health,
    pub(super) refused: Refused,
}

/// Publishes that were refused since the start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Refused {
    /// Because too much waited to be saved.
    pub busy: u64,
    /// Because the log could not be saved.
    pub failing: u64,
}

impl Saved {
    /// A log of an epoch whose newest number is `newest`, and of which everything is saved.
    pub(super) fn new(epoch: Epoch, newest: Seq, unix_ms: u64) -> Saved {
        Saved {
            epoch,
            newest,
            unix_ms,
            records: Vec::new(),
            appended: Mark::default(),
            in_flight: VecDeque::new(),
            unsaved_bytes: 0,
            saved: Mark::default(),
            saved_seq: newest,
            health: Health::Works,
            refused: Refused::default(),
        }
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(super) fn newest(&self) -> Seq {
        self.newest
    }

    /// Sets the wall clock, in milliseconds since 1970.
    pub fn set_date(&mut self, unix_ms: u64) {
        self.unix_ms = unix_ms;
    }

    /// Whether it can be saved.
    pub fn health(&self) -> Health {
        self.health
    }

    /// Sets whether it can be saved.
    pub fn set_health(&mut self, health: Health) {
        self.health = health;
    }

    /// Bytes of records that are not saved.
    pub fn unsaved_bytes(&self) -> usize {
        self.unsaved_bytes
    }

    /// Whether everything up to a place is saved.
    pub fn is_saved(&self, mark: Mark) -> bool {
        mark <= self.saved
    }

    /// Refuses a publish as long as the log cannot be saved, or has too much to save.
    pub(super) fn admit(&mut self) -> Result<(), Refusal> {
        if self.health == Health::Fails {
            self.refused.failing += 1;
            return Err(Refusal::LogFails);
        }
        if self.unsaved_bytes > MAX_UNSAVED_BYTES {
            return Err(self.refuse_busy());
        }
        Ok(())
    }

    /// Refuses a publish because too much waits for the log.
    pub(crate) fn refuse_busy(&mut self) -> Refusal {
        self.refused.busy += 1;
        Refusal::LogBusy
    }

    /// Does not count the refusal that came last.
    pub(super) fn take_back(&mut self, refusal: &Refusal) {
        match refusal {
            Refusal::LogBusy => self.refused.busy -= 1,
            Refusal::LogFails => self.refused.failing -= 1,
            _ => {}
        }
    }

    /// Publishes that were refused since the start.
    pub fn refused(&self) -> Refused {
        self.refused
    }

    /// Numbers a message, or the end of a channel, and appends its record.
    #[inline(never)]
    pub(super) fn number(&mut self, hub: &Hub, room: &Room, draft: &Draft<'_>) -> Seq {
        self.newest = self.newest.next();
        let seq = self.newest;
        if hub.persists(room.channel()) {
            let channel = hub.channel(room.channel());
            let (subscribers, floor) = (channel.reader_counts().total(), channel.evicted_up_to());
            let unix_ms = self.unix_ms;
            self.append(|out| {
                entry::write_message(out, seq, unix_ms, subscribers, floor, draft);
            });
        } else {
            self.append(|out| entry::write_lose(out, &draft.channel, seq));
        }
        seq
    }

    /// Appends that the present losses of a channel are for good.
    pub(super) fn lose(&mut self, hub: &mut Hub, channel: u32) {
        let channel = hub.channel(channel);
        let floor = channel.evicted_up_to();
        if floor == Seq::ZERO {
            return;
        }
        let name = channel.name().to_owned();
        self.append(|out| entry::write_lose(out, &name, floor));
        hub.set_floor_saved(&name);
    }

    /// The place up to which the log has to be saved before a message is; `None` if it is.
    pub(super) fn unsaved(&self, seq: Seq) -> Option<Mark> {
        // The place of an earlier message is not known any more; all that is appended is not before
        // it.
        // fault: answered-before-saved
        (seq > self.saved_seq).then_some(self.appended)
    }

    pub(super) fn unsaved_end(&self) -> Option<Mark> {
        (self.appended > self.saved).then_some(self.appended)
    }

    /// Takes the records that were appended since the last call, those of channels that were
    /// forgotten meanwhile among them; `None` if there are none.
    pub fn take(&mut self, hub: &mut Hub) -> Option<Unsaved> {
        if hub.has_unsaved_losses() {
            for loss in hub.take_unsaved_losses() {
                self.append(|out| entry::write_forget(out, &loss.channel, loss.up_to));
            }
        }
        if self.records.is_empty() {
            return None;
        }
        let capacity = self.records.len().min(BUFFER_BYTES);
        let records = std::mem::replace(&mut self.records, Vec::with_capacity(capacity));
        self.in_flight.push_back(InFlight {
            up_to: self.appended,
            newest: self.newest,
            bytes: records.len(),
        });
        Some(Unsaved {
            records,
            up_to: self.appended,
        })
    }

    /// Everything up to a place is saved.
    pub fn saved(&mut self, up_to: Mark) {
        while let Some(saved) = self.in_flight.front() {
            if saved.up_to > up_to {
                break;
            }
            self.saved = saved.up_to;
            self.saved_seq = saved.newest;
            self.unsaved_bytes -= saved.bytes;
            self.in_flight.pop_front();
        }
    }

    /// Appends again what holds of saved records, which are about to be removed: whole ones, oldest
    /// first. When the log is saved up to the returned place, they may be.
    ///
    /// # Errors
    ///
    /// An entry is not valid. The records must stay.
    pub fn carry(&mut self, hub: &mut Hub, mut records: &[u8]) -> Result<Mark, EntryError> {
        while let record::Read::Record { entry, rest } = record::read(records) {
            let bytes = &records[..records.len() - rest.len()];
            self.carry_record(hub, Entry::read(entry)?, bytes);
            records = rest;
        }
        match records.is_empty() {
            true => Ok(self.appended),
            false => Err(EntryError::Short),
        }
    }

    fn carry_record(&mut self, hub: &mut Hub, entry: Entry<'_>, bytes: &[u8]) {
        let (channel, seq) = match &entry {
            Entry::Message(message) => (&message.draft.channel, message.seq),
            Entry::Lose { channel, up_to } => (channel, *up_to),
            Entry::Forget { channel, up_to } => {
                // fault: floor-of-the-forgotten-goes
                if *up_to == hub.forgotten_floor(channel) {
                    self.append_record(bytes);
                }
                return;
            }
        };
        let is_loss = matches!(entry, Entry::Lose { .. });
        match hub.standing(channel, seq) {
            // The loss of a message that is in memory only.
            // fault: kept-message-goes
            Standing::Kept => self.append_record(bytes),
            Standing::Replaced => {}
            Standing::Lost { floor, .. } if is_loss && seq == floor => {
                self.append_record(bytes);
                hub.set_floor_saved(channel);
            }
            // Later records may be of messages that are lost, too, and must not come back without
            // it.
            Standing::Lost {
                floor,
                is_saved: false,
            } => {
                // fault: floor-goes-with-its-messages
                self.append(|out| entry::write_lose(out, channel, floor));
                hub.set_floor_saved(channel);
            }
            Standing::Forgotten { floor } if is_loss && seq == floor => {
                self.append(|out| entry::write_forget(out, channel, floor));
            }
            Standing::Lost { .. } | Standing::Forgotten { .. } => {}
        }
    }

    fn append_record(&mut self, bytes: &[u8]) {
        self.records.extend_from_slice(bytes);
        self.note_appended(bytes.len());
    }

    fn append(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let bytes = record::append(&mut self.records, write);
        self.note_appended(bytes);
    }

    fn note_appended(&mut self, bytes: usize) {
        self.appended.0 += 1;
        self.unsaved_bytes += bytes;
    }
}

#[cfg(test)]
mod tests;
