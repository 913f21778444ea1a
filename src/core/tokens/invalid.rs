//! The reasons for which a token is refused.
//!
//! Owns their texts, which become the `error_description` of a 401 (RFC 6750, section 3).
//!
//! Invariants:
//! - *Nothing of the token is in a text*: an attacker chooses its bytes.
//! - *A text has only the characters that RFC 6750 allows there*: `%x20-21 / %x23-5B / %x5D-7E`.

use std::fmt;

/// The reason for which a token is refused. Its `Display` is the text for an `error_description`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// It is not a signed JWT that could be checked: its size, its parts, its header.
    Form(&'static str),
    /// No key of the server fits its algorithm and `kid`.
    Key,
    /// Its signature is not of the key.
    Signature,
    /// A claim is missing, or not what it has to be.
    Claim(&'static str),
    /// Its `exp` has come.
    Expired {
        /// How long ago, in milliseconds.
        ago_ms: u64,
    },
    /// Its `nbf` has not come, leeway included.
    NotYet {
        /// The time until `nbf`, in milliseconds.
        in_ms: u64,
    },
    /// Its `aud` does not contain the audience of the server.
    Audience,
    /// Its `iss` is not the issuer that the server expects.
    Issuer,
    /// Its subject is blocked at present.
    Blocked,
}

impl Invalid {
    /// The names of the reasons, as labels of a metric, in the order of [`Invalid::index`].
    pub const NAMES: [&'static str; 9] = [
        "form",
        "key",
        "signature",
        "claim",
        "expired",
        "not_yet_valid",
        "audience",
        "issuer",
        "blocked",
    ];

    /// The place of the reason in [`Invalid::NAMES`].
    pub fn index(&self) -> usize {
        match self {
            Invalid::Form(_) => 0,
            Invalid::Key => 1,
            Invalid::Signature => 2,
            Invalid::Claim(_) => 3,
            Invalid::Expired { .. } => 4,
            Invalid::NotYet { .. } => 5,
            Invalid::Audience => 6,
            Invalid::Issuer => 7,
            Invalid::Blocked => 8,
        }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Invalid::Form(what) => write!(f, "malformed: {what}"),
            Invalid::Key => f.write_str("key: no key here fits its alg and kid"),
            Invalid::Signature => f.write_str(
                "signature: it does not match the key; the token was signed with another key, or \
                 changed",
            ),
            Invalid::Claim(what) => write!(f, "claim: {what}"),
            Invalid::Expired { ago_ms } => write!(f, "expired {} s ago", ago_ms / 1_000),
            Invalid::NotYet { in_ms } => {
                write!(f, "not valid yet, nbf is in {} s", in_ms.div_ceil(1_000))
            }
            Invalid::Audience => {
                f.write_str("audience: aud does not contain the one expected here")
            }
            Invalid::Issuer => f.write_str("issuer: iss is not the one expected here"),
            Invalid::Blocked => f.write_str("the subject is blocked for a time"),
        }
    }
}

impl std::error::Error for Invalid {}
