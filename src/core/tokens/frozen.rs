//! Tokens in a state that is handed over: the blocked subjects, the counts, and tokens that are
//! kept for connections.
//!
//! Owns their forms. Keys are settings, and cached tokens are verified again, so neither is there.

use std::io::{self, Read, Write};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::claims::{MAX_PATTERNS, MAX_SUBJECT_BYTES};
use super::{Invalid, KeyId, Rules, Token, Tokens};
use crate::frozen::{Count, Freezer, ThawError, Thawer};
use crate::pattern::Pattern;

/// The blocked subjects of one record.
const BLOCKS_PER_RECORD: usize = 256;

#[derive(Serialize, Deserialize)]
struct FrozenCounts {
    verified: Count,
    cached: Count,
    checks: Count,
    refused: [Count; Invalid::NAMES.len()],
    /// Records with blocked subjects that follow.
    records: u32,
}

/// Subjects, each with the date until which it is blocked.
#[derive(Serialize, Deserialize)]
struct FrozenBlocks<'s>(#[serde(borrow)] Vec<(&'s str, u64)>);

impl Tokens {
    /// Writes the blocked subjects and the counts.
    ///
    /// # Errors
    ///
    /// They could not be written.
    pub fn freeze<W: Write>(&self, state: &mut Freezer<W>) -> io::Result<()> {
        let blocks: Vec<(&str, u64)> = self.blocks.iter().collect();
        let records = blocks.chunks(BLOCKS_PER_RECORD);
        state.put(&FrozenCounts {
            verified: Count(self.verified),
            cached: Count(self.cached),
            checks: Count(self.checks),
            refused: self.refused.map(Count),
            records: records.len() as u32,
        })?;
        for blocks in records {
            // fault: blocks-are-not-handed-over
            state.put(&FrozenBlocks(blocks.to_vec()))?;
        }
        Ok(())
    }

    /// Reads what [`Tokens::freeze`] wrote. The rules may be others, and so may the seed.
    ///
    /// # Errors
    ///
    /// It is damaged.
    pub fn thaw<R: Read>(
        rules: Rules,
        seed: (u64, u64),
        state: &mut Thawer<R>,
    ) -> Result<Tokens, ThawError> {
        let counts: FrozenCounts = state.take()?;
        let mut tokens = Tokens {
            verified: counts.verified.0,
            cached: counts.cached.0,
            checks: counts.checks.0,
            refused: counts.refused.map(|Count(count)| count),
            ..Tokens::new(rules, seed)
        };
        let mut count = 0;
        for _ in 0..counts.records {
            let FrozenBlocks(blocks) = state.take()?;
            for (subject, until_ms) in blocks {
                if subject.len() > MAX_SUBJECT_BYTES {
                    return Err(ThawError::Damaged("a blocked subject is too long"));
                }
                tokens.blocks.block(subject, until_ms);
                count += 1;
            }
        }
        match tokens.blocks.len() == count {
            true => Ok(tokens),
            false => Err(ThawError::Damaged("subjects are blocked twice")),
        }
    }
}

/// A [`Token`] in a state that is handed over.
#[derive(Serialize, Deserialize)]
pub struct FrozenToken<'t> {
    subject: Option<&'t str>,
    expires_at_ms: u64,
    not_before_ms: u64,
    key: u64,
    #[serde(borrow)]
    subscribe: Vec<&'t str>,
    #[serde(borrow)]
    publish: Vec<&'t str>,
}

impl<'t> From<&'t Token> for FrozenToken<'t> {
    fn from(token: &'t Token) -> FrozenToken<'t> {
        let texts = |patterns: &'t [Pattern]| patterns.iter().map(Pattern::as_str).collect();
        FrozenToken {
            subject: token.subject.as_deref(),
            expires_at_ms: token.expires_at_ms,
            not_before_ms: token.not_before_ms,
            key: token.key.0,
            subscribe: texts(&token.subscribe),
            publish: texts(&token.publish),
        }
    }
}

impl TryFrom<FrozenToken<'_>> for Arc<Token> {
    type Error = ThawError;

    fn try_from(frozen: FrozenToken<'_>) -> Result<Arc<Token>, ThawError> {
        let is_short = |subject: &str| subject.len() <= MAX_SUBJECT_BYTES;
        if !frozen.subject.is_none_or(is_short) {
            return Err(ThawError::Damaged("the subject of a token is too long"));
        }
        let patterns = |texts: &[&str]| {
            let parsed: Option<Box<[Pattern]>> =
                texts.iter().map(|text| text.parse().ok()).collect();
            let parsed = parsed.filter(|patterns| patterns.len() <= MAX_PATTERNS);
            parsed.ok_or(ThawError::Damaged("a token grants no patterns of channels"))
        };
        Ok(Arc::new(Token {
            subject: frozen.subject.map(Box::from),
            expires_at_ms: frozen.expires_at_ms,
            not_before_ms: frozen.not_before_ms,
            key: KeyId(frozen.key),
            subscribe: patterns(&frozen.subscribe)?,
            publish: patterns(&frozen.publish)?,
        }))
    }
}
