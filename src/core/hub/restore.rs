//! Restoring: a hub becomes what the entries of a log say, in whatever order they come.
//!
//! Owns the way from entries to channels with sorted messages. Entries of old messages may come
//! after those of newer ones, and some come twice. So messages are gathered as they come; a channel
//! is sorted and trimmed when it has an eighth more than it may keep, all channels together
//! likewise, and everything at the end. What is restored takes little more memory than it is
//! allowed.
//!
//! Invariants:
//! - *No order.* The result does not depend on the order of the entries.
//! - *A channel inherits nothing* from its bucket of names here: its messages may be older than the
//!   channel by which the bucket's floor was raised.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::ages::Ages;
use super::loss::Loss;
use super::policies::Rules;
use super::ring::Ring;
use super::room::footprint;
use super::stored::Stored;
use super::{Channel, Hub};
use crate::base::time::Time;
use crate::message::{ChannelName, Draft, DraftKind, Epoch, Numbering, Seq};

/// A message to be restored.
#[derive(Debug)]
pub struct Restored<'e> {
    /// Its number.
    pub seq: Seq,
    /// When it was published; not after the hub's time.
    pub at: Time,
    /// How many connections were parked on its channel.
    pub subscribers: u32,
    /// The number of the newest message that its channel had evicted by then.
    pub floor: Seq,
    /// The message or end that was published.
    pub draft: Draft<'e>,
}

/// A hub that is being restored.
pub struct Restore {
    hub: Hub,
    /// The messages of each channel, by its index.
    gathered: Vec<Gathered>,
    /// The floors of names without a channel.
    floors: HashMap<Box<str>, Floor>,
    /// The channels by their newest messages, oldest first, as they were when there was no room for
    /// another channel; `None` as long as there is.
    oldest: Option<BinaryHeap<Reverse<(Seq, u32)>>>,
}

/// The messages of a channel, as they came.
#[derive(Default)]
struct Gathered {
    /// Their numbers and keys.
    messages: Vec<(Seq, u32)>,
    /// The highest of their numbers.
    newest: Seq,
    /// Their footprints together, with those that are removed since they were last sorted.
    bytes: usize,
}

#[derive(Clone, Copy, Default)]
struct Floor {
    up_to: Seq,
    /// Whether the log has a record of it.
    is_saved: bool,
}

impl Restore {
    /// Begins with an empty hub, whose time is set. From now on it keeps the losses of the channels
    /// that it forgets.
    pub fn new(mut hub: Hub) -> Restore {
        hub.unsaved_losses = Some(Vec::new());
        Restore {
            hub,
            gathered: Vec::new(),
            floors: HashMap::new(),
            oldest: None,
        }
    }

    /// Restores a message, unless it is lost, too old or here already.
    pub fn message(&mut self, restored: Restored<'_>) {
        let Restored {
            seq,
            at,
            subscribers,
            floor,
            draft,
        } = restored;
        let name = draft.channel.borrowed().into_owned();
        self.lose(&name, floor, false);
        if seq <= self.floor(&name) {
            return;
        }
        let rules = self.hub.policies.rules(self.hub.policies.resolve(&name));
        let is_too_old = at.after_ms(rules.max_age_ms) <= self.hub.now;
        let Some(index) = (!is_too_old).then(|| self.open(&name, seq)).flatten() else {
            return self.lose(&name, seq, false);
        };
        let bytes = footprint(&draft);
        self.hub.meter.charge(bytes);
        let is_end = draft.kind == DraftKind::End;
        let mut stored = Stored::new(draft, bytes, seq, index, at, subscribers);
        if is_end {
            stored.set_end();
        }
        let key = self.hub.messages.insert(stored) as u32;
        let gathered = &mut self.gathered[index as usize];
        gathered.messages.push((seq, key));
        gathered.bytes += bytes;
        gathered.newest = gathered.newest.max(seq);
        let rules = self.hub.rules(index);
        if gathered.messages.len() > with_slack(rules.max_messages)
            || gathered.bytes > with_slack(rules.max_bytes)
        {
            self.trim(index);
        }
        if self.hub.meter.used() > with_slack(self.hub.limits.max_total_bytes) {
            self.trim_all();
        }
    }

    /// The messages of a channel up to a number are lost. `is_saved` says whether the log has a
    /// record of that for the channel.
    pub fn lose(&mut self, name: &ChannelName<'_>, up_to: Seq, is_saved: bool) {
        if up_to == Seq::ZERO {
            return;
        }
        match self.hub.find(name) {
            Some(index) => {
                self.hub.channels[index as usize].raise_floor(up_to, is_saved);
                if up_to >= self.gathered[index as usize].newest {
                    self.trim(index);
                }
            }
            None => {
                let floor = self.floors.entry((&**name).into()).or_default();
                if up_to > floor.up_to {
                    *floor = Floor { up_to, is_saved };
                } else if up_to == floor.up_to {
                    floor.is_saved |= is_saved;
                }
            }
        }
    }

    /// A channel was forgotten, and its messages up to a number are lost.
    pub fn forget(&mut self, name: &ChannelName<'_>, up_to: Seq) {
        self.hub.names.raise_floor(name, up_to);
        self.lose(name, up_to, false);
    }

    /// Ends with a hub that follows the log of an epoch, whose newest number is `head`.
    pub fn finish(mut self, epoch: Epoch, head: Seq) -> Hub {
        self.trim_each();
        self.trim_all();
        for (index, gathered) in std::mem::take(&mut self.gathered).into_iter().enumerate() {
            if gathered.messages.is_empty() {
                continue;
            }
            let mut ring = Ring::default();
            for (seq, key) in gathered.messages {
                let stored = &self.hub.messages[key as usize];
                let idempotency_key = stored.idempotency_key().map(Box::from);
                match stored.is_end() {
                    false => ring.push(seq, key, stored.footprint(), idempotency_key),
                    true => ring.push_end(seq, key, stored.footprint(), idempotency_key),
                }
            }
            let channel = &mut self.hub.channels[index];
            channel.has_ended = ring.has_end();
            self.hub.ends += usize::from(channel.has_ended);
            channel.set_ring(ring);
        }
        self.order_by_age();
        for (name, floor) in std::mem::take(&mut self.floors) {
            self.forget_at_end(name, floor);
        }
        let mut hub = self.hub;
        hub.numbering = Numbering::Single(epoch);
        hub.head = head;
        hub
    }

    /// The bucket of a channel that is not there gets its floor. Where no record of it is in the
    /// log, one is to be written: records of some of its lost messages may go before those of
    /// others.
    fn forget_at_end(&mut self, name: Box<str>, floor: Floor) {
        let before = self.hub.names.evicted_up_to(&name);
        self.hub.names.raise_floor(&name, floor.up_to);
        if floor.is_saved || floor.up_to == before {
            return;
        }
        let channel = ChannelName::parse(name.into_string().into_bytes());
        let channel = channel.expect("a floor is kept of a valid name");
        let up_to = floor.up_to;
        let losses = self.hub.unsaved_losses.get_or_insert_default();
        losses.push(Loss { channel, up_to });
    }

    fn floor(&self, name: &str) -> Seq {
        match self.hub.find(name) {
            Some(index) => self.hub.channels[index as usize].evicted_up_to(),
            None => self.floors.get(name).map_or(Seq::ZERO, |floor| floor.up_to),
        }
    }

    /// The channel of a name, made if need be, for a message; `None` where there is no room for it.
    fn open(&mut self, name: &str, seq: Seq) -> Option<u32> {
        if let Some(index) = self.hub.find(name) {
            return Some(index);
        }
        while self.hub.ensure_channel(name).is_err() {
            self.drop_channel_before(seq)?;
        }
        let floor = self.floors.remove(name).unwrap_or_default();
        let policy = self.hub.policies.resolve(name);
        let mut channel = Channel::new(name, floor.up_to, policy);
        channel.is_floor_saved = floor.is_saved;
        let index = self.hub.add(channel);
        if let Some(oldest) = &mut self.oldest {
            oldest.push(Reverse((seq, index)));
        }
        if self.gathered.len() <= index as usize {
            self.gathered
                .resize_with(index as usize + 1, Gathered::default);
        }
        Some(index)
    }

    /// Drops the channel whose newest message is the oldest, if that is before `seq`. Returns
    /// whether there was one: it makes room for a channel in use since. Channels that were
    /// forgotten may be back, where that was not saved.
    fn drop_channel_before(&mut self, seq: Seq) -> Option<()> {
        let newest =
            |gathered: &Gathered| (!gathered.messages.is_empty()).then_some(gathered.newest);
        let oldest = self.oldest.get_or_insert_with(|| {
            let each = self.gathered.iter().enumerate();
            let each = each.filter_map(|(index, one)| Some(Reverse((newest(one)?, index as u32))));
            each.collect()
        });
        while let Some(Reverse((at, index))) = oldest.pop() {
            match newest(&self.gathered[index as usize]) {
                Some(now) if now != at => oldest.push(Reverse((now, index))),
                Some(now) if now < seq => {
                    self.hub.channels[index as usize].raise_floor(now, false);
                    self.trim(index);
                    return Some(());
                }
                Some(_) => {
                    oldest.push(Reverse((at, index)));
                    return None;
                }
                None => {}
            }
        }
        None
    }

    /// Sorts a channel's messages, and drops those that are lost or over its limits, and ends after
    /// which something was published. If none is left, the channel goes.
    fn trim(&mut self, index: u32) {
        let rules = *self.hub.rules(index);
        let mut gathered = std::mem::take(&mut self.gathered[index as usize]).messages;
        gathered.sort_by_key(|&(seq, _)| seq);
        let floor = self.hub.channels[index as usize].evicted_up_to();
        let mut kept: Vec<(Seq, u32)> = Vec::with_capacity(gathered.len());
        for (seq, key) in gathered {
            let is_first = kept.last().is_none_or(|&(last, _)| last != seq);
            // fault: entry-twice-is-restored-twice
            if seq <= floor || !is_first {
                self.remove(seq, key);
                continue;
            }
            // fault: restored-end-is-not-superseded
            if let Some((seq, key)) = kept.pop_if(|&mut (_, last)| self.is_end(last)) {
                self.remove(seq, key);
            }
            kept.push((seq, key));
        }
        let ends = usize::from(kept.last().is_some_and(|&(_, last)| self.is_end(last)));
        let over = self.over(&kept, ends, &rules);
        for (place, &(seq, key)) in kept[..over].iter().enumerate() {
            let is_replaced = rules.latest && place + 1 + ends < kept.len();
            if !is_replaced {
                // fault: restored-loss-is-not-noted
                self.hub.channels[index as usize].raise_floor(seq, false);
            }
            self.remove(seq, key);
        }
        kept.drain(..over);
        let footprint = |&(_, key): &(Seq, u32)| self.hub.messages[key as usize].footprint();
        let bytes = kept.iter().map(footprint).sum();
        let newest = kept.last().map(|&(seq, _)| seq);
        self.gathered[index as usize] = Gathered {
            messages: kept,
            newest: newest.unwrap_or_default(),
            bytes,
        };
        if newest.is_none() {
            self.close(index);
        }
    }

    fn is_end(&self, key: u32) -> bool {
        self.hub.messages[key as usize].is_end()
    }

    /// How many of the oldest messages are over the limits of their channel. The end, if `ends` is
    /// 1, takes no place among them.
    fn over(&self, kept: &[(Seq, u32)], ends: usize, rules: &Rules) -> usize {
        let mut bytes = 0_usize;
        let newest = kept.iter().rev().take(rules.max_messages + ends);
        let within = newest.take_while(|&&(_, key)| {
            bytes += self.hub.messages[key as usize].footprint();
            bytes <= rules.max_bytes
        });
        kept.len() - within.count()
    }

    /// Evicts the oldest messages of all channels while they are over the limit together.
    fn trim_all(&mut self) {
        let limit = self.hub.limits.max_total_bytes;
        if self.hub.meter.used() <= limit {
            return;
        }
        // Duplicates would take the place of others.
        self.trim_each();
        let by_number = |(key, stored): (usize, &Stored)| (stored.seq(), key as u32);
        let mut all: Vec<(Seq, u32)> = self.hub.messages.iter().map(by_number).collect();
        all.sort_unstable();
        for (seq, key) in all {
            if self.hub.meter.used() <= limit {
                break;
            }
            let channel = self.hub.messages[key as usize].channel();
            self.hub.channels[channel as usize].raise_floor(seq, false);
            self.remove(seq, key);
        }
        self.trim_each();
    }

    fn trim_each(&mut self) {
        for index in 0..self.gathered.len() {
            if !self.gathered[index].messages.is_empty() {
                self.trim(index as u32);
            }
        }
    }

    /// Removes a message, unless it is removed already and its place another's.
    fn remove(&mut self, seq: Seq, key: u32) {
        let stored = self.hub.messages.get(key as usize);
        if stored.is_some_and(|stored| stored.seq() == seq) {
            let gone = self.hub.messages.remove(key as usize);
            self.hub.meter.release(gone.footprint());
        }
    }

    /// Removes a channel without messages. Its floor stays.
    fn close(&mut self, index: u32) {
        let gone = self.hub.channels.remove(index as usize);
        self.hub.channel_bytes -= Channel::footprint(gone.name());
        self.hub.names.remove(index, &gone, &self.hub.channels);
        let floor = Floor {
            up_to: gone.evicted_up_to(),
            is_saved: gone.is_floor_saved,
        };
        self.floors.insert(gone.name().into(), floor);
    }

    /// Puts all messages into the order of their ages, which is that of their numbers. Where the
    /// clock went back between two of them, the later one is made as young as the earlier.
    fn order_by_age(&mut self) {
        let hub = &mut self.hub;
        let by_number = |(key, stored): (usize, &Stored)| (stored.seq(), key as u32);
        let mut all: Vec<(Seq, u32)> = hub.messages.iter().map(by_number).collect();
        all.sort_unstable();
        let mut ages = Ages::new(hub.limits.max_channels);
        let mut youngest = Time::default();
        for (_, key) in all {
            let stored = &mut hub.messages[key as usize];
            youngest = youngest.max(stored.at());
            stored.set_at(youngest);
            ages.push(&mut hub.messages, key);
        }
        hub.ages = ages;
    }
}

/// A limit and an eighth.
fn with_slack(limit: usize) -> usize {
    const FEW: usize = 16;
    limit.saturating_add(limit / 8).saturating_add(FEW)
}
