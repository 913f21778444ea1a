//! The frozen form of a log.

use std::io::{self, Read, Write};

use super::Log;
use crate::frozen::{Freezer, ThawError, Thawer};
use crate::hub::Hub;

impl Log {
    /// Writes its state.
    ///
    /// # Errors
    ///
    /// It could not be written.
    pub fn freeze<W: Write>(&self, state: &mut Freezer<W>) -> io::Result<()> {
        let _ = state;
        todo!()
    }

    /// Reads the state of the log that a hub, which is thawed already, follows.
    ///
    /// # Errors
    ///
    /// See [`ThawError`].
    pub fn thaw<R: Read>(hub: &Hub, state: &mut Thawer<R>) -> Result<Log, ThawError> {
        let _ = (hub, state);
        todo!()
    }
}
