//! The items after a cursor: those of several channels, merged by number.
//!
//! Owns the merge, forwards and backwards. It never changes anything.

use std::collections::BinaryHeap;

use super::Hub;
use crate::message::Seq;

/// One thing that a reader is to receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// A stored message.
    Message {
        /// Its number.
        seq: Seq,
        /// Where it is stored.
        key: u32,
    },
    /// Messages up to this number are evicted from one of the channels.
    Gap(Seq),
    /// The end of one of the channels: nothing was published to it since.
    End {
        /// Its number.
        seq: Seq,
        /// The channel.
        channel: u32,
    },
}

impl Item {
    /// Its number in the sequence: the cursor of a reader that has received it.
    pub fn seq(&self) -> Seq {
        match *self {
            Item::Message { seq, .. } | Item::Gap(seq) | Item::End { seq, .. } => seq,
        }
    }
}

/// How much to take.
#[derive(Clone, Copy, Debug)]
pub struct Take {
    /// Most messages.
    pub messages: usize,
    /// Most bytes of messages; one always fits.
    pub bytes: usize,
}

/// How far the merge has come in one channel.
struct Source {
    channel: u32,
    place: usize,
    next: Option<Item>,
}

impl Hub {
    /// Appends the items of `channels` after `cursor` to `items`, lowest number first, and returns
    /// whether there are more than `take` allows. A channel whose earlier losses are ignored has no
    /// gap.
    pub fn collect(
        &self,
        channels: impl Iterator<Item = (u32, bool)>,
        cursor: Seq,
        take: Take,
        items: &mut Vec<Item>,
    ) -> bool {
        let mut room = take;
        let mut sources = channels.map(|(channel, ignores_earlier_losses)| {
            self.source(channel, ignores_earlier_losses, cursor)
        });
        let Some(mut first) = sources.next() else {
            return false;
        };
        let Some(second) = sources.next() else {
            while let Some(item) = first.next {
                if !self.fits(item, take, &mut room) {
                    return true;
                }
                items.push(item);
                self.step(&mut first);
            }
            return false;
        };
        let mut sources: Vec<Source> = [first, second]
            .into_iter()
            .chain(sources)
            .filter(|source| source.next.is_some())
            .collect();
        while let Some((at, item)) = lowest(&sources) {
            if !self.fits(item, take, &mut room) {
                return true;
            }
            // A loss of several channels is one gap.
            let is_told = matches!(item, Item::Gap(_)) && items.last() == Some(&item);
            if !is_told {
                items.push(item);
            }
            self.step(&mut sources[at]);
            if sources[at].next.is_none() {
                sources.swap_remove(at);
            }
        }
        false
    }

    /// The cursor before the newest `count` messages of `channels` together, or before all of them
    /// if there are fewer. Without messages it is the head.
    pub fn before_newest(&self, channels: impl Iterator<Item = u32>, count: usize) -> Seq {
        let newest_before = |channel: u32, place: usize| {
            let ring = self.channels[channel as usize].ring()?;
            let place = place.min(ring.message_count()).checked_sub(1)?;
            Some((ring.entries[place].seq, channel, place))
        };
        let newest = channels.filter_map(|channel| newest_before(channel, usize::MAX));
        let mut heads: BinaryHeap<(Seq, u32, usize)> = newest.collect();
        let mut cursor = self.head;
        for _ in 0..count {
            let Some((seq, channel, place)) = heads.pop() else {
                break;
            };
            // fault: one-of-the-newest-left-out
            cursor = Seq(seq.0 - 1);
            heads.extend(newest_before(channel, place));
        }
        cursor
    }

    /// The cursor before all items that `channels` keep. Without any it is the head. Nothing between it
    /// and their first item is missing, so for a channel alone it is never a gap.
    pub fn before_all(&self, channels: impl Iterator<Item = u32>) -> Seq {
        let oldest = channels.filter_map(|channel| self.channels[channel as usize].oldest_item());
        // fault: oldest-of-all-left-out
        oldest.min().map_or(self.head, |seq| Seq(seq.0 - 1))
    }

    #[inline]
    fn source(&self, index: u32, ignores_earlier_losses: bool, cursor: Seq) -> Source {
        let channel = &self.channels[index as usize];
        let place = channel.ring().map_or(0, |ring| ring.after(cursor));
        let mut source = Source {
            channel: index,
            place,
            next: None,
        };
        // fault: gap-off-by-one
        if channel.evicted_up_to() > cursor && !ignores_earlier_losses && !self.conceals_loss(index)
        {
            source.next = Some(Item::Gap(channel.evicted_up_to()));
        } else {
            self.step(&mut source);
        }
        source
    }

    /// Whether a channel has a message that replaces all before it, lost ones too.
    #[cold]
    fn conceals_loss(&self, index: u32) -> bool {
        // fault: loss-outlives-its-replacement
        self.rules(index).latest && !self.channels[index as usize].is_empty()
    }

    fn step(&self, source: &mut Source) {
        let ring = self.channels[source.channel as usize].ring();
        let entry = ring.and_then(|ring| ring.entries.get(source.place));
        source.place += 1;
        source.next = entry.map(|entry| match entry.is_end() {
            false => Item::Message {
                seq: entry.seq,
                key: entry.key(),
            },
            true => Item::End {
                seq: entry.seq,
                channel: source.channel,
            },
        });
    }

    fn fits(&self, item: Item, take: Take, room: &mut Take) -> bool {
        let Item::Message { key, .. } = item else {
            return true;
        };
        let bytes = self.messages[key as usize].data().len();
        let first = room.messages == take.messages;
        if room.messages == 0 || (!first && bytes > room.bytes) {
            return false;
        }
        // fault: limit-is-ignored
        room.messages -= 1;
        room.bytes = room.bytes.saturating_sub(bytes);
        true
    }
}

fn lowest(sources: &[Source]) -> Option<(usize, Item)> {
    let next = |(at, source): (usize, &Source)| Some((at, source.next?));
    let items = sources.iter().enumerate().filter_map(next);
    items.min_by_key(|(_, item)| item.seq())
}
