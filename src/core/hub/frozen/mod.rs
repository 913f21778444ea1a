//! The frozen form of a hub.
//!
//! Owns the order of its parts, and the parts that are one value each: the head, counters, limits,
//! queues. What follows from other parts is not written: the order of messages by age is that of
//! their numbers, rings are made of messages, bytes and readers are counted again, and in which
//! list a reader stands says its cursor. Frames are left out, as they can be made again.
//!
//! Channels keep their slots. Messages and subscriptions get new slots, in the order in which they
//! are written, because only the hub knows their slots.

mod channels;
mod messages;
mod policies;
mod readers;
mod shared;
#[cfg(test)]
mod tests;

pub use readers::FrozenReader;

use std::collections::VecDeque;
use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};
use slab::Slab;

use shared::FrozenShared;

use super::ages::Ages;
use super::frames::FrameCache;
use super::loss::Loss;
use super::names::Names;
use super::policies::Policies;
use super::reader_counts::ReaderCounts;
use super::stored::Stored;
use super::{Counts, DURATIONS_MS, Hub, Limits};
use crate::base::histogram::FrozenHistogram;
use crate::base::meter::Meter;
use crate::base::queue::Queue;
use crate::base::time::Time;
use crate::base::wheel::Wheel;
use crate::config::Config;
use crate::frozen::{self, Freezer, ThawError, Thawer};
use crate::message::{ChannelName, Epoch, Numbering, Seq};

/// The highest number of a message: beyond it there would be no room for those that follow.
const MAX_SEQ: Seq = Seq(1 << 62);

/// The latest time: beyond it deadlines would have no place on a wheel.
const MAX_NOW: Time = Time(1 << 50);

const QUEUES: ThawError = ThawError::Damaged("a queue of channels is not one");

/// The values of which there is one.
#[derive(Serialize, Deserialize)]
struct Head {
    epoch: Epoch,
    head: Seq,
    now: Time,
    slots_used: usize,
    name_keys: (u64, u64),
    #[serde(deserialize_with = "frozen::count")]
    forgotten: u64,
    #[serde(with = "FrozenCounts")]
    counts: Counts,
    fan_out_ms: FrozenHistogram,
    /// The limits that it was to keep to, and those that it did keep to, in bytes.
    max_total_bytes: usize,
    max_frame_bytes: usize,
    total_limit: usize,
    frame_limit: usize,
    resolved: u32,
    /// Messages and ends, to make room for all at once.
    stored: usize,
    /// The number of the oldest message whose age is not examined.
    next_unexamined: Option<Seq>,
    /// The next tick of the deadlines of channels, if there were any.
    next_tick: Option<u64>,
    keeps_losses: bool,
}

/// The frozen form of [`Counts`].
#[derive(Serialize, Deserialize)]
#[serde(remote = "Counts")]
struct FrozenCounts {
    #[serde(deserialize_with = "frozen::count")]
    published: u64,
    #[serde(deserialize_with = "frozen::count")]
    ended: u64,
    #[serde(deserialize_with = "frozen::count")]
    evicted: u64,
    #[serde(deserialize_with = "frozen::count")]
    replaced: u64,
    #[serde(deserialize_with = "frozen::count")]
    busy: u64,
    #[serde(deserialize_with = "frozen::count")]
    too_many_channels: u64,
    #[serde(deserialize_with = "frozen::count")]
    too_many_subscribers: u64,
    #[serde(deserialize_with = "frozen::count")]
    missing: u64,
    #[serde(deserialize_with = "frozen::count")]
    messages_too_large: u64,
}

/// The loss of a channel that was forgotten, of which the log has no record.
#[derive(Serialize, Deserialize)]
struct FrozenLoss<'c> {
    #[serde(borrow)]
    channel: ChannelName<'c>,
    up_to: Seq,
}

impl Hub {
    /// Writes its state. Frames are left out, because they can be made again. Readers are written
    /// by their owner, the engine ([`Reader::freeze`](super::Reader::freeze)).
    ///
    /// # Errors
    ///
    /// It could not be written.
    pub fn freeze<W: Write>(&self, state: &mut Freezer<W>) -> io::Result<()> {
        state.put(&self.frozen_head())?;
        if state.has_nodes() {
            state.put(&self.freeze_shared())?;
        }
        state.put(&self.policies.freeze())?;
        state.put_all(self.names.evicted_up_to.iter())?;
        self.freeze_channels(state)?;
        self.freeze_messages(state)?;
        if let Some(deadlines) = &self.ages.deadlines {
            state.put_all(deadlines.freeze())?;
        }
        state.put_all(&self.run)?;
        state.put_all(self.idle.iter())?;
        let losses = self.unsaved_losses.iter().flatten();
        state.put_all(losses.map(|loss| FrozenLoss {
            channel: loss.channel.borrowed(),
            up_to: loss.up_to,
        }))?;
        self.freeze_subscriptions(state)?;
        match state.has_nodes() {
            true => self.freeze_elsewhere(state),
            false => Ok(()),
        }
    }

    fn frozen_head(&self) -> Head {
        let next = self.ages.next();
        let deadlines = self.ages.deadlines.as_ref();
        Head {
            epoch: self.epoch(),
            head: self.head,
            now: self.now,
            slots_used: self.slots_used,
            name_keys: self.names.keys,
            forgotten: self.forgotten,
            counts: self.counts,
            fan_out_ms: self.fan_out_ms.freeze(),
            max_total_bytes: self.limits.max_total_bytes,
            max_frame_bytes: self.limits.max_frame_bytes,
            total_limit: self.meter.limit(),
            frame_limit: self.frames.meter().limit(),
            resolved: self.resolved,
            stored: self.messages.len(),
            next_unexamined: next.map(|key| self.messages[key as usize].seq()),
            next_tick: deadlines.map(Wheel::next_tick),
            keeps_losses: self.unsaved_losses.is_some(),
        }
    }

    /// Reads the state of a hub. If the configuration is another one now, the hub continues as
    /// after [`Hub::reconfigure`]. Its channels have no readers before [`Hub::adopt_readers`] was
    /// called.
    ///
    /// # Errors
    ///
    /// See [`ThawError`]. [`ThawError::Exceeds`] where a channel is in a slot, or a reader's
    /// follower a number, beyond the limit of either.
    pub fn thaw<R: Read>(
        config: &Config,
        max_readers: usize,
        state: &mut Thawer<R>,
    ) -> Result<Hub, ThawError> {
        let head: Head = state.take()?;
        let shared: Option<FrozenShared> = match state.has_nodes() {
            true => state.take()?,
            false => None,
        };
        let is_number = head.head <= MAX_SEQ || shared.is_some();
        if !is_number || head.now > MAX_NOW || !head.epoch.is_known() {
            return Err(ThawError::Damaged(
                "the epoch, number or time is out of range",
            ));
        }
        let policies = Policies::new(config);
        let has_same_policies = policies.freeze() == state.take()?;
        let mut hub = Hub::thaw_head(config, policies, &head)?;
        if let Some(shared) = shared {
            hub.thaw_shared(shared)?;
        }
        if has_same_policies {
            hub.resolved = head.resolved;
        }
        hub.thaw_floors(state)?;
        hub.thaw_channels(config.max_channels, state)?;
        if has_same_policies && !hub.has_valid_policies() {
            return Err(ThawError::Damaged("a channel has an unknown policy"));
        }
        let fitting = hub.limits.max_total_bytes / Stored::OVERHEAD_BYTES;
        hub.messages.reserve(head.stored.min(fitting));
        hub.thaw_messages(head.next_unexamined, state)?;
        hub.thaw_deadlines(head.next_tick, state)?;
        hub.thaw_queues(state)?;
        hub.thaw_losses(state)?;
        hub.thaw_subscriptions(max_readers, state)?;
        if state.has_nodes() {
            hub.thaw_elsewhere(state)?;
        }
        hub.take_limits(&head);
        Ok(hub)
    }

    /// An empty hub with what there is one of.
    fn thaw_head(config: &Config, policies: Policies, head: &Head) -> Result<Hub, ThawError> {
        let fan_out_ms = head.fan_out_ms.clone().thaw(DURATIONS_MS);
        Ok(Hub {
            numbering: Numbering::Single(head.epoch),
            shared: None,
            elsewhere: None,
            head: head.head,
            channels: Slab::new(),
            slots_used: head.slots_used.min(config.max_channels),
            names: Names::new(head.name_keys),
            subscriptions: Slab::new(),
            readers: ReaderCounts::default(),
            messages: Slab::new(),
            ends: 0,
            ages: Ages::new(config.max_channels),
            run: VecDeque::new(),
            idle: Queue::new(),
            meter: Meter::new(head.total_limit),
            channel_bytes: 0,
            frames: FrameCache::new(head.frame_limit),
            forgotten: head.forgotten,
            unsaved_losses: head.keeps_losses.then(Vec::new),
            policies,
            // As after a reload, channels have no policy but by their names.
            resolved: 0,
            limits: Limits::new(config),
            now: head.now,
            counts: head.counts,
            fan_out_ms: fan_out_ms.ok_or(ThawError::Damaged("a histogram is not valid"))?,
        })
    }

    fn thaw_floors<R: Read>(&mut self, state: &mut Thawer<R>) -> Result<(), ThawError> {
        let mut floors = self.names.evicted_up_to.iter_mut();
        let mut values = state.take_all();
        while let Some(up_to) = values.take()? {
            let floor = floors.next().filter(|_| up_to <= self.head);
            *floor.ok_or(ThawError::Damaged("a floor of names is not valid"))? = up_to;
        }
        match floors.next() {
            None => Ok(()),
            Some(_) => Err(ThawError::Damaged("floors of names are missing")),
        }
    }

    fn thaw_deadlines<R: Read>(
        &mut self,
        next_tick: Option<u64>,
        state: &mut Thawer<R>,
    ) -> Result<(), ThawError> {
        const DEADLINES: ThawError = ThawError::Damaged("the deadlines of channels are none");
        if let Some(next_tick) = next_tick {
            let keys = self.limits.max_channels;
            let mut deadlines = Wheel::thaw(keys, next_tick, self.now).ok_or(DEADLINES)?;
            let mut values = state.take_all();
            while let Some(deadline) = values.take()? {
                let key = deadlines.thaw_deadline(keys, deadline).ok_or(DEADLINES)?;
                let channel = self.channels.get(key as usize);
                if channel.is_none_or(|channel| channel.has_no_entry()) {
                    return Err(DEADLINES);
                }
            }
            self.ages.deadlines = Some(deadlines);
        }
        for (index, channel) in &self.channels {
            let oldest = channel.ring().and_then(|ring| ring.entries.front());
            if let Some(oldest) = oldest
                && self.ages.is_examined(&self.messages, oldest.seq)
                && self.ages.deadline(index as u32).is_none()
            {
                return Err(DEADLINES);
            }
        }
        Ok(())
    }

    fn thaw_queues<R: Read>(&mut self, state: &mut Thawer<R>) -> Result<(), ThawError> {
        let mut values = state.take_all();
        while let Some(index) = values.take::<u32>()? {
            let channel = self.channels.get_mut(index as usize).ok_or(QUEUES)?;
            if std::mem::replace(&mut channel.running, true) {
                return Err(QUEUES);
            }
            self.run.push_back(index);
        }
        let mut latest = Time::default();
        let mut values = state.take_all();
        while let Some((index, since)) = values.take::<(u32, Time)>()? {
            let channel = self.channels.get_mut(index as usize).ok_or(QUEUES)?;
            let is_twice = std::mem::replace(&mut channel.idle, true);
            if is_twice || since < latest || since > self.now {
                return Err(QUEUES);
            }
            latest = since;
            self.idle.push_back((index, since));
        }
        let is_served = |(_, channel): (usize, &super::Channel)| channel.running || !channel.woken;
        match self.channels.iter().all(is_served) {
            true => Ok(()),
            false => Err(QUEUES),
        }
    }

    fn thaw_losses<R: Read>(&mut self, state: &mut Thawer<R>) -> Result<(), ThawError> {
        let mut values = state.take_all();
        while let Some(FrozenLoss { channel, up_to }) = values.take()? {
            let losses = self.unsaved_losses.as_mut();
            let losses = losses.filter(|_| up_to <= self.head);
            let losses = losses.ok_or(ThawError::Damaged("a loss is not valid"))?;
            let channel = channel.into_owned();
            losses.push(Loss { channel, up_to });
        }
        Ok(())
    }

    /// Goes on with the limits as they were; if those of the configuration are others, as after a
    /// reload.
    fn take_limits(&mut self, head: &Head) {
        // Messages may take more than they did in the server before.
        let used = self.meter.used();
        self.meter.set_limit(head.total_limit.max(used));
        let is_same = self.limits.max_total_bytes == head.max_total_bytes
            && self.limits.max_frame_bytes == head.max_frame_bytes;
        if !is_same {
            self.approach_limits(&mut 0);
        }
    }
}
