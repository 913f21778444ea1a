//! The newest part of the history, in a state that is handed over: else the node could not tell it
//! again if the server forgets it.
//!
//! Owns its form.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use super::{Kept, Ring};
use crate::frozen::{Bytes, Freezer, ThawError, Thawer};
use crate::message::EntryId;

const RING: ThawError = ThawError::Damaged("the newest part of the history is not valid");

/// The frozen form of a [`Kept`].
#[derive(Serialize, Deserialize)]
enum FrozenKept<'k> {
    Entry {
        id: EntryId,
        #[serde(borrow)]
        bytes: Bytes<'k>,
    },
    Blank {
        first: EntryId,
        last: u64,
    },
}

impl Ring {
    /// Writes its state.
    pub(in crate::log::cluster) fn freeze<W: Write>(
        &self,
        state: &mut Freezer<W>,
    ) -> io::Result<()> {
        state.put_all(self.records.iter().map(|kept| match *kept {
            Kept::Entry { id, ref bytes } => FrozenKept::Entry {
                id,
                bytes: Bytes(bytes),
            },
            Kept::Blank { first, last } => FrozenKept::Blank { first, last },
        }))
    }

    /// Reads what [`Ring::freeze`] wrote, of a history that has come to `tip`. If there may be fewer
    /// bytes now, the oldest records go.
    pub(in crate::log::cluster) fn thaw<R: Read>(
        max_bytes: usize,
        tip: EntryId,
        state: &mut Thawer<R>,
    ) -> Result<Ring, ThawError> {
        let mut ring = Ring::new(max_bytes);
        let mut last = EntryId::ZERO;
        let mut values = state.take_all();
        while let Some(frozen) = values.take::<FrozenKept<'_>>()? {
            let kept = match frozen {
                FrozenKept::Entry { id, bytes } => Kept::Entry {
                    id,
                    bytes: bytes.0.into(),
                },
                FrozenKept::Blank { first, last } => Kept::Blank { first, last },
            };
            let record = kept.as_record();
            if record.first() <= last || record.last() < record.first() {
                return Err(RING);
            }
            last = record.last();
            ring.push_kept(kept);
        }
        match last == EntryId::ZERO || last == tip {
            true => Ok(ring),
            false => Err(RING),
        }
    }
}
