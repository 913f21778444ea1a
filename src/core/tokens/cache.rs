//! The cache of verified tokens: a token that was seen before costs one look-up.
//!
//! Owns its entries and their limits. It judges nothing, and is told only of verified tokens.
//!
//! An entry is found by a 128-bit hash of the token, and the token itself is not kept. So the hash
//! must be one for which nobody without the key can find two texts with one hash: SipHash-1-3, keyed
//! by a random seed. Attackers see no hash, and the best known way to a collision inside of it works
//! once in 2^167 tries (Dobraunig, Mendel, Schläffer: Differential Cryptanalysis of SipHash), which
//! is less often than a guess of all 128 bits.
//!
//! The oldest entry goes first, used or not. Most tokens live for minutes, so the oldest are those
//! that expire next; a hit writes nothing, where the least recently used would be a list that every
//! request changes; and one that was dropped while it was in use costs one verification.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashTable;
use siphasher::sip128::SipHasher13;

use super::token::Token;

/// The most entries.
const MAX_ENTRIES: usize = 65_536;

/// The most bytes of all entries, overhead included.
const MAX_BYTES: usize = 16 << 20;

/// The 128-bit hash of a token.
type Digest = (u64, u64);

/// Bytes of an entry beside its token: twice a slot in the table and a place in the order, as both
/// may be twice as large as what is in them, the counts of the `Arc`, and what the allocator adds.
const OVERHEAD_BYTES: usize = 2 * (size_of::<Entry>() + 1 + size_of::<Digest>()) + 16 + 64;

#[derive(Debug)]
struct Entry {
    digest: Digest,
    token: Arc<Token>,
}

/// Verified tokens, by the hash of their text.
#[derive(Debug)]
pub(super) struct Cache {
    hasher: SipHasher13,
    entries: HashTable<Entry>,
    /// The oldest first.
    order: VecDeque<Digest>,
    bytes: usize,
    max_entries: usize,
    max_bytes: usize,
}

/// The place of a token in the cache.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot(Digest);

impl Cache {
    /// An empty cache, whose hash has this key. It takes memory with its first entry.
    pub(super) fn new(seed: (u64, u64)) -> Cache {
        Cache::with_limits(seed, MAX_ENTRIES, MAX_BYTES)
    }

    fn with_limits(seed: (u64, u64), max_entries: usize, max_bytes: usize) -> Cache {
        Cache {
            hasher: SipHasher13::new_with_keys(seed.0, seed.1),
            entries: HashTable::new(),
            order: VecDeque::new(),
            bytes: 0,
            max_entries,
            max_bytes,
        }
    }

    /// The place of a token, whether it is there or not.
    pub(super) fn slot(&self, token: &[u8]) -> Slot {
        Slot(self.hasher.hash(token).as_u64())
    }

    /// The token that is in this place.
    pub(super) fn get(&self, Slot(digest): Slot) -> Option<&Arc<Token>> {
        let found = self.entries.find(digest.0, |entry| entry.digest == digest);
        found.map(|entry| &entry.token)
    }

    /// Puts a token into a place that is empty. The oldest go until it fits.
    pub(super) fn insert(&mut self, Slot(digest): Slot, token: Arc<Token>) {
        let bytes = OVERHEAD_BYTES + token.bytes();
        if bytes > self.max_bytes {
            return;
        }
        while self.entries.len() >= self.max_entries || self.bytes + bytes > self.max_bytes {
            self.remove_oldest();
        }
        let entry = Entry { digest, token };
        self.entries
            .insert_unique(digest.0, entry, |entry| entry.digest.0);
        self.order.push_back(digest);
        self.bytes += bytes;
    }

    fn remove_oldest(&mut self) {
        let Some(digest) = self.order.pop_front() else {
            return;
        };
        let found = self
            .entries
            .find_entry(digest.0, |entry| entry.digest == digest);
        if let Ok(found) = found {
            let (entry, _) = found.remove();
            self.bytes -= OVERHEAD_BYTES + entry.token.bytes();
        }
    }

    /// Forgets all tokens, and returns the memory.
    pub(super) fn clear(&mut self) {
        self.entries = HashTable::new();
        self.order = VecDeque::new();
        self.bytes = 0;
    }

    /// The number of entries.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The bytes of all entries, overhead included.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tokens::key::KeyId;

    fn token(subject_bytes: usize, expires_at_ms: u64) -> Arc<Token> {
        Arc::new(Token {
            subject: Some("x".repeat(subject_bytes).into()),
            expires_at_ms,
            not_before_ms: 0,
            key: KeyId(1),
            subscribe: Default::default(),
            publish: Default::default(),
        })
    }

    /// All tokens with their texts, the oldest first, and their bytes counted anew each time.
    struct Twin(Vec<(u8, Arc<Token>)>);

    impl Twin {
        fn bytes(&self) -> usize {
            let each = self
                .0
                .iter()
                .map(|(_, token)| OVERHEAD_BYTES + token.bytes());
            each.sum()
        }
    }

    proptest! {
        #[test]
        fn keeps_the_newest_within_both_limits(
            steps in prop::collection::vec((0..12_u8, 0..400_usize), 1..200),
        ) {
            let (max_entries, max_bytes) = (5, 4 * (OVERHEAD_BYTES + token(200, 0).bytes()));
            let mut cache = Cache::with_limits((1, 2), max_entries, max_bytes);
            let mut twin = Twin(Vec::new());
            for (time, (name, subject_bytes)) in steps.into_iter().enumerate() {
                let slot = cache.slot(&[name]);
                let known = twin.0.iter().find(|(other, _)| *other == name);
                prop_assert_eq!(cache.get(slot), known.map(|(_, token)| token));
                if known.is_none() {
                    let token = token(subject_bytes, time as u64);
                    cache.insert(slot, token.clone());
                    twin.0.push((name, token));
                    while twin.0.len() > max_entries || twin.bytes() > max_bytes {
                        twin.0.remove(0);
                    }
                } else if subject_bytes == 0 {
                    cache.clear();
                    twin.0.clear();
                }
                prop_assert_eq!((cache.len(), cache.bytes()), (twin.0.len(), twin.bytes()));
                prop_assert_eq!(cache.order.len(), cache.len());
            }
        }
    }

    #[test]
    fn token_larger_than_the_cache_is_not_kept() {
        let mut cache = Cache::with_limits((1, 2), 5, OVERHEAD_BYTES + 1);
        cache.insert(cache.slot(b"a"), token(1, 1));
        assert_eq!((cache.len(), cache.bytes()), (0, 0));
    }

    #[test]
    fn largest_tokens_fill_the_bytes_and_smallest_the_entries() {
        for (subject_bytes, is_full_of_bytes) in [(0, false), (255, true)] {
            let mut cache = Cache::new((1, 2));
            for number in 0..80_000_u32 {
                cache.insert(cache.slot(&number.to_ne_bytes()), token(subject_bytes, 1));
            }
            assert!(cache.bytes() <= MAX_BYTES && cache.len() <= MAX_ENTRIES);
            let is_full = cache.bytes() > MAX_BYTES - 1_000;
            assert_eq!(
                is_full,
                is_full_of_bytes,
                "{} of {}",
                cache.bytes(),
                cache.len()
            );
            assert_eq!(cache.len() == MAX_ENTRIES, !is_full_of_bytes);
        }
    }
}
