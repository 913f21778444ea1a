//! The cache of verified tokens: a token that was seen before costs one look-up.
//!
//! Owns its entries and their limits. It judges nothing, and is told only of verified tokens.
//!
//! An entry is found by a keyed hash of the last bytes of its token, which are a part of its
//! signature, and then compared byte by byte. So no collision can pass one token for another, and
//! the cost hardly depends on the length: a hash of the whole token, by which alone one could be
//! recognised, would take three times as many instructions.
//!
//! The oldest entry goes first, used or not. Most tokens live for minutes, so the oldest are those
//! that expire next; a hit writes nothing, where the least recently used would be a list that every
//! request changes; and one that was dropped while it was in use costs one verification.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashTable;
use siphasher::sip128::SipHasher13;

use super::token::{ALLOCATION_BYTES, Token};

/// The most entries.
const MAX_ENTRIES: usize = 65_536;

/// The most bytes of all entries, overhead included.
const MAX_BYTES: usize = 16 << 20;

/// The bytes of a token that are hashed: 96 bits of its signature, which a client cannot choose.
const TAIL_BYTES: usize = 16;

/// Bytes of an entry beside its token and its text: a place in the queue and a slot in the table,
/// each twice, as both may be twice as large as what is in them; the counts of the `Arc`; and what
/// the allocator adds for the two.
const OVERHEAD_BYTES: usize =
    2 * (size_of::<Entry>() + size_of::<u32>() + 1) + 2 * size_of::<usize>() + 2 * ALLOCATION_BYTES;

#[derive(Debug)]
struct Entry {
    text: Box<[u8]>,
    token: Arc<Token>,
}

impl Entry {
    fn bytes(&self) -> usize {
        OVERHEAD_BYTES + self.text.len() + self.token.bytes()
    }
}

/// Verified tokens, by their text.
#[derive(Debug)]
pub(super) struct Cache {
    hasher: SipHasher13,
    /// The oldest first. Each has the number after that of the one before it.
    entries: VecDeque<Entry>,
    /// The number of the first entry. Numbers wrap around: there are fewer entries than numbers.
    first: u32,
    /// The numbers of the entries, by the hashes of their texts.
    table: HashTable<u32>,
    bytes: usize,
    max_entries: usize,
    max_bytes: usize,
}

impl Cache {
    /// An empty cache, whose hash has this key. It takes memory with its first entry.
    pub(super) fn new(seed: (u64, u64)) -> Cache {
        Cache::with_limits(seed, MAX_ENTRIES, MAX_BYTES)
    }

    fn with_limits(seed: (u64, u64), max_entries: usize, max_bytes: usize) -> Cache {
        Cache {
            hasher: SipHasher13::new_with_keys(seed.0, seed.1),
            entries: VecDeque::new(),
            first: 0,
            table: HashTable::new(),
            bytes: 0,
            max_entries,
            max_bytes,
        }
    }

    /// The token of a text, if it is here.
    pub(super) fn get(&self, text: &[u8]) -> Option<&Arc<Token>> {
        let entry = |number: u32| &self.entries[number.wrapping_sub(self.first) as usize];
        let is_it = |number: &u32| *entry(*number).text == *text;
        let number = self.table.find(hash(&self.hasher, text), is_it)?;
        Some(&entry(*number).token)
    }

    /// Adds a token that is not here. The oldest go until it fits.
    pub(super) fn insert(&mut self, text: &[u8], token: Arc<Token>) {
        let text = text.into();
        let entry = Entry { text, token };
        let bytes = entry.bytes();
        if bytes > self.max_bytes {
            return;
        }
        while self.entries.len() >= self.max_entries || self.bytes + bytes > self.max_bytes {
            self.remove_oldest();
        }
        let number = self.first.wrapping_add(self.entries.len() as u32);
        let (hasher, first) = (&self.hasher, self.first);
        let hash_of_text = hash(hasher, &entry.text);
        self.entries.push_back(entry);
        self.bytes += bytes;
        let entry = |number: &u32| &self.entries[number.wrapping_sub(first) as usize];
        let rehash = |number: &u32| hash(hasher, &entry(number).text);
        self.table.insert_unique(hash_of_text, number, rehash);
    }

    fn remove_oldest(&mut self) {
        let Some(entry) = self.entries.pop_front() else {
            return;
        };
        let number = self.first;
        self.first = number.wrapping_add(1);
        self.bytes -= entry.bytes();
        let hash = hash(&self.hasher, &entry.text);
        if let Ok(found) = self.table.find_entry(hash, |other| *other == number) {
            found.remove();
        }
    }

    /// Forgets all tokens, and returns the memory.
    pub(super) fn clear(&mut self) {
        self.entries = VecDeque::new();
        self.table = HashTable::new();
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

/// The hash of a text: of its last bytes.
fn hash(hasher: &SipHasher13, text: &[u8]) -> u64 {
    let tail = &text[text.len().saturating_sub(TAIL_BYTES)..];
    hasher.hash(tail).h1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tokens::key::KeyId;

    fn token(subject_bytes: usize, expires_at_ms: u64) -> Arc<Token> {
        Arc::new(Token {
            subject: (subject_bytes > 0).then(|| "x".repeat(subject_bytes).into()),
            expires_at_ms,
            not_before_ms: 0,
            key: KeyId(1),
            subscribe: Default::default(),
            publish: Default::default(),
        })
    }

    /// Texts of a few names. Those of one half have the same last bytes.
    fn text(name: u8) -> Vec<u8> {
        let mut text = vec![name; 100];
        text[60..].fill(name / 6);
        text
    }

    /// All tokens with their names, the oldest first, and their bytes counted anew each time.
    struct Model(Vec<(u8, Arc<Token>)>);

    impl Model {
        fn bytes(&self) -> usize {
            let each = self.0.iter();
            each.map(|(_, token)| OVERHEAD_BYTES + 100 + token.bytes())
                .sum()
        }
    }

    proptest! {
        #[test]
        fn keeps_the_newest_within_both_limits(
            steps in prop::collection::vec((0..12_u8, 0..400_usize), 1..200),
            first in prop_oneof![Just(0), Just(u32::MAX - 20)],
        ) {
            let (max_entries, max_bytes) = (5, 4 * (OVERHEAD_BYTES + 100 + token(200, 0).bytes()));
            let mut cache = Cache::with_limits((1, 2), max_entries, max_bytes);
            cache.first = first;
            let mut model = Model(Vec::new());
            for (time, (name, subject_bytes)) in steps.into_iter().enumerate() {
                let text = text(name);
                let known = model.0.iter().find(|(other, _)| *other == name);
                prop_assert_eq!(cache.get(&text), known.map(|(_, token)| token));
                if known.is_none() {
                    let token = token(subject_bytes, time as u64);
                    cache.insert(&text, token.clone());
                    model.0.push((name, token));
                    while model.0.len() > max_entries || model.bytes() > max_bytes {
                        model.0.remove(0);
                    }
                } else if subject_bytes == 0 {
                    cache.clear();
                    model.0.clear();
                }
                prop_assert_eq!((cache.len(), cache.bytes()), (model.0.len(), model.bytes()));
                prop_assert_eq!(cache.table.len(), cache.len());
            }
        }
    }

    #[test]
    fn token_larger_than_the_cache_is_not_kept() {
        let mut cache = Cache::with_limits((1, 2), 5, OVERHEAD_BYTES + 1);
        cache.insert(&text(1), token(1, 1));
        assert_eq!((cache.len(), cache.bytes()), (0, 0));
    }

    #[test]
    fn text_of_any_length_is_looked_up() {
        let mut cache = Cache::new((1, 2));
        for length in 0..20 {
            let text = vec![b'x'; length];
            assert_eq!(cache.get(&text), None);
            cache.insert(&text, token(1, length as u64));
        }
        for length in 0..20 {
            let found = cache.get(&vec![b'x'; length]).unwrap();
            assert_eq!(found.expires_at_ms, length as u64);
        }
    }

    #[test]
    fn long_texts_fill_the_bytes_and_short_ones_the_entries() {
        for (text_bytes, is_full_of_bytes) in [(32, false), (4_096, true)] {
            let mut cache = Cache::new((1, 2));
            let mut text = vec![0; text_bytes];
            for number in 0..80_000_u32 {
                text[text_bytes - 4..].copy_from_slice(&number.to_ne_bytes());
                cache.insert(&text, token(0, 1));
            }
            assert!(cache.bytes() <= MAX_BYTES && cache.len() <= MAX_ENTRIES);
            let is_full = cache.bytes() > MAX_BYTES - 5_000;
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
