//! A log that the nodes of a cluster share, in a state that is handed over.
//!
//! Owns its form, and when it can be: everything that the node has read is applied.

use std::collections::VecDeque;
use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use super::{Clustered, Hub, Mark, Node, Refused, Settings, Ticket};
use crate::base::histogram::FrozenHistogram;
use crate::base::time::Time;
use crate::frozen::{self, Freezer, ThawError, Thawer};
use crate::hub::{DURATIONS_MS, MAX_NODES};
use crate::log::cluster::Unrest;
use crate::log::cluster::entry::MAX_MEMBERS;
use crate::log::survey::Survey;

const CLUSTERED: ThawError = ThawError::Damaged("the log of a cluster is not valid");

const _: () = assert!(
    MAX_MEMBERS <= MAX_NODES,
    "the hub has room for what each says"
);

/// What there is one of.
#[derive(Serialize, Deserialize)]
struct Head {
    publish_ms: FrozenHistogram,
    #[serde(deserialize_with = "frozen::count")]
    refused_busy: u64,
    #[serde(deserialize_with = "frozen::count")]
    refused_failing: u64,
    warned: Option<Time>,
    #[serde(deserialize_with = "frozen::count")]
    unwarned: u64,
}

impl Clustered {
    /// Why it cannot be handed over; `None` if it can.
    pub fn unrest(&self, hub: &Hub) -> Option<Unrest> {
        if self.is_broken {
            return Some(Unrest::Halted);
        }
        if !self.is_warm {
            return Some(Unrest::Warming);
        }
        let is_applied = self.applying.is_none() && !hub.is_losing();
        self.node
            .unrest()
            .or((!is_applied).then_some(Unrest::Unapplied))
    }

    /// Writes its state.
    ///
    /// # Errors
    ///
    /// It could not be written, or the node does not rest.
    pub(in crate::log) fn freeze<W: Write>(&self, state: &mut Freezer<W>) -> io::Result<()> {
        state.put(&Head {
            publish_ms: self.publish_ms.freeze(),
            refused_busy: self.refused.busy,
            refused_failing: self.refused.failing,
            warned: self.warned,
            unwarned: self.unwarned,
        })?;
        state.put_all(&self.given)?;
        self.node.freeze(state)
    }

    /// Reads the state of the log that a hub follows.
    ///
    /// # Errors
    ///
    /// See [`ThawError`].
    pub(in crate::log) fn thaw<R: Read>(
        settings: Settings,
        hub: &Hub,
        state: &mut Thawer<R>,
    ) -> Result<Clustered, ThawError> {
        let head: Head = state.take()?;
        let mut given: VecDeque<(Ticket, Time)> = VecDeque::new();
        let mut values = state.take_all();
        while let Some(one) = values.take::<(Ticket, Time)>()? {
            if given.back().is_some_and(|last| last.0 >= one.0) {
                return Err(CLUSTERED);
            }
            given.push_back(one);
        }
        let patience_ms = settings.patience_ms;
        let node = Node::thaw(settings, hub.now(), state)?;
        // What the hub has applied is what the node has read.
        let terms = hub.terms().ok_or(CLUSTERED)?;
        let (tip, applied) = (node.gauges().applied, terms.entry(hub.head()));
        let is_applied = terms.newest() == Some(tip.term) && applied.is_some_and(|id| id <= tip);
        let done = node.newest_done();
        let is_given = given.front().is_none_or(|first| first.0 > done);
        // Of others it would never be told that they are gone.
        let are_heard = hub.all_elsewhere(|other| node.has_heard(other));
        if !is_applied || !is_given || !are_heard {
            return Err(CLUSTERED);
        }
        Ok(Clustered {
            node,
            applying: None,
            applied: hub.head(),
            done: match done {
                Ticket(0) => Mark::default(),
                done => done.into(),
            },
            now: hub.now(),
            patience_ms,
            warms_at: None,
            is_warm: true,
            survey: Survey::default(),
            given,
            publish_ms: head.publish_ms.thaw(DURATIONS_MS).ok_or(CLUSTERED)?,
            is_cut_short: false,
            owed_until: None,
            refused: Refused {
                busy: head.refused_busy,
                failing: head.refused_failing,
            },
            warned: head.warned,
            unwarned: head.unwarned,
            is_broken: false,
        })
    }
}
