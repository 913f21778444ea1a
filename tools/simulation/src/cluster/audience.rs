//! Readers of channels on a node, and what it knows of those of other nodes.
//!
//! Owns both, without channels: a number stands for one.

use std::collections::BTreeMap;

use encke_core::log::cluster::Node;

/// Milliseconds between two looks at all channels.
const PASS_MS: u64 = 500;

/// Readers of channels, by number, on nodes.
pub(super) type Told = BTreeMap<u64, BTreeMap<u64, u32>>;

/// The readers on a node.
#[derive(Debug, Default)]
pub(super) struct Audience {
    /// By which others know the node.
    pub(super) node: u64,
    readers: BTreeMap<u64, u32>,
    told: BTreeMap<u64, u32>,
    round: u64,
    due: u64,
}

impl Audience {
    /// A channel has so many readers now.
    pub(super) fn set(&mut self, channel: u64, readers: u32) {
        match readers {
            0 => self.readers.remove(&channel),
            _ => self.readers.insert(channel, readers),
        };
    }

    /// Tells the node what has changed.
    pub(super) fn tell(&mut self, node: &mut Node, now: u64) {
        let Some(round) = node.readers_round() else {
            return;
        };
        if round != self.round {
            self.round = round;
            self.told.clear();
        } else if now < self.due {
            return;
        }
        self.due = now + PASS_MS;
        assert!(node.room_for_readers() > 100, "it waits with few channels");
        for (&channel, &readers) in &self.readers {
            if self.told.get(&channel) != Some(&readers) {
                node.tell_readers(channel, readers);
            }
        }
        for &channel in self.told.keys() {
            if !self.readers.contains_key(&channel) {
                node.tell_readers(channel, 0);
            }
        }
        self.told = self.readers.clone();
        node.end_readers_pass();
    }
}

/// What a node is to know when it has heard all others.
pub(super) fn expected<'a>(others: impl Iterator<Item = &'a Audience>) -> Told {
    let with_readers = others.filter(|other| !other.readers.is_empty());
    with_readers
        .map(|other| (other.node, other.readers.clone()))
        .collect()
}

/// What a node has heard of other nodes.
#[derive(Debug, Default)]
pub(super) struct Elsewhere {
    /// Readers, and the round in which they were told last.
    readers: BTreeMap<u64, BTreeMap<u64, (u32, u8)>>,
    /// The last round of each node.
    rounds: BTreeMap<u64, u8>,
}

impl Elsewhere {
    pub(super) fn hear(&mut self, node: u64, round: u8, ends_round: bool, counts: &[(u64, u32)]) {
        // A round of before has counts of before, which a later round has put right. Numbers of rounds
        // begin again, after many.
        let last = self.rounds.insert(node, round).unwrap_or(round);
        assert!(
            round.wrapping_sub(last) < 128,
            "node {node} is heard in round {round} after {last}"
        );
        let known = self.readers.entry(node).or_default();
        for &(channel, readers) in counts {
            match readers {
                0 => known.remove(&channel),
                _ => known.insert(channel, (readers, round)),
            };
        }
        if ends_round {
            known.retain(|_, (_, told_in)| *told_in == round);
        }
    }

    pub(super) fn forget(&mut self, node: u64) {
        self.readers.remove(&node);
        self.rounds.remove(&node);
    }

    pub(super) fn told(&self) -> Told {
        let readers = |known: &BTreeMap<u64, (u32, u8)>| {
            let each = known
                .iter()
                .map(|(&channel, &(readers, _))| (channel, readers));
            each.collect::<BTreeMap<u64, u32>>()
        };
        let nodes = self.readers.iter();
        let nodes = nodes.map(|(&node, known)| (node, readers(known)));
        nodes.filter(|(_, known)| !known.is_empty()).collect()
    }
}
