//! Floors, as a log that is saved needs them: what of its records still holds.
//!
//! A floor is the number of the newest message that a channel, or a bucket of names of forgotten
//! channels, has evicted. Owns the questions about them, and the list of losses of channels that
//! were forgotten. It decides nothing: the log writes its records.

use super::loss::Loss;
use super::{Channel, Hub};
use crate::message::{ChannelName, Seq};

/// How a channel stands to a number of one of its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The message is in history.
    Kept,
    /// A newer message replaced it, which is no loss.
    Replaced,
    /// It is lost.
    Lost {
        /// The floor of the channel, which is not below the number.
        floor: Seq,
        /// Whether the log has a record of this floor.
        is_saved: bool,
    },
    /// The channel is forgotten.
    Forgotten {
        /// The floor of its bucket of names.
        floor: Seq,
    },
}

impl Hub {
    /// How the channel of this name stands to a number of one of its messages.
    pub fn standing(&self, name: &str, seq: Seq) -> Standing {
        let Some(index) = self.find(name) else {
            let floor = self.forgotten_floor(name);
            return Standing::Forgotten { floor };
        };
        let channel = &self.channels[index as usize];
        let floor = channel.evicted_up_to();
        if seq <= floor {
            let is_saved = channel.is_floor_saved;
            return Standing::Lost { floor, is_saved };
        }
        match channel.keeps(seq) {
            true => Standing::Kept,
            false => Standing::Replaced,
        }
    }

    /// The floor of the bucket of a name.
    pub fn forgotten_floor(&self, name: &str) -> Seq {
        self.names.evicted_up_to(name)
    }

    /// Records that the log has a record of the floor that a channel has now.
    pub fn set_floor_saved(&mut self, name: &str) {
        if let Some(index) = self.find(name) {
            self.channels[index as usize].is_floor_saved = true;
        }
    }

    /// Takes the losses of channels that were forgotten since the last call. Each is to get its
    /// record, by which none of its messages comes back.
    pub fn take_unsaved_losses(&mut self) -> Vec<Loss> {
        match &mut self.unsaved_losses {
            Some(losses) => std::mem::take(losses),
            None => Vec::new(),
        }
    }

    /// Whether [`Hub::take_unsaved_losses`] has something to take.
    pub fn has_unsaved_losses(&self) -> bool {
        let losses = self.unsaved_losses.as_ref();
        losses.is_some_and(|losses| !losses.is_empty())
    }

    /// Whether it keeps the losses of forgotten channels, for a log that is saved.
    pub fn keeps_losses(&self) -> bool {
        self.unsaved_losses.is_some()
    }

    /// Keeps no more losses of forgotten channels: nothing is saved any longer.
    pub fn stop_saving(&mut self) {
        self.unsaved_losses = None;
    }

    /// Keeps the loss of a channel that is about to be forgotten, if the log wants it.
    pub(super) fn note_forgotten(&mut self, channel: &Channel) {
        let Some(losses) = &mut self.unsaved_losses else {
            return;
        };
        let up_to = channel.evicted_up_to();
        // Where the floors are equal, it is inherited, or was noted when it was forgotten before.
        // fault: forgotten-is-not-recorded
        if up_to != Seq::ZERO && up_to != self.names.evicted_up_to(channel.name()) {
            let channel = channel.name().to_owned().into_bytes();
            let channel = ChannelName::parse(channel).expect("a channel has a valid name");
            losses.push(Loss { channel, up_to });
        }
    }
}
