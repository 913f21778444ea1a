//! The frozen form of a log.
//!
//! Owns its encoding; that of a cluster's is in `clustered`. A log that is saved has in it the records
//! that the caller has not taken yet. Records that are being written are not in it: the caller has
//! them, and saves them or hands them over. Until [`Saved::saved`] is called, the log knows that they
//! are not saved.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use super::cluster::Settings;
use super::saved::InFlight;
use super::{Clustered, Health, Log, Mark, Memory, Refused, Saved};
use crate::base::record;
use crate::frozen::{self, Bytes, Freezer, ThawError, Thawer};
use crate::hub::Hub;
use crate::message::{Epoch, Seq};

const LOG: ThawError = ThawError::Damaged("the log is not valid");
const RECORDS: ThawError = ThawError::Damaged("the records of the log are none");

/// Bytes of records that are written as one value.
const PIECE_BYTES: usize = 64 << 10;

/// More bytes of records than can be in flight.
const MAX_IN_FLIGHT_BYTES: usize = 1 << 40;

/// The values of which there is one.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Head {
    epoch: Epoch,
    newest: Seq,
    /// Of a log that is saved.
    saved: Option<FrozenSaved>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct FrozenSaved {
    unix_ms: u64,
    #[serde(deserialize_with = "frozen::count")]
    appended: u64,
    saved: u64,
    saved_seq: Seq,
    fails: bool,
    #[serde(deserialize_with = "frozen::count")]
    refused_busy: u64,
    #[serde(deserialize_with = "frozen::count")]
    refused_failing: u64,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct FrozenInFlight {
    up_to: u64,
    newest: Seq,
    #[serde(deserialize_with = "frozen::count")]
    bytes: u64,
}

impl Log {
    /// Writes its state.
    ///
    /// # Errors
    ///
    /// It could not be written. [`io::ErrorKind::Unsupported`] where it is that of a cluster, and the
    /// format has none.
    pub fn freeze<W: Write>(&self, state: &mut Freezer<W>) -> io::Result<()> {
        let saved = match self {
            Log::Memory(_) => None,
            Log::Saved(saved) => Some(saved.freeze_head()),
            Log::Clustered(_) if state.has_nodes() => None,
            Log::Clustered(_) => return Err(no_nodes()),
        };
        state.put(&Head {
            epoch: self.epoch(),
            newest: self.newest(),
            saved,
        })?;
        match self {
            Log::Memory(_) => Ok(()),
            Log::Saved(saved) => saved.freeze_records(state),
            Log::Clustered(clustered) => clustered.freeze(state),
        }
    }

    /// Reads the state of the log that a hub, which is thawed already, follows. `node` are the
    /// settings of a node of a cluster, if the server is one.
    ///
    /// # Errors
    ///
    /// See [`ThawError`]. [`ThawError::Damaged`] where it is not the log of this hub, too.
    pub fn thaw<R: Read>(
        hub: &Hub,
        node: Option<Settings>,
        state: &mut Thawer<R>,
    ) -> Result<Log, ThawError> {
        let head: Head = state.take()?;
        let is_followed = (head.epoch, head.newest) == (hub.epoch(), hub.head())
            && head.saved.is_some() == hub.keeps_losses()
            && node.is_some() == hub.is_shared();
        if !is_followed {
            return Err(LOG);
        }
        match (head.saved, node) {
            (None, None) => Ok(Log::Memory(Memory::continuing(head.epoch, head.newest))),
            (Some(saved), None) => {
                let saved = Saved::thaw(&head, saved, state)?;
                Ok(Log::Saved(Box::new(saved)))
            }
            (None, Some(settings)) => {
                let clustered = Clustered::thaw(settings, hub, state)?;
                let is_followed = clustered.epoch() == head.epoch;
                is_followed
                    .then(|| Log::Clustered(Box::new(clustered)))
                    .ok_or(LOG)
            }
            (Some(_), Some(_)) => Err(LOG),
        }
    }
}

/// A format from before there were nodes cannot say what one has.
fn no_nodes() -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        "the format has no place for the node of a cluster",
    )
}

impl Saved {
    fn freeze_head(&self) -> FrozenSaved {
        FrozenSaved {
            unix_ms: self.unix_ms,
            appended: self.appended.0,
            saved: self.saved.0,
            saved_seq: self.saved_seq,
            fails: self.health == Health::Fails,
            refused_busy: self.refused.busy,
            refused_failing: self.refused.failing,
        }
    }

    fn freeze_records<W: Write>(&self, state: &mut Freezer<W>) -> io::Result<()> {
        state.put_all(self.in_flight.iter().map(|one| FrozenInFlight {
            up_to: one.up_to.0,
            newest: one.newest,
            bytes: one.bytes as u64,
        }))?;
        state.put_all(self.records.chunks(PIECE_BYTES).map(Bytes))
    }

    fn thaw<R: Read>(
        head: &Head,
        frozen: FrozenSaved,
        state: &mut Thawer<R>,
    ) -> Result<Saved, ThawError> {
        let mut log = Saved::new(head.epoch, head.newest, frozen.unix_ms);
        log.appended = Mark(frozen.appended);
        log.saved = Mark(frozen.saved);
        log.saved_seq = frozen.saved_seq;
        log.health = match frozen.fails {
            true => Health::Fails,
            false => Health::Works,
        };
        log.refused = Refused {
            busy: frozen.refused_busy,
            failing: frozen.refused_failing,
        };
        log.thaw_in_flight(state)?;
        log.thaw_records(state)?;
        Ok(log)
    }

    fn thaw_in_flight<R: Read>(&mut self, state: &mut Thawer<R>) -> Result<(), ThawError> {
        let (mut up_to, mut newest) = (self.saved, self.saved_seq);
        let mut values = state.take_all();
        while let Some(frozen) = values.take::<FrozenInFlight>()? {
            let one = InFlight {
                up_to: Mark(frozen.up_to),
                newest: frozen.newest,
                bytes: usize::try_from(frozen.bytes).map_err(|_| LOG)?,
            };
            let is_next = one.up_to > up_to && one.newest >= newest && one.bytes > 0;
            self.unsaved_bytes = self.unsaved_bytes.saturating_add(one.bytes);
            if !is_next || self.unsaved_bytes > MAX_IN_FLIGHT_BYTES {
                return Err(LOG);
            }
            (up_to, newest) = (one.up_to, one.newest);
            self.in_flight.push_back(one);
        }
        match newest <= self.newest && up_to <= self.appended {
            true => Ok(()),
            false => Err(LOG),
        }
    }

    /// Reads the records, which must be whole, and as many as were appended after those in flight.
    fn thaw_records<R: Read>(&mut self, state: &mut Thawer<R>) -> Result<(), ThawError> {
        let mut values = state.take_all();
        while let Some(Bytes(piece)) = values.take()? {
            self.records.extend_from_slice(piece);
        }
        let taken = self.in_flight.back().map_or(self.saved, |last| last.up_to);
        let (mut counted, mut rest) = (taken.0, &self.records[..]);
        while let record::Read::Record { rest: after, .. } = record::read(rest) {
            counted += 1;
            rest = after;
        }
        self.unsaved_bytes += self.records.len();
        match rest.is_empty() && counted == self.appended.0 {
            true => Ok(()),
            false => Err(RECORDS),
        }
    }
}
