//! What was heard of the readers of other nodes, in a state that is handed over.
//!
//! Owns its form. What was told is not in it: the process that goes on begins a round of its own.
//! It asks the others for all only if the one before was about to, because nothing is missed by a
//! hand-over: the log is read on from the place up to which the state is what was read.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use super::Audience;
use crate::frozen::{Freezer, ThawError, Thawer};

const AUDIENCE: ThawError = ThawError::Damaged("what was heard of readers is not valid");

/// What there is one of.
#[derive(Serialize, Deserialize)]
struct Head {
    /// In which its readers were told, or are being told.
    round: u64,
    /// Whether the others are still to be asked, or it is not known that they were.
    asks: bool,
}

impl Audience {
    /// Writes its state.
    ///
    /// # Errors
    ///
    /// It could not be written.
    pub(in crate::log::cluster) fn freeze<W: Write>(
        &self,
        state: &mut Freezer<W>,
    ) -> io::Result<()> {
        state.put(&Head {
            round: self.round,
            asks: self.asks || self.has_asked,
        })?;
        state.put_all(self.heard.iter().map(|(&node, &nonce)| (node, nonce)))
    }

    /// Reads what [`Audience::freeze`] wrote. Its caller begins another round
    /// (`Node::begin_readers_round`), as what was told is not known.
    ///
    /// # Errors
    ///
    /// See [`ThawError`].
    pub(in crate::log::cluster) fn thaw<R: Read>(
        is_other_member: impl Fn(u64) -> bool,
        state: &mut Thawer<R>,
    ) -> Result<Audience, ThawError> {
        let Head { round, asks } = state.take()?;
        let mut audience = Audience {
            round,
            asks,
            ..Audience::default()
        };
        let mut values = state.take_all();
        while let Some((node, nonce)) = values.take::<(u64, u64)>()? {
            let is_after = audience
                .heard
                .last_key_value()
                .is_none_or(|(&last, _)| last < node);
            if !is_after || !is_other_member(node) {
                return Err(AUDIENCE);
            }
            audience.heard.insert(node, nonce);
        }
        Ok(audience)
    }
}
