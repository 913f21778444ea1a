//! A verified token: its subject, its dates, and what it grants.
//!
//! Owns the claims that the server uses. It never judges a date.

use super::key::KeyId;
use crate::pattern::Pattern;

/// A verified token.
#[derive(Clone, Debug, PartialEq, Eq)]
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
}
