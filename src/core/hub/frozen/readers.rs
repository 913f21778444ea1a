//! The frozen form of readers, and how they get back to their channels.

use serde::{Deserialize, Serialize};

use super::super::{Hub, Reader};
use crate::frozen::ThawError;
use crate::message::Seq;

/// The frozen form of a [`Reader`]. Which channels it follows is in the state of the hub, by its
/// follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrozenReader {
    cursor: Seq,
    class: u8,
    pace_ms: u16,
}

impl Reader {
    /// Its frozen form.
    pub fn freeze(&self) -> FrozenReader {
        todo!()
    }
}

impl FrozenReader {
    /// The reader, which follows no channel and is in no list before [`Hub::adopt_readers`].
    ///
    /// # Errors
    ///
    /// Its class is none.
    pub fn thaw(self) -> Result<Reader, ThawError> {
        todo!()
    }
}

impl Hub {
    /// Gives readers back their channels, and their places in lists. To be called once, after
    /// [`Hub::thaw`] and before anything else, with all readers, each with its follower; those that
    /// follow nothing may be among them.
    ///
    /// # Errors
    ///
    /// [`ThawError::Damaged`] where readers and the state of the hub do not belong together.
    pub fn adopt_readers<'r>(
        &mut self,
        readers: impl IntoIterator<Item = (u32, &'r mut Reader)>,
    ) -> Result<(), ThawError> {
        let _ = readers.into_iter();
        todo!()
    }
}
