//! The frozen form of channels, their messages and readers aside.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};
use slab::Slab;

use super::super::policies::NO_POLICY;
use super::super::{Channel, Hub};
use crate::base::time::Time;
use crate::frozen::{Freezer, ThawError, Thawer};
use crate::message::{ChannelName, Seq};

const CHANNEL: ThawError = ThawError::Damaged("a channel is not valid");

/// The frozen form of a [`Channel`].
#[derive(Serialize, Deserialize)]
struct FrozenChannel<'c> {
    /// Its slot.
    index: u32,
    #[serde(borrow)]
    name: &'c str,
    evicted_up_to: Seq,
    /// When its newest message came, and the mean time between messages.
    newest_at: Option<Time>,
    mean_interval_ms: u32,
    woken: bool,
    is_floor_saved: bool,
    has_ended: bool,
    policy: u8,
}

impl Hub {
    pub(super) fn freeze_channels<W: Write>(&self, state: &mut Freezer<W>) -> io::Result<()> {
        state.put_all(self.channels.iter().map(|(index, channel)| {
            let ring = channel.ring();
            FrozenChannel {
                index: index as u32,
                name: channel.name(),
                evicted_up_to: channel.evicted_up_to,
                newest_at: ring.and_then(|ring| ring.newest_at),
                mean_interval_ms: ring.map_or(0, |ring| ring.mean_interval_ms),
                woken: channel.woken,
                is_floor_saved: channel.is_floor_saved,
                has_ended: channel.has_ended,
                policy: channel.policy,
            }
        }))
    }

    /// Reads the channels. A ring is made for those that had one; it has no entry yet.
    pub(super) fn thaw_channels<R: Read>(
        &mut self,
        max_channels: usize,
        state: &mut Thawer<R>,
    ) -> Result<(), ThawError> {
        let mut channels: Vec<(usize, Channel)> = Vec::new();
        let mut values = state.take_all();
        while let Some(frozen) = values.take::<FrozenChannel<'_>>()? {
            let index = frozen.index as usize;
            if index >= max_channels {
                return Err(ThawError::Exceeds(format!(
                    "a channel has the place {index}: --max-channels must be {} at least, \
                     unless encke is restarted",
                    index + 1
                )));
            }
            let is_after = channels.last().is_none_or(|&(last, _)| last < index);
            if !is_after || index >= self.slots_used {
                return Err(CHANNEL);
            }
            channels.push((index, self.thaw_channel(&frozen)?));
        }
        self.channels = Slab::from_iter(channels);
        self.channels.reserve(max_channels - self.channels.len());
        for (index, channel) in &self.channels {
            if self.names.find(channel.name(), &self.channels).is_some() {
                return Err(ThawError::Damaged("two channels have one name"));
            }
            self.names.insert(index as u32, &self.channels);
            self.channel_bytes += Channel::footprint(channel.name());
        }
        Ok(())
    }

    fn thaw_channel(&self, frozen: &FrozenChannel<'_>) -> Result<Channel, ThawError> {
        let &FrozenChannel {
            name,
            evicted_up_to,
            newest_at,
            mean_interval_ms,
            woken,
            is_floor_saved,
            has_ended,
            policy,
            ..
        } = frozen;
        let name = ChannelName::parse(name.as_bytes()).map_err(|_| CHANNEL)?;
        if evicted_up_to > self.head || newest_at > Some(self.now) {
            return Err(CHANNEL);
        }
        let mut channel = Channel::new(&name, evicted_up_to, policy);
        if newest_at.is_some() || mean_interval_ms > 0 {
            let ring = channel.ring_mut();
            (ring.newest_at, ring.mean_interval_ms) = (newest_at, mean_interval_ms);
        }
        channel.woken = woken;
        channel.is_floor_saved = is_floor_saved;
        channel.has_ended = has_ended;
        Ok(channel)
    }

    /// Whether all channels that have the index of their policy have that of one.
    pub(super) fn has_valid_policies(&self) -> bool {
        self.channels.iter().all(|(index, channel)| {
            let is_resolved = (index as u32) < self.resolved;
            let is_policy = usize::from(channel.policy) < self.policies.len();
            !is_resolved || is_policy || channel.policy == NO_POLICY
        })
    }

    /// Checks what holds between a channel and its entries, when all are there.
    pub(super) fn check_channels(&self) -> Result<(), ThawError> {
        let is_valid = |(_, channel): (usize, &Channel)| match channel.ring() {
            // An end that is evicted was the last to be.
            None => true,
            Some(ring) => !ring.entries.is_empty() && channel.has_ended == ring.has_end(),
        };
        match self.channels.iter().all(is_valid) {
            true => Ok(()),
            false => Err(CHANNEL),
        }
    }
}
