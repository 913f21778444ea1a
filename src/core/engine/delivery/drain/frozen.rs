//! A drain in a state that is handed over.
//!
//! Owns its form.

use serde::{Deserialize, Serialize};

use super::{Drain, Release};
use crate::base::time::Time;

/// The frozen form of a [`Drain`].
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(in crate::engine::delivery) struct FrozenDrain {
    closes_at: Time,
    ends_at: Time,
    release: FrozenRelease,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
enum FrozenRelease {
    NotBegun,
    From(u32),
    Scheduled,
}

impl From<&Drain> for FrozenDrain {
    fn from(drain: &Drain) -> FrozenDrain {
        FrozenDrain {
            closes_at: drain.closes_at,
            ends_at: drain.ends_at,
            // fault: release-begins-again
            release: match drain.release {
                Release::NotBegun => FrozenRelease::NotBegun,
                Release::From(index) => FrozenRelease::From(index),
                Release::Scheduled => FrozenRelease::Scheduled,
            },
        }
    }
}

/// The drain of a frozen one, where there are places for so many connections.
pub(in crate::engine::delivery) fn thaw(frozen: FrozenDrain, capacity: u32) -> Drain {
    Drain {
        closes_at: frozen.closes_at,
        ends_at: frozen.ends_at,
        release: match frozen.release {
            FrozenRelease::NotBegun => Release::NotBegun,
            FrozenRelease::From(index) => Release::From(index.min(capacity)),
            FrozenRelease::Scheduled => Release::Scheduled,
        },
    }
}
