//! Channels, their messages and their readers: the state that the log's messages lead to.
//!
//! Owns every channel, every stored message and every subscription. It never gives a message its
//! number, touches a socket or formats a byte, and does not know connections: a follower is a `u32`
//! of the caller's choice, with a [`Reader`] that the caller keeps.
//!
//! Invariants:
//! - *One sequence.* Every message has a number of one sequence over all channels. The log gives
//!   the numbers; the hub applies messages in their order, and its head is the one applied last.
//! - *Applying cannot fail.* What can be refused is refused by `make_room`, before the message has
//!   a number.
//! - *A reader is a cursor.* Pending for it are exactly the items of its channels after its cursor,
//!   lowest number first: messages, the ends of channels, and gaps, which stand in the sequence at
//!   the number of the newest message evicted.
//! - *An end is the newest item of its channel*, or gone: a message that is published after it
//!   opens the channel again. Whether a reader is done follows from its cursor and its channels.
//! - *The list is derived.* A queued subscription is in its channel's `waiting` list if the cursor
//!   has reached the channel's newest item, else in `ready`; so a message moves all waiting readers
//!   by one splice.
//! - *Pending is kept.* A message that a queued reader needs next is not evicted: its `pending`
//!   count is above zero. Only [`Hub::delete_history`] removes it, or a newer message that replaces
//!   it.
//! - *A policy at any time.* A channel has the index of its policy, or, during a reload, its name
//!   is looked up.

mod admission;
mod ages;
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
mod shared;
mod stored;
mod subscription;

pub use channel::Channel;
pub use floors::Standing;
pub use frozen::FrozenReader;
pub use items::{Item, Take};
pub use loss::Loss;
pub use names::{BUCKETS, bucket_of};
pub use reader_counts::ReaderCounts;
pub use readers::Reader;
pub use refusal::Refusal;
pub use restore::{Restore, Restored};
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
use crate::message::{
    ChannelName, Data, Draft, DraftKind, Epoch, EventName, IdempotencyKey, MessageId, MessageRef,
    Numbering, Seq,
};

use ages::Ages;
use elsewhere::Elsewhere;
use frames::FrameCache;
use losses::Losses;
use names::Names;
use policies::{Policies, Rules};
use ring::Ring;
use subscription::Subscription;

/// All channels, messages and subscriptions.
pub struct Hub {
    /// The epochs of the log that it follows.
    numbering: Numbering,
    /// Of all channels, which only the hub of a cluster's node is told.
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

/// The result of a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// The id that the message got.
    pub id: MessageId,
    /// Connections that were parked on the channel.
    pub subscribers: u32,
}

/// Room for one message, which [`Hub::make_room`] has made: with it [`Hub::apply`] cannot fail.
///
/// It is valid until room is made again, old messages are dropped or idle channels are forgotten:
/// all of these may free what it stands for.
#[derive(Debug)]
#[must_use = "room that is made is for a message that is applied"]
pub struct Room {
    channel: u32,
    /// The message's footprint.
    bytes: usize,
}

impl Room {
    /// The channel of the message.
    pub fn channel(&self) -> u32 {
        self.channel
    }

    /// The parts of a message that ends its channel: itself and the end, each with its room.
    #[cold]
    pub fn split<'n>(self, message: Draft<'n>) -> ((Room, Draft<'n>), (Room, Draft<'n>)) {
        debug_assert!(message.kind == DraftKind::Last);
        let end = Draft::end(message.channel.clone());
        let message = Draft {
            kind: DraftKind::Message,
            ..message
        };
        let part = |draft: &Draft<'_>| Room {
            channel: self.channel,
            bytes: footprint(draft),
        };
        ((part(&message), message), (part(&end), end))
    }
}

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
    pub fn make_room_to_hold(&mut self) -> bool {
        self.frames.make_room_to_hold(&mut self.messages)
    }

    /// The result of an earlier publish with the same key, while its message is in history.
    #[inline]
    pub fn published_before(&self, message: &Draft<'_>) -> Option<Published> {
        let key = message.key.as_deref()?;
        let ring = self.channels[self.find(&message.channel)? as usize].ring()?;
        let stored = &self.messages[ring.find_by_idempotency_key(key)? as usize];
        Some(Published {
            id: self.id(stored.seq()),
            subscribers: stored.subscribers(),
        })
    }

    /// The end of a channel that has ended already, for a publish of nothing but its end; `None`
    /// for every other publish.
    #[inline]
    pub fn ended_before(&self, message: &Draft<'_>) -> Option<Published> {
        match message.kind {
            DraftKind::Message | DraftKind::Last => None,
            DraftKind::End => self.end_of(self.find(&message.channel)?),
        }
    }

    /// The end of a channel, if it has ended.
    pub fn end_of(&self, index: u32) -> Option<Published> {
        let channel = &self.channels[index as usize];
        channel.has_ended.then(|| Published {
            id: self.id(channel.newest_item()),
            subscribers: channel.reader_counts().total(),
        })
    }

    /// Makes room for a message, at the cost of unused channels and of the oldest messages.
    ///
    /// # Errors
    ///
    /// See [`Refusal`]. Old messages may have been evicted, idle channels forgotten, and the
    /// channel created; it is then idle.
    #[inline]
    pub fn make_room(&mut self, message: &Draft<'_>) -> Result<Room, Refusal> {
        self.make_room_of(message, footprint(message))
    }

    /// As [`Hub::make_room`], for a publish that ends its channel.
    ///
    /// # Errors
    ///
    /// As [`Hub::make_room`].
    #[cold]
    pub fn make_room_to_end(&mut self, draft: &Draft<'_>) -> Result<Room, Refusal> {
        self.make_room_of(draft, footprint_with_end(draft))
    }

    // Always inline, as `make_room` is hot and its sibling is not.
    #[inline(always)]
    fn make_room_of(&mut self, message: &Draft<'_>, bytes: usize) -> Result<Room, Refusal> {
        let channel = self.open(&message.channel)?;
        let checked = self.check_size(channel, message, 0);
        match checked.and_then(|()| self.ensure_room(bytes)) {
            Ok(()) => Ok(Room { channel, bytes }),
            Err(refusal) => {
                self.enqueue_idle(channel);
                Err(refusal)
            }
        }
    }

    /// Makes room for several messages together and returns each one's.
    ///
    /// # Errors
    ///
    /// As [`Hub::make_room`]: there is room for all of them, or for none.
    pub fn make_room_for_all(&mut self, messages: &[Draft<'_>]) -> Result<Vec<Room>, Refusal> {
        let channels = self.open_all(messages.iter().map(|message| &message.channel))?;
        let places = || channels.iter().zip(messages);
        let rooms: Vec<Room> = places()
            .map(|(&channel, message)| Room {
                channel,
                bytes: footprint_with_end(message),
            })
            .collect();
        let mut each = places().enumerate();
        let checked = each
            .try_for_each(|(place, (&channel, message))| self.check_size(channel, message, place));
        let total = rooms.iter().map(|room| room.bytes).sum();
        if let Err(refusal) = checked.and_then(|()| self.ensure_room(total)) {
            for channel in channels {
                self.enqueue_idle(channel);
            }
            return Err(refusal);
        }
        Ok(rooms)
    }

    /// Gives back room that is not used: its channel may have been made for it.
    pub fn give_back(&mut self, room: Room) {
        self.enqueue_idle(room.channel);
    }

    /// Applies a message that the log has given its number: stores it, and makes every waiting
    /// reader of its channel ready. It cannot fail, as room was made for it.
    ///
    /// `seq` is above [`Hub::head`], and becomes it.
    pub fn apply(&mut self, seq: Seq, room: Room, message: Draft<'_>) -> Published {
        self.apply_at(self.now, seq, room, message)
    }

    /// As [`Hub::apply`], of a message that was published at a time that is not before that of any
    /// earlier one.
    #[inline(always)]
    fn apply_at(&mut self, at: Time, seq: Seq, room: Room, message: Draft<'_>) -> Published {
        debug_assert!(seq > self.head, "the log gave a number twice, or went back");
        debug_assert!(message.kind == DraftKind::Message);
        let Room {
            channel: index,
            bytes,
        } = room;
        self.head = seq;
        self.counts.published += 1;
        let channel = &mut self.channels[index as usize];
        debug_assert_eq!(
            channel.name(),
            &*message.channel,
            "room for another channel"
        );
        let subscribers = channel.reader_counts().total();
        let ring = channel.ring_mut();
        ring.record_arrival(at);
        self.meter.charge(bytes);
        let idempotency_key = message.key.as_deref().map(Box::from);
        let stored = Stored::new(message, bytes, seq, index, at, subscribers);
        let key = self.messages.insert(stored) as u32;
        self.ages.push(&mut self.messages, key);
        ring.push(seq, key, bytes, idempotency_key);
        if channel.has_ended {
            self.reopen(index);
        }
        self.wake(index);
        self.trim(index);
        let id = self.id(seq);
        Published { id, subscribers }
    }

    /// Applies the end of a channel that has not ended, as [`Hub::apply`] does a message: it is
    /// stored like one.
    #[cold]
    pub fn apply_end(&mut self, seq: Seq, room: Room, end: Draft<'_>) -> Published {
        self.apply_end_at(self.now, seq, room, end)
    }

    fn apply_end_at(&mut self, at: Time, seq: Seq, room: Room, end: Draft<'_>) -> Published {
        debug_assert!(seq > self.head, "the log gave a number twice, or went back");
        debug_assert!(end.kind == DraftKind::End);
        let Room {
            channel: index,
            bytes,
        } = room;
        self.head = seq;
        self.counts.ended += 1;
        self.ends += 1;
        self.meter.charge(bytes);
        let channel = &mut self.channels[index as usize];
        channel.has_ended = true;
        let subscribers = channel.reader_counts().total();
        let idempotency_key = end.key.as_deref().map(Box::from);
        let mut stored = Stored::new(end, bytes, seq, index, at, subscribers);
        stored.set_end();
        let key = self.messages.insert(stored) as u32;
        self.ages.push(&mut self.messages, key);
        let channel = &mut self.channels[index as usize];
        channel
            .ring_mut()
            .push_end(seq, key, bytes, idempotency_key);
        self.wake(index);
        self.trim(index);
        Published {
            id: self.id(seq),
            subscribers,
        }
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

    /// Splices all waiting readers onto the ready list: O(1) however many they are. It is on the
    /// path of every message.
    #[inline(always)]
    fn wake(&mut self, index: u32) {
        let channel = &mut self.channels[index as usize];
        if channel.make_ready(&mut self.subscriptions) {
            // fault: lost-wake-up
            self.run.push_back(index);
        }
    }
}

/// The bytes that storing a message takes, overhead included.
fn footprint(message: &Draft<'_>) -> usize {
    footprint_of(&message.data, message.event.as_ref(), message.key.as_ref())
}

/// The same, of its parts.
#[inline(always)]
fn footprint_of(data: &Data, event: Option<&EventName>, key: Option<&IdempotencyKey>) -> usize {
    let event_bytes = event.map_or(0, |event| event.len());
    let key_bytes = key.map_or(0, |key| 2 * key.len() + 48);
    data.len() + event_bytes + key_bytes + Stored::OVERHEAD_BYTES + Ring::ENTRY_BYTES
}

/// The same, and the bytes of the end after it.
fn footprint_with_end(message: &Draft<'_>) -> usize {
    let end = match message.kind {
        DraftKind::Message | DraftKind::End => 0,
        DraftKind::Last => Stored::OVERHEAD_BYTES + Ring::ENTRY_BYTES,
    };
    footprint(message) + end
}
