//! How a world ends whose rules are broken.
//!
//! Owns the words: all findings, those of the judge and those about what only a simulation sees, are
//! of the same kinds.

use std::fmt::Display;

use encke_oracle::finding::Kind;

/// Ends the world: a promise was broken.
#[track_caller]
pub(crate) fn broken(kind: Kind, text: impl Display) -> ! {
    panic!("{kind:?}: {text}")
}

/// Ends the world with a finding of this kind unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $kind:ident, $($text:tt)+) => {
        if !$condition {
            $crate::rule::broken(encke_oracle::finding::Kind::$kind, format_args!($($text)+));
        }
    };
}

pub(crate) use ensure;
