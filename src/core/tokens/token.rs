//! A verified token: its subject, its dates, and what it grants.
//!
//! Owns the claims that are kept, and judges its dates.

use super::invalid::Invalid;
use super::key::KeyId;
use crate::pattern::Pattern;

/// Clocks may differ by so much when a token becomes valid.
const NOT_BEFORE_LEEWAY_MS: u64 = 5_000;

/// Bytes that an allocator adds to each allocation, in the mean, generously.
pub(super) const ALLOCATION_BYTES: usize = 16;

/// A verified token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    /// The claim `sub`, at most 255 bytes.
    pub subject: Option<Box<str>>,
    /// The claim `exp`, in milliseconds since 1970: the token is refused from this moment on.
    pub expires_at_ms: u64,
    /// The claim `nbf`, in milliseconds since 1970, 0 if it has none.
    pub not_before_ms: u64,
    /// The key that verified it.
    pub key: KeyId,
    /// Patterns of the channels from which its bearer may receive, at most 64.
    pub(super) subscribe: Box<[Pattern]>,
    /// Patterns of the channels to which its bearer may publish, at most 64.
    pub(super) publish: Box<[Pattern]>,
}

impl Token {
    /// Whether it grants to receive from the channel of this name.
    pub fn may_subscribe(&self, name: &str) -> bool {
        self.subscribe.iter().any(|pattern| pattern.matches(name))
    }

    /// Whether it grants to publish to the channel of this name.
    pub fn may_publish(&self, name: &str) -> bool {
        self.publish.iter().any(|pattern| pattern.matches(name))
    }

    /// Judges its dates: `exp` exactly, `nbf` with 5 s of leeway.
    pub(super) fn check_dates(&self, unix_ms: u64) -> Result<(), Invalid> {
        if unix_ms >= self.expires_at_ms {
            let ago_ms = unix_ms - self.expires_at_ms;
            return Err(Invalid::Expired { ago_ms });
        }
        if unix_ms.saturating_add(NOT_BEFORE_LEEWAY_MS) < self.not_before_ms {
            let in_ms = self.not_before_ms - unix_ms;
            return Err(Invalid::NotYet { in_ms });
        }
        Ok(())
    }

    /// The bytes that it takes, with what it points to.
    pub(super) fn bytes(&self) -> usize {
        let of_text = |text: &str| text.len() + ALLOCATION_BYTES;
        let of_patterns = |patterns: &[Pattern]| match patterns {
            [] => 0,
            _ => {
                let texts = patterns.iter().map(|pattern| of_text(pattern.as_str()));
                size_of_val(patterns) + ALLOCATION_BYTES + texts.sum::<usize>()
            }
        };
        let subject = self.subject.as_deref().map_or(0, of_text);
        size_of::<Token>() + subject + of_patterns(&self.subscribe) + of_patterns(&self.publish)
    }
}
