//! What a node says of its readers, and hears of those of others.
//!
//! Owns the way between the log and `audience`, and how much of the log that may take. What a node
//! that is no member says does not count.

use super::audience::MAX_COUNTS;
use super::effect::Effect;
use super::entry::{Body, Head, Readers};
use super::node::Node;
use crate::base::time::Time;

/// Bytes that a channel takes in an entry, about.
const COUNT_BYTES: u64 = 9;

/// Channels a second that a node tells while the log has room.
const CHANNELS_PER_S: u64 = 20_000;

/// The part of the log that may be taken where it has no room: one in so many bytes.
const PART_OF_LOG: u64 = 4;

/// What a node may tell at once, without regard to the allowance: one in so many bytes of the log.
const BURST_OF_LOG: u64 = 64;

/// The least that a node may tell, in bytes a second.
const MIN_BYTES_PER_S: u64 = 2_048;

impl Node {
    /// The round in which this node is to tell how many readers its channels have; `None` while
    /// nobody listens, or nothing can be told. When it is another one than before, all channels that
    /// have readers are told with [`Node::tell_readers`], and then [`Node::end_readers_pass`] is
    /// called. After that only what has changed is told, and passes go on.
    pub fn readers_round(&self) -> Option<u64> {
        let may_tell = self.audience.has_listeners && self.publishes_to().is_some();
        (may_tell && !self.is_leaving).then_some(self.audience.round)
    }

    /// How many channels may be told now.
    pub fn room_for_readers(&self) -> usize {
        MAX_COUNTS.saturating_sub(self.audience.counts.len())
    }

    /// Tells the other nodes how many readers a channel has here: 0 if it has none any more. `key` is
    /// [`crate::hub::Hub::reader_key`].
    pub fn tell_readers(&mut self, key: u64, readers: u32) {
        self.audience.counts.push((key, readers));
    }

    /// All channels were looked at once. What was told is sent now.
    pub fn end_readers_pass(&mut self) {
        let audience = &mut self.audience;
        audience.ends_round = !audience.is_over;
        audience.is_due |= audience.ends_round || !audience.counts.is_empty();
    }

    /// Begins a round: others may hold stale counts.
    pub fn begin_readers_round(&mut self) {
        self.audience.begin_round();
    }

    /// Whether another node has told its readers, and is no node that is gone.
    pub fn has_heard(&self, node: u64) -> bool {
        self.audience.heard.contains_key(&node)
    }

    /// Takes what another node, or this one, has said.
    pub(super) fn hear_readers(&mut self, head: Head, readers: &Readers) {
        if head.node == self.own {
            self.audience.has_asked &= !readers.asks;
            return;
        }
        if !self.members.has(head.node) {
            return;
        }
        let heard = self.audience.heard.entry(head.node).or_default();
        // fault: late-readers-count
        if head.nonce <= *heard {
            return;
        }
        *heard = head.nonce;
        if readers.asks {
            self.audience.asked();
        }
        self.replica.push(Effect::Readers {
            node: head.node,
            round: readers.round,
            ends_round: readers.ends_round,
            counts: readers.counts.clone(),
        });
    }

    /// Checks whether any other member can hear. When the first one can, a round begins.
    pub(super) fn note_listeners(&mut self) {
        let listeners = self.members.len() - usize::from(self.members.has(self.own));
        let had_listeners = std::mem::replace(&mut self.audience.has_listeners, listeners > 0);
        if listeners > 0 && !had_listeners {
            self.audience.begin_round();
        }
    }

    /// Members may have gone: what was heard of them goes too.
    pub(super) fn forget_silent(&mut self) {
        let is_gone = |node: &&u64| !self.members.has(**node);
        let gone: Vec<u64> = self
            .audience
            .heard
            .keys()
            .filter(is_gone)
            .copied()
            .collect();
        for node in gone {
            self.audience.heard.remove(&node);
            self.replica.push(Effect::Gone { node });
        }
        self.note_listeners();
    }

    /// The next entry that tells of readers.
    pub(super) fn next_readers(&mut self) -> Option<Vec<u8>> {
        if self.is_leaving || self.audience.due().is_none_or(|due| due > self.now) {
            return None;
        }
        let readers = self.audience.take();
        let bytes = readers.counts.len() as u64 * COUNT_BYTES + 32;
        let (bytes_per_s, burst) = (self.readers_bytes_per_s(), self.own_burst());
        let allowance = &mut self.audience.allowance;
        self.audience.not_before = allowance.spend(bytes, bytes_per_s, burst, self.now);
        Some(self.entry(Body::Readers(readers)).1)
    }

    /// When the node has something to say of readers.
    pub(super) fn readers_due(&self) -> Option<Time> {
        let may_say = !self.rests && self.readers_round().is_some() && self.lane.has_room();
        let due = self.audience.due().filter(|_| may_say)?;
        Some(due.max(self.lane.retry_at).max(self.now))
    }

    fn readers_bytes_per_s(&self) -> u64 {
        self.own_bytes_per_s(self.members.len())
    }

    /// How many bytes a second a node may say of its own accord, of a kind that so many nodes say.
    pub(super) fn own_bytes_per_s(&self, nodes: usize) -> u64 {
        let log_bytes = self.settings.log_bytes;
        let free = CHANNELS_PER_S * COUNT_BYTES;
        if self.window.bytes() < log_bytes / 2 {
            return free.min((log_bytes / BURST_OF_LOG).max(MIN_BYTES_PER_S));
        }
        let age_s = (self.settings.log_age_ms / 1_000).max(1);
        let all = log_bytes / PART_OF_LOG / age_s;
        let share = all / nodes.max(1) as u64;
        share.clamp(MIN_BYTES_PER_S, free)
    }

    /// How many of them it may say at once.
    pub(super) fn own_burst(&self) -> u64 {
        (self.settings.log_bytes / BURST_OF_LOG).max(MIN_BYTES_PER_S)
    }
}
