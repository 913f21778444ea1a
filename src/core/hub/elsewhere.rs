//! Readers on the other nodes of a cluster, and what those are told about the readers here.
//!
//! Owns the tables of what each other node has said, within a limit for all together, and the list
//! of slots whose channel was forgotten. It asks nobody: the log of the cluster brings the numbers,
//! and reads the ones of this hub, slot after slot. Following and unfollowing a channel know
//! nothing of it.
//!
//! A table has keyed hashes in place of names: 16 bytes for a channel and no name to keep. The key is
//! the secret of the cluster, so nobody can choose two names with one hash.

use std::collections::BTreeMap;

use hashbrown::HashTable;

use super::Hub;

/// Tables that the channels of one node are spread over, so that the growth of one takes less than
/// a tick.
const TABLES: usize = 64;

/// Channels of all other nodes together that are known, for each channel that there may be here.
const PER_CHANNEL: usize = 2;

/// Forgotten slots that are noted.
const MAX_VACATED: usize = 65_536;

/// Readers of one channel on another node.
#[derive(Clone, Copy, Debug)]
struct Entry {
    key: u64,
    readers: u32,
    /// The round in which they were told last.
    round: u8,
}

/// What another node has said.
#[derive(Debug)]
struct Told {
    tables: Box<[HashTable<Entry>]>,
    channels: usize,
}

impl Default for Told {
    fn default() -> Told {
        Told {
            tables: (0..TABLES).map(|_| HashTable::new()).collect(),
            channels: 0,
        }
    }
}

impl Told {
    fn readers(&self, key: u64) -> u32 {
        let found = self.tables[table(key)].find(key, |entry| entry.key == key);
        found.map_or(0, |entry| entry.readers)
    }

    /// Notes readers of a channel. Returns whether there was room.
    fn set(&mut self, told: Entry, has_room: bool) -> bool {
        let table = &mut self.tables[table(told.key)];
        match table.find_entry(told.key, |entry| entry.key == told.key) {
            Ok(entry) if told.readers == 0 => {
                entry.remove();
                self.channels -= 1;
            }
            Ok(mut entry) => *entry.get_mut() = told,
            Err(_) if told.readers == 0 => {}
            Err(_) if !has_room => return false,
            Err(_) => {
                table.insert_unique(told.key, told, |entry| entry.key);
                self.channels += 1;
            }
        }
        true
    }
}

/// Chooses a table by bits of the key that hashbrown uses least.
fn table(key: u64) -> usize {
    (key >> 32) as usize % TABLES
}

/// A round of a node that is over: what was not told in it is removed, one table after another.
#[derive(Clone, Copy, Debug)]
struct Sweep {
    node: u64,
    round: u8,
    next: usize,
}

/// What is known of readers on other nodes.
#[derive(Debug, Default)]
pub(super) struct Elsewhere {
    nodes: BTreeMap<u64, Told>,
    channels: usize,
    max_channels: usize,
    sweep: Option<Sweep>,
    /// Channels for which there was no room, since the start.
    uncounted: u64,
    /// Slots whose channel was forgotten since they were taken last.
    vacated: Vec<u32>,
    has_missed_vacated: bool,
}

impl Hub {
    /// The number by which the nodes of a cluster know a channel: the keyed hash of its name.
    pub fn reader_key(&self, name: &str) -> u64 {
        self.names.shared_hash(name)
    }

    /// How many readers a channel has on other nodes, as of what they have said last.
    pub fn readers_elsewhere(&self, name: &str) -> u32 {
        match &self.elsewhere {
            Some(elsewhere) if elsewhere.channels > 0 => {
                let key = self.reader_key(name);
                let each = elsewhere.nodes.values().map(|told| told.readers(key));
                each.fold(0, u32::saturating_add)
            }
            _ => 0,
        }
    }

    /// Channels of other nodes whose readers are known: each node's count.
    pub fn channels_elsewhere(&self) -> usize {
        self.elsewhere.as_ref().map_or(0, |known| known.channels)
    }

    /// Channels of other nodes whose readers are not counted, as there was no room. Since the start.
    pub fn uncounted_elsewhere(&self) -> u64 {
        self.elsewhere.as_ref().map_or(0, |known| known.uncounted)
    }

    /// Notes what another node has said in a round: keys of channels, and how many readers each has
    /// there. If the round is over with it, what was not told in it is removed by
    /// [`Hub::continue_sweeping`].
    pub fn set_elsewhere(&mut self, node: u64, round: u8, ends_round: bool, counts: &[(u64, u32)]) {
        debug_assert!(!self.is_sweeping(), "one after another");
        let elsewhere = self.elsewhere_mut();
        let told = elsewhere.nodes.entry(node).or_default();
        for &(key, readers) in counts {
            let before = told.channels;
            let entry = Entry {
                key,
                readers,
                round,
            };
            let has_room = elsewhere.channels < elsewhere.max_channels;
            elsewhere.uncounted += u64::from(!told.set(entry, has_room));
            elsewhere.channels = elsewhere.channels - before + told.channels;
        }
        elsewhere.sweep = ends_round.then_some(Sweep {
            node,
            round,
            next: 0,
        });
    }

    /// Whether [`Hub::continue_sweeping`] has something to do.
    pub fn is_sweeping(&self) -> bool {
        let elsewhere = self.elsewhere.as_ref();
        elsewhere.is_some_and(|elsewhere| elsewhere.sweep.is_some())
    }

    /// Goes on with the removal of what another node has not told again.
    pub fn continue_sweeping(&mut self) {
        let Some(elsewhere) = &mut self.elsewhere else {
            return;
        };
        let Some(Sweep { node, round, next }) = elsewhere.sweep.take() else {
            return;
        };
        let Some(told) = elsewhere.nodes.get_mut(&node) else {
            return;
        };
        let table = &mut told.tables[next];
        let before = table.len();
        table.retain(|entry| entry.round == round);
        let removed = before - table.len();
        told.channels -= removed;
        elsewhere.channels -= removed;
        let next = next + 1;
        elsewhere.sweep = (next < TABLES).then_some(Sweep { node, round, next });
    }

    /// Forgets what a node has said, which is no member of the cluster any more.
    pub fn forget_elsewhere(&mut self, node: u64) {
        if let Some(elsewhere) = &mut self.elsewhere
            && let Some(told) = elsewhere.nodes.remove(&node)
        {
            elsewhere.channels -= told.channels;
        }
    }

    /// How many slots of channels there are.
    pub fn slots(&self) -> usize {
        self.slots_used
    }

    /// How many readers the channel in a slot has; 0 if there is none.
    #[inline]
    pub fn readers_in(&self, slot: usize) -> u32 {
        let channel = self.channels.get(slot);
        channel.map_or(0, |channel| channel.reader_counts().total())
    }

    /// The key of the channel in a slot.
    pub fn reader_key_in(&self, slot: usize) -> Option<u64> {
        let channel = self.channels.get(slot)?;
        Some(self.reader_key(channel.name()))
    }

    /// The slots whose channel was forgotten since the last call; `None` if not all of them are
    /// known.
    pub fn take_vacated(&mut self) -> Option<Vec<u32>> {
        let elsewhere = self.elsewhere_mut();
        let vacated = std::mem::take(&mut elsewhere.vacated);
        match std::mem::take(&mut elsewhere.has_missed_vacated) {
            true => None,
            false => Some(vacated),
        }
    }

    /// Notes that the channel in a slot is forgotten, if nodes are told of readers.
    pub(super) fn note_vacated(&mut self, slot: u32) {
        let Some(elsewhere) = &mut self.elsewhere else {
            return;
        };
        match elsewhere.vacated.len() < MAX_VACATED {
            true => elsewhere.vacated.push(slot),
            false => elsewhere.has_missed_vacated = true,
        }
    }

    fn elsewhere_mut(&mut self) -> &mut Elsewhere {
        let max_channels = PER_CHANNEL.saturating_mul(self.limits.max_channels);
        self.elsewhere.get_or_insert_with(|| {
            Box::new(Elsewhere {
                max_channels,
                ..Elsewhere::default()
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn hub(max_channels: usize) -> Hub {
        let config = Config {
            max_channels,
            ..Config::default()
        };
        Hub::of_cluster(&config, 8, (1, 2))
    }

    fn sweep(hub: &mut Hub) {
        while hub.is_sweeping() {
            hub.continue_sweeping();
        }
    }

    #[test]
    fn readers_of_all_nodes_are_added_and_go_with_their_node() {
        let mut hub = hub(100);
        hub.set_salt((3, 4));
        let (a, b) = (hub.reader_key("a"), hub.reader_key("b"));
        hub.set_elsewhere(1, 0, false, &[(a, 2), (b, 1)]);
        hub.set_elsewhere(2, 0, false, &[(a, 5)]);
        assert_eq!(
            (hub.readers_elsewhere("a"), hub.readers_elsewhere("b")),
            (7, 1)
        );
        hub.set_elsewhere(2, 0, false, &[(a, 3)]);
        hub.set_elsewhere(1, 0, false, &[(b, 0)]);
        assert_eq!(
            (hub.readers_elsewhere("a"), hub.readers_elsewhere("b")),
            (5, 0)
        );
        assert_eq!(hub.channels_elsewhere(), 2);
        hub.forget_elsewhere(1);
        hub.forget_elsewhere(9);
        assert_eq!(
            (hub.readers_elsewhere("a"), hub.channels_elsewhere()),
            (3, 1)
        );
        hub.set_elsewhere(2, 0, false, &[(a, u32::MAX)]);
        hub.set_elsewhere(3, 0, false, &[(a, 1)]);
        assert_eq!(hub.readers_elsewhere("a"), u32::MAX);
    }

    #[test]
    fn what_is_not_told_in_a_round_goes_when_it_is_over() {
        let mut hub = hub(1_000);
        let all: Vec<(u64, u32)> = (0..500).map(|key: u64| (key << 28, 1)).collect();
        hub.set_elsewhere(1, 255, true, &all);
        sweep(&mut hub);
        assert_eq!(hub.channels_elsewhere(), 500);
        hub.set_elsewhere(2, 7, false, &all[..3]);
        hub.set_elsewhere(1, 0, false, &all[..100]);
        assert_eq!(hub.channels_elsewhere(), 503);
        hub.set_elsewhere(1, 0, true, &all[100..101]);
        sweep(&mut hub);
        assert_eq!(hub.channels_elsewhere(), 104);
    }

    #[test]
    fn channels_beyond_the_limit_are_not_counted() {
        let mut hub = hub(5);
        let all: Vec<(u64, u32)> = (0..12).map(|key| (key, 1)).collect();
        hub.set_elsewhere(1, 0, false, &all);
        assert_eq!(
            (hub.channels_elsewhere(), hub.uncounted_elsewhere()),
            (10, 2)
        );
        // What is known is kept up to date.
        hub.set_elsewhere(1, 0, false, &[(0, 0), (11, 1), (3, 9)]);
        assert_eq!(
            (hub.channels_elsewhere(), hub.uncounted_elsewhere()),
            (10, 2)
        );
        hub.forget_elsewhere(1);
        assert_eq!(hub.channels_elsewhere(), 0);
    }

    #[test]
    fn more_forgotten_slots_than_are_noted_are_told_as_unknown() {
        let mut hub = hub(5);
        hub.note_vacated(7);
        assert_eq!(
            hub.take_vacated(),
            Some(vec![]),
            "nobody is told of readers"
        );
        hub.note_vacated(7);
        assert_eq!(hub.take_vacated(), Some(vec![7]));
        (0..=MAX_VACATED).for_each(|_| hub.note_vacated(1));
        assert_eq!(hub.take_vacated(), None);
        assert_eq!(hub.take_vacated(), Some(vec![]));
    }
}
