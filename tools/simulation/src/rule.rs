//! The end of a world in which a rule is broken.
//!
//! Invariant: every rule, whether the judge's or one that only a simulation can check, is reported
//! as one of the oracle's kinds.

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
