//! Readers on the other nodes of a cluster, as tables.
//!
//! Owns the tables of what each other node has said, within a limit for all together, and the list
//! of slots whose channel was forgotten. It knows no hub.
//!
//! A table has keyed hashes in place of names: 16 bytes for a channel and no name to keep. The key is
//! the secret of the cluster, so nobody can choose two names with one hash.

mod frozen;

use std::collections::BTreeMap;

use hashbrown::HashTable;

/// Tables that the channels of one node are spread over, so that the growth of one takes less than
/// a tick.
const TABLES: usize = 64;

/// Other nodes that are known at most. The members of a cluster are no more.
pub const MAX_NODES: usize = 256;

/// Forgotten slots that are noted.
pub(super) const MAX_VACATED: usize = 65_536;

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
    /// Channels, summed over nodes: a channel on two nodes counts twice.
    pub(super) channels: usize,
    max_channels: usize,
    sweep: Option<Sweep>,
    /// Channels for which there was no room, since the start.
    pub(super) uncounted: u64,
    /// Slots whose channel was forgotten since they were taken last.
    vacated: Vec<u32>,
    has_missed_vacated: bool,
}

impl Elsewhere {
    /// Nothing, with room for so many channels.
    pub(super) fn new(max_channels: usize) -> Elsewhere {
        Elsewhere {
            max_channels,
            ..Elsewhere::default()
        }
    }

    /// The readers of a channel on all other nodes.
    pub(super) fn readers(&self, key: u64) -> u32 {
        let each = self.nodes.values().map(|told| told.readers(key));
        each.fold(0, u32::saturating_add)
    }

    /// The nodes of which something is known.
    pub(super) fn nodes(&self) -> impl Iterator<Item = u64> {
        self.nodes.keys().copied()
    }

    /// Notes what a node has said in a round.
    pub(super) fn set(&mut self, node: u64, round: u8, ends_round: bool, counts: &[(u64, u32)]) {
        let told = self.nodes.entry(node).or_default();
        for &(key, readers) in counts {
            let before = told.channels;
            let entry = Entry {
                key,
                readers,
                round,
            };
            let has_room = self.channels < self.max_channels;
            self.uncounted += u64::from(!told.set(entry, has_room));
            self.channels = self.channels - before + told.channels;
        }
        self.sweep = ends_round.then_some(Sweep {
            node,
            round,
            next: 0,
        });
        debug_assert!(
            self.nodes.len() <= MAX_NODES,
            "the log forgets a node first"
        );
    }

    /// Whether something that was not told again is to be removed.
    pub(super) fn is_sweeping(&self) -> bool {
        self.sweep.is_some()
    }

    /// Removes it from the next table.
    pub(super) fn continue_sweeping(&mut self) {
        let Some(Sweep { node, round, next }) = self.sweep.take() else {
            return;
        };
        let Some(told) = self.nodes.get_mut(&node) else {
            return;
        };
        let table = &mut told.tables[next];
        let before = table.len();
        table.retain(|entry| entry.round == round);
        let removed = before - table.len();
        told.channels -= removed;
        self.channels -= removed;
        let next = next + 1;
        self.sweep = (next < TABLES).then_some(Sweep { node, round, next });
    }

    /// Forgets what a node has said.
    pub(super) fn forget(&mut self, node: u64) {
        if let Some(told) = self.nodes.remove(&node) {
            self.channels -= told.channels;
        }
    }

    /// The slots that were noted since the last call; `None` if not all of them are known.
    pub(super) fn take_vacated(&mut self) -> Option<Vec<u32>> {
        let vacated = std::mem::take(&mut self.vacated);
        match std::mem::take(&mut self.has_missed_vacated) {
            true => None,
            false => Some(vacated),
        }
    }

    /// Notes that the channel in a slot is forgotten.
    pub(super) fn note_vacated(&mut self, slot: u32) {
        match self.vacated.len() < MAX_VACATED {
            true => self.vacated.push(slot),
            false => self.has_missed_vacated = true,
        }
    }
}
