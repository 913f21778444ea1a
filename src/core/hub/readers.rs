//! Readers: which channels each follows, and how far it has come.
//!
//! Owns the subscriptions. A [`Reader`] is kept by the caller, one for each connection, and is
//! either *queued* (its subscriptions stand in the lists of their channels) or not (it is being
//! served, its socket is blocked, or it is paused).
//!
//! Invariant: a queued reader's cursor does not change; to move it, dequeue, set, enqueue again.

use super::subscription::{NONE, Subscription};
use super::{Channels, Hub, Item, Take};
use crate::message::Seq;

/// How far a connection has come in all its channels: one cursor, as there is one sequence.
#[derive(Clone, Copy, Debug)]
pub struct Reader {
    /// All items up to here are sent, or their first bytes are.
    pub cursor: Seq,
    pub(super) first: u32,
    pub(super) place: Place,
    pub(super) class: u8,
    /// The least time between two writes to it, in milliseconds; 0: none. The hub does not look at
    /// it: it is here because a reader has room for it.
    pub pace_ms: u16,
}

/// Where a reader's subscriptions stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In no list: it is being served, or its socket is blocked.
    Nowhere,
    /// In the lists of their channels.
    Queued,
    /// In no list until its caller says so.
    Paused,
    /// In no list until the hub has come to its cursor.
    Ahead,
}

impl Default for Reader {
    fn default() -> Reader {
        Reader {
            cursor: Seq::ZERO,
            first: NONE,
            place: Place::Nowhere,
            class: 0,
            pace_ms: 0,
        }
    }
}

impl Reader {
    /// Whether it follows any channel.
    pub fn is_following(&self) -> bool {
        self.first != NONE
    }

    /// The class by which it is counted while it follows channels; see [`super::ReaderCounts`].
    pub fn class(&self) -> u8 {
        self.class
    }

    /// Whether its subscriptions stand in lists.
    pub fn is_queued(&self) -> bool {
        self.place == Place::Queued
    }

    /// Whether it is neither queued nor paused, so that it is to be queued when it was served.
    pub fn is_unplaced(&self) -> bool {
        self.place == Place::Nowhere
    }

    /// Keeps it from being queued. It must not be queued now.
    pub fn pause(&mut self) {
        debug_assert!(!self.is_queued());
        self.place = Place::Paused;
    }

    /// Whether it is kept from being queued.
    pub fn is_paused(&self) -> bool {
        self.place == Place::Paused
    }

    /// Keeps it from being queued until the hub has come to its cursor, which is of another node of
    /// the cluster.
    pub fn wait_ahead(&mut self) {
        debug_assert!(self.is_unplaced());
        self.place = Place::Ahead;
    }

    /// Whether it waits for the hub to come to its cursor.
    pub fn is_ahead(&self) -> bool {
        self.place == Place::Ahead
    }

    /// The hub has come to its cursor.
    pub fn end_ahead(&mut self) {
        debug_assert!(self.is_ahead());
        self.place = Place::Nowhere;
    }

    /// Ends its pause.
    pub fn end_pause(&mut self) {
        debug_assert!(self.is_paused());
        self.place = Place::Nowhere;
    }
}

impl Hub {
    /// Makes a reader follow channels, and counts it by `class`, a number below
    /// [`ReaderCounts::CLASSES`](super::ReaderCounts::CLASSES). It is not queued yet, and has its cursor.
    /// `ignores_earlier_losses`: where a channel has lost messages after its cursor, evictions before
    /// its first message are no gaps.
    pub fn follow(
        &mut self,
        reader: &mut Reader,
        follower: u32,
        channels: &[u32],
        class: u8,
        ignores_earlier_losses: bool,
    ) {
        assert!(
            !reader.is_following(),
            "a reader follows one set of channels"
        );
        reader.class = class;
        if !channels.is_empty() {
            self.readers.add(class);
        }
        for &channel in channels.iter().rev() {
            let has_losses = self.channels[channel as usize].evicted_up_to() > reader.cursor;
            let ignores = ignores_earlier_losses && has_losses;
            let subscription = Subscription::new(follower, channel, reader.first, ignores);
            reader.first = self.subscriptions.insert(subscription) as u32;
            self.channels[channel as usize]
                .reader_counts_mut()
                .add(class);
        }
    }

    /// Makes a reader that is not queued follow other channels. It keeps its class. A channel that
    /// it already follows keeps its flag `ignores_earlier_losses`. A new channel has it only if all
    /// channels that it followed before have it.
    pub fn refollow(&mut self, reader: &mut Reader, follower: u32, channels: &[u32]) {
        let followed = self.subscriptions_of(reader);
        let flags: Vec<(u32, bool)> = followed
            .map(|(_, s)| (s.channel, s.ignores_earlier_losses))
            .collect();
        let all_ignore = !flags.is_empty() && flags.iter().all(|&(_, ignores)| ignores);
        let class = reader.class;
        self.unfollow(reader);
        self.follow(reader, follower, channels, class, all_ignore);
        let mut at = reader.first;
        while at != NONE {
            let subscription = &mut self.subscriptions[at as usize];
            let before = flags
                .iter()
                .find(|&&(channel, _)| channel == subscription.channel);
            if let Some(&(_, ignores)) = before {
                subscription.ignores_earlier_losses = ignores;
            }
            at = subscription.sibling;
        }
    }

    /// Ends all of a reader's subscriptions.
    pub fn unfollow(&mut self, reader: &mut Reader) {
        self.dequeue(reader);
        if reader.is_following() {
            self.readers.remove(reader.class);
        }
        while reader.first != NONE {
            let gone = self.subscriptions.remove(reader.first as usize);
            reader.first = gone.sibling;
            let channel = &mut self.channels[gone.channel as usize];
            // fault: reader-stays-counted
            channel.reader_counts_mut().remove(reader.class);
            if channel.is_unused() {
                self.enqueue_idle(gone.channel);
            }
        }
    }

    /// Puts each of a reader's subscriptions into the list where its cursor says it belongs.
    /// Returns whether the reader has caught up in all channels.
    pub fn enqueue(&mut self, reader: &mut Reader) -> bool {
        debug_assert!(reader.is_unplaced());
        debug_assert!(reader.cursor <= self.head || self.is_losing());
        reader.place = Place::Queued;
        let mut waits = true;
        let mut at = reader.first;
        while at != NONE {
            let subscription = &mut self.subscriptions[at as usize];
            let (sibling, index) = (subscription.sibling, subscription.channel);
            let channel = &mut self.channels[index as usize];
            // fault: wrong-list
            if reader.cursor >= channel.newest_item() {
                // It has caught up, even if there was no message: from now on evictions are gaps.
                // fault: earlier-losses-ignored-for-ever
                subscription.ignores_earlier_losses = false;
                channel.waiting.push_back(&mut self.subscriptions, at);
                channel.waiting_count += 1;
            } else {
                waits = false;
                channel.add_pending(reader.cursor);
                channel.ready.push_back(&mut self.subscriptions, at);
                if !std::mem::replace(&mut channel.running, true) {
                    self.run.push_back(index);
                }
            }
            at = sibling;
        }
        waits
    }

    /// Takes a reader's subscriptions out of the lists.
    pub fn dequeue(&mut self, reader: &mut Reader) {
        if !reader.is_queued() {
            if reader.is_ahead() {
                reader.end_ahead();
            }
            return;
        }
        reader.place = Place::Nowhere;
        let mut at = reader.first;
        while at != NONE {
            let subscription = &self.subscriptions[at as usize];
            let (sibling, index) = (subscription.sibling, subscription.channel);
            let channel = &mut self.channels[index as usize];
            if reader.cursor >= channel.newest_item() {
                channel.waiting.unlink(&mut self.subscriptions, at);
                channel.waiting_count -= 1;
            } else {
                channel.remove_pending(reader.cursor);
                channel.ready.unlink(&mut self.subscriptions, at);
            }
            at = sibling;
        }
    }

    /// The channels that a reader follows.
    pub fn followed(&self, reader: &Reader) -> impl Iterator<Item = u32> {
        self.subscriptions_of(reader).map(|(_, s)| s.channel)
    }

    /// Whether any item is pending for a reader.
    pub fn has_pending(&self, reader: &Reader) -> bool {
        self.subscriptions_of(reader)
            .any(|(_, s)| self.channels[s.channel as usize].newest_item() > reader.cursor)
    }

    /// Whether a reader is done: it follows channels, all of them have ended, and it has received
    /// the end of each.
    pub fn is_done(&self, reader: &Reader) -> bool {
        self.are_done(self.followed(reader), reader.cursor)
    }

    /// Whether a reader of these channels that has received everything up to `cursor` is done.
    pub fn are_done(&self, mut channels: impl Iterator<Item = u32>, cursor: Seq) -> bool {
        let is_done = |channel: u32| self.channels[channel as usize].is_done(cursor);
        // fault: done-with-the-first-end
        channels.next().is_some_and(is_done) && channels.all(is_done)
    }

    /// Those of `channels` with which a reader is done that has received everything up to `cursor`.
    pub fn done_among(&self, channels: &[u32], cursor: Seq) -> Channels {
        let is_done = |&channel: &u32| self.channels[channel as usize].is_done(cursor);
        channels.iter().copied().filter(is_done).collect()
    }

    /// Appends the next items for a reader to `items`, lowest number first, and returns whether
    /// there are more than `take` allows.
    pub fn pending_items(&self, reader: &Reader, take: Take, items: &mut Vec<Item>) -> bool {
        let followed = self
            .subscriptions_of(reader)
            .map(|(_, s)| (s.channel, s.ignores_earlier_losses));
        self.collect(followed, reader.cursor, take, items)
    }

    /// Clears `ignores_earlier_losses` for channels of which the reader has now received a message,
    /// or caught up: later evictions are gaps for it.
    pub fn stop_ignoring_losses(&mut self, reader: &Reader, items: &[Item]) {
        let mut at = reader.first;
        while at != NONE {
            let caught_up = {
                let s = &self.subscriptions[at as usize];
                s.ignores_earlier_losses
                    && self.channels[s.channel as usize].newest_item() <= reader.cursor
            };
            let s = &self.subscriptions[at as usize];
            let seen = s.ignores_earlier_losses
                && items.iter().any(|item| match item {
                    Item::Message { key, .. } => {
                        self.messages[*key as usize].channel() == s.channel
                    }
                    Item::Gap(_) | Item::End { .. } => false,
                });
            let s = &mut self.subscriptions[at as usize];
            s.ignores_earlier_losses = s.ignores_earlier_losses && !seen && !caught_up;
            at = s.sibling;
        }
    }

    /// The channel at the front of the run queue. It stays there until [`Hub::end_turn`].
    pub fn next_turn(&self) -> Option<u32> {
        self.run.front().copied()
    }

    /// The follower that has been ready for longest on a channel.
    pub fn first_ready(&self, channel: u32) -> Option<u32> {
        let first = self.channels[channel as usize].ready.front()?;
        Some(self.subscriptions[first as usize].follower)
    }

    /// Ends a channel's turn: it goes to the end of the run queue, or leaves it if no reader is
    /// ready.
    pub fn end_turn(&mut self, index: u32) {
        let front = self.run.pop_front();
        debug_assert_eq!(front, Some(index), "turns end in the order they began");
        let channel = &mut self.channels[index as usize];
        if channel.ready.is_empty() {
            channel.running = false;
            let was_woken = std::mem::replace(&mut channel.woken, false);
            if let Some((_, newest)) = channel.publish_interval().filter(|_| was_woken) {
                self.fan_out_ms.record(self.now.since_ms(newest));
            }
            self.trim(index);
        } else {
            // fault: budget-not-carried-over
            self.run.push_back(index);
        }
    }

    /// Whether any channel has ready readers.
    pub fn has_ready(&self) -> bool {
        !self.run.is_empty()
    }

    pub(super) fn subscriptions_of(
        &self,
        reader: &Reader,
    ) -> impl Iterator<Item = (u32, &Subscription)> {
        let mut at = reader.first;
        std::iter::from_fn(move || {
            let subscription = self.subscriptions.get(at as usize)?;
            let index = std::mem::replace(&mut at, subscription.sibling);
            Some((index, subscription))
        })
    }
}

const _: () = assert!(size_of::<Reader>() <= 16);
