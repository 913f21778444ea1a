//! How many readers channels have on each node, as the nodes tell one another.
//!
//! Owns what of this node is to be told, and when; `readers` has the way from and to the log. The
//! numbers are in entries of the log like all that nodes say. So a publish that asks for them costs the engine
//! nothing: every node has in memory what the others have said. The log already has what a store of
//! counts would need: order, delivery to all, and membership.
//! What it takes is room in the log, and that is limited: see [`Allowance`].
//!
//! A node tells in *rounds*: in a round all its channels that have readers, and what changes
//! meanwhile; after it only what changes. A new round begins when others may not have what was told:
//! another term is settled, the connection broke, another node asks or is the first one to listen,
//! or the others have taken this node for gone. A node asks when it starts, and when it has missed
//! entries. What is not told in a round has no readers when the round is over.
//!
//! Entries that a broken connection left behind may be appended after later ones. A node gives rising
//! numbers to what it says, so such entries are recognised, and do not count.

mod frozen;

use std::collections::BTreeMap;

use super::allowance::Allowance;
use super::entry::Readers;
use crate::base::time::Time;

/// Channels that an entry tells at most, about 36 KiB.
pub(super) const MAX_COUNTS: usize = 4_096;

/// What is told of readers, and what was heard of those of others.
#[derive(Debug)]
pub(super) struct Audience {
    /// The round that is told, or was told last.
    pub(super) round: u64,
    /// Whether it is over.
    pub(super) is_over: bool,
    /// Whether something of it was told.
    has_begun: bool,
    /// Whether another round begins when it is over.
    is_asked: bool,
    pub(super) has_listeners: bool,
    /// Keys of channels and their readers, which are to be told next.
    pub(super) counts: Vec<(u64, u32)>,
    /// Whether these are all for the moment.
    pub(super) is_due: bool,
    /// Whether the round is over with these.
    pub(super) ends_round: bool,
    /// Whether the others are to be asked to begin a round.
    asks: bool,
    /// Whether they were, and the entry was not read back yet.
    pub(super) has_asked: bool,
    /// Nothing is told before that.
    pub(super) not_before: Time,
    pub(super) allowance: Allowance,
    /// The number of the last entry of each node that counts.
    pub(super) heard: BTreeMap<u64, u64>,
}

impl Default for Audience {
    fn default() -> Audience {
        Audience {
            round: 1,
            is_over: false,
            has_begun: false,
            is_asked: false,
            has_listeners: false,
            counts: Vec::new(),
            is_due: false,
            ends_round: false,
            asks: true,
            has_asked: false,
            not_before: Time(0),
            allowance: Allowance::default(),
            heard: BTreeMap::new(),
        }
    }
}

impl Audience {
    /// Begins a round: all is to be told again.
    pub(super) fn begin_round(&mut self) {
        self.counts.clear();
        self.is_due = false;
        self.ends_round = false;
        self.is_asked = false;
        self.round = self.round.wrapping_add(1);
        self.has_begun = false;
        self.is_over = false;
    }

    /// What was sent may not be in the log.
    pub(super) fn lost(&mut self) {
        self.asks |= std::mem::take(&mut self.has_asked);
        self.begin_round();
    }

    /// Another node asks for a round, as it may lack what was told.
    pub(super) fn asked(&mut self) {
        match self.is_over {
            true => self.begin_round(),
            false => self.is_asked = self.has_begun,
        }
    }

    /// Entries of others were missed.
    pub(super) fn missed(&mut self) {
        self.asks = true;
    }

    fn wants_to_tell(&self) -> bool {
        let is_full = self.counts.len() >= MAX_COUNTS;
        self.has_listeners && (self.asks || self.is_due || is_full)
    }

    /// When the next entry is due; `None` if there is nothing to tell.
    pub(super) fn due(&self) -> Option<Time> {
        self.wants_to_tell().then_some(self.not_before)
    }

    /// Takes what is to be told now.
    pub(super) fn take(&mut self) -> Readers {
        let rest = self.counts.split_off(self.counts.len().min(MAX_COUNTS));
        let counts = std::mem::replace(&mut self.counts, rest);
        self.has_begun = true;
        self.is_due &= !self.counts.is_empty();
        let ends_round = self.ends_round && self.counts.is_empty();
        self.ends_round &= !ends_round;
        self.has_asked |= self.asks;
        let readers = Readers {
            // Others compare it for equality only.
            round: self.round as u8,
            ends_round,
            asks: std::mem::take(&mut self.asks),
            counts,
        };
        if ends_round {
            self.is_over = true;
            if self.is_asked {
                self.begin_round();
            }
        }
        readers
    }
}
