//! How many readers channels have on each node, as the nodes tell one another.
//!
//! Owns what of this node is to be told, when, and which entries of others count. The numbers are in
//! entries of the log like all that nodes say. So a publish that asks for them costs the engine
//! nothing: every node has in memory what the others have said, and the log gives what a store of
//! counts would have to provide, which is order, delivery to all, and the members whose numbers count.
//! What it takes is room in the log, and that is limited: see [`Allowance`].
//!
//! A node tells in *rounds*: in a round all its channels that have readers, and what changes
//! meanwhile; after it only what changes. A new round begins when others may not have what was told:
//! another term is settled, the connection broke, another node asks or is the first one to listen,
//! or the others have taken this node for gone. A node asks when it starts, and when it has missed
//! entries. What is not told in a round has no readers when the round is over.
//!
//! Entries that a broken connection left behind may be appended after later ones. A node gives rising
//! numbers to what it says, so such entries are recognised, and do not count.

use std::collections::BTreeMap;

use super::effect::Effect;
use super::entry::{Body, Head, Readers};
use super::node::Node;
use crate::base::time::Time;

/// Channels that an entry tells at most, about 36 KiB.
const MAX_COUNTS: usize = 4_096;

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

/// How many bytes a node may tell. Entries take the place of messages in the log, whose size is
/// limited. As long as the log is less than half full they take none. Beyond, all nodes together may
/// write a quarter of what the log can take in its age.
#[derive(Clone, Copy, Debug, Default)]
struct Allowance {
    /// Bytes that may be told at once; below 0 where more were.
    left: i64,
    /// When that was so.
    at: Time,
}

impl Allowance {
    /// Spends bytes, and returns when more may be told.
    fn spend(&mut self, bytes: u64, bytes_per_s: u64, burst: u64, now: Time) -> Time {
        let earned = now.since_ms(self.at).saturating_mul(bytes_per_s) / 1_000;
        let burst = i64::try_from(burst).unwrap_or(i64::MAX);
        let left = self.left.saturating_add_unsigned(earned).min(burst);
        self.left = left.saturating_sub_unsigned(bytes);
        self.at = now;
        let owed = self.left.min(0).unsigned_abs();
        now.after_ms(owed.saturating_mul(1_000) / bytes_per_s)
    }
}

/// What is told of readers, and what was heard of those of others.
#[derive(Debug)]
pub(super) struct Audience {
    /// The round that is told, or was told last.
    round: u64,
    /// Whether it is over.
    is_over: bool,
    /// Whether something of it was told.
    has_begun: bool,
    /// Whether another round begins when it is over.
    is_asked: bool,
    has_listeners: bool,
    /// Keys of channels and their readers, which are to be told next.
    counts: Vec<(u64, u32)>,
    /// Whether these are all for the moment.
    is_due: bool,
    /// Whether the round is over with these.
    ends_round: bool,
    /// Whether the others are to be asked to begin a round.
    asks: bool,
    /// Whether they were, and the entry was not read back yet.
    has_asked: bool,
    /// Nothing is told before that.
    not_before: Time,
    allowance: Allowance,
    /// The number of the last entry of each node that counts.
    heard: BTreeMap<u64, u64>,
}

impl Default for Audience {
    fn default() -> Audience {
        Audience {
            round: 1,
            is_over: false,
            has_begun: false,
            is_asked: false,
            has_listeners: false,
            counts: Vec::new(),
            is_due: false,
            ends_round: false,
            asks: true,
            has_asked: false,
            not_before: Time(0),
            allowance: Allowance::default(),
            heard: BTreeMap::new(),
        }
    }
}

impl Audience {
    /// That of a node that goes on in another process. It asks the others for all, and its caller
    /// begins another round ([`Node::begin_readers_round`]), as it does not know what was told.
    pub(super) fn after(round: u64) -> Audience {
        Audience {
            round,
            ..Audience::default()
        }
    }

    /// The round that is told, or was told last.
    pub(super) fn round(&self) -> u64 {
        self.round
    }

    /// Begins a round: all is to be told again.
    pub(super) fn begin_round(&mut self) {
        self.counts.clear();
        self.is_due = false;
        self.ends_round = false;
        self.is_asked = false;
        self.round = self.round.wrapping_add(1);
        self.has_begun = false;
        self.is_over = false;
    }

    /// What was sent may not be in the log.
    pub(super) fn lost(&mut self) {
        self.asks |= std::mem::take(&mut self.has_asked);
        self.begin_round();
    }

    /// Another node asks for a round, as it may lack what was told.
    fn asked(&mut self) {
        match self.is_over {
            true => self.begin_round(),
            false => self.is_asked = self.has_begun,
        }
    }

    /// Entries of others were missed.
    pub(super) fn missed(&mut self) {
        self.asks = true;
    }

    fn wants_to_tell(&self) -> bool {
        let is_full = self.counts.len() >= MAX_COUNTS;
        self.has_listeners && (self.asks || self.is_due || is_full)
    }

    /// When the next entry is due; `None` if there is nothing to tell.
    pub(super) fn due(&self) -> Option<Time> {
        self.wants_to_tell().then_some(self.not_before)
    }

    /// Takes what is to be told now.
    fn take(&mut self) -> Readers {
        let rest = self.counts.split_off(self.counts.len().min(MAX_COUNTS));
        let counts = std::mem::replace(&mut self.counts, rest);
        self.has_begun = true;
        self.is_due &= !self.counts.is_empty();
        let ends_round = self.ends_round && self.counts.is_empty();
        self.ends_round &= !ends_round;
        self.has_asked |= self.asks;
        let readers = Readers {
            // Others compare it for equality only.
            round: self.round as u8,
            ends_round,
            asks: std::mem::take(&mut self.asks),
            counts,
        };
        if ends_round {
            self.is_over = true;
            if self.is_asked {
                self.begin_round();
            }
        }
        readers
    }
}

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

    /// Begins a round: what was told before may not be what is.
    pub fn begin_readers_round(&mut self) {
        self.audience.begin_round();
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

    /// There may be another member: it listens.
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
        let (bytes_per_s, burst) = (self.readers_bytes_per_s(), self.readers_burst());
        let allowance = &mut self.audience.allowance;
        self.audience.not_before = allowance.spend(bytes, bytes_per_s, burst, self.now);
        Some(self.entry(Body::Readers(readers)).1)
    }

    /// When the node has something to say of readers.
    pub(super) fn readers_due(&self) -> Option<Time> {
        let may_say = self.readers_round().is_some() && self.lane.has_room();
        let due = self.audience.due().filter(|_| may_say)?;
        Some(due.max(self.lane.retry_at).max(self.now))
    }

    fn readers_bytes_per_s(&self) -> u64 {
        let log_bytes = self.settings.log_bytes;
        let free = CHANNELS_PER_S * COUNT_BYTES;
        if self.window.bytes() < log_bytes / 2 {
            return free.min((log_bytes / BURST_OF_LOG).max(MIN_BYTES_PER_S));
        }
        let age_s = (self.settings.log_age_ms / 1_000).max(1);
        let all = log_bytes / PART_OF_LOG / age_s;
        let share = all / self.members.len().max(1) as u64;
        share.clamp(MIN_BYTES_PER_S, free)
    }

    fn readers_burst(&self) -> u64 {
        (self.settings.log_bytes / BURST_OF_LOG).max(MIN_BYTES_PER_S)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allowance_is_a_burst_and_a_rate() {
        let mut allowance = Allowance::default();
        let mut spend = |bytes, at| allowance.spend(bytes, 100, 1_000, Time(at)).0;
        // It begins with nothing, and has its burst after a while.
        assert_eq!(spend(100, 0), 1_000);
        assert_eq!(spend(0, 1_000), 1_000);
        assert_eq!(spend(1_000, 60_000), 60_000);
        assert_eq!(spend(50, 60_000), 60_500);
        assert_eq!(spend(50, 60_500), 61_000);
        assert!(spend(u64::MAX, 61_000) > 1 << 40);
    }
}
