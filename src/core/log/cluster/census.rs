//! A census: the answers of the nodes about the history when a term begins.
//!
//! Owns the answers, the entries that are told again, and the choice of the node that settles the
//! term, and how it does. Nothing of it is part of the history before the term is settled.
//!
//! Invariants:
//! - *The first settling counts.* Several nodes may try; all read the same log, so all take the
//!   same.
//! - *Nothing is lost silently.* If a member is missing, or what some node lacks cannot be retold,
//!   the settling says that messages of any channel may be lost.

use std::collections::{BTreeMap, BTreeSet};

use super::chain::{Chain, Relation};
use super::entry::{Answer, MAX_MEMBERS, Record, Settled};
use super::replica::Replica;
use super::retold::Retold;
use crate::base::time::Time;
use crate::message::EntryId;

/// How long members have to answer, in milliseconds.
pub(super) const MISSING_MS: u64 = 4_000;

/// How long nodes wait if none of them remembers any history, in milliseconds: if the server was
/// restarted without its data, nodes that have it may take as long to connect.
const NEWCOMERS_MS: u64 = 2_500;

/// The same if the log is empty and its server was not restarted: nodes that knew another log would
/// be connected.
const NEW_LOG_MS: u64 = 500;

/// The time after its start at which a server was not restarted a moment ago, in milliseconds.
const UP_MS: u64 = 15_000;

/// The time without progress after which the next node settles the term, in milliseconds.
const TAKEOVER_MS: u64 = 2_000;

/// If the server lost nothing, nodes wait this long before they answer, in milliseconds; mostly the
/// term is settled by then.
const SAME_MS: u64 = 1_000;

/// A census that is under way.
#[derive(Debug)]
pub(super) struct Census {
    pub(super) term: u64,
    /// The part of the history that the server had when the term began.
    pub(super) opened_after: EntryId,
    /// The server has lost nothing.
    is_same: bool,
    /// The server had an older log in place of the one that was read.
    pub(super) is_rolled: bool,
    opener: u64,
    members: BTreeSet<u64>,
    answers: BTreeMap<u64, Answer>,
    /// By their last ids.
    retold: BTreeMap<EntryId, Retold>,
    retold_bytes: usize,
    max_retold_bytes: usize,
    /// Entries of it are missing here.
    pub(super) is_holed: bool,
    began: Time,
    progressed: Time,
}

/// The facts with which a census begins.
pub(super) struct Beginning<'e> {
    pub(super) term: u64,
    pub(super) opened_after: EntryId,
    pub(super) is_same: bool,
    pub(super) is_rolled: bool,
    pub(super) opener: u64,
    pub(super) members: &'e [u64],
    pub(super) max_retold_bytes: usize,
}

impl Census {
    pub(super) fn new(beginning: Beginning<'_>, now: Time) -> Census {
        let Beginning {
            term,
            opened_after,
            is_same,
            is_rolled,
            opener,
            members,
            max_retold_bytes,
        } = beginning;
        Census {
            term,
            opened_after,
            is_same,
            is_rolled,
            opener,
            members: members.iter().copied().collect(),
            answers: BTreeMap::new(),
            retold: BTreeMap::new(),
            retold_bytes: 0,
            max_retold_bytes,
            is_holed: false,
            began: now,
            progressed: now,
        }
    }

    /// Takes over from the census of the term before, which was not settled: that the server has lost
    /// something or had an older log, and the members that have not answered.
    pub(super) fn inherit(&mut self, before: &Census) {
        self.is_same &= before.is_same;
        self.is_rolled |= before.is_rolled;
        self.add_members(before.members.iter().copied());
    }

    fn add_members(&mut self, members: impl Iterator<Item = u64>) {
        for member in members {
            if self.members.len() < 2 * MAX_MEMBERS {
                self.members.insert(member);
            }
        }
    }

    /// Records the answer of a node. Further answers of the same node are ignored.
    pub(super) fn answered(&mut self, node: u64, answer: Answer, now: Time) {
        if self.answers.len() >= 2 * MAX_MEMBERS {
            return;
        }
        self.add_members(answer.members.iter().copied());
        self.answers.entry(node).or_insert(answer);
        self.progressed = now;
    }

    /// Records entries that are told again. Beyond a bound the oldest are dropped, and count as
    /// missing.
    pub(super) fn retold(&mut self, records: &[Record<'_>], now: Time) {
        self.progressed = now;
        // fault: retold-is-dropped
        for record in records {
            let retold = Retold::new(record);
            let (key, cost) = (retold.last(), retold.cost());
            let replaces = self
                .retold
                .get(&key)
                .is_none_or(|known| known.first() > retold.first());
            if !replaces {
                continue;
            }
            self.retold_bytes += cost;
            if let Some(known) = self.retold.insert(key, retold) {
                self.retold_bytes -= known.cost();
            }
            while self.retold_bytes > self.max_retold_bytes
                && let Some((_, oldest)) = self.retold.pop_first()
            {
                self.retold_bytes -= oldest.cost();
            }
        }
    }

    /// The entries that were told again, in the order of the history.
    pub(super) fn into_retold(self) -> Vec<Retold> {
        self.retold.into_values().collect()
    }

    /// Whether this node should answer now: it is asked, and its answer has not been read back.
    pub(super) fn wants_answer(&self, own: u64, now: Time) -> bool {
        let is_asked = !self.is_same || now.since_ms(self.began) >= SAME_MS;
        is_asked && !self.answers.contains_key(&own)
    }

    fn remembers(&self) -> bool {
        self.remembering().next().is_some()
    }

    /// The answers of nodes that have served clients. A node that has just started lacks nothing.
    fn remembering(&self) -> impl Iterator<Item = &Answer> {
        self.answers.values().filter(|answer| answer.remembers)
    }

    /// Whether a member has not answered, and no node knows that all its entries were read.
    fn missing(&self) -> bool {
        let has_departed = |member: &u64| {
            let mut answers = self.remembering();
            answers.any(|answer| answer.departed.contains(member))
        };
        let is_missing = |member: &u64| !self.answers.contains_key(member) && !has_departed(member);
        self.members.iter().any(is_missing)
    }

    /// Whether this node settles the term now: the one that has come furthest does, and after some
    /// time without progress the next. `up_ms`: for how long the server has been running.
    pub(super) fn is_settler(&self, own: u64, up_ms: u64, now: Time) -> bool {
        let Some(answer) = self.answers.get(&own) else {
            return self.is_same && self.opener == own;
        };
        let base = base_of(answer);
        let is_before = |&(&node, other): &(&u64, &Answer)| {
            base_of(other) > base || (base_of(other) == base && node < own)
        };
        let rank = self.answers.iter().filter(is_before).count() as u64;
        let (waited, quiet) = (now.since_ms(self.began), now.since_ms(self.progressed));
        match rank {
            0 if self.is_same => true,
            0 if self.missing() => waited >= MISSING_MS,
            // Nodes that have just started leave it to one that remembers, if there is one.
            0 if self.opened_after == EntryId::ZERO && up_ms >= UP_MS => {
                self.remembers() || waited >= NEW_LOG_MS
            }
            0 => self.remembers() || waited >= NEWCOMERS_MS,
            rank => quiet >= MISSING_MS + rank * TAKEOVER_MS,
        }
    }

    /// Ends the census, as this node sees it: how it settles the term.
    pub(super) fn settling(&self, replica: &Replica) -> Settled {
        let mut history = replica.history.clone();
        if history.tip() < self.opened_after {
            history.go_on_to(self.opened_after);
        }
        let loses_all = !self.is_same && self.may_lose(&history, replica);
        Settled {
            loses_all,
            chain: history.as_slice().to_vec(),
        }
    }

    /// Whether messages may be lost that some node or reader had.
    fn may_lose(&self, history: &Chain, replica: &Replica) -> bool {
        let end = history.tip();
        // fault: missing-member-is-no-loss
        if self.missing() || (!self.remembers() && end != EntryId::ZERO) {
            return true;
        }
        let differs =
            |answer: &Answer| Chain::new(&answer.chain).relation(history) != Relation::Behind;
        if self.remembering().any(differs) {
            return true;
        }
        // A node that has less than the server has missed it alone.
        let needed = |answer: &Answer| base_of(answer).max(self.opened_after);
        let Some(lowest) = self.remembering().map(needed).min() else {
            return false;
        };
        let first = replica.ring.first();
        lowest < end && first.is_none_or(|first| first > history.successor(lowest))
    }

    /// From which id on this node tells again: what some node lacks, or the server.
    pub(super) fn retells_after(&self) -> EntryId {
        let bases = self.answers.values().map(base_of);
        bases.fold(self.opened_after, EntryId::min)
    }
}

/// The part of the history that a node has.
fn base_of(answer: &Answer) -> EntryId {
    answer.chain.last().copied().unwrap_or(EntryId::ZERO)
}
