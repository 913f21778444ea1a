//! What is to be published, in a state that is handed over.
//!
//! Owns its form. What was sent to a term and is not decided is in it: the log says what became of
//! that, as after a broken connection.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use super::{Item, OVERHEAD, Outbox, Outcome, Stage, Ticket};
use crate::base::time::Time;
use crate::frozen::{self, Bytes, Count, Freezer, ThawError, Thawer};
use crate::log::cluster::command::KeyHash;
use crate::log::cluster::entry::{Body, Entry};
use crate::message::EntryId;

const OUTBOX: ThawError = ThawError::Damaged("what is to be published is not valid");

/// What there is one of.
#[derive(Serialize, Deserialize)]
struct Head {
    #[serde(deserialize_with = "frozen::count")]
    done: u64,
    confirmed: EntryId,
}

/// The frozen form of an [`Item`].
#[derive(Serialize, Deserialize)]
struct FrozenItem<'i> {
    nonce: Count,
    #[serde(borrow)]
    bytes: Bytes<'i>,
    /// Tickets, and the parts of their first messages.
    tickets: Vec<(u64, u16)>,
    messages: u64,
    key: Option<[u8; 16]>,
    replaces: Option<EntryId>,
    earlier: Option<EntryId>,
    deadline: Time,
    #[serde(with = "FrozenStage")]
    stage: Stage,
    read: Option<EntryId>,
    is_again: bool,
    may_be_missed: bool,
    is_queued: bool,
}

/// The frozen form of a [`Stage`].
#[derive(Serialize, Deserialize)]
#[serde(remote = "Stage")]
enum FrozenStage {
    Queued,
    Sent { term: u64 },
    Appended(EntryId),
    Earlier(EntryId),
}

impl Outbox {
    /// Writes its state.
    pub(in crate::log::cluster) fn freeze<W: Write>(
        &self,
        state: &mut Freezer<W>,
    ) -> io::Result<()> {
        state.put(&Head {
            done: self.done,
            confirmed: self.confirmed,
        })?;
        state.put_all(&self.outcomes)?;
        let gathered = self.group.iter().map(|group| (&group.nonce, &group.item));
        let items = self.items.iter().chain(gathered);
        // fault: publishes-that-wait-are-not-handed-over
        state.put_all(items.map(|(nonce, item)| {
            let is_gathered = self
                .group
                .as_ref()
                .is_some_and(|group| group.nonce == *nonce);
            FrozenItem {
                nonce: Count(*nonce),
                bytes: Bytes(&item.bytes),
                tickets: item
                    .tickets
                    .iter()
                    .map(|&(ticket, part)| (ticket.0, part))
                    .collect(),
                messages: item.messages,
                key: item.key.map(|key| key.0),
                replaces: item.replaces,
                earlier: item.earlier,
                deadline: item.deadline,
                stage: item.stage,
                read: item.read,
                is_again: item.is_again,
                may_be_missed: item.may_be_missed,
                is_queued: is_gathered || self.queue.contains(nonce),
            }
        }))
    }

    /// Reads what [`Outbox::freeze`] wrote, of a node that gave the nonces up to this one.
    pub(in crate::log::cluster) fn thaw<R: Read>(
        awaits_replicas: bool,
        (own, newest): (u64, u64),
        state: &mut Thawer<R>,
    ) -> Result<Outbox, ThawError> {
        let head: Head = state.take()?;
        let mut outbox = Outbox::new(awaits_replicas);
        outbox.done = head.done;
        outbox.confirmed = head.confirmed;
        let mut values = state.take_all();
        while let Some(outcome) = values.take::<Option<Outcome>>()? {
            outbox.outcomes.push_back(outcome);
        }
        // Each ticket without a result is that of one entry.
        let mut is_open: Vec<bool> = outbox.outcomes.iter().map(Option::is_none).collect();
        let mut last = 0;
        let mut values = state.take_all();
        while let Some(frozen) = values.take::<FrozenItem<'_>>()? {
            let nonce = frozen.nonce.0;
            if nonce <= last || nonce > newest {
                return Err(OUTBOX);
            }
            last = nonce;
            let is_queued = frozen.is_queued;
            let item = thaw_item(frozen, own).ok_or(OUTBOX)?;
            for (ticket, _) in &item.tickets {
                let place = ticket.0.checked_sub(head.done + 1).ok_or(OUTBOX)?;
                let place = usize::try_from(place).map_err(|_| OUTBOX)?;
                match is_open.get_mut(place) {
                    Some(is_open) if *is_open => *is_open = false,
                    _ => return Err(OUTBOX),
                }
            }
            outbox.bytes += item.bytes.len() + OVERHEAD;
            outbox.keys.extend(item.key.map(|key| (key, nonce)));
            if is_queued {
                outbox.queue.insert(nonce);
            }
            outbox.touched.insert(nonce);
            outbox.items.insert(nonce, item);
        }
        match is_open.contains(&true) {
            false => Ok(outbox),
            true => Err(OUTBOX),
        }
    }
}

/// An item, whose bytes are what its node publishes; `None` where they are not.
fn thaw_item(frozen: FrozenItem<'_>, own: u64) -> Option<Item> {
    let entry = Entry::read(frozen.bytes.0).ok()?;
    if (entry.head.node, entry.head.nonce) != (own, frozen.nonce.0) {
        return None;
    }
    let (messages, parts) = match &entry.body {
        Body::Messages(messages) => messages.count(),
        Body::Delete(_) | Body::Kick(_) => (1, 1),
        _ => return None,
    };
    let key = frozen.key.map(KeyHash);
    let is_valid = key == key_of(&entry.body)
        && frozen.messages == messages as u64
        && !frozen.tickets.is_empty()
        && frozen.tickets.iter().all(|&(_, part)| usize::from(part) < parts)
        // What has a stage of its own is not to be sent.
        && frozen.is_queued <= (frozen.stage == Stage::Queued);
    is_valid.then(|| Item {
        bytes: frozen.bytes.0.to_vec(),
        tickets: frozen
            .tickets
            .into_iter()
            .map(|(ticket, part)| (Ticket(ticket), part))
            .collect(),
        messages: frozen.messages,
        key,
        replaces: frozen.replaces,
        earlier: frozen.earlier,
        deadline: frozen.deadline,
        stage: frozen.stage,
        read: frozen.read,
        is_again: frozen.is_again,
        may_be_missed: frozen.may_be_missed,
    })
}

/// The key of an entry that has one.
fn key_of(body: &Body<'_>) -> Option<KeyHash> {
    match body {
        Body::Messages(messages) => {
            let mut names = messages.names();
            match (names.next()?, names.next()) {
                ((channel, Some(key)), None) => Some(KeyHash::new(&channel, &key)),
                _ => None,
            }
        }
        _ => None,
    }
}
