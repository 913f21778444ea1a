//! The frozen form of readers and of their subscriptions, and how they get together again.
//!
//! The subscriptions of a reader are written one after another, and refer to it by its follower.
//! After them, those in lists are named by their places in that order, channel by channel: those
//! that wait, and those that are ready. So the lists get their order back; which of the two lists
//! it is follows from the cursor.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};
use slab::Slab;

use super::super::reader_counts::ReaderCounts;
use super::super::readers::Place;
use super::super::subscription::{NONE, Subscription};
use super::super::{Channel, Hub, Reader};
use crate::frozen::{Freezer, ThawError, Thawer};
use crate::message::Seq;

const SUBSCRIPTION: ThawError = ThawError::Damaged("a subscription is not valid");
const READER: ThawError = ThawError::Damaged("a reader is not valid");
const LISTS: ThawError = ThawError::Damaged("a list of readers is not valid");

/// The frozen form of a [`Reader`]. Which channels it follows is in the state of the hub, by its
/// follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrozenReader {
    cursor: Seq,
    place: FrozenPlace,
    class: u8,
    pace_ms: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum FrozenPlace {
    Nowhere,
    Queued,
    Paused,
    /// Of a node of a cluster alone.
    Ahead,
}

/// The frozen form of a [`Subscription`].
#[derive(Serialize, Deserialize)]
struct FrozenSubscription {
    follower: u32,
    channel: u32,
    ignores_earlier_losses: bool,
    /// The one after it is of the same reader.
    has_sibling: bool,
}

/// The facts about a reader that its lists need.
#[derive(Clone, Copy)]
struct Known {
    first: u32,
    is_queued: bool,
    cursor: Seq,
}

impl Known {
    const NOBODY: Known = Known {
        first: NONE,
        is_queued: false,
        cursor: Seq::ZERO,
    };
}

impl Reader {
    /// Its frozen form.
    pub fn freeze(&self) -> FrozenReader {
        FrozenReader {
            cursor: self.cursor,
            place: match self.place {
                Place::Nowhere => FrozenPlace::Nowhere,
                Place::Ahead => FrozenPlace::Ahead,
                Place::Queued => FrozenPlace::Queued,
                Place::Paused => FrozenPlace::Paused,
            },
            class: self.class,
            pace_ms: self.pace_ms,
        }
    }
}

impl FrozenReader {
    /// The reader, which follows no channel and is in no list before [`Hub::adopt_readers`].
    ///
    /// # Errors
    ///
    /// [`ThawError::Damaged`] where its class is none.
    pub fn thaw(self) -> Result<Reader, ThawError> {
        if usize::from(self.class) >= ReaderCounts::CLASSES {
            return Err(READER);
        }
        Ok(Reader {
            cursor: self.cursor,
            first: NONE,
            place: match self.place {
                FrozenPlace::Nowhere => Place::Nowhere,
                FrozenPlace::Queued => Place::Queued,
                FrozenPlace::Paused => Place::Paused,
                FrozenPlace::Ahead => Place::Ahead,
            },
            class: self.class,
            pace_ms: self.pace_ms,
        })
    }
}

impl Hub {
    pub(super) fn freeze_subscriptions<W: Write>(&self, state: &mut Freezer<W>) -> io::Result<()> {
        let order = self.subscriptions_by_reader();
        state.put_all(order.iter().map(|&at| {
            let subscription = &self.subscriptions[at as usize];
            FrozenSubscription {
                follower: subscription.follower,
                channel: subscription.channel,
                ignores_earlier_losses: subscription.ignores_earlier_losses,
                has_sibling: subscription.sibling != NONE,
            }
        }))?;
        let mut places = vec![NONE; self.subscriptions_used()];
        for (place, &at) in order.iter().enumerate() {
            places[at as usize] = place as u32;
        }
        let listed = self.channels.iter().flat_map(|(_, channel)| {
            let waiting = channel.waiting.iter(&self.subscriptions);
            waiting.chain(channel.ready.iter(&self.subscriptions))
        });
        state.put_all(listed.map(|at| places[at as usize]))
    }

    /// All subscriptions, those of each reader one after another.
    fn subscriptions_by_reader(&self) -> Vec<u32> {
        let mut is_sibling = vec![false; self.subscriptions_used()];
        for (_, subscription) in &self.subscriptions {
            if subscription.sibling != NONE {
                is_sibling[subscription.sibling as usize] = true;
            }
        }
        let mut order = Vec::with_capacity(self.subscriptions.len());
        for (at, _) in self.subscriptions.iter().filter(|&(at, _)| !is_sibling[at]) {
            let mut at = at as u32;
            while at != NONE {
                order.push(at);
                at = self.subscriptions[at as usize].sibling;
            }
        }
        order
    }

    /// All subscriptions are in places below this.
    fn subscriptions_used(&self) -> usize {
        let last = self.subscriptions.iter().next_back();
        last.map_or(0, |(at, _)| at + 1)
    }

    /// Reads the subscriptions. All those in lists are in `waiting`, in order, until
    /// [`Hub::adopt_readers`] is called.
    pub(super) fn thaw_subscriptions<R: Read>(
        &mut self,
        max_readers: usize,
        state: &mut Thawer<R>,
    ) -> Result<(), ThawError> {
        let mut subscriptions: Slab<Subscription> = Slab::with_capacity(max_readers);
        let mut before: Option<FrozenSubscription> = None;
        let mut values = state.take_all();
        while let Some(frozen) = values.take::<FrozenSubscription>()? {
            let (follower, channel) = (frozen.follower, frozen.channel);
            if follower as usize >= max_readers {
                return Err(ThawError::Exceeds(format!(
                    "a connection has the number {follower}: --max-connections must be {} at \
                     least, unless encke is restarted",
                    u64::from(follower) + 1
                )));
            }
            let sibling_of = before.filter(|before| before.has_sibling);
            let is_of_another = sibling_of.is_some_and(|before| before.follower != follower);
            if is_of_another || !self.channels.contains(channel as usize) {
                return Err(SUBSCRIPTION);
            }
            let sibling = match frozen.has_sibling {
                true => subscriptions.vacant_key() as u32 + 1,
                false => NONE,
            };
            let subscription =
                Subscription::new(follower, channel, sibling, frozen.ignores_earlier_losses);
            subscriptions.insert(subscription);
            before = Some(frozen);
        }
        if before.is_some_and(|before| before.has_sibling) {
            return Err(SUBSCRIPTION);
        }
        self.subscriptions = subscriptions;
        self.thaw_lists(state)
    }

    fn thaw_lists<R: Read>(&mut self, state: &mut Thawer<R>) -> Result<(), ThawError> {
        let mut is_listed = vec![false; self.subscriptions.len()];
        let mut values = state.take_all();
        while let Some(place) = values.take::<u32>()? {
            let is_listed = is_listed.get_mut(place as usize).ok_or(LISTS)?;
            if std::mem::replace(is_listed, true) {
                return Err(LISTS);
            }
            let channel = self.subscriptions[place as usize].channel;
            let list = &mut self.channels[channel as usize].waiting;
            list.push_back(&mut self.subscriptions, place);
        }
        Ok(())
    }

    /// Gives readers back their channels, and their places in lists. To be called once, after
    /// [`Hub::thaw`] and before anything else, with all readers, each with its follower; those that
    /// follow nothing may be among them.
    ///
    /// # Errors
    ///
    /// [`ThawError::Damaged`] where readers and the state of the hub do not belong together.
    pub fn adopt_readers<'r>(
        &mut self,
        readers: impl IntoIterator<Item = (u32, &'r mut Reader)>,
    ) -> Result<(), ThawError> {
        let mut known = self.first_subscriptions()?;
        let mut queued = 0;
        for (follower, reader) in readers {
            debug_assert!(!reader.is_following(), "a reader is adopted once");
            // In a cluster one that is in no list may have come from a node that is ahead.
            let may_be_ahead = self.is_shared() && !reader.is_queued();
            let is_known = reader.cursor <= self.head && !reader.is_ahead();
            if !is_known && !may_be_ahead {
                return Err(READER);
            }
            if let Some(known) = known.get_mut(follower as usize) {
                reader.first = std::mem::replace(&mut known.first, NONE);
                known.is_queued = reader.is_queued();
                known.cursor = reader.cursor;
            }
            queued += self.count_reader(reader);
        }
        if known.iter().any(|known| known.first != NONE) {
            return Err(READER);
        }
        if self.sort_lists(&known)? != queued {
            return Err(LISTS);
        }
        self.enqueue_unused();
        Ok(())
    }

    /// The first subscription of each follower: they are in the order in which they were read.
    fn first_subscriptions(&self) -> Result<Vec<Known>, ThawError> {
        let followers = self.subscriptions.iter().map(|(_, s)| s.follower);
        let numbers = followers.max().map_or(0, |last| last as usize + 1);
        let mut known = vec![Known::NOBODY; numbers];
        let mut is_first = true;
        for (at, subscription) in &self.subscriptions {
            let first = &mut known[subscription.follower as usize].first;
            if is_first && std::mem::replace(first, at as u32) != NONE {
                return Err(SUBSCRIPTION);
            }
            is_first = subscription.sibling == NONE;
        }
        Ok(known)
    }

    /// Counts a reader in the channels that it follows. Returns how many of its subscriptions are
    /// to be in lists.
    fn count_reader(&mut self, reader: &Reader) -> usize {
        if reader.is_following() {
            self.readers.add(reader.class);
        }
        let (mut at, mut followed) = (reader.first, 0);
        while at != NONE {
            let subscription = &self.subscriptions[at as usize];
            let channel = &mut self.channels[subscription.channel as usize];
            channel.reader_counts_mut().add(reader.class);
            followed += 1;
            at = subscription.sibling;
        }
        if reader.is_queued() { followed } else { 0 }
    }

    /// An unused channel is in the queue of idle ones. One that is not would stay for ever.
    fn enqueue_unused(&mut self) {
        let is_lost = |(_, channel): &(usize, &Channel)| channel.is_unused() && !channel.idle;
        let lost = self.channels.iter().filter(is_lost);
        let lost: Vec<u32> = lost.map(|(index, _)| index as u32).collect();
        for index in lost {
            self.enqueue_idle(index);
        }
    }

    /// Puts all that are in lists into the right ones. Returns how many they are.
    fn sort_lists(&mut self, known: &[Known]) -> Result<usize, ThawError> {
        let mut listed = 0;
        for (_, channel) in &mut self.channels {
            let mut all = std::mem::take(&mut channel.waiting);
            while let Some(at) = all.pop_front(&mut self.subscriptions) {
                let follower = self.subscriptions[at as usize].follower;
                let reader = &known[follower as usize];
                if !reader.is_queued {
                    return Err(LISTS);
                }
                if reader.cursor >= channel.newest_item() {
                    channel.waiting.push_back(&mut self.subscriptions, at);
                    channel.waiting_count += 1;
                } else {
                    channel.add_pending(reader.cursor);
                    channel.ready.push_back(&mut self.subscriptions, at);
                }
                listed += 1;
            }
            if !channel.ready.is_empty() && !channel.running {
                return Err(LISTS);
            }
        }
        Ok(listed)
    }
}
