//! The newest ids of all buckets, in a state that is handed over.
//!
//! Owns their form.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use super::Floors;
use crate::frozen::{Freezer, ThawError, Thawer};
use crate::log::cluster::command::Salt;
use crate::message::EntryId;

const FLOORS: ThawError = ThawError::Damaged("the newest ids of buckets are not valid");

/// What there is one of.
#[derive(Serialize, Deserialize)]
struct Head {
    salt: (u64, u64),
    unknown_to: Option<EntryId>,
}

impl Floors {
    /// Writes its state. A node that has read the log knows the salt.
    pub(in crate::log::cluster) fn freeze<W: Write>(
        &self,
        state: &mut Freezer<W>,
    ) -> io::Result<()> {
        let Some(Salt(first, second)) = self.salt else {
            return Err(io::Error::other("the salt of the log is not known"));
        };
        state.put(&Head {
            salt: (first, second),
            unknown_to: self.unknown_to,
        })?;
        state.put_all(&self.newest)
    }

    /// Reads what [`Floors::freeze`] wrote, of a history that has come to `tip`.
    pub(in crate::log::cluster) fn thaw<R: Read>(
        tip: EntryId,
        state: &mut Thawer<R>,
    ) -> Result<Floors, ThawError> {
        let head: Head = state.take()?;
        let mut floors = Floors::new();
        floors.salt = Some(Salt(head.salt.0, head.salt.1));
        floors.unknown_to = head.unknown_to;
        let mut newest = floors.newest.iter_mut();
        let mut values = state.take_all();
        while let Some(id) = values.take::<EntryId>()? {
            *newest.next().filter(|_| id <= tip).ok_or(FLOORS)? = id;
        }
        match newest.next() {
            None => Ok(floors),
            Some(_) => Err(FLOORS),
        }
    }
}
