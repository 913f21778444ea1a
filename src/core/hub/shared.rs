//! The hub of a node of a cluster: its content follows from the log of the cluster.
//!
//! Owns the operations that only such a hub has: messages that it may not refuse, losses in the
//! middle of the sequence, and floors that other nodes know.
//!
//! The node that published a message has accepted it, so this hub makes room for it by evicting the
//! oldest history. Only if all the memory for messages is used by pending ones does the message
//! wait ([`Owed`]), and with it everything behind it in the log. If the limit of channels is
//! reached, the channel is not created, and the message is noted as a loss of its bucket of names.
//!
//! A loss in the middle of the sequence also removes the history before it, because a channel has
//! one loss, which is older than all its messages. Readers get a gap either way.
//!
//! Invariants:
//! - *The head rises last.* A loss of all channels takes several calls, and the head stays before
//!   the loss until the last one. So a cursor that a client gets in the meantime is before the
//!   loss, unless the client got the gap.
//! - *Ages in order.* The time of a message is never before that of the message before it, even if
//!   the clocks of the nodes differ.

use super::room::footprint_with_end;
use super::{Hub, Room};
use crate::base::time::Time;
use crate::config::Config;
use crate::message::{ChannelName, Draft, DraftKind, EntryId, Epoch, Numbering, Seq, Terms};

/// All the memory for messages is used by those that readers have not received yet. The next
/// message of the log has to wait until readers have received some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owed;

impl Hub {
    /// An empty hub of a cluster's node. `keys` seed the hash of names; see [`Hub::new`].
    pub fn of_cluster(config: &Config, max_readers: usize, keys: (u64, u64)) -> Hub {
        let mut hub = Hub::new(config, max_readers, Epoch::from_seed(0), keys);
        hub.numbering = Numbering::Cluster(Box::new(Terms::new()));
        hub.shared = Some(Box::default());
        hub
    }

    /// Whether this is the hub of a node of a cluster.
    #[inline]
    pub fn is_shared(&self) -> bool {
        self.shared.is_some()
    }

    /// The terms of the log; `None` if this is not the hub of a node of a cluster.
    pub fn terms(&self) -> Option<&Terms> {
        match &self.numbering {
            Numbering::Cluster(terms) => Some(terms),
            Numbering::Single(_) => None,
        }
    }

    /// The same, to add some.
    pub fn terms_mut(&mut self) -> Option<&mut Terms> {
        match &mut self.numbering {
            Numbering::Cluster(terms) => Some(terms),
            Numbering::Single(_) => None,
        }
    }

    /// The number of a part of an entry; `None` where its term is not known.
    pub fn seq_of(&self, entry: EntryId, part: u16) -> Option<Seq> {
        self.terms()?.seq(entry, part)
    }

    /// Puts names into buckets by a secret that all nodes have. If the secret was another before,
    /// every bucket gets the highest floor of all.
    pub fn set_salt(&mut self, salt: (u64, u64)) {
        self.names.set_salt(salt);
    }

    /// Lowers the floors of buckets after a loss of all channels: `newest` is, for each bucket, the
    /// number of the newest message in it, as another node knows it. Later ones were applied here.
    pub fn set_floors(&mut self, newest: impl Fn(usize) -> Seq) {
        let Some(shared) = &mut self.shared else {
            return;
        };
        if !std::mem::take(&mut shared.awaits_floors) {
            return;
        }
        for (bucket, floor) in self.names.evicted_up_to.iter_mut().enumerate() {
            // A floor above the loss is that of a channel that was forgotten here.
            if *floor == shared.lost_all {
                *floor = newest(bucket).min(*floor);
            }
        }
    }

    /// Applies a message of the log, an end, or both. `seq` is the number of the first, and above
    /// [`Hub::head`]. `at` is the time of the publish by the clock of the hub. A time in the future
    /// counts as the present, and one before that of the previous message counts as equal to it.
    ///
    /// # Errors
    ///
    /// [`Owed`]: nothing is done. It is to be applied again once readers were served.
    pub fn apply_entry(&mut self, seq: Seq, at: Time, draft: Draft<'_>) -> Result<(), Owed> {
        debug_assert!(self.is_shared() && !self.is_losing());
        let last = match draft.kind {
            DraftKind::Message | DraftKind::End => seq,
            DraftKind::Last => seq.next(),
        };
        let bytes = footprint_with_end(&draft);
        if bytes > self.meter.limit() {
            // Nodes may have different settings.
            self.lose(&draft.channel, last);
            self.head = last;
            return Ok(());
        }
        while !self.meter.has_room(bytes) {
            if !self.evict_oldest() {
                return Err(Owed);
            }
        }
        let Ok(channel) = self.open(&draft.channel) else {
            self.names.raise_floor(&draft.channel, last);
            self.head = last;
            return Ok(());
        };
        let youngest = self.ages.newest(&self.messages);
        let at = youngest.map_or(at, |youngest| at.max(youngest));
        self.place(at.min(self.now), seq, Room { channel, bytes }, draft);
        Ok(())
    }

    /// Applies a message or end for which there is room.
    fn place(&mut self, at: Time, seq: Seq, room: Room, draft: Draft<'_>) {
        match draft.kind {
            DraftKind::Message => {
                self.apply(at, seq, room, draft);
            }
            DraftKind::Last => {
                let (message, end) = room.split(draft);
                self.place(at, seq, message.0, message.1);
                self.place(at, seq.next(), end.0, end.1);
            }
            // Two nodes may end a channel at the same time.
            DraftKind::End if self.channels[room.channel as usize].has_ended => {
                self.head = seq;
                self.give_back(room);
            }
            DraftKind::End => {
                self.apply_end(at, seq, room, draft);
            }
        }
    }

    /// Raises the head to a number at which the log has nothing to apply.
    pub fn advance(&mut self, seq: Seq) {
        debug_assert!(self.is_shared() && !self.is_losing());
        self.head = self.head.max(seq);
    }

    /// The history of a channel was deleted, at this place of the log. Readers that had not
    /// received all of it get a gap.
    pub fn delete(&mut self, name: &str, seq: Seq) {
        debug_assert!(self.is_shared() && !self.is_losing());
        if let Some(index) = self.find(name) {
            self.delete_history(index);
        }
        self.head = self.head.max(seq);
    }

    /// Messages of a channel up to a number are lost. Returns how many were removed here.
    fn lose(&mut self, name: &str, seq: Seq) -> usize {
        match self.find(name) {
            Some(index) => self.lose_in(index, seq),
            None => {
                self.names.raise_floor(name, seq);
                0
            }
        }
    }

    /// Messages of these channels up to a number may be lost. As for [`Hub::begin_losing`], the work
    /// is that of [`Hub::continue_losing`].
    pub fn begin_losing_in(&mut self, channels: Vec<ChannelName<'static>>, seq: Seq) {
        debug_assert!(self.is_shared() && !self.is_losing());
        if let Some(shared) = &mut self.shared {
            shared.losing = Some((seq, channels));
        }
    }

    fn continue_losing_in(&mut self, seq: Seq, names: &mut Vec<ChannelName<'_>>, budget: usize) {
        let mut spent = 0;
        while spent < budget
            && let Some(name) = names.pop()
        {
            spent += 1 + self.lose(&name, seq);
        }
    }

    /// Removes all messages of a channel, whose numbers are at most this one, and gives its readers
    /// a gap there. Returns how many were removed.
    fn lose_in(&mut self, index: u32, seq: Seq) -> usize {
        let keys = self.channels[index as usize].clear();
        let removed = keys.len();
        for key in keys {
            let is_end = self.remove(key);
            self.counts.evicted += u64::from(!is_end);
        }
        let channel = &mut self.channels[index as usize];
        channel.raise_floor(seq, false);
        if channel.make_ready_for_loss(&mut self.subscriptions) {
            self.run.push_back(index);
        }
        if self.channels[index as usize].is_unused() {
            self.enqueue_idle(index);
        }
        removed
    }

    /// Messages of any channel up to a number may be lost. [`Hub::continue_losing`] applies that to
    /// the channels. Until it is done, nothing else may be applied and no reader served: after the
    /// gap of one channel, the cursor of a reader would be beyond the loss in the others.
    pub fn begin_losing(&mut self, seq: Seq) {
        debug_assert!(self.is_shared() && !self.is_losing());
        // Channels that are created from now on have the loss.
        self.names.raise_all(seq);
        if let Some(shared) = &mut self.shared {
            shared.lost_all = seq.max(shared.lost_all);
            shared.awaits_floors = true;
            shared.losing_from = Some(0);
        }
    }

    /// Whether a loss of all channels, or of many, is under way.
    pub fn is_losing(&self) -> bool {
        let shared = self.shared.as_ref();
        shared.is_some_and(|shared| shared.losing_from.is_some() || shared.losing.is_some())
    }

    /// Continues a loss of all channels, or of many. Each channel, and each message that is removed,
    /// takes 1 of the budget; the last channel may exceed it. Returns whether the loss is complete.
    pub fn continue_losing(&mut self, budget: usize) -> bool {
        let losing = self.shared.as_mut().and_then(|shared| shared.losing.take());
        if let Some((seq, mut names)) = losing {
            self.continue_losing_in(seq, &mut names, budget);
            let is_done = names.is_empty();
            match &mut self.shared {
                Some(shared) if !is_done => shared.losing = Some((seq, names)),
                _ => self.head = self.head.max(seq),
            }
            return is_done;
        }
        let Some((from, seq)) = self.shared.as_ref().and_then(|shared| {
            let from = shared.losing_from?;
            Some((from, shared.lost_all))
        }) else {
            return true;
        };
        let mut slot = from;
        let mut spent = 0;
        while slot < self.slots_used && spent < budget {
            spent += 1;
            let channel = self.channels.get(slot);
            if channel.is_some_and(|channel| channel.evicted_up_to() < seq) {
                spent += self.lose_in(slot as u32, seq);
            }
            slot += 1;
        }
        let is_done = slot >= self.slots_used;
        if let Some(shared) = &mut self.shared {
            shared.losing_from = (!is_done).then_some(slot);
        }
        if is_done {
            self.head = self.head.max(seq);
        }
        is_done
    }

    /// The number of readers that a message of a channel had here when it was applied, or, if it is
    /// not in history any more, that the channel has now; and those on other nodes.
    pub fn subscribers_at(&self, name: &str, seq: Seq) -> u32 {
        let Some(channel) = self.find(name).map(|index| self.channel(index)) else {
            return self.readers_elsewhere(name);
        };
        let entry = channel.ring().and_then(|ring| ring.find(seq));
        let here = match entry {
            Some(entry) => self.messages[entry.key() as usize].subscribers(),
            None => channel.reader_counts().total(),
        };
        here.saturating_add(self.readers_elsewhere(name))
    }
}

#[cfg(test)]
mod tests;
