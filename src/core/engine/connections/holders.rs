//! The credential that gives each parked connection its right to receive: the subject and the key
//! of its token.
//!
//! Owns a number for each connection, and an entry for each pair of subject and key that such
//! numbers name. A server without keys for tokens stores neither. If the client of a parked
//! connection may ask for more, its whole token is here as well, to authorize what it asks for.
//!
//! Invariant: *no entry without a connection.* Each entry counts the connections that name it, and
//! goes with the last, so there are never more entries than connections.

use std::collections::BTreeMap;
use std::hash::Hasher;
use std::sync::Arc;

use hashbrown::HashTable;
use siphasher::sip::SipHasher13;
use slab::Slab;

use crate::tokens::{KeyId, Token};

/// Where the right of a connection to receive comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum CredentialRef<'h> {
    /// No credential is needed.
    Anonymous,
    /// The publish key.
    Publisher,
    /// A token.
    Token {
        /// Its subject, if it has one.
        subject: Option<&'h str>,
        /// The key that verified it.
        key: KeyId,
    },
}

impl<'h> From<&'h Token> for CredentialRef<'h> {
    fn from(token: &'h Token) -> CredentialRef<'h> {
        CredentialRef::Token {
            subject: token.subject.as_deref(),
            key: token.key,
        }
    }
}

/// Numbers of connections without an entry.
const ANONYMOUS: u32 = u32::MAX;
const PUBLISHER: u32 = u32::MAX - 1;

/// One subject with one key.
struct Holder {
    subject: Option<Box<str>>,
    key: KeyId,
    connections: u32,
}

impl Holder {
    fn credential(&self) -> CredentialRef<'_> {
        CredentialRef::Token {
            subject: self.subject.as_deref(),
            key: self.key,
        }
    }
}

/// The rights of connections, by index.
pub(in crate::engine) struct Holders {
    /// Keyed: applications sign subjects that their users choose.
    hasher: SipHasher13,
    /// The number of each connection; shorter where the others are anonymous.
    of: Vec<u32>,
    entries: Slab<Holder>,
    index: HashTable<u32>,
    /// The tokens of those connections that may ask for more.
    tokens: BTreeMap<u32, Arc<Token>>,
}

impl Holders {
    /// None; `keys` seed the hash of subjects.
    pub(super) fn new(keys: (u64, u64)) -> Holders {
        Holders {
            hasher: SipHasher13::new_with_keys(keys.0, keys.1),
            of: Vec::new(),
            entries: Slab::new(),
            index: HashTable::new(),
            tokens: BTreeMap::new(),
        }
    }

    /// Records where the right of a connection comes from.
    pub(in crate::engine) fn set(&mut self, index: u32, credential: CredentialRef<'_>) {
        // Nothing is allocated as long as all connections are anonymous.
        if credential == CredentialRef::Anonymous && self.is_anonymous(index) {
            return;
        }
        let number = match credential {
            CredentialRef::Anonymous => ANONYMOUS,
            CredentialRef::Publisher => PUBLISHER,
            CredentialRef::Token { .. } => self.enter(credential),
        };
        if self.of.len() <= index as usize {
            self.of.resize(index as usize + 1, ANONYMOUS);
        }
        let former = std::mem::replace(&mut self.of[index as usize], number);
        self.leave(former);
    }

    /// Forgets where the right of a connection comes from.
    #[inline]
    pub(in crate::engine) fn clear(&mut self, index: u32) {
        if !self.is_anonymous(index) {
            self.set(index, CredentialRef::Anonymous);
            self.drop_token(index);
        }
    }

    /// Keeps the token of a connection, whose credential is set, until the connection ends.
    pub(in crate::engine) fn keep_token(&mut self, index: u32, token: Arc<Token>) {
        debug_assert!(!self.is_anonymous(index), "the credential is set first");
        self.tokens.insert(index, token);
    }

    /// The token that was kept of a connection.
    pub(in crate::engine) fn token(&self, index: u32) -> Option<&Arc<Token>> {
        self.tokens.get(&index)
    }

    /// Drops a kept token: it is not accepted any more.
    pub(in crate::engine) fn drop_token(&mut self, index: u32) {
        self.tokens.remove(&index);
    }

    /// Whether the right of a connection comes from no credential.
    #[inline]
    pub(in crate::engine) fn is_anonymous(&self, index: u32) -> bool {
        self.of
            .get(index as usize)
            .is_none_or(|&number| number == ANONYMOUS)
    }

    /// Where the right of a connection comes from.
    pub(in crate::engine) fn of(&self, index: u32) -> CredentialRef<'_> {
        match self.of.get(index as usize).copied().unwrap_or(ANONYMOUS) {
            ANONYMOUS => CredentialRef::Anonymous,
            PUBLISHER => CredentialRef::Publisher,
            entry => self.entries[entry as usize].credential(),
        }
    }

    /// Counts one more connection of an entry, added if need be.
    fn enter(&mut self, credential: CredentialRef<'_>) -> u32 {
        let hash = hash(self.hasher, credential);
        let is_same = |&entry: &u32| self.entries[entry as usize].credential() == credential;
        if let Some(&entry) = self.index.find(hash, is_same) {
            self.entries[entry as usize].connections += 1;
            return entry;
        }
        let CredentialRef::Token { subject, key } = credential else {
            unreachable!("only tokens have entries");
        };
        let entry = self.entries.insert(Holder {
            subject: subject.map(Box::from),
            key,
            connections: 1,
        }) as u32;
        let (hasher, entries) = (self.hasher, &self.entries);
        let rehash = |&entry: &u32| self::hash(hasher, entries[entry as usize].credential());
        self.index.insert_unique(hash, entry, rehash);
        entry
    }

    /// Counts one connection less of an entry, which goes with the last.
    fn leave(&mut self, number: u32) {
        if matches!(number, ANONYMOUS | PUBLISHER) {
            return;
        }
        let holder = &mut self.entries[number as usize];
        holder.connections -= 1;
        if holder.connections > 0 {
            return;
        }
        let hash = hash(self.hasher, holder.credential());
        if let Ok(found) = self.index.find_entry(hash, |&entry| entry == number) {
            found.remove();
        }
        self.entries.remove(number as usize);
        let (hasher, entries) = (self.hasher, &self.entries);
        if self.index.len() < self.index.capacity() / 4 {
            let rehash = |&entry: &u32| self::hash(hasher, entries[entry as usize].credential());
            self.index.shrink_to(2 * self.index.len(), rehash);
        }
    }

    /// An upper bound of the indices that are not anonymous: one more than the largest that ever
    /// was.
    pub(in crate::engine) fn end(&self) -> u32 {
        self.of.len() as u32
    }

    /// How many pairs of subject and key there are.
    pub(in crate::engine) fn len(&self) -> usize {
        self.entries.len()
    }
}

fn hash(mut hasher: SipHasher13, credential: CredentialRef<'_>) -> u64 {
    if let CredentialRef::Token { subject, key } = credential {
        hasher.write_u64(key.0);
        hasher.write(subject.unwrap_or_default().as_bytes());
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_connection_has_what_was_set_last(
            sets in prop::collection::vec((0..8_u32, 0..6_u64, 0..3_u64), 1..200),
        ) {
            let subjects = ["a", "b", "c"];
            let mut holders = Holders::new((1, 2));
            let mut model = BTreeMap::new();
            for (index, kind, key) in sets {
                let credential = match kind {
                    0 => CredentialRef::Anonymous,
                    1 => CredentialRef::Publisher,
                    2 => CredentialRef::Token { subject: None, key: KeyId(key) },
                    _ => CredentialRef::Token {
                        subject: Some(subjects[kind as usize - 3]),
                        key: KeyId(key),
                    },
                };
                holders.set(index, credential);
                model.insert(index, (kind, key, credential));
                for index in 0..8 {
                    let expected = model.get(&index).map_or(CredentialRef::Anonymous, |set| set.2);
                    prop_assert_eq!(holders.of(index), expected);
                }
                let tokens = model.values().filter(|(kind, ..)| *kind >= 2);
                let entries: BTreeSet<_> = tokens.map(|(kind, key, _)| (kind, key)).collect();
                prop_assert_eq!(holders.len(), entries.len());
            }
        }
    }
}
