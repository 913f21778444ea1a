//! The part of the history that a node has, and the effects of the entries that it reads.
//!
//! Owns the id up to which the node has applied, the newest part of the history as bytes, the
//! floors, and the queue of effects. Its callers decide whether an entry is the next in the
//! history.
//!
//! Invariants:
//! - *In order.* Ids of effects rise, also over terms.
//! - *No silence.* Where entries are missing, a loss is told in their place.

mod frozen;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::chain::{Chain, Relation};
use super::clock::Clock;
use super::command::{KeyHash, Salt};
use super::effect::Effect;
use super::entry::{Body, Entry, Record, Settled};
use super::floors::Floors;
use super::messages::Drafts;
use super::retold::Retold;
use super::ring::Ring;
use super::settings::Counts;
use crate::message::{ChannelName, EntryId, IdempotencyKey};

/// Effects that may wait before no more entries are read.
const MAX_EFFECTS: usize = 512;

/// Bytes of messages that may wait before no more entries are read.
const MAX_EFFECT_BYTES: usize = 4 << 20;

/// The most channels of a loss. If there are more, it is one of all.
pub(super) const MAX_LOST: usize = 1_024;

/// Terms of which it is known how they began.
const MAX_OPENINGS: usize = 64;

/// How a term began.
#[derive(Clone, Copy, Debug)]
struct Opening {
    term: u64,
    /// The part of the history that the server had then.
    after: EntryId,
    /// The number of the entry that settled it; `None` if this node has seen none.
    settled: Option<u64>,
}

/// Channels of which messages may be lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    All,
    Channels(Vec<ChannelName<'static>>),
}

/// The part of the history that a node has.
#[derive(Debug)]
pub(super) struct Replica {
    /// The terms of the history; its tip is what was applied last.
    pub(super) history: Chain,
    pub(super) ring: Ring,
    pub(super) floors: Floors,
    pub(super) counts: Counts,
    openings: VecDeque<Opening>,
    /// The node itself.
    own: u64,
    /// Its own entries that were applied: their nonces and ids.
    own_read: Vec<(u64, EntryId)>,
    /// Whether keys of messages are to be noted: publishes with keys wait.
    pub(super) watches_keys: bool,
    /// Keys of messages that were applied, and the ids.
    keys_read: Vec<(KeyHash, EntryId)>,
    /// The id up to which entries were missed since `take_missed`.
    missed: Option<EntryId>,
    /// The newest term that was told, and the end that it has here.
    told: Option<EntryId>,
    /// Whether terms before the first one that was told may be told: this node has begun in the
    /// middle of a term, and has told no floors.
    wants_past: bool,
    /// The time by which messages have their ages.
    pub(super) clock: Clock,
    effects: VecDeque<Effect>,
    effect_bytes: usize,
    /// How many of the effects are results of publishes.
    results: usize,
}

impl Replica {
    pub(super) fn new(own: u64, ring_bytes: usize) -> Replica {
        Replica {
            own,
            own_read: Vec::new(),
            watches_keys: false,
            keys_read: Vec::new(),
            history: Chain::default(),
            ring: Ring::new(ring_bytes),
            floors: Floors::new(),
            counts: Counts::default(),
            openings: VecDeque::new(),
            missed: None,
            told: None,
            wants_past: false,
            clock: Clock::default(),
            effects: VecDeque::new(),
            effect_bytes: 0,
            results: 0,
        }
    }

    /// The id that was applied last; zero at the beginning.
    pub(super) fn tip(&self) -> EntryId {
        self.history.tip()
    }

    /// How many entries that have an effect are after this id, up to the tip; `None` if that is not
    /// known any more.
    pub(super) fn count_after(&self, id: EntryId) -> Option<u64> {
        if id >= self.tip() {
            return Some(0);
        }
        let first = self.ring.first();
        first.filter(|&first| first <= self.history.successor(id))?;
        let has_effect = |record: &Record<'_>| matches!(record, Record::Entry { .. });
        Some(self.ring.after(id).filter(has_effect).count() as u64)
    }

    pub(super) fn has_room(&self) -> bool {
        // Results are bounded by what may wait to be published.
        self.effects.len() - self.results < MAX_EFFECTS && self.effect_bytes < MAX_EFFECT_BYTES
    }

    pub(super) fn next_effect(&mut self) -> Option<Effect> {
        let effect = self.effects.pop_front()?;
        match &effect {
            Effect::Apply { drafts, .. } => self.effect_bytes -= drafts.entry_len(),
            Effect::Readers { counts, .. } => self.effect_bytes -= size_of_val(&counts[..]),
            Effect::Done { .. } => self.results -= 1,
            _ => {}
        }
        Some(effect)
    }

    /// The node's own entries that were applied since the last call: their nonces and ids.
    pub(super) fn take_own_read(&mut self) -> Vec<(u64, EntryId)> {
        std::mem::take(&mut self.own_read)
    }

    /// Keys that were read since the last call, and their ids.
    pub(super) fn take_keys_read(&mut self) -> Vec<(KeyHash, EntryId)> {
        std::mem::take(&mut self.keys_read)
    }

    /// The id up to which entries were missed since the last call, if any were.
    pub(super) fn take_missed(&mut self) -> Option<EntryId> {
        self.missed.take()
    }

    /// Results of publishes that wait among the effects.
    pub(super) fn results(&self) -> usize {
        self.results
    }

    pub(super) fn push(&mut self, effect: Effect) {
        match &effect {
            Effect::Done { .. } => self.results += 1,
            Effect::Readers { counts, .. } => self.effect_bytes += size_of_val(&counts[..]),
            _ => {}
        }
        self.effects.push_back(effect);
    }

    pub(super) fn set_salt(&mut self, salt: Salt) {
        if self.floors.salt().is_none() {
            self.floors.set_salt(salt, self.tip());
            self.push(Effect::Salt(salt));
        }
    }

    /// Applies an entry that is next in the history. `bytes` are those of `entry`.
    pub(super) fn apply(&mut self, id: EntryId, bytes: &Arc<[u8]>, entry: Entry<'_>) {
        self.history.go_on_to(id);
        self.told = Some(id);
        if entry.head.node == self.own {
            self.own_read.push((entry.head.nonce, id));
        }
        match entry.body {
            Body::Messages(messages) => {
                for (channel, key) in messages.names() {
                    self.floors.note(&channel, id);
                    if let Some(key) = key.filter(|_| self.watches_keys) {
                        self.keys_read.push((KeyHash::new(&channel, &key), id));
                    }
                }
                self.ring.push(id, bytes);
                self.effect_bytes += bytes.len();
                let age_ms = self.clock.age_ms(entry.head.at_ms);
                let begin = bytes.len() - messages.as_bytes().len();
                let drafts = Drafts::new(Arc::clone(bytes), begin);
                self.push(Effect::Apply { id, age_ms, drafts });
            }
            Body::Lost(channels) if channels.is_empty() => {
                self.ring.push(id, bytes);
                self.lose_all(id, false);
            }
            Body::Lost(channels) => {
                let channels: Vec<_> = channels.into_iter().map(ChannelName::into_owned).collect();
                for channel in &channels {
                    self.floors.note(channel, id);
                }
                self.ring.push(id, bytes);
                self.counts.losses_some += 1;
                self.push(Effect::Lose { channels, id });
            }
            Body::Delete(channel) => {
                self.floors.note(&channel, id);
                self.ring.push(id, bytes);
                let channel = channel.into_owned();
                self.push(Effect::Delete { channel, id });
            }
            Body::Kick(kicks) => {
                self.ring.push(id, bytes);
                let is_own = entry.head.node == self.own;
                for kick in kicks {
                    let kick = kick.into_owned();
                    self.push(Effect::Kick { is_own, kick });
                }
                self.advance(id);
            }
            Body::Checkpoint(checkpoint) => {
                self.ring.push(id, bytes);
                self.advance(id);
                if let Some(floors) = self.floors.learn(&checkpoint) {
                    // Floors of terms not told by now count as zero, so no older term may be told after
                    // them.
                    self.wants_past = false;
                    self.push(Effect::Floors { floors });
                }
            }
            // It is told again, as a loss.
            Body::Settled(settled) if settled.loses_all => {
                self.ring.push(id, bytes);
                self.lose_all(id, false);
            }
            Body::Term(_)
            | Body::Beat(_)
            | Body::Answer(_)
            | Body::Retold(_)
            | Body::Settled(_)
            | Body::Readers(_) => self.pass(id),
        }
    }

    /// Passes an entry that has no effect and is next in the history.
    pub(super) fn pass(&mut self, id: EntryId) {
        self.history.go_on_to(id);
        self.told = Some(id);
        self.ring.push_blank(id, id.number);
        self.advance(id);
    }

    /// Skips the next entry of the history, which cannot be read: its content is lost.
    pub(super) fn lose_entry(&mut self, id: EntryId) {
        self.history.go_on_to(id);
        self.told = Some(id);
        self.ring.clear();
        self.counts.holes += 1;
        self.lose_all(id, true);
    }

    fn advance(&mut self, id: EntryId) {
        match self.effects.back_mut() {
            Some(Effect::Advance { id: last }) => *last = id,
            _ => self.push(Effect::Advance { id }),
        }
    }

    /// Tells a loss of all channels, which is this node's alone or one that all nodes tell.
    fn lose_all(&mut self, id: EntryId, is_alone: bool) {
        self.counts.losses_all += 1;
        if is_alone {
            self.missed = Some(id);
        }
        self.floors.lose_all(id, is_alone);
        self.push(Effect::LoseAll { id });
    }

    /// Entries before this one are missing here: it is not next in the history, of which nothing is
    /// known between.
    pub(super) fn skip_to(&mut self, id: EntryId) {
        let is_first = self.tip() == EntryId::ZERO;
        if self.tip().term != id.term {
            // What was before is not comparable: where its last term ended is not known.
            self.wants_past = self.told.is_none();
            self.enter(id.term);
            self.history = Chain::default();
        }
        self.history.go_on_to(before(id));
        self.ring.clear();
        if !is_first {
            self.counts.holes += 1;
        }
        self.lose_all(before(id), true);
    }

    /// Tells a new term, after which the one before has the end that it has here.
    fn enter(&mut self, term: u64) {
        debug_assert!(self.told.is_none_or(|told| told.term < term));
        let closed = self.told;
        self.told = Some(EntryId::new(term, 0));
        self.push(Effect::Term { term, closed });
    }

    /// Learns older terms from a beat of the term in which this node began. Cursors of those terms are
    /// known from now on, and the floors decide what they have missed.
    pub(super) fn learn_past(&mut self, theirs: &Chain) {
        if !self.wants_past || theirs.tip().term != self.tip().term {
            return;
        }
        // A node that has begun like this one does not know more.
        self.wants_past = theirs.as_slice().len() < 2;
        // From the newest on: each is older than all that were told.
        for pair in theirs.as_slice().windows(2).rev() {
            if let [end, next] = pair {
                let (term, closed) = (next.term, Some(*end));
                self.push(Effect::Term { term, closed });
            }
        }
    }

    /// Tells the terms of a history that are new, up to this one.
    fn enter_up_to(&mut self, term: u64, history: &Chain) {
        for &end in history.as_slice().iter().filter(|end| end.term <= term) {
            match self.told {
                Some(told) if told.term > end.term => {}
                Some(told) if told.term == end.term => self.told = Some(told.max(end)),
                _ => {
                    self.enter(end.term);
                    self.told = Some(end);
                }
            }
        }
        if term != 0 && self.told.is_none_or(|told| told.term < term) {
            self.enter(term);
        }
    }

    /// Whether the message with a key is this entry, if the entry is among the newest.
    pub(super) fn has_key(&self, id: EntryId, key: KeyHash) -> Option<bool> {
        if self.ring.first().is_none_or(|first| first > id) || id > self.tip() {
            return None;
        }
        let found = self.ring.after(before(id)).next();
        Some(match found {
            Some(Record::Entry { id: found, bytes }) if found == id => match Entry::read(bytes) {
                Ok(Entry {
                    body: Body::Messages(messages),
                    ..
                }) => {
                    let hash = |(channel, known): (ChannelName<'_>, Option<IdempotencyKey>)| {
                        known.map(|known| KeyHash::new(&channel, &known))
                    };
                    messages.names().any(|name| hash(name) == Some(key))
                }
                _ => false,
            },
            _ => false,
        })
    }

    /// The end of the history in a log that ends with this id: a term that was not settled by then
    /// has no part in the history.
    pub(super) fn effective_end(&self, end: EntryId) -> EntryId {
        let opening = self
            .openings
            .iter()
            .rev()
            .find(|opening| opening.term == end.term);
        match opening {
            Some(opening) if opening.settled.is_none_or(|settled| settled > end.number) => {
                opening.after
            }
            _ => end,
        }
    }

    /// Notes how a term began.
    pub(super) fn note_opening(&mut self, term: u64, after: EntryId, settled: Option<u64>) {
        self.openings.retain(|opening| opening.term != term);
        if self.openings.len() == MAX_OPENINGS {
            self.openings.pop_front();
        }
        self.openings.push_back(Opening {
            term,
            after,
            settled,
        });
    }

    /// Compares the newest entries that this node has with what was retold, and forgets them if they
    /// differ: an older log was in the place of the one that others had read, and this node has read
    /// of the older one under ids that others have too. Returns what others have not. What is older
    /// than the ring of either is not compared: a node doubts the log within about a second, by the
    /// reply to its beat.
    pub(super) fn take_differing(&mut self, retold: &[Retold]) -> Option<Loss> {
        let from = retold.first()?.first().max(self.ring.first()?);
        let is_common = |id: EntryId| id >= from && id <= self.tip();
        let mine = self
            .ring
            .after(EntryId::ZERO)
            .filter_map(|record| match record {
                Record::Entry { id, bytes } if is_common(id) => Some((id, bytes)),
                _ => None,
            });
        let mut theirs = retold.iter().filter_map(|record| match record {
            Retold::Entry { id, bytes } if is_common(*id) => Some((*id, &bytes[..])),
            _ => None,
        });
        let mut differing = None;
        for (id, bytes) in mine {
            let their = theirs.next();
            if their != Some((id, bytes)) {
                differing = Some(their.map_or(id, |(their, _)| their.min(id)));
                break;
            }
        }
        let first = differing.or_else(|| theirs.next().map(|(id, _)| id))?;
        let loss = self.loss_after(before(first));
        self.ring.clear();
        self.counts.holes += 1;
        Some(loss)
    }

    /// Applies the end of a census: the entry `id`, with these bytes, settles its term. Returns the
    /// loss that others are to be told.
    pub(super) fn settle(
        &mut self,
        (id, bytes): (EntryId, &Arc<[u8]>),
        settled: &Settled,
        retold: &[Retold],
        is_holed: bool,
    ) -> Option<Loss> {
        let theirs = Chain::new(&settled.chain);
        self.wants_past = false;
        let mut is_holed = is_holed;
        let relation = self.history.relation(&theirs);
        let loss = match relation {
            Relation::Behind => {
                self.catch_up(&theirs, retold);
                None
            }
            Relation::Ahead => {
                let loss = self.loss_after(theirs.tip());
                self.ring.truncate_after(theirs.tip());
                Some(loss)
            }
            Relation::Diverged(common) => {
                let loss = common.map_or(Loss::All, |common| self.loss_after(common));
                self.ring.clear();
                self.counts.holes += 1;
                is_holed = true;
                Some(loss)
            }
        };
        self.enter_up_to(theirs.tip().term, &theirs);
        self.history = theirs;
        self.enter_up_to(id.term, &Chain::default());
        self.history.go_on_to(id);
        self.told = Some(id);
        self.ring
            .push_blank(EntryId::new(id.term, 0), id.number.saturating_sub(1));
        match settled.loses_all {
            // Who is told the history again must not miss it.
            true => self.ring.push(id, bytes),
            false => self.ring.push_blank(id, id.number),
        }
        self.counts.terms += 1;
        if is_holed {
            self.missed = Some(id);
        }
        match (settled.loses_all, is_holed) {
            (true, _) => self.lose_all(id, false),
            (false, true) => self.lose_all(id, true),
            (false, false) => self.advance(id),
        }
        // A loss of all that everybody is told includes this one.
        loss.filter(|loss| !settled.loses_all && *loss != Loss::Channels(Vec::new()))
    }

    /// Applies the entries that were told again and are not applied yet.
    fn catch_up(&mut self, theirs: &Chain, retold: &[Retold]) {
        let end = theirs.tip();
        let is_fresh = self.tip() == EntryId::ZERO;
        for record in retold {
            let at = self.tip();
            if record.last() <= at {
                continue;
            }
            if record.last() > end {
                break;
            }
            let next = match at {
                EntryId::ZERO => None,
                at => Some(theirs.successor(at)),
            };
            let mut first = record.first();
            if first <= at {
                first = at.next();
            }
            self.enter_up_to(first.term, theirs);
            if next != Some(first) {
                self.skip_in_history(before(first), at != EntryId::ZERO);
            }
            match record {
                Retold::Entry { id, bytes } => match Entry::read(bytes) {
                    // fault: retold-entry-is-skipped
                    Ok(entry) => self.apply(*id, bytes, entry),
                    Err(_) => self.lose_entry(*id),
                },
                Retold::Blank { last, .. } => {
                    self.ring.push_blank(first, *last);
                    self.history.go_on_to(record.last());
                    self.told = Some(record.last());
                    self.advance(record.last());
                }
            }
        }
        if self.tip() < end {
            self.enter_up_to(end.term, theirs);
            self.skip_in_history(end, !is_fresh);
        }
    }

    /// Entries up to this id are missing here.
    fn skip_in_history(&mut self, id: EntryId, is_hole: bool) {
        self.history.go_on_to(id);
        self.told = self.told.max(Some(id));
        self.ring.clear();
        if is_hole {
            self.counts.holes += 1;
        }
        self.lose_all(id, true);
    }

    /// The channels with messages after this id, as far as that is known.
    fn loss_after(&self, id: EntryId) -> Loss {
        let first = self.ring.first();
        if first.is_none_or(|first| first > self.history.successor(id)) {
            return Loss::All;
        }
        let mut channels = BTreeSet::new();
        for record in self.ring.after(id) {
            let Record::Entry { bytes, .. } = record else {
                continue;
            };
            let names: Vec<ChannelName<'_>> = match Entry::read(bytes).map(|entry| entry.body) {
                Ok(Body::Messages(messages)) => {
                    let names = messages.names();
                    names.map(|(channel, _)| channel.into_owned()).collect()
                }
                Ok(Body::Delete(channel)) => vec![channel],
                Ok(Body::Lost(channels)) if !channels.is_empty() => channels,
                Ok(Body::Lost(_) | Body::Settled(_)) | Err(_) => return Loss::All,
                Ok(_) => continue,
            };
            channels.extend(names.iter().map(|name| name.to_string()));
            if channels.len() > MAX_LOST {
                return Loss::All;
            }
        }
        let name = |name: String| ChannelName::parse(name.into_bytes()).ok();
        Loss::Channels(channels.into_iter().filter_map(name).collect())
    }
}

/// The id before this one, of the same term.
fn before(id: EntryId) -> EntryId {
    EntryId::new(id.term, id.number.saturating_sub(1))
}
