//! The reading of entries: each is judged, and applied or kept.
//!
//! Owns continuity: whether an entry is the next one, the beginning of a term, and when a term is
//! settled.

use std::sync::Arc;

use super::census::{Beginning, Census};
use super::chain::{Chain, Relation};
use super::entry::{Beat, Body, Entry, Settled, Term, Unreadable, begins_term};
use super::node::{Mode, Node};
use super::replica::Loss;
use super::settings::Halt;
use crate::message::EntryId;

/// How many times [`super::settings::Settings::ring_bytes`] is kept of what is retold. Nodes may
/// retell different parts.
const RETOLD_RINGS: usize = 2;

impl Node {
    /// Takes an entry that was not read before.
    pub(super) fn take_entry(&mut self, id: EntryId, bytes: &Arc<[u8]>) {
        let entry = Entry::read(bytes);
        let is_term = id.number == 0 && matches!(&entry, Ok(entry) if is_term(entry));
        if !is_term && self.is_of_foreign_term(id, bytes, &entry) {
            return self.take_foreign_term(id);
        }
        let is_live = matches!(self.mode, Mode::Live { .. });
        if !is_term && is_live && self.lane.doubted == Some(id.term) {
            // It may be of the older log, and another entry have its id.
            return;
        }
        if entry == Err(Unreadable::Halt) {
            self.halt = Some(Halt::Unreadable { id });
            return;
        }
        self.window.push(id, bytes.len(), self.now);
        if let Ok(entry) = &entry {
            self.note(id, bytes.len(), entry);
        }
        let before = std::mem::replace(&mut self.read_to, id);
        self.lane.note_term(id.term, self.now);
        if let Ok(Entry {
            head,
            body: Body::Term(term),
        }) = &entry
            && is_term
        {
            return self.begin_census(id, head.node, term);
        }
        match &mut self.mode {
            Mode::Census(census) if census.term == id.term => {
                census.is_holed |= id != before.next();
                match &entry {
                    Ok(entry) if !is_after_settling(entry, id) => {
                        return self.take_census_entry(id, bytes, entry);
                    }
                    // The entry that settled the term is missing.
                    Ok(_) => {}
                    Err(_) => {
                        census.is_holed |= entry == Err(Unreadable::Damaged);
                        return;
                    }
                }
            }
            // fault: hole-is-no-loss
            Mode::Live { .. } if id == before.next() => {
                return self.take_live_entry(id, bytes, entry);
            }
            Mode::Fresh | Mode::Live { .. } | Mode::Census(_) => {}
        }
        self.skip_to(id);
        self.take_live_entry(id, bytes, entry);
    }

    /// Whether an entry, which begins no term, is of one that no node has opened.
    fn is_of_foreign_term(
        &self,
        id: EntryId,
        bytes: &[u8],
        entry: &Result<Entry<'_>, Unreadable>,
    ) -> bool {
        let is_of_ours = match &self.mode {
            Mode::Fresh => false,
            Mode::Live { .. } => id.term == self.replica.tip().term,
            Mode::Census(census) => id.term == census.term,
        };
        match entry {
            // A later version may begin terms in another way.
            Err(Unreadable::Halt) if id.number == 0 => !begins_term(bytes),
            _ if id.number == 0 => true,
            // What comes before it in the term is missing, as where the log was trimmed.
            Ok(_) => false,
            Err(Unreadable::Foreign) => !is_of_ours,
            Err(_) => self.foreign.has_term(id),
        }
    }

    /// Passes an entry of a term that no node has opened: it has no part in the history. The term
    /// before it is over in the server, and the next one is to be opened above it.
    fn take_foreign_term(&mut self, id: EntryId) {
        self.note_foreign(id);
        if let Mode::Census(census) = &self.mode {
            self.replica
                .note_opening(census.term, census.opened_after, None);
        }
        let after = self.replica.effective_end(self.read_to);
        self.replica.note_opening(id.term, after, None);
        self.lane.opened = self.lane.opened.filter(|&opened| opened > id.term);
    }

    fn note_foreign(&mut self, id: EntryId) {
        if self.foreign.note(id, self.now) {
            self.replica.counts.foreign += 1;
        }
    }

    /// Notes what an entry says about nodes, wherever it is.
    fn note(&mut self, id: EntryId, bytes: usize, entry: &Entry<'_>) {
        let is_own = entry.head.node == self.own;
        let is_new = self.members.note(id, entry.head, self.now);
        if is_new && !is_own {
            // Beat at once: the new node waits until our beat shows that we have read it.
            self.pulse.due = self.now;
        }
        self.notes.read(bytes as u64);
        self.blocks.read(bytes);
        if is_own {
            self.notes.own_read(entry.head.nonce);
        }
        if is_own && is_new {
            // The others have taken it for gone.
            self.audience.begin_round();
        }
        if let Body::Readers(readers) = &entry.body {
            self.hear_readers(entry.head, readers);
        }
        let Body::Beat(beat) = &entry.body else {
            return self.note_listeners();
        };
        let counts = !matches!(self.mode, Mode::Census(_));
        self.members.note_beat(entry.head, beat, counts, self.now);
        self.forget_silent();
        let lag = self.replica.count_after(beat.applied);
        self.members.note_lag(entry.head.node, lag);
        if is_own {
            self.pulse.read(entry.head.nonce, id, self.now);
        }
        if beat.is_leaving {
            // Beat at once: the leaving node waits until our beat shows that we have read its farewell.
            self.pulse.due = self.now;
            self.goodbye = self.goodbye.or(is_own.then_some(id));
        }
    }

    /// Goes on from an entry that is not next: those between are missing here.
    fn skip_to(&mut self, id: EntryId) {
        if let Mode::Census(census) = &self.mode {
            self.replica
                .note_opening(census.term, census.opened_after, None);
        }
        let tip = self.replica.tip();
        if tip.term != id.term {
            if self.remembers {
                self.suspect = Some(self.replica.history.clone());
            }
            // The term that was opened for a doubt may be among those that are missing.
            self.lane.undoubt(id.term);
            self.mode = Mode::Live { is_settled: false };
        }
        self.replica.skip_to(id);
        self.audience.missed();
    }

    /// Takes an entry of a term that goes on, which is next.
    fn take_live_entry(
        &mut self,
        id: EntryId,
        bytes: &Arc<[u8]>,
        entry: Result<Entry<'_>, Unreadable>,
    ) {
        debug_assert_eq!(
            self.replica.history.successor(self.replica.tip()).term,
            id.term
        );
        let entry = match entry {
            Ok(entry) => entry,
            Err(Unreadable::Skip) => {
                self.replica.counts.skipped += 1;
                return self.replica.pass(id);
            }
            Err(Unreadable::Foreign) => {
                self.note_foreign(id);
                return self.replica.pass(id);
            }
            Err(_) => {
                self.audience.missed();
                return self.replica.lose_entry(id);
            }
        };
        let was_settled = match &mut self.mode {
            Mode::Live { is_settled } => {
                let was_settled = *is_settled;
                *is_settled |= is_after_settling(&entry, id);
                *is_settled |= matches!(entry.body, Body::Settled(_));
                was_settled
            }
            Mode::Fresh | Mode::Census(_) => true,
        };
        match &entry.body {
            // What was retold before it is not known here.
            Body::Settled(_) if !was_settled => self.replica.lose_entry(id),
            // The term was settled before: this one came too late.
            Body::Settled(_) => self.replica.pass(id),
            Body::Beat(beat) => {
                self.resolve_suspicion(id, beat);
                self.replica.learn_past(&Chain::new(&beat.chain));
                self.replica.pass(id);
            }
            Body::Kick(kicks) => {
                self.note_kicks(entry.head.node, kicks);
                self.replica.apply(id, bytes, entry);
            }
            Body::Checkpoint(_) => {
                self.notes.checkpoint_read(self.now);
                self.replica.apply(id, bytes, entry);
            }
            // fault: entry-is-skipped
            _ => self.replica.apply(id, bytes, entry),
        }
    }

    /// Compares the history that this node had before it missed entries with the history in a beat.
    fn resolve_suspicion(&mut self, id: EntryId, beat: &Beat<'_>) {
        if beat.chain.last().map(|end| end.term) != Some(id.term) {
            return;
        }
        let theirs = Chain::new(&beat.chain);
        let Some(mine) = self.suspect.take() else {
            return;
        };
        if mine.relation(&theirs) != Relation::Behind {
            self.notes.lose(Loss::All);
        }
    }

    fn begin_census(&mut self, id: EntryId, opener: u64, term: &Term<'_>) {
        let before = match std::mem::replace(&mut self.mode, Mode::Fresh) {
            Mode::Census(census) => {
                // A term that was not settled has no part in the history.
                self.replica
                    .note_opening(census.term, census.opened_after, None);
                Some(census)
            }
            Mode::Fresh | Mode::Live { .. } => None,
        };
        let end = match term.end < id {
            true => term.end,
            false => self.replica.tip(),
        };
        let beginning = Beginning {
            term: id.term,
            opened_after: self.replica.effective_end(end),
            is_same: term.is_same,
            is_rolled: term.is_rolled,
            opener,
            members: &term.members,
            max_retold_bytes: self.settings.ring_bytes.saturating_mul(RETOLD_RINGS),
        };
        let mut census = Census::new(beginning, self.now);
        if let Some(before) = before {
            census.inherit(&before);
        }
        if census.is_rolled {
            self.lane.undoubt(id.term);
        }
        self.mode = Mode::Census(Box::new(census));
        self.notes.census_began();
        // The server may have forgotten that this node leaves.
        self.notes.stays();
        self.goodbye = None;
    }

    fn take_census_entry(&mut self, id: EntryId, bytes: &Arc<[u8]>, entry: &Entry<'_>) {
        let Mode::Census(census) = &mut self.mode else {
            return;
        };
        match &entry.body {
            Body::Answer(answer) => {
                census.answered(entry.head.node, answer.clone(), self.now);
            }
            Body::Retold(records) => census.retold(records, self.now),
            // A history cannot go on after the term that it is to begin.
            Body::Settled(Settled { chain, .. })
                if chain.last().is_some_and(|end| end.term >= id.term) => {}
            Body::Settled(settled) => self.settle(id, bytes, settled),
            _ => {}
        }
    }

    fn settle(&mut self, id: EntryId, bytes: &Arc<[u8]>, settled: &Settled) {
        let mode = std::mem::replace(&mut self.mode, Mode::Live { is_settled: true });
        let Mode::Census(census) = mode else {
            return;
        };
        let is_rolled = census.is_rolled;
        let (after, mut is_holed) = (census.opened_after, census.is_holed);
        let retold = census.into_retold();
        let differing = match is_rolled {
            true => self.replica.take_differing(&retold),
            false => None,
        };
        is_holed |= differing.is_some();
        let loss = self.replica.settle((id, bytes), settled, &retold, is_holed);
        let is_some = |loss: &Loss| *loss != Loss::Channels(Vec::new());
        for loss in [differing, loss].into_iter().flatten().filter(is_some) {
            self.notes.lose(loss);
        }
        self.replica.note_opening(id.term, after, Some(id.number));
        self.note_own_read();
        let silent_ms = self.blocked_ms();
        let history = &self.replica.history;
        if is_rolled {
            // Own entries that others have read in the older log, under ids that this node had passed.
            let end = settled.chain.last().copied().unwrap_or(EntryId::ZERO);
            for record in retold.iter().filter(|record| record.last() <= end) {
                if let Some(nonce) = record.nonce_of(self.own) {
                    self.outbox.read(nonce, record.last());
                }
            }
            self.outbox.misplaced(id.term);
        }
        let (again, unknown) = self.outbox.settled(id.term, history, silent_ms);
        self.replica.counts.resent += again;
        self.replica.counts.unknown += unknown;
        // The server may have forgotten what was told.
        self.audience.begin_round();
        self.blocks.restart();
        self.pulse.due = self.now;
    }
}

fn is_term(entry: &Entry<'_>) -> bool {
    matches!(entry.body, Body::Term(_))
}

/// Whether an entry is one that a node appends only when it has read that the term is settled.
fn is_after_settling(entry: &Entry<'_>, id: EntryId) -> bool {
    match &entry.body {
        Body::Messages(_)
        | Body::Lost(_)
        | Body::Delete(_)
        | Body::Checkpoint(_)
        | Body::Readers(_)
        | Body::Kick(_) => true,
        Body::Beat(beat) => beat.chain.last().is_some_and(|end| end.term == id.term),
        Body::Term(_) | Body::Answer(_) | Body::Retold(_) | Body::Settled(_) => false,
    }
}
