//! What a node has applied, as its clients see it.
//!
//! Owns the items in their order, the terms that cursors may be of, and when a gap is due.

use std::collections::BTreeMap;

use encke_core::base::time::Time;
use encke_core::log::cluster::{Effect, KeyHash, Node, Outcome, Salt, Ticket};
use encke_core::message::{Data, Draft, EntryId};

use super::audience::Elsewhere;

/// What was applied at an id.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Item {
    Messages(Vec<(String, String)>),
    Lost(Vec<String>),
    LostAll,
}

/// What a node has applied.
#[derive(Debug, Default)]
pub(super) struct Replica {
    pub(super) items: Vec<(EntryId, Item)>,
    /// Terms and their ends; that of the newest is its head.
    terms: Vec<EntryId>,
    pub(super) head: EntryId,
    pub(super) salt: Option<Salt>,
    /// Losses of all up to the place are lowered to these.
    floors: Option<(usize, Box<[EntryId]>)>,
    pub(super) keys: BTreeMap<[u8; 16], EntryId>,
    pub(super) done: Vec<(Ticket, Outcome)>,
    pub(super) elsewhere: Elsewhere,
}

/// What a client gets.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Event {
    Message(EntryId, String),
    Gap(EntryId),
}

pub(super) fn text(draft: &Draft<'_>) -> String {
    match &draft.data {
        Data::Text(text) => text.to_string(),
        other => panic!("the simulation publishes text, not {other:?}"),
    }
}

impl Replica {
    pub(super) fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Salt(salt) => {
                assert!(
                    self.salt.is_none() && self.items.is_empty(),
                    "a salt after items"
                );
                self.salt = Some(salt);
            }
            Effect::Term { term, closed } => {
                if let (Some(oldest), Some(closed)) = (self.terms.first(), closed)
                    && oldest.term == term
                {
                    assert!(self.floors.is_none(), "the past is told after the floors");
                    return self.terms.insert(0, closed);
                }
                let last = self.terms.last().map_or(0, |end| end.term);
                assert!(term > last, "terms rise: {term} after {last}");
                if let Some(closed) = closed {
                    assert_eq!(closed.term, last, "the term told before is closed");
                    *self.terms.last_mut().expect("a term") = closed;
                }
                self.terms.push(EntryId::new(term, 0));
            }
            Effect::Apply { id, drafts, .. } => {
                let drafts = drafts.to_vec();
                for draft in &drafts {
                    if let Some(key) = &draft.key {
                        self.keys.insert(KeyHash::new(&draft.channel, key).0, id);
                    }
                }
                let message = |draft: &Draft<'_>| (draft.channel.to_string(), text(draft));
                self.push(id, Item::Messages(drafts.iter().map(message).collect()));
            }
            Effect::Delete { channel, id } => self.push(id, Item::Lost(vec![channel.to_string()])),
            Effect::Lose { channels, id } => {
                let channels = channels.iter().map(ToString::to_string).collect();
                self.push(id, Item::Lost(channels));
            }
            Effect::LoseAll { id } => self.push(id, Item::LostAll),
            Effect::Floors { floors } => self.floors = Some((self.items.len(), floors)),
            Effect::Advance { id } => self.advance(id),
            Effect::Readers {
                node,
                round,
                ends_round,
                counts,
            } => self.elsewhere.hear(node, round, ends_round, &counts),
            Effect::Gone { node } => self.elsewhere.forget(node),
            Effect::Kick { .. } => {}
            Effect::Done { ticket, outcome } => self.done.push((ticket, outcome)),
        }
    }

    fn push(&mut self, id: EntryId, item: Item) {
        let last = self.items.last().map_or(EntryId::ZERO, |(id, _)| *id);
        let is_next = id > last || (id == last && item == Item::LostAll);
        assert!(is_next, "ids rise: {id} after {last}, {item:?}");
        self.advance(id);
        self.items.push((id, item));
    }

    fn advance(&mut self, id: EntryId) {
        assert!(id >= self.head, "the head rises: {id} after {}", self.head);
        let term = self.terms.last().map_or(0, |end| end.term);
        assert_eq!(id.term, term, "of the newest term");
        self.head = id;
    }

    /// What was applied at an id, or the loss of all that was told in its place.
    pub(super) fn applied(&self, id: EntryId) -> Option<&Item> {
        let start = self.items.partition_point(|(at, _)| *at < id);
        let (at, item) = self.items.get(start)?;
        (*at == id || *item == Item::LostAll).then_some(item)
    }

    /// Whether a message is among those that were applied at an id; `None` if none were.
    pub(super) fn has_message(&self, id: EntryId, text: &str) -> Option<bool> {
        let item = self.items.iter().rev().find(|(at, _)| *at == id);
        match item {
            Some((_, Item::Messages(messages))) => {
                Some(messages.iter().any(|(_, other)| other == text))
            }
            _ => None,
        }
    }

    /// Whether a loss of all was told behind an id.
    pub(super) fn has_lost(&self, id: EntryId) -> bool {
        let newest_loss = self.items.iter().rfind(|(_, item)| *item == Item::LostAll);
        newest_loss.is_some_and(|(at, _)| *at > id)
    }

    /// The cursor here that a client's is; `None` if it is of a term that is not known.
    fn known(&self, cursor: EntryId) -> Option<EntryId> {
        let (last, closed) = self.terms.split_last()?;
        if let Some(end) = closed.iter().find(|end| end.term == cursor.term) {
            return Some(cursor.min(*end));
        }
        (cursor.term == last.term).then_some(cursor)
    }

    /// What a client of a channel gets that has this cursor, since a time on this node, and its next
    /// one; `None` if it is ahead of this node.
    pub(super) fn receive(
        &self,
        node: &mut Node,
        (cursor, since): (EntryId, Time),
        channel: &str,
    ) -> Option<(Vec<Event>, EntryId)> {
        let mut events = Vec::new();
        let gap = || (vec![Event::Gap(self.head)], self.head);
        let Some(cursor) = self.known(cursor) else {
            return (!node.may_come(cursor.term)).then(gap);
        };
        if cursor > self.head {
            return (!node.may_exist(cursor, since)).then(gap);
        }
        let floor = |place: usize| {
            let (to, floors) = self.floors.as_ref().filter(|(to, _)| place < *to)?;
            debug_assert!(place < *to);
            Some(floors[self.salt?.bucket(channel)])
        };
        let start = self.items.partition_point(|(id, _)| *id <= cursor);
        for (place, (id, item)) in self.items.iter().enumerate().skip(start) {
            match item {
                Item::Messages(messages) => {
                    for (_, text) in messages.iter().filter(|(name, _)| name == channel) {
                        events.push(Event::Message(*id, text.clone()));
                    }
                }
                Item::Lost(channels) if channels.iter().any(|name| name == channel) => {
                    events.push(Event::Gap(*id));
                }
                Item::LostAll if floor(place).is_none_or(|floor| cursor < floor.min(*id)) => {
                    events.push(Event::Gap(*id));
                }
                Item::Lost(_) | Item::LostAll => {}
            }
        }
        Some((events, self.head))
    }
}
