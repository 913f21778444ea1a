//! The frozen form of a hub.

mod readers;

pub use readers::FrozenReader;

use std::io::{self, Read, Write};

use super::Hub;
use crate::config::Config;
use crate::frozen::{Freezer, ThawError, Thawer};

impl Hub {
    /// Writes its state. Frames are left out, as they can be made again; readers are written by who
    /// keeps them ([`Reader::freeze`](super::Reader::freeze)).
    ///
    /// # Errors
    ///
    /// It could not be written.
    pub fn freeze<W: Write>(&self, state: &mut Freezer<W>) -> io::Result<()> {
        let _ = state;
        todo!()
    }

    /// Reads the state of a hub, for which a configuration holds that may be another one: then it
    /// continues as after [`Hub::reconfigure`]. Nobody follows its channels before
    /// [`Hub::adopt_readers`] was called.
    ///
    /// # Errors
    ///
    /// See [`ThawError`].
    pub fn thaw<R: Read>(
        config: &Config,
        max_readers: usize,
        state: &mut Thawer<R>,
    ) -> Result<Hub, ThawError> {
        let _ = (config, max_readers, state);
        todo!()
    }
}
