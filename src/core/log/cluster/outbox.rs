//! Publishes that have no result yet.
//!
//! Owns the gathering of the publishes of a tick into one entry, their order, and the result of
//! each.
//!
//! Invariants:
//! - *In order.* Entries are sent in the order in which they were published, also those that are
//!   sent again; tickets are done in their order. Exception: a publish is sent again because its key
//!   named a message that was lost, or because an older log took it under an id that another entry has.
//!   Publishes that were sent after it by then may be in the log before it.
//! - *Not twice.* An entry is sent again only when it is certain that the log does not have it: the
//!   server said so, or a later term is settled and it was not in the history before.
//! - *Replicas have it*, if they are awaited: a publish is done when the server has replied to it,
//!   or to one that is later in the log.
//! - *Not published* is what no node has read. Of what was sent to a log that is over that is not known.
//! - *Bounded in time.* A publisher has its result after the patience at the latest.

mod frozen;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::chain::Chain;
use super::command::KeyHash;
use super::effect::{Effect, Outcome, Reason, Ticket};
use super::entry::{Head, MAX_GROUP, MAX_GROUP_BYTES, begin_messages};
use super::messages::{count_parts, message_len, write_message};
use super::replica::Replica;
use crate::base::time::Time;
use crate::message::{Draft, EntryId};

/// The memory of an entry beside its bytes.
const OVERHEAD: usize = 256;

/// The state of an entry that is to be in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It is not in the log.
    Queued,
    /// It was sent to a term, and has no reply.
    Sent { term: u64 },
    /// The server replied that it has this id.
    Appended(EntryId),
    /// Its key had an entry before.
    Earlier(EntryId),
}

/// An entry that is to be in the log.
#[derive(Debug)]
struct Item {
    bytes: Vec<u8>,
    /// The tickets that wait for it, each with the part of its first message.
    tickets: Vec<(Ticket, u16)>,
    messages: u64,
    key: Option<KeyHash>,
    /// The entry of its key that is lost.
    replaces: Option<EntryId>,
    /// The entry of its key that another node has published meanwhile.
    earlier: Option<EntryId>,
    deadline: Time,
    stage: Stage,
    /// Its id in the history, where this node has read it.
    read: Option<EntryId>,
    /// It was sent before, to a log that is over. It is not in the history, but some node may have read
    /// it there, and the server may know its key.
    is_again: bool,
    /// It was sent, and this node has missed entries of which it may be one. Of one that the server
    /// has taken: it is one of them.
    may_be_missed: bool,
}

/// Publishes of this tick.
#[derive(Debug)]
struct Group {
    nonce: u64,
    item: Item,
    parts: usize,
}

/// An entry to be sent.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) nonce: u64,
    pub(super) key: Option<KeyHash>,
    pub(super) replaces: Option<EntryId>,
    pub(super) known: Option<EntryId>,
    pub(super) messages: u64,
    pub(super) bytes: Vec<u8>,
}

/// The reply of the server to an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Appended(EntryId),
    Earlier(EntryId),
    /// It is not in the log, and may be sent again.
    NotTaken,
    /// It was appended with this id to a log that is not the one that was read, and will be emptied.
    Misplaced(EntryId),
    /// It is not in the log, for this reason.
    Refused(Reason),
}

/// All entries that are to be in the log, and the tickets of their publishers.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// By their nonces, which rise.
    items: BTreeMap<u64, Item>,
    queue: BTreeSet<u64>,
    group: Option<Group>,
    /// Entries that may have a result.
    touched: BTreeSet<u64>,
    /// Results, from the oldest ticket that is not done on.
    outcomes: VecDeque<Option<Outcome>>,
    /// Tickets that are done. The first one is 1, so that 0 is before all.
    done: u64,
    bytes: usize,
    /// The entries that have a key, by that and their nonces.
    keys: BTreeSet<(KeyHash, u64)>,
    /// Whether a reply proves that replicas have the entry and all before it.
    awaits_replicas: bool,
    /// The newest id of which there was a reply.
    confirmed: EntryId,
    /// The newest id up to which this node has missed entries.
    missed_to: EntryId,
    /// The ids that the server has given, from those on that this node has not come to, and the nonces
    /// of their entries.
    taken: BTreeSet<(EntryId, u64)>,
    /// Entries that were read, and lack a reply that does not come any more.
    unconfirmed: BTreeSet<u64>,
    /// The entry that was sent again last of those with a key.
    asked: Option<u64>,
}

impl Outbox {
    pub(super) fn new(awaits_replicas: bool) -> Outbox {
        Outbox {
            awaits_replicas,
            ..Outbox::default()
        }
    }

    /// Bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Tickets that wait.
    pub(super) fn waiting(&self) -> u64 {
        self.outcomes.len() as u64
    }

    pub(super) fn is_empty(&self) -> bool {
        self.outcomes.is_empty()
    }

    /// The newest ticket that is done; 0 before the first.
    pub(super) fn newest_done(&self) -> Ticket {
        Ticket(self.done)
    }

    fn next_ticket(&mut self) -> Ticket {
        self.outcomes.push_back(None);
        Ticket(self.done + self.outcomes.len() as u64)
    }

    /// Whether these messages go into the entry that is being gathered.
    fn has_room(&self, drafts: &[Draft<'_>], bytes: usize) -> bool {
        self.group.as_ref().is_some_and(|group| {
            group.parts + count_parts(drafts) <= MAX_GROUP
                && group.item.bytes.len() + bytes <= MAX_GROUP_BYTES
        })
    }

    /// Adds messages to the entry that is being gathered. `head` is that of a new entry, should
    /// it need one; returns whether it did.
    pub(super) fn publish(
        &mut self,
        drafts: &[Draft<'_>],
        head: Head,
        deadline: Time,
    ) -> (Ticket, bool) {
        let length = drafts.iter().map(message_len).sum();
        let is_new = !self.has_room(drafts, length);
        if is_new {
            self.flush();
            let mut item = Item::new(Vec::new(), deadline);
            begin_messages(&mut item.bytes, head);
            self.bytes += item.bytes.len() + OVERHEAD;
            let (nonce, parts) = (head.nonce, 0);
            self.group = Some(Group { nonce, item, parts });
        }
        let ticket = self.next_ticket();
        if let Some(group) = &mut self.group {
            let part = u16::try_from(group.parts).expect("an entry has at most 16,384 parts");
            group.item.tickets.push((ticket, part));
            group.item.messages += drafts.len() as u64;
            let before = group.item.bytes.len();
            for draft in drafts {
                write_message(&mut group.item.bytes, draft);
            }
            self.bytes += group.item.bytes.len() - before;
            group.parts += count_parts(drafts);
        }
        (ticket, is_new)
    }

    /// Adds an entry of its own, with a key or without.
    pub(super) fn add(
        &mut self,
        bytes: Vec<u8>,
        nonce: u64,
        key: Option<KeyHash>,
        deadline: Time,
    ) -> Ticket {
        self.flush();
        let ticket = self.next_ticket();
        self.bytes += bytes.len() + OVERHEAD;
        let mut item = Item::new(bytes, deadline);
        item.tickets.push((ticket, 0));
        item.messages = 1;
        item.key = key;
        self.keys.extend(key.map(|key| (key, nonce)));
        self.insert(nonce, item);
        ticket
    }

    /// How many messages are in the entry that is being gathered; 0 if one before it is to be sent.
    pub(super) fn gathered(&self) -> u64 {
        let group = self.group.as_ref().filter(|_| self.queue.is_empty());
        group.map_or(0, |group| group.item.messages)
    }

    /// Ends the entry that is being gathered.
    pub(super) fn flush(&mut self) {
        if let Some(Group { nonce, item, .. }) = self.group.take() {
            self.insert(nonce, item);
        }
    }

    fn insert(&mut self, nonce: u64, item: Item) {
        debug_assert!(
            self.items
                .last_key_value()
                .is_none_or(|(last, _)| *last < nonce)
        );
        self.items.insert(nonce, item);
        self.queue.insert(nonce);
    }

    fn remove(&mut self, nonce: u64) -> Option<Item> {
        let item = self.items.remove(&nonce)?;
        self.queue.remove(&nonce);
        self.unconfirmed.remove(&nonce);
        if let Stage::Appended(id) = item.stage {
            self.taken.remove(&(id, nonce));
        }
        self.bytes -= item.bytes.len() + OVERHEAD;
        if let Some(key) = item.key {
            self.keys.remove(&(key, nonce));
        }
        Some(item)
    }

    /// The next entry to be sent to a term.
    pub(super) fn send(&mut self, term: u64) -> Option<Outgoing> {
        // The server may know its key from an entry that is lost, and not take it. Until that is
        // known, what follows would overtake it.
        if self.asked.is_some_and(|nonce| self.is_undecided(nonce)) {
            return None;
        }
        let (nonce, item) = loop {
            let nonce = self.queue.pop_first()?;
            let item = self.items.get_mut(&nonce)?;
            // The server may have forgotten a key whose message was told again.
            let Some(id) = item.earlier.filter(|_| !self.awaits_replicas) else {
                break (nonce, item);
            };
            item.stage = Stage::Earlier(id);
            self.touched.insert(nonce);
        };
        item.stage = Stage::Sent { term };
        if item.is_again && item.key.is_some() {
            self.asked = Some(nonce);
        }
        Some(Outgoing {
            nonce,
            key: item.key,
            replaces: item.replaces,
            known: item.earlier,
            messages: item.messages,
            bytes: item.bytes.clone(),
        })
    }

    /// Records the reply of the server to an entry that was sent to a term.
    pub(super) fn answered(&mut self, nonce: u64, term: u64, said: Said) {
        if let Said::Appended(id) = said
            && id > self.confirmed
        {
            self.confirmed = id;
            self.touched.append(&mut self.unconfirmed);
        }
        let Some(item) = self.items.get_mut(&nonce) else {
            return;
        };
        // It may have been sent again meanwhile.
        if item.stage != (Stage::Sent { term }) {
            return;
        }
        match said {
            // fault: answered-before-applied
            Said::Appended(id) => {
                item.stage = Stage::Appended(id);
                item.may_be_missed = id <= self.missed_to;
            }
            Said::Earlier(id) => item.stage = Stage::Earlier(id),
            Said::NotTaken if item.read.is_none() => {
                // With a key it may have been sent before, and be missed from then.
                item.may_be_missed &= item.is_again && item.key.is_some();
                item.stage = Stage::Queued;
                self.queue.insert(nonce);
            }
            Said::Misplaced(id) if item.read.is_none() => {
                item.misplace(id);
                self.queue.insert(nonce);
            }
            // It was read: it was told again, and its own term is over.
            Said::NotTaken | Said::Misplaced(_) => {}
            Said::Refused(reason) => {
                let outcome = match item.is_again {
                    true => Outcome::Unknown { silent_ms: 0 },
                    false => Outcome::NotPublished(reason),
                };
                self.finish(nonce, |_, _| outcome.clone());
            }
        }
        self.touched.insert(nonce);
    }

    /// This node has read one of its own entries, in the history.
    pub(super) fn read(&mut self, nonce: u64, id: EntryId) {
        if let Some(item) = self.items.get_mut(&nonce) {
            item.read = Some(id);
            self.queue.remove(&nonce);
            self.touched.insert(nonce);
        }
    }

    /// This node has missed entries up to this id.
    pub(super) fn missed(&mut self, to: EntryId) {
        self.missed_to = to;
        for (&nonce, item) in &mut self.items {
            match item.stage {
                _ if item.read.is_some() => {}
                Stage::Sent { term } if term <= to.term => item.may_be_missed = true,
                Stage::Appended(id) if id <= to => {
                    item.may_be_missed = true;
                    self.touched.insert(nonce);
                }
                Stage::Queued | Stage::Sent { .. } | Stage::Appended(_) | Stage::Earlier(_) => {}
            }
        }
    }

    /// Whether an entry that was read is confirmed as it has to be.
    pub(super) fn is_confirmed(&self, id: EntryId) -> bool {
        !self.awaits_replicas || id <= self.confirmed
    }

    /// Whether publishes with keys wait.
    pub(super) fn has_keys(&self) -> bool {
        !self.keys.is_empty()
    }

    /// A message with a key was read. It is earlier than all that wait with this key, but for the
    /// entry that it is itself.
    pub(super) fn read_key(&mut self, key: KeyHash, id: EntryId) {
        for (_, nonce) in self.keys.range((key, 0)..=(key, u64::MAX)) {
            if let Some(item) = self.items.get_mut(nonce)
                && item.read != Some(id)
            {
                item.earlier = Some(id);
            }
        }
    }

    /// Records that the connection is broken: the entries that were sent get no reply, and are
    /// undecided.
    pub(super) fn broken(&mut self) {
        let read = self.items.iter().filter(|(_, item)| item.read.is_some());
        self.touched.extend(read.map(|(&nonce, _)| nonce));
    }

    /// Whether entries sent to a term are undecided.
    pub(super) fn has_undecided(&self, term: u64) -> bool {
        let is_undecided = |item: &Item| item.stage == Stage::Sent { term } && item.read.is_none();
        self.items.values().any(is_undecided)
    }

    /// Whether an entry was sent, and it is not known yet what came of it.
    fn is_undecided(&self, nonce: u64) -> bool {
        let item = self.items.get(&nonce);
        item.is_some_and(|item| matches!(item.stage, Stage::Sent { .. }) && item.read.is_none())
    }

    /// Before this term the server had an older log than the nodes had read. An entry that the server
    /// has taken, and that was not read, may have been appended to the older log: its id may be that of
    /// another entry in the history.
    pub(super) fn misplaced(&mut self, term: u64) {
        for (&nonce, item) in &mut self.items {
            if let Stage::Appended(id) = item.stage
                && id.term < term
                && item.read.is_none()
            {
                item.misplace(id);
                self.queue.insert(nonce);
            }
        }
    }

    /// A term is settled. What was sent to an earlier one and is not in the history never will be,
    /// and is to be sent again. Where that is not known, as this node has missed entries, the server
    /// decides it by the key; without one it is never known. Returns how many entries are to be sent
    /// again, and how many publishes have an unknown result.
    pub(super) fn settled(&mut self, term: u64, history: &Chain, silent_ms: u64) -> (u64, u64) {
        let mut again = 0;
        let mut undecided = Vec::new();
        for (&nonce, item) in &mut self.items {
            let is_lost = match item.stage {
                _ if item.read.is_some() => false,
                Stage::Queued => false,
                Stage::Sent { term: sent } => sent < term,
                Stage::Appended(id) | Stage::Earlier(id) => !history.may_have(id),
            };
            if !is_lost {
                self.touched.insert(nonce);
                continue;
            }
            if item.may_be_missed && item.key.is_none() && matches!(item.stage, Stage::Sent { .. })
            {
                undecided.push(nonce);
                continue;
            }
            if let Stage::Appended(id) | Stage::Earlier(id) = item.stage
                && item.key.is_some()
            {
                item.replaces = Some(id);
            }
            item.goes_again();
            self.queue.insert(nonce);
            again += 1;
        }
        let mut unknown = 0;
        for nonce in undecided {
            unknown += self.finish(nonce, |_, _| Outcome::Unknown { silent_ms });
        }
        (again, unknown)
    }

    /// Gives their results to publishers of entries that were read. `awaits` says whether the
    /// connection may still give a reply to an entry. Returns the newest id that an entry or a key has
    /// by the server's word, while this node has read another entry under it.
    pub(super) fn complete(
        &mut self,
        replica: &Replica,
        is_joined: bool,
        awaits: impl Fn(u64) -> bool,
    ) -> Option<EntryId> {
        let history = &replica.history;
        while let Some(&(id, nonce)) = self.taken.first()
            && id <= history.tip()
        {
            self.taken.pop_first();
            self.touched.insert(nonce);
        }
        let mut contradicted = None;
        for nonce in std::mem::take(&mut self.touched) {
            let Some(item) = self.items.get_mut(&nonce) else {
                continue;
            };
            match (item.stage, item.read) {
                (Stage::Earlier(id), _) if item.is_contradicted(id, replica) => {
                    contradicted = contradicted.max(Some(id).filter(|&id| history.may_have(id)));
                    item.misplace(id);
                    self.queue.insert(nonce);
                }
                // fault: earlier-before-applied
                (Stage::Earlier(id), _) if id <= history.tip() => {
                    self.finish(nonce, |_, _| Outcome::Earlier { id });
                }
                // The next term that is settled decides about it.
                (Stage::Appended(id), None) if !history.may_have(id) => {}
                (Stage::Appended(id), None) if id > history.tip() => {
                    self.taken.insert((id, nonce));
                }
                (Stage::Appended(id), None) if !item.may_be_missed => {
                    contradicted = contradicted.max(Some(id));
                    item.misplace(id);
                    self.queue.insert(nonce);
                }
                // It is among the entries that this node has missed, for which it has told a loss.
                (Stage::Appended(id), None) if is_joined => {
                    self.finish(nonce, |_, part| Outcome::Published { id, part });
                }
                (Stage::Sent { .. }, Some(_)) if awaits(nonce) => {}
                (Stage::Sent { .. } | Stage::Queued, Some(id))
                    if self.awaits_replicas && id > self.confirmed =>
                {
                    self.unconfirmed.insert(nonce);
                }
                (_, Some(id)) if is_joined => {
                    self.finish(nonce, |_, part| Outcome::Published { id, part });
                }
                (Stage::Earlier(_) | Stage::Appended(_), _) | (_, Some(_)) => {
                    self.touched.insert(nonce);
                }
                (Stage::Queued | Stage::Sent { .. }, None) => {}
            }
        }
        contradicted
    }

    /// Ends what waits for longer than its publishers are held. Returns how many publishes have an
    /// unknown result by it.
    pub(super) fn expire(&mut self, now: Time, silent_ms: u64) -> u64 {
        let is_due = |item: &Item| item.deadline <= now;
        if self.group.as_ref().is_some_and(|group| is_due(&group.item)) {
            self.flush();
        }
        let mut unknown = 0;
        while let Some((&nonce, item)) = self.items.first_key_value()
            && is_due(item)
        {
            let outcome = match item.stage {
                Stage::Queued
                    if item.read.is_none() && !item.is_again && item.earlier.is_none() =>
                {
                    Outcome::NotPublished(Reason::Silent { silent_ms })
                }
                _ => Outcome::Unknown { silent_ms },
            };
            let is_unknown = matches!(outcome, Outcome::Unknown { .. });
            let tickets = self.finish(nonce, |_, _| outcome.clone());
            unknown += if is_unknown { tickets } else { 0 };
        }
        unknown
    }

    /// When the next publisher has waited for long enough.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        let oldest = self.items.first_key_value().map(|(_, item)| item.deadline);
        oldest.or(self.group.as_ref().map(|group| group.item.deadline))
    }

    /// Holds what waits no longer than until then. So deadlines still rise when later publishes are
    /// held for a shorter time.
    pub(super) fn hold_until(&mut self, latest: Time) {
        let group = self.group.iter_mut().map(|group| &mut group.item);
        for item in self.items.values_mut().chain(group) {
            item.deadline = item.deadline.min(latest);
        }
    }

    /// Ends an entry. Returns how many publishes have their results by it.
    fn finish(&mut self, nonce: u64, outcome: impl Fn(Ticket, u16) -> Outcome) -> u64 {
        let Some(item) = self.remove(nonce) else {
            return 0;
        };
        let tickets = item.tickets.len() as u64;
        for (ticket, part) in item.tickets {
            let place = usize::try_from(ticket.0 - self.done - 1).unwrap_or(usize::MAX);
            if let Some(place) = self.outcomes.get_mut(place) {
                *place = Some(outcome(ticket, part));
            }
        }
        tickets
    }

    /// The next ticket that is done.
    pub(super) fn next_done(&mut self) -> Option<Effect> {
        self.outcomes.front()?.as_ref()?;
        let outcome = self.outcomes.pop_front().flatten()?;
        self.done += 1;
        let ticket = Ticket(self.done);
        Some(Effect::Done { ticket, outcome })
    }
}

impl Item {
    /// It is to be sent again: it is not in the history, though the server has given it this id.
    fn misplace(&mut self, id: EntryId) {
        self.replaces = self.key.map(|_| id);
        self.goes_again();
    }

    /// It is to be sent again: it is not in the history. With a key it may have been sent before that,
    /// too.
    fn goes_again(&mut self) {
        self.is_again = true;
        self.may_be_missed &= self.key.is_some();
        self.stage = Stage::Queued;
    }

    /// Whether its key does not have the entry that it has by the server's word, as this node has
    /// read the log. Where the entry is older than what the node keeps, the server is believed: a key
    /// that only an older log had cannot be told from any other of that time.
    fn is_contradicted(&self, id: EntryId, replica: &Replica) -> bool {
        let has_key = self.key.and_then(|key| replica.has_key(id, key));
        !replica.history.may_have(id) || has_key == Some(false)
    }

    fn new(bytes: Vec<u8>, deadline: Time) -> Item {
        Item {
            bytes,
            tickets: Vec::new(),
            messages: 0,
            key: None,
            replaces: None,
            earlier: None,
            deadline,
            stage: Stage::Queued,
            read: None,
            is_again: false,
            may_be_missed: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_its_result_is_waited_for_no_more() {
        let mut outbox = Outbox::default();
        outbox.add(vec![0], 1, None, Time(9));
        outbox.send(5);
        outbox.answered(1, 5, Said::Appended(EntryId::new(5, 1)));
        outbox.complete(&Replica::new(7, 0), true, |_| false);
        assert_eq!(outbox.taken.len(), 1, "nobody has read it");
        outbox.expire(Time(9), 0);
        assert!(outbox.taken.is_empty());
    }

    #[test]
    fn key_that_is_read_is_earlier_for_those_that_wait_with_it() {
        let mut outbox = Outbox::default();
        let (key, other) = (KeyHash([1; 16]), KeyHash([2; 16]));
        for (nonce, key) in [(1, key), (2, other), (3, key)] {
            outbox.add(vec![0], nonce, Some(key), Time(9));
        }
        assert_eq!(outbox.send(5).map(|sent| sent.nonce), Some(1));
        let id = EntryId::new(5, 1);
        outbox.read(1, id);
        outbox.read_key(key, id);
        let earlier = outbox.items.values().map(|item| item.earlier);
        assert!(earlier.eq([None, None, Some(id)]));
        assert_eq!(outbox.send(5).map(|sent| sent.nonce), Some(2));
        assert!(outbox.send(5).is_none(), "the third one has its message");
        outbox.expire(Time(9), 0);
        assert!(!outbox.has_keys());
    }
}
