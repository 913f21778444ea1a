//! The index of channels by name, and what is remembered of forgotten ones.
//!
//! Owns the hash table and the *floors*: for each of a fixed number of buckets of names, the
//! highest number lost with a forgotten channel of that bucket. So a client that comes back to a
//! forgotten channel is told of a gap and never of silence, at a fixed cost; a client of another
//! channel is told of a gap that is none only if the two names share a bucket.

use std::hash::Hasher;

use hashbrown::HashTable;
use siphasher::sip::SipHasher13;
use slab::Slab;

use super::channel::Channel;
use crate::encode::Seq;

/// Tables that the index is spread over: each grows by itself, so that no growth stalls the
/// reactor, and no room is taken for channels that may never be.
const TABLES: usize = 256;

const FLOORS: usize = 4_096;
const MAX_NAME_BYTES: usize = 250;

/// Why a channel's name is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// Nothing, or more than 250 bytes.
    Length,
    /// Not UTF-8.
    Utf8,
    /// A control character (C0, C1 or DEL), a comma or `*`.
    Character,
    /// An empty, `.` or `..` segment.
    Segment,
}

impl NameError {
    /// What is wrong and what is allowed.
    pub fn detail(self) -> &'static str {
        match self {
            NameError::Length => "a channel name is 1 to 250 bytes after percent-decoding",
            NameError::Utf8 => "a channel name must be UTF-8 after percent-decoding",
            NameError::Character => {
                "a channel name must not contain control characters, a comma or `*`"
            }
            NameError::Segment => "a channel name must not have an empty, `.` or `..` segment",
        }
    }
}

/// Checks a decoded channel name.
///
/// # Errors
///
/// See [`NameError`].
pub fn check_name(name: &[u8]) -> Result<&str, NameError> {
    if name.is_empty() || name.len() > MAX_NAME_BYTES {
        return Err(NameError::Length);
    }
    let name = std::str::from_utf8(name).map_err(|_| NameError::Utf8)?;
    // Nearly every name is one segment of these, and nothing is left to ask.
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b':');
    if name.bytes().all(is_plain) {
        return Ok(name);
    }
    let is_bad = |c: char| c.is_control() || matches!(c, ',' | '*');
    if name.chars().any(is_bad) {
        return Err(NameError::Character);
    }
    let is_segment = |segment: &[u8]| !matches!(segment, b"" | b"." | b"..");
    match name.as_bytes().split(|&byte| byte == b'/').all(is_segment) {
        true => Ok(name),
        false => Err(NameError::Segment),
    }
}

/// The index.
pub(super) struct Names {
    tables: Box<[HashTable<u32>]>,
    floors: Box<[Seq]>,
    keys: (u64, u64),
}

impl Names {
    pub(super) fn new(keys: (u64, u64)) -> Names {
        Names {
            tables: (0..TABLES).map(|_| HashTable::new()).collect(),
            floors: vec![Seq::ZERO; FLOORS].into(),
            keys,
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

    /// Removes a channel that is no longer in the table of channels, and remembers what was lost
    /// with it.
    pub(super) fn forget(&mut self, channel: u32, gone: &Channel, channels: &Slab<Channel>) {
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
        let floor = &mut self.floors[bucket(hash)];
        *floor = gone.lost().max(*floor);
    }

    /// The number up to which a channel of this name may have lost messages when it was forgotten.
    pub(super) fn floor(&self, name: &str) -> Seq {
        self.floors[bucket(self.hash(name))]
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

/// A table by bits that the table itself does not look at first.
fn table(hash: u64) -> usize {
    (hash >> 32) as usize % TABLES
}

fn bucket(hash: u64) -> usize {
    hash as usize % FLOORS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let long = [b'x'; 251];
        for (name, expected) in [
            (&b"news"[..], Ok("news")),
            (b"a/b.c/..d", Ok("a/b.c/..d")),
            (" sp ace ".as_bytes(), Ok(" sp ace ")),
            ("grüße/世界".as_bytes(), Ok("grüße/世界")),
            (b"", Err(NameError::Length)),
            (&long, Err(NameError::Length)),
            (b"\xff", Err(NameError::Utf8)),
            (b"a\x00", Err(NameError::Character)),
            (b"a\x7f", Err(NameError::Character)),
            ("a\u{85}".as_bytes(), Err(NameError::Character)),
            (b"a,b", Err(NameError::Character)),
            (b"a*", Err(NameError::Character)),
            (b"/a", Err(NameError::Segment)),
            (b"a//b", Err(NameError::Segment)),
            (b"a/", Err(NameError::Segment)),
            (b".", Err(NameError::Segment)),
            (b"a/../b", Err(NameError::Segment)),
        ] {
            assert_eq!(check_name(name), expected, "{name:?}");
        }
    }
}
