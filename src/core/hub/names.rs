//! The index of channels by name, and the one number that is kept of forgotten channels.
//!
//! Owns the hash table and, for each of a fixed number of buckets of names, the highest number that
//! a forgotten channel of that bucket had evicted. A client that resumes on a forgotten channel
//! therefore gets a gap. As the table has a fixed size, a collision can cause a spurious gap on
//! another channel, never a missed one.

use std::hash::Hasher;

use hashbrown::HashTable;
use siphasher::sip::SipHasher13;
use slab::Slab;

use super::channel::Channel;
use crate::message::Seq;

/// Tables that the index is spread over: each grows by itself, so that no growth stalls the
/// reactor, and no room is taken for channels that may never be.
const TABLES: usize = 256;

/// Buckets of names: 32 KiB of numbers.
pub const BUCKETS: usize = 4_096;

/// The index.
pub(super) struct Names {
    tables: Box<[HashTable<u32>]>,
    pub(super) evicted_up_to: Box<[Seq]>,
    pub(super) keys: (u64, u64),
    /// By which names are put into buckets, if that is another secret: the one of a cluster.
    salt: Option<(u64, u64)>,
}

impl Names {
    pub(super) fn new(keys: (u64, u64)) -> Names {
        Names {
            tables: (0..TABLES).map(|_| HashTable::new()).collect(),
            evicted_up_to: vec![Seq::ZERO; BUCKETS].into(),
            keys,
            salt: None,
        }
    }

    pub(super) fn find(&self, name: &str, channels: &Slab<Channel>) -> Option<u32> {
        let named = |&channel: &u32| channels[channel as usize].name() == name;
        let hash = self.hash(name);
        self.tables[table(hash)].find(hash, named).copied()
    }

    /// Adds a channel that is in the table of channels and not yet here.
    pub(super) fn insert(&mut self, channel: u32, channels: &Slab<Channel>) {
        let keys = self.keys;
        let hash_of = |&other: &u32| hash(keys, channels[other as usize].name());
        let hash = hash_of(&channel);
        self.tables[table(hash)].insert_unique(hash, channel, hash_of);
    }

    /// Removes a channel that is no longer in the table of channels, and keeps the number up to
    /// which its messages are evicted.
    pub(super) fn forget(&mut self, channel: u32, gone: &Channel, channels: &Slab<Channel>) {
        self.remove(channel, gone, channels);
        self.raise_floor(gone.name(), gone.evicted_up_to());
    }

    /// Removes a channel that is no longer in the table of channels.
    pub(super) fn remove(&mut self, channel: u32, gone: &Channel, channels: &Slab<Channel>) {
        let keys = self.keys;
        let hash_of = |&other: &u32| hash(keys, channels[other as usize].name());
        let hash = self.hash(gone.name());
        let table = &mut self.tables[table(hash)];
        if let Ok(entry) = table.find_entry(hash, |&other| other == channel) {
            entry.remove();
        }
        if table.len() < table.capacity() / 4 {
            table.shrink_to(2 * table.len(), hash_of);
        }
    }

    /// Raises the number up to which messages of forgotten channels of this name's bucket may have
    /// been evicted.
    pub(super) fn raise_floor(&mut self, name: &str, up_to: Seq) {
        let known = &mut self.evicted_up_to[self.bucket(name)];
        // fault: forgotten-without-a-trace
        *known = up_to.max(*known);
    }

    /// The number up to which messages of a forgotten channel of this name may have been evicted.
    pub(super) fn evicted_up_to(&self, name: &str) -> Seq {
        self.evicted_up_to[self.bucket(name)]
    }

    /// Raises the numbers of all buckets.
    pub(super) fn raise_all(&mut self, up_to: Seq) {
        for known in &mut self.evicted_up_to {
            *known = up_to.max(*known);
        }
    }

    /// The other secret by which names are put into buckets, if there is one.
    pub(super) fn salt(&self) -> Option<(u64, u64)> {
        self.salt
    }

    /// Puts names into buckets by another secret. What was in any bucket may now be in any other.
    pub(super) fn set_salt(&mut self, salt: (u64, u64)) {
        if self.salt != Some(salt) {
            self.salt = Some(salt);
            let highest = self.evicted_up_to.iter().max().copied();
            self.raise_all(highest.unwrap_or_default());
        }
    }

    /// The bucket of a name.
    fn bucket(&self, name: &str) -> usize {
        bucket_of(self.salt.unwrap_or(self.keys), name)
    }

    /// The hash of a name by the secret of a cluster: the same on all its nodes.
    pub(super) fn shared_hash(&self, name: &str) -> u64 {
        hash(self.salt.unwrap_or(self.keys), name)
    }

    fn hash(&self, name: &str) -> u64 {
        hash(self.keys, name)
    }
}

fn hash(keys: (u64, u64), name: &str) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(keys.0, keys.1);
    hasher.write(name.as_bytes());
    hasher.finish()
}

/// Chooses a table by the high half of the hash: within a table hashbrown uses other bits.
fn table(hash: u64) -> usize {
    (hash >> 32) as usize % TABLES
}

/// The bucket of a name, below [`BUCKETS`], by a secret.
pub fn bucket_of(keys: (u64, u64), name: &str) -> usize {
    hash(keys, name) as usize % BUCKETS
}
