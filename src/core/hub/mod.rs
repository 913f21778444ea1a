//! Channels, their messages and their readers: the state that the log's messages lead to.
//!
//! Owns every channel, every stored message and every subscription. It never gives a message its
//! number, touches a socket or formats a byte, and does not know connections: a follower is a `u32`
//! of the caller's choice, with a [`Reader`] that the caller keeps.
//!
//! Invariants:
//! - *One sequence.* Every message has a number of one sequence over all channels. The log gives
//!   the numbers; the hub applies messages in their order, and its head is the one applied last.
//! - *Applying cannot fail* on a single server: what can be refused is refused by `make_room`, before
//!   the message has a number. What a cluster's log brings may have to wait for memory, or is a loss.
//! - *A reader is a cursor.* Pending for it are exactly the items of its channels after its cursor,
//!   lowest number first: messages, the ends of channels, and gaps, which stand in the sequence at
//!   the number of the newest message evicted.
//! - *An end is the newest item of its channel*, or gone: a message that is published after it
//!   opens the channel again. Whether a reader is done follows from its cursor and its channels.
//! - *The list is derived.* A queued subscription is in its channel's `waiting` list if the cursor
//!   has reached the channel's newest item, else in `ready`; so a message moves all waiting readers
//!   by one splice.
//! - *Pending is kept.* A message that a queued reader needs next is not evicted: its `pending`
//!   count is above zero. Only [`Hub::delete_history`] removes it, a newer message that replaces
//!   it, or a loss of its channel.
//! - *A policy at any time.* A channel has the index of its policy, or, during a reload, its name
//!   is looked up.

mod admission;
mod ages;
mod apply;
mod audience;
mod channel;
mod elsewhere;
mod floors;
mod forget;
mod frames;
mod frozen;
mod history;
mod items;
mod loss;
mod losses;
#[cfg(test)]
mod model;
mod names;
mod policies;
mod reader_counts;
mod readers;
mod refusal;
mod reload;
mod restore;
mod ring;
mod room;
mod shared;
mod stored;
mod subscription;

pub use apply::Published;
pub use channel::Channel;
pub use elsewhere::MAX_NODES;
pub use floors::Standing;
pub use frozen::FrozenReader;
pub use items::{Item, Take};
pub use loss::Loss;
pub use names::{BUCKETS, bucket_of};
pub use reader_counts::ReaderCounts;
pub use readers::Reader;
pub use refusal::Refusal;
pub use restore::{Restore, Restored};
pub use room::Room;
pub use shared::Owed;
pub use stored::{Shape, Stored};

use std::collections::VecDeque;
use std::sync::Arc;

use slab::Slab;
use smallvec::SmallVec;

use crate::base::histogram::Histogram;
use crate::base::meter::{Meter, SharedBytes};
use crate::base::queue::Queue;
use crate::base::time::Time;
use crate::config::Config;
use crate::message::{ChannelName, Epoch, MessageId, MessageRef, Numbering, Seq};

use ages::Ages;
use elsewhere::Elsewhere;
use frames::FrameCache;
use losses::Losses;
use names::Names;
use policies::{Policies, Rules};
use subscription::Subscription;

/// All channels, messages and subscriptions.
pub struct Hub {
    /// The epochs of the log that it follows.
    numbering: Numbering,
    /// Losses of all channels; `Some` only in a cluster.
    shared: Option<Box<Losses>>,
    /// Readers on other nodes of a cluster; `None` until one is heard of.
    elsewhere: Option<Box<Elsewhere>>,
    /// The number of the last message applied.
    head: Seq,
    channels: Slab<Channel>,
    /// Slots of `channels` that were ever used.
    slots_used: usize,
    names: Names,
    subscriptions: Slab<Subscription>,
    /// Readers that follow a channel.
    readers: ReaderCounts,
    messages: Slab<Stored>,
    /// How many of them are ends of channels.
    ends: usize,
    ages: Ages,
    /// The run queue: channels with ready readers, each once, served in turns.
    run: VecDeque<u32>,
    /// Channels that were found idle, each once, with the time of it.
    idle: Queue<(u32, Time)>,
    /// Bytes of messages.
    meter: Arc<Meter>,
    /// Bytes of channels themselves. Clients choose the names, so they are counted.
    channel_bytes: usize,
    frames: FrameCache,
    /// Channels forgotten so far.
    forgotten: u64,
    /// Losses of forgotten channels that the log has no record of yet; `None` where it keeps none.
    unsaved_losses: Option<Vec<Loss>>,
    policies: Policies,
    /// Reload progress: channels in slots below this number have the index of their current policy;
    /// the others still have an index of an earlier configuration. `u32::MAX`: all are resolved.
    resolved: u32,
    limits: Limits,
    now: Time,
    counts: Counts,
    fan_out_ms: Histogram,
}

/// Channels that are used together: nearly always a single one.
pub type Channels = SmallVec<[u32; 1]>;

/// The limits a hub keeps to. After a reload, those it comes to step by step.
#[derive(Clone, Copy, Debug)]
struct Limits {
    max_channels: usize,
    max_total_bytes: usize,
    /// Half of what messages may take, and counted apart: names never evict history.
    max_channel_bytes: usize,
    /// A quarter of what messages may take, or room for a few of the largest.
    max_frame_bytes: usize,
}

impl Limits {
    fn new(config: &Config) -> Limits {
        let max_total_bytes = config.history.max_total_bytes;
        Limits {
            max_channels: config.max_channels,
            max_total_bytes,
            max_channel_bytes: max_total_bytes / 2,
            max_frame_bytes: (max_total_bytes / 4).max(4 * config.max_body_bytes),
        }
    }
}

/// Counters since the start, for metrics.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Messages applied.
    pub published: u64,
    /// Ends of channels applied.
    pub ended: u64,
    /// Messages removed by a limit (count, age, bytes, total) or by a request.
    pub evicted: u64,
    /// Messages of channels with `latest` that a newer one replaced.
    pub replaced: u64,
    /// Publishes refused because the memory for messages was spent on pending ones.
    pub busy: u64,
    /// Channels refused because the limit of channels, or of their bytes, was reached.
    pub too_many_channels: u64,
    /// Readers refused because a channel had as many as its policy allows.
    pub too_many_subscribers: u64,
    /// Readers refused because a channel did not exist, and only publishers create it.
    pub missing: u64,
    /// Publishes refused because a message was larger than the policy of its channel allows.
    pub messages_too_large: u64,
}

/// Bounds of durations, in milliseconds.
pub const DURATIONS_MS: &[u64] = &[
    1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 120_000,
];

impl Hub {
    /// An empty hub that follows a log of this epoch. `keys` seed the hash of names, so that a
    /// client cannot make them collide.
    pub fn new(config: &Config, max_readers: usize, epoch: Epoch, keys: (u64, u64)) -> Hub {
        let limits = Limits::new(config);
        Hub {
            numbering: Numbering::Single(epoch),
            shared: None,
            elsewhere: None,
            head: Seq::ZERO,
            channels: Slab::with_capacity(config.max_channels),
            slots_used: 0,
            names: Names::new(keys),
            subscriptions: Slab::with_capacity(max_readers),
            readers: ReaderCounts::default(),
            messages: Slab::new(),
            ends: 0,
            ages: Ages::new(config.max_channels),
            run: VecDeque::new(),
            idle: Queue::new(),
            meter: Meter::new(limits.max_total_bytes),
            channel_bytes: 0,
            forgotten: 0,
            unsaved_losses: None,
            frames: FrameCache::new(limits.max_frame_bytes),
            policies: Policies::new(config),
            resolved: u32::MAX,
            limits,
            now: Time::default(),
            counts: Counts::default(),
            fan_out_ms: Histogram::new(DURATIONS_MS),
        }
    }

    /// Sets the time; it never goes back.
    pub fn set_now(&mut self, now: Time) {
        debug_assert!(now >= self.now, "time went back");
        self.now = now;
    }

    /// The time that was last set.
    pub fn now(&self) -> Time {
        self.now
    }

    /// The epoch of the log that it follows now.
    pub fn epoch(&self) -> Epoch {
        match &self.numbering {
            Numbering::Single(epoch) => *epoch,
            Numbering::Cluster(_) => self.numbering.id(self.head).epoch,
        }
    }

    /// The epochs of the log that it follows.
    pub fn numbering(&self) -> &Numbering {
        &self.numbering
    }

    /// The id of a number of this log.
    #[inline]
    pub fn id(&self, seq: Seq) -> MessageId {
        self.numbering.id(seq)
    }

    /// The number of the message applied last, of any channel: every reader that has all up to here
    /// has caught up.
    pub fn head(&self) -> Seq {
        self.head
    }

    /// The channel of this name, if it is known.
    pub fn find(&self, name: &str) -> Option<u32> {
        self.names.find(name, &self.channels)
    }

    /// The channel of this name, made if need be. A caller that does not use it passes it to
    /// `enqueue_idle`.
    ///
    /// # Errors
    ///
    /// [`Refusal::TooManyChannels`] where all slots are taken by channels in use.
    fn open(&mut self, name: &str) -> Result<u32, Refusal> {
        if let Some(channel) = self.find(name) {
            return Ok(channel);
        }
        self.ensure_channel(name)?;
        let evicted_up_to = self.names.evicted_up_to(name);
        let policy = self.policies.resolve(name);
        Ok(self.add(Channel::new(name, evicted_up_to, policy)))
    }

    /// Adds a channel for which there is room.
    #[inline]
    fn add(&mut self, channel: Channel) -> u32 {
        self.channel_bytes += Channel::footprint(channel.name());
        let channel = self.channels.insert(channel) as u32;
        self.slots_used = self.slots_used.max(channel as usize + 1);
        self.names.insert(channel, &self.channels);
        channel
    }

    /// The channels of these names, made if need be: all of them or, where there is no room for
    /// all at once, none.
    ///
    /// # Errors
    ///
    /// [`Refusal::TooManyChannels`] where all slots are taken by channels in use.
    pub fn open_all<'n>(
        &mut self,
        names: impl Iterator<Item = &'n ChannelName<'n>> + Clone,
    ) -> Result<Channels, Refusal> {
        let forgotten = self.forgotten;
        let opened: Result<Channels, Refusal> = names.clone().map(|name| self.open(name)).collect();
        if self.forgotten == forgotten && opened.is_ok() {
            return opened;
        }
        // Making a channel may have evicted an idle one that was opened just before, so its slot
        // may be another's now.
        let found: Vec<Option<u32>> = names.map(|name| self.find(name)).collect();
        match found.iter().copied().collect() {
            Some(channels) if opened.is_ok() => Ok(channels),
            _ => {
                for channel in found.into_iter().flatten() {
                    self.enqueue_idle(channel);
                }
                Err(Refusal::TooManyChannels)
            }
        }
    }

    /// The number of the newest message known to be evicted from a channel of this name.
    pub fn evicted_up_to(&self, name: &str) -> Seq {
        match self.find(name) {
            Some(channel) => self.channels[channel as usize].evicted_up_to(),
            None => self.names.evicted_up_to(name),
        }
    }

    /// The state of a channel.
    pub fn channel(&self, channel: u32) -> &Channel {
        &self.channels[channel as usize]
    }

    /// Whether only the newest message of a channel is kept and pending for readers.
    pub fn keeps_latest(&self, channel: u32) -> bool {
        self.rules(channel).latest
    }

    /// Whether messages of a channel are kept where history is saved.
    pub fn persists(&self, channel: u32) -> bool {
        self.rules(channel).persist
    }

    /// How many channels there are.
    pub fn channel_count(&self) -> usize {
        self.channels.len()
    }

    /// The channels in slots `from..from + slots`, and whether more slots follow.
    pub fn channels_in(&self, from: usize, slots: usize) -> (impl Iterator<Item = &Channel>, bool) {
        let end = from.saturating_add(slots).min(self.slots_used);
        let found = (from..end).filter_map(|slot| self.channels.get(slot));
        (found, end < self.slots_used)
    }

    /// How many messages are stored.
    pub fn message_count(&self) -> usize {
        self.messages.len() - self.ends
    }

    /// How many readers there are, by class.
    pub fn readers(&self) -> &ReaderCounts {
        &self.readers
    }

    /// Counters since the start.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Time from a message until no reader of its channel had anything pending, in milliseconds.
    pub fn fan_out_ms(&self) -> &Histogram {
        &self.fan_out_ms
    }

    /// Bytes of channels themselves, their messages aside.
    pub fn channel_bytes(&self) -> usize {
        self.channel_bytes
    }

    /// The meter of messages.
    pub fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    /// A stored message.
    pub fn message(&self, key: u32) -> &Stored {
        &self.messages[key as usize]
    }

    /// The parts of a stored message that encoders need.
    pub fn content(&self, key: u32) -> MessageRef<'_> {
        let stored = &self.messages[key as usize];
        MessageRef {
            id: self.id(stored.seq()),
            channel: self.channels[stored.channel() as usize].name(),
            event: stored.event(),
            data: stored.data(),
        }
    }

    /// The message's bytes in a shape, encoded by `encode` unless they are cached.
    pub fn frame(
        &mut self,
        key: u32,
        shape: Shape,
        encode: impl FnOnce(&MessageRef<'_>, &Arc<Meter>) -> Arc<SharedBytes>,
    ) -> Arc<SharedBytes> {
        if let Some(frame) = self.messages[key as usize].frame(shape) {
            return Arc::clone(frame);
        }
        let frame = encode(&self.content(key), self.frames.meter());
        let stored = &mut self.messages[key as usize];
        stored.set_frame(shape, Arc::clone(&frame));
        self.frames.remember(key, stored.seq(), &mut self.messages);
        frame
    }

    /// The meter of frames, which counts those that a blocked reader still holds.
    pub fn frame_meter(&self) -> &Arc<Meter> {
        self.frames.meter()
    }

    /// Drops cached frames until the meter of frames is below its limit. Returns whether it is, so
    /// that a blocked reader may keep one more.
    pub fn make_room_for_unsent(&mut self) -> bool {
        self.frames.make_room_for_unsent(&mut self.messages)
    }

    /// The rules of a channel. During a reload, of one that still has the index of an earlier
    /// configuration, by its name.
    #[inline]
    fn rules(&self, index: u32) -> &Rules {
        match index < self.resolved {
            true => self.policies.rules(self.channels[index as usize].policy),
            false => self.rules_by_name(index),
        }
    }

    #[cold]
    fn rules_by_name(&self, index: u32) -> &Rules {
        let name = self.channels[index as usize].name();
        self.policies.rules(self.policies.resolve(name))
    }
}
