//! What a node has of the history, in a state that is handed over.
//!
//! Owns its form. Effects are not in it: they are applied before ([`Replica::has_effects`]).

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use super::{MAX_OPENINGS, Opening, Replica};
use crate::frozen::{self, Freezer, ThawError, Thawer};
use crate::log::cluster::chain::Chain;
use crate::log::cluster::floors::Floors;
use crate::log::cluster::ring::Ring;
use crate::log::cluster::settings::Counts;
use crate::message::EntryId;

const REPLICA: ThawError = ThawError::Damaged("the history of the cluster is not valid");

/// What there is one of.
#[derive(Serialize, Deserialize)]
struct Head {
    history: Vec<EntryId>,
    #[serde(with = "FrozenCounts")]
    counts: Counts,
    openings: Vec<FrozenOpening>,
    told: Option<EntryId>,
    wants_past: bool,
}

/// The frozen form of an [`Opening`].
#[derive(Serialize, Deserialize)]
struct FrozenOpening {
    term: u64,
    after: EntryId,
    settled: Option<u64>,
}

/// The frozen form of [`Counts`].
#[derive(Serialize, Deserialize)]
#[serde(remote = "Counts")]
struct FrozenCounts {
    #[serde(deserialize_with = "frozen::count")]
    terms: u64,
    #[serde(deserialize_with = "frozen::count")]
    opened: u64,
    #[serde(deserialize_with = "frozen::count")]
    retold: u64,
    #[serde(deserialize_with = "frozen::count")]
    losses_all: u64,
    #[serde(deserialize_with = "frozen::count")]
    losses_some: u64,
    #[serde(deserialize_with = "frozen::count")]
    holes: u64,
    #[serde(deserialize_with = "frozen::count")]
    groups: u64,
    #[serde(deserialize_with = "frozen::count")]
    messages: u64,
    #[serde(deserialize_with = "frozen::count")]
    resent: u64,
    #[serde(deserialize_with = "frozen::count")]
    unknown: u64,
    #[serde(deserialize_with = "frozen::count")]
    deaf: u64,
    #[serde(deserialize_with = "frozen::count")]
    skipped: u64,
    #[serde(deserialize_with = "frozen::count")]
    foreign: u64,
    #[serde(deserialize_with = "frozen::count")]
    rolled: u64,
}

impl Replica {
    /// Whether it has effects that nobody took yet.
    pub(in crate::log::cluster) fn has_effects(&self) -> bool {
        !self.effects.is_empty()
    }

    /// Writes its state.
    pub(in crate::log::cluster) fn freeze<W: Write>(
        &self,
        state: &mut Freezer<W>,
    ) -> io::Result<()> {
        debug_assert!(self.own_read.is_empty() && self.keys_read.is_empty());
        let openings = self.openings.iter().map(|opening| FrozenOpening {
            term: opening.term,
            after: opening.after,
            settled: opening.settled,
        });
        state.put(&Head {
            history: self.history.as_slice().to_vec(),
            counts: self.counts,
            openings: openings.collect(),
            told: self.told,
            wants_past: self.wants_past,
        })?;
        self.floors.freeze(state)?;
        self.ring.freeze(state)
    }

    /// Reads what [`Replica::freeze`] wrote, of the node `own`.
    pub(in crate::log::cluster) fn thaw<R: Read>(
        own: u64,
        ring_bytes: usize,
        state: &mut Thawer<R>,
    ) -> Result<Replica, ThawError> {
        let head: Head = state.take()?;
        let history = Chain::checked(&head.history).ok_or(REPLICA)?;
        let tip = history.tip();
        if head.openings.len() > MAX_OPENINGS || head.told.map(|told| told.term) != Some(tip.term) {
            return Err(REPLICA);
        }
        let openings = head.openings.iter().map(|opening| Opening {
            term: opening.term,
            after: opening.after,
            settled: opening.settled,
        });
        Ok(Replica {
            openings: openings.collect(),
            told: head.told,
            wants_past: head.wants_past,
            counts: head.counts,
            floors: Floors::thaw(tip, state)?,
            ring: Ring::thaw(ring_bytes, tip, state)?,
            history,
            ..Replica::new(own, ring_bytes)
        })
    }
}
