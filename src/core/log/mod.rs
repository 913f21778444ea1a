//! The log: it numbers the messages, and the hub applies them in this order.
//!
//! Owns the kinds of log, and the only path of a message, or of the end of a channel, from a
//! publisher into the hub, for HTTP and producers alike; the encoding of its entries, and history
//! that is read back from it. Whether a publisher has the right to publish is decided before. It
//! has no socket, file, thread or clock.
//!
//! Invariants:
//! - *Refused before numbered.* An earlier publish with the same key, and room for the message, are
//!   looked at first. A message that has a number is applied: applying it cannot fail. A refused
//!   publish takes no number.
//! - *Dense.* Numbers of an epoch are 1, 2, 3, …, in the order in which the hub applies them, but
//!   for those that are skipped after a crash. The messages of a batch have consecutive numbers.
//!   The end of a channel has a number of its own, after that of the message with which it was
//!   published. Numbers of a [`Clustered`] log rise in that order too, but are places in the shared log
//!   (`message::place`): there are gaps between entries and terms, and only the messages of
//!   one entry have consecutive numbers.
//! - *The log is ahead of the hub, never behind.* [`Log::newest`] is the number given last;
//!   [`Hub::head`] is the number applied last. They are equal whenever no publish is under way:
//!   what is not saved yet is applied all the same. Readers and cursors are judged by the hub's.

pub mod cluster;
mod clustered;
pub mod entry;
mod frozen;
mod history;
mod memory;
mod saved;
mod survey;
#[cfg(test)]
mod tests;

pub use clustered::{Clustered, Done, First, Placed, Step};
pub use entry::EntryError;
pub use history::{History, Identity, LogEnding};
pub use memory::Memory;
pub use saved::{Health, Mark, Refused, Saved, Unsaved};

use crate::base::time::Time;
use crate::hub::{Hub, Published, Refusal, Room};
use crate::message::{ChannelName, Draft, DraftKind, Epoch, Seq};

/// A log, by its kind. It is an enum and not a trait object, so that a log in memory costs no
/// indirect call.
pub enum Log {
    /// In memory: a message is numbered, applied and answered at once.
    Memory(Memory),
    /// Saved: a message is numbered and applied at once, and answered when it is saved.
    Saved(Box<Saved>),
    /// Shared by the nodes of a cluster: a message is applied and answered when it was read back.
    /// It is published by [`Clustered::publish`], and not by [`Log::publish`].
    Clustered(Box<Clustered>),
}

impl Log {
    /// The epoch of the numbers that it gives.
    pub fn epoch(&self) -> Epoch {
        match self {
            Log::Memory(memory) => memory.epoch(),
            Log::Saved(saved) => saved.epoch(),
            Log::Clustered(clustered) => clustered.epoch(),
        }
    }

    /// The number of the newest message that it has numbered; of a cluster's log, up to which it is
    /// applied.
    pub fn newest(&self) -> Seq {
        match self {
            Log::Memory(memory) => memory.newest(),
            Log::Saved(saved) => saved.newest(),
            Log::Clustered(clustered) => clustered.applied(),
        }
    }

    /// Publishes one message to a hub that follows this log. A message with the key of a stored one
    /// is not published again: the result of the first is returned. Neither is the end of a channel
    /// that has ended already.
    ///
    /// # Errors
    ///
    /// See [`Refusal`]; the message is handed back.
    pub fn publish<'n>(
        &mut self,
        hub: &mut Hub,
        draft: Draft<'n>,
    ) -> Result<Published, (Refusal, Draft<'n>)> {
        if let Some(first) = hub.published_before(&draft) {
            return match draft.kind {
                DraftKind::Message | DraftKind::End => Ok(first),
                DraftKind::Last => self.complete(hub, draft, first),
            };
        }
        if draft.kind != DraftKind::Message {
            return self.publish_ending(hub, draft);
        }
        let room = match hub.make_room(&draft) {
            Ok(room) => room,
            Err(refusal) => return Err((refusal, draft)),
        };
        Ok(match self {
            Log::Memory(memory) => hub.apply(hub.now(), memory.next(), room, draft),
            Log::Saved(_) | Log::Clustered(_) => return self.publish_with_room(hub, room, draft),
        })
    }

    /// Publishes the end that belongs to an earlier message, unless something was published after
    /// that: a crash may have come between the two.
    #[cold]
    fn complete<'n>(
        &mut self,
        hub: &mut Hub,
        draft: Draft<'n>,
        first: Published,
    ) -> Result<Published, (Refusal, Draft<'n>)> {
        let channel = hub.find(&draft.channel).map(|index| hub.channel(index));
        // fault: retry-ends-nothing
        if channel.is_some_and(|channel| channel.newest_item() == first.id.seq) {
            let end = Draft::end(draft.channel.clone());
            if let Err((refusal, _)) = self.publish_ending(hub, end) {
                return Err((refusal, draft));
            }
        }
        Ok(first)
    }

    /// Publishes the end of a channel, and the message before it if there is one.
    #[cold]
    fn publish_ending<'n>(
        &mut self,
        hub: &mut Hub,
        draft: Draft<'n>,
    ) -> Result<Published, (Refusal, Draft<'n>)> {
        if let Some(end) = hub.ended_before(&draft) {
            return Ok(end);
        }
        match hub.make_room_to_end(&draft) {
            Ok(room) => self.publish_with_room(hub, room, draft),
            Err(refusal) => Err((refusal, draft)),
        }
    }

    /// Publishes what there is room for, unless the log takes nothing.
    #[inline(never)]
    fn publish_with_room<'n>(
        &mut self,
        hub: &mut Hub,
        room: Room,
        draft: Draft<'n>,
    ) -> Result<Published, (Refusal, Draft<'n>)> {
        match self.admit() {
            Ok(()) => Ok(self.apply(hub, room, draft)),
            Err(refusal) => {
                hub.give_back(room);
                Err((refusal, draft))
            }
        }
    }

    /// Numbers what is published, for which there is room, and applies it.
    #[inline]
    fn apply(&mut self, hub: &mut Hub, room: Room, draft: Draft<'_>) -> Published {
        match draft.kind {
            DraftKind::Message => {
                let seq = self.number(hub, &room, &draft);
                hub.apply(hub.now(), seq, room, draft)
            }
            DraftKind::Last => {
                let (message, end) = room.split(draft);
                let published = self.apply(hub, message.0, message.1);
                self.apply_end(hub, end.0, end.1);
                published
            }
            DraftKind::End => self.apply_end(hub, room, draft),
        }
    }

    /// Numbers the end of a channel and applies it, unless the channel has ended already.
    #[cold]
    fn apply_end(&mut self, hub: &mut Hub, room: Room, end: Draft<'_>) -> Published {
        if let Some(published) = hub.end_of(room.channel()) {
            return published;
        }
        let seq = self.number(hub, &room, &end);
        hub.apply_end(hub.now(), seq, room, end)
    }

    /// Gives the next message or end its number.
    #[inline]
    fn number(&mut self, hub: &Hub, room: &Room, draft: &Draft<'_>) -> Seq {
        match self {
            Log::Memory(memory) => memory.next(),
            Log::Saved(saved) => saved.number(hub, room, draft),
            Log::Clustered(_) => unreachable!("the log of a cluster gives numbers itself"),
        }
    }

    /// Publishes several messages in order, all or none, and returns for each the name of its
    /// channel and its result. Keys are not looked at: lines of a batch have none.
    ///
    /// # Errors
    ///
    /// See [`Refusal`]; no message is published then.
    pub fn publish_all<'n>(
        &mut self,
        hub: &mut Hub,
        drafts: Vec<Draft<'n>>,
    ) -> Result<Vec<(ChannelName<'n>, Published)>, Refusal> {
        self.admit()?;
        let rooms = hub.make_room_for_all(&drafts)?;
        let published = drafts.into_iter().zip(rooms).map(|(draft, room)| {
            let channel = draft.channel.clone();
            let published = self.apply(hub, room, draft);
            (channel, published)
        });
        Ok(published.collect())
    }

    /// Deletes the history of a channel, for good: no restart brings it back.
    ///
    /// # Errors
    ///
    /// [`Refusal::LogBusy`] and [`Refusal::LogFails`]; nothing is deleted then.
    pub fn delete(&mut self, hub: &mut Hub, channel: u32) -> Result<(), Refusal> {
        self.admit()?;
        hub.delete_history(channel);
        if let Log::Saved(saved) = self {
            saved.lose(hub, channel);
        }
        Ok(())
    }

    /// Whether the log takes anything now.
    #[inline]
    fn admit(&mut self) -> Result<(), Refusal> {
        match self {
            Log::Memory(_) => Ok(()),
            Log::Saved(saved) => saved.admit(),
            // What comes here was not handed to the cluster.
            Log::Clustered(_) => Err(Refusal::LogHalted),
        }
    }

    /// Does not count a refusal of its own: what was refused is kept, and published later.
    #[cold]
    pub(crate) fn take_back(&mut self, refusal: &Refusal) {
        match self {
            Log::Memory(_) => {}
            Log::Saved(saved) => saved.take_back(refusal),
            Log::Clustered(clustered) => clustered.take_back(refusal),
        }
    }

    /// The place up to which the log has to be saved before the publisher of a message is answered;
    /// `None` if it is.
    #[inline]
    pub fn unsaved(&self, seq: Seq) -> Option<Mark> {
        match self {
            Log::Memory(_) | Log::Clustered(_) => None,
            Log::Saved(saved) => saved.unsaved(seq),
        }
    }

    /// The same of a publish that may have ended its channel: then its end counts.
    #[inline]
    pub fn unsaved_publish(&self, published: &Published, ends: bool) -> Option<Mark> {
        match ends {
            false => self.unsaved(published.id.seq),
            true => self.unsaved_end(),
        }
    }

    /// The place up to which the log has to be saved before everything that it has is; `None` if it
    /// is.
    pub fn unsaved_end(&self) -> Option<Mark> {
        match self {
            Log::Memory(_) | Log::Clustered(_) => None,
            Log::Saved(saved) => saved.unsaved_end(),
        }
    }

    /// The log as one that is saved, if it is.
    pub fn as_saved(&mut self) -> Option<&mut Saved> {
        match self {
            Log::Memory(_) | Log::Clustered(_) => None,
            Log::Saved(saved) => Some(saved),
        }
    }

    /// The log as one that a cluster shares, if it is.
    #[inline]
    pub fn as_clustered(&mut self) -> Option<&mut Clustered> {
        match self {
            Log::Clustered(clustered) => Some(clustered),
            Log::Memory(_) | Log::Saved(_) => None,
        }
    }

    /// The reason for which the server should be sent no clients; `None` if there is none.
    pub fn unready(&self) -> Option<Refusal> {
        match self {
            Log::Memory(_) => None,
            Log::Saved(saved) => (saved.health() == Health::Fails).then_some(Refusal::LogFails),
            Log::Clustered(clustered) => clustered.unready(),
        }
    }

    /// Whether it has something to apply, beyond the budget of a tick.
    #[inline]
    pub fn has_work(&self) -> bool {
        match self {
            Log::Memory(_) | Log::Saved(_) => false,
            Log::Clustered(clustered) => clustered.has_work(),
        }
    }

    /// When its time is to be set at the latest, and [`Clustered::next_step`] called.
    #[inline]
    pub fn next_due(&self) -> Option<Time> {
        match self {
            Log::Memory(_) | Log::Saved(_) => None,
            Log::Clustered(clustered) => clustered.next_due(),
        }
    }

    /// Publishes that it has refused since the start.
    pub fn refused(&self) -> Refused {
        match self {
            Log::Memory(_) => Refused::default(),
            Log::Saved(saved) => saved.refused(),
            Log::Clustered(clustered) => clustered.refused(),
        }
    }

    /// Whether everything up to a place is saved, or need not be.
    pub fn is_saved(&self, mark: Mark) -> bool {
        match self {
            Log::Memory(_) => true,
            Log::Saved(saved) => saved.is_saved(mark),
            Log::Clustered(clustered) => clustered.is_done(mark),
        }
    }

    /// Saves nothing from now on: the log goes on in memory, with the same epoch and numbers.
    pub fn stop_saving(&mut self, hub: &mut Hub) {
        if let Log::Saved(saved) = self {
            *self = Log::Memory(Memory::continuing(saved.epoch(), saved.newest()));
            hub.stop_saving();
        }
    }
}
