//! How much of the log is to be kept, in a state that is handed over.
//!
//! Owns its form. The bounds are settings, and not in it.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use super::{Block, Window};
use crate::base::time::Time;
use crate::frozen::{Count, Freezer, ThawError, Thawer};
use crate::message::EntryId;

const WINDOW: ThawError = ThawError::Damaged("the part of the log that is kept is not valid");

/// The most bytes of a log.
const MAX_BYTES: u64 = 1 << 62;

/// The frozen form of a [`Block`].
#[derive(Serialize, Deserialize)]
struct FrozenBlock {
    first: EntryId,
    bytes: Count,
    newest: Time,
    oldest: Time,
}

impl Window {
    /// Writes its state.
    pub(in crate::log::cluster) fn freeze<W: Write>(
        &self,
        state: &mut Freezer<W>,
    ) -> io::Result<()> {
        state.put_all(self.blocks.iter().map(|block| FrozenBlock {
            first: block.first,
            bytes: Count(block.bytes),
            newest: block.newest,
            oldest: block.oldest,
        }))
    }

    /// Reads what [`Window::freeze`] wrote.
    pub(in crate::log::cluster) fn thaw<R: Read>(
        max_bytes: u64,
        age_ms: u64,
        state: &mut Thawer<R>,
    ) -> Result<Window, ThawError> {
        let mut window = Window::new(max_bytes, age_ms);
        let mut values = state.take_all();
        while let Some(frozen) = values.take::<FrozenBlock>()? {
            let is_next = window
                .blocks
                .back()
                .is_none_or(|last| last.first < frozen.first);
            window.bytes += frozen.bytes.0;
            if !is_next || window.bytes > MAX_BYTES {
                return Err(WINDOW);
            }
            window.blocks.push_back(Block {
                first: frozen.first,
                bytes: frozen.bytes.0,
                newest: frozen.newest,
                oldest: frozen.oldest,
            });
        }
        Ok(window)
    }
}
