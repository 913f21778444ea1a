//! Tokens: signed JWTs (RFC 7519) that name a subject and the channels it may use.
//!
//! Owns the keys, the verification, the cache of verified tokens, and the blocked subjects. It
//! never sees a request or a connection, and has no clock: the date is an argument, in milliseconds
//! since 1970.
//!
//! Invariants:
//! - *The algorithm belongs to the key*, never to the token.
//! - *Nothing of a token is believed before its signature is verified*: its form, its algorithm,
//!   its key and its signature are checked in this order, and then its claims.
//! - *Dates and blocks are judged at each call*, whether the token is in the cache or not.
//! - *Only good tokens are kept.* What is refused leaves nothing but a count.

mod algorithm;
mod blocks;
mod cache;
mod claims;
mod frozen;
mod invalid;
mod json;
mod jwks;
mod jws;
mod key;
mod key_error;
mod key_file;
mod key_material;
mod pem;
mod signer;
mod token;

use std::sync::Arc;

pub use algorithm::Algorithm;
pub use claims::{MAX_PATTERNS, MAX_SUBJECT_BYTES};
pub use frozen::FrozenToken;
pub use invalid::Invalid;
pub use jws::MAX_TOKEN_BYTES;
pub use key::{Key, KeyId, MAX_KEYS};
pub use key_error::KeyError;
pub use key_file::MAX_FILE_BYTES;
pub use ring::rand::SystemRandom;
pub use signer::{SignError, Signer, SignerError};
pub use token::Token;

use blocks::Blocks;
use cache::Cache;
use claims::Claims;
use jws::Jws;

/// The rules for tokens: keys, and the claims that are required.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// The keys of the files, in their order, at most 64. Without any there are no tokens.
    pub keys: Vec<Key>,
    /// The text that `aud` must contain. `None`: `aud` is not looked at.
    pub audience: Option<String>,
    /// The text that `iss` must equal. `None`: `iss` is not looked at.
    pub issuer: Option<String>,
}

impl Rules {
    /// Verifies all of a token but its dates. Adds to `checks` how many signatures it has checked.
    fn verify(&self, token: &[u8], checks: &mut u64) -> Result<Token, Invalid> {
        let jws = Jws::parse(token)?;
        let key = self.key_of(&jws, checks)?;
        let claims = Claims::parse(&jws.payload, key.id())?;
        claims.check(self.audience.as_deref(), self.issuer.as_deref())?;
        Ok(claims.token)
    }

    /// Finds the key of a token's signature.
    fn key_of(&self, jws: &Jws<'_>, checks: &mut u64) -> Result<&Key, Invalid> {
        let algorithm = jws.algorithm.ok_or(Invalid::Key)?;
        let mut fault = Invalid::Key;
        for key in &self.keys {
            if key.fits(algorithm, jws.kid.as_deref()) {
                *checks += 1;
                if key.verify(algorithm, jws.signed, &jws.signature) {
                    return Ok(key);
                }
                fault = Invalid::Signature;
            }
        }
        Err(fault)
    }
}

/// Counters of verified and refused tokens since the start, and the sizes of the cache.
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
///
/// ```
/// use encke_core::tokens::{Invalid, Key, Rules, Signer, SystemRandom, Tokens};
///
/// let secret = b"a secret of at least 32 bytes....";
/// let claims = r#"{"sub":"user-42","exp":1767225600,"encke":{"subscribe":["chat/*"]}}"#;
/// let token = Signer::parse(secret, SystemRandom::new())?.sign(claims, None)?;
///
/// let (keys, _) = Key::parse(secret)?;
/// let mut tokens = Tokens::new(Rules { keys, ..Rules::default() }, (1, 2));
/// let exp_ms = 1_767_225_600_000;
/// let verified = tokens.verify(token.as_bytes(), exp_ms - 1)?;
/// assert!(verified.may_subscribe("chat/7") && !verified.may_publish("chat/7"));
/// let late = tokens.verify(token.as_bytes(), exp_ms + 40_000);
/// assert_eq!(late.unwrap_err().to_string(), "expired 40 s ago");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Tokens {
    rules: Rules,
    cache: Cache,
    blocks: Blocks,
    verified: u64,
    cached: u64,
    checks: u64,
    refused: [u64; Invalid::NAMES.len()],
}

impl Tokens {
    /// A verification without cached tokens or blocks. The seed keys the hash of the cache, so it
    /// is to be random, and kept secret.
    pub fn new(rules: Rules, seed: (u64, u64)) -> Tokens {
        Tokens {
            rules,
            cache: Cache::new(seed),
            blocks: Blocks::default(),
            verified: 0,
            cached: 0,
            checks: 0,
            refused: Default::default(),
        }
    }

    /// Replaces the rules. It forgets all cached tokens, and keeps the blocks.
    pub fn replace(&mut self, rules: Rules) {
        self.rules = rules;
        // fault: cache-outlives-its-keys
        self.cache.clear();
    }

    /// Whether there is a key, so that there can be tokens.
    pub fn has_keys(&self) -> bool {
        !self.rules.keys.is_empty()
    }

    /// Whether a key is one of those in force: a token of another is good no more.
    pub fn has_key(&self, id: KeyId) -> bool {
        self.rules.keys.iter().any(|key| key.id() == id)
    }

    /// Verifies a token at a date.
    ///
    /// # Errors
    ///
    /// The reason for which it is refused.
    pub fn verify(&mut self, token: &[u8], unix_ms: u64) -> Result<Arc<Token>, Invalid> {
        let verified = self.find(token, unix_ms);
        if let Err(reason) = &verified {
            self.refused[reason.index()] += 1;
        }
        verified
    }

    /// Judges a token again that was verified before.
    ///
    /// # Errors
    ///
    /// The reason for which it is refused now.
    pub fn verify_again(&mut self, token: &Token, unix_ms: u64) -> Result<(), Invalid> {
        let verified = match self.has_key(token.key) {
            true => self.check_now(token, unix_ms),
            false => Err(Invalid::Key),
        };
        if let Err(reason) = &verified {
            self.refused[reason.index()] += 1;
        }
        verified
    }

    fn find(&mut self, text: &[u8], unix_ms: u64) -> Result<Arc<Token>, Invalid> {
        if let Some(token) = self.cache.get(text) {
            let token = token.clone();
            // fault: cache-ignores-the-date
            self.check_now(&token, unix_ms)?;
            self.cached += 1;
            return Ok(token);
        }
        let token = Arc::new(self.rules.verify(text, &mut self.checks)?);
        self.check_now(&token, unix_ms)?;
        self.verified += 1;
        self.cache.insert(text, token.clone());
        Ok(token)
    }

    /// Judges what changes with time.
    fn check_now(&mut self, token: &Token, unix_ms: u64) -> Result<(), Invalid> {
        token.check_dates(unix_ms)?;
        match &token.subject {
            Some(subject) if self.blocks.is_blocked(subject, unix_ms) => Err(Invalid::Blocked),
            _ => Ok(()),
        }
    }

    /// Refuses all tokens of a subject until a date; a later call for the same subject replaces the
    /// date. The table has 65,536 entries: when it is full, the one that ends first goes.
    pub fn block(&mut self, subject: &str, until_ms: u64) {
        self.blocks.block(subject, until_ms);
    }

    /// Whether the tokens of a subject are refused at a date.
    pub fn is_blocked(&mut self, subject: &str, unix_ms: u64) -> bool {
        self.blocks.is_blocked(subject, unix_ms)
    }

    /// Blocked subjects and when their blocks end, in milliseconds since 1970, in this order: those
    /// after a place, or all. Blocks that have ended at a date are left out.
    pub fn blocked_after(
        &self,
        place: Option<&(u64, Box<str>)>,
        unix_ms: u64,
    ) -> impl Iterator<Item = (u64, Box<str>)> {
        let place = place.map(|(until_ms, subject)| (*until_ms, &**subject));
        let after = self.blocks.after(place.max(Some((unix_ms, ""))));
        after.map(|(until_ms, subject)| (until_ms, Box::from(&**subject)))
    }

    /// How many signatures were checked since the start, good ones and others.
    pub fn checks(&self) -> u64 {
        self.checks
    }

    /// Counters of verified and refused tokens since the start, and the sizes of the cache.
    pub fn counts(&self) -> Counts {
        Counts {
            verified: self.verified,
            cached: self.cached,
            refused: self.refused,
            blocked: self.blocks.len(),
            cache_entries: self.cache.len(),
            cache_bytes: self.cache.bytes(),
        }
    }
}

#[cfg(test)]
mod tests;
