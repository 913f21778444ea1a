//! What must hold when a world has come to its end.

use std::collections::{BTreeMap, BTreeSet};

use encke_core::message::EntryId;

use super::super::audience::expected;
use super::super::link::Peer;
use super::super::replica::Item;
use super::{Kind, World, is_after_rolled};

impl World {
    /// Compares what a node has applied to what others have.
    pub(super) fn check_contents(&mut self, peer: &Peer) {
        for (id, item) in &peer.replica.items {
            let Item::Messages(messages) = item else {
                continue;
            };
            if is_after_rolled(&self.rolled, *id) {
                continue;
            }
            let known = self.contents.entry(*id).or_insert_with(|| messages.clone());
            assert_eq!(known, messages, "I4: {id} has two contents");
        }
    }

    pub(super) fn judge(&mut self) {
        for number in self.peers.keys().copied().collect::<Vec<_>>() {
            let peer = self.peers.remove(&number).expect("it is there");
            self.check_contents(&peer);
            self.peers.insert(number, peer);
        }
        self.judge_readers();
        self.judge_histories();
        self.judge_messages();
        self.judge_clients();
        for number in self.peers.keys().copied().collect::<Vec<_>>() {
            self.remove_peer(number);
        }
    }

    /// Each node knows what readers the others have, and of no node that is gone.
    fn judge_readers(&self) {
        for (number, peer) in &self.peers {
            let others = self.peers.iter().filter(|(other, _)| *other != number);
            let others = others.map(|(_, other)| &other.audience);
            assert_eq!(
                peer.replica.elsewhere.told(),
                expected(others),
                "node {number}"
            );
        }
    }

    /// All nodes have the same history after the last loss of all that any was told.
    fn judge_histories(&self) {
        let lost = |peer: &Peer| {
            let losses = peer
                .replica
                .items
                .iter()
                .filter(|(_, item)| *item == Item::LostAll);
            losses.map(|(id, _)| *id).max().unwrap_or(EntryId::ZERO)
        };
        // What a late witness has beyond the end of a term is no one else's, and was told.
        let since = self.peers.values().map(lost).max().unwrap_or(EntryId::ZERO);
        let since = match self.kind {
            Kind::Wild => since.max(
                self.peers
                    .values()
                    .map(|p| last_loss(&p.replica.items))
                    .max()
                    .unwrap_or(EntryId::ZERO),
            ),
            _ => since,
        };
        let after = |peer: &Peer| -> Vec<(EntryId, Item)> {
            let items = peer.replica.items.iter().filter(|(id, _)| *id > since);
            items.cloned().collect()
        };
        let mut peers = self.peers.iter();
        let Some((first, peer)) = peers.next() else {
            return;
        };
        let expected = after(peer);
        for (number, peer) in peers {
            assert_eq!(after(peer), expected, "nodes {first} and {number} differ");
        }
    }

    fn judge_messages(&self) {
        let mut ids: BTreeMap<&str, EntryId> = BTreeMap::new();
        let mut keyed: BTreeSet<&str> = BTreeSet::new();
        for publish in self
            .publishes
            .iter()
            .filter(|publish| publish.key.is_some())
        {
            keyed.insert(&publish.texts[0]);
        }
        for (id, messages) in &self.contents {
            for (_, text) in messages {
                let first = ids.insert(text, *id);
                let is_lost = self.kind == Kind::Wild;
                let is_one = first.is_none() || is_lost;
                let rule = if self.keyed.contains(text) {
                    "I5"
                } else {
                    "I2"
                };
                assert!(is_one, "{rule}: {text} has the ids {first:?} and {id}");
            }
        }
        for publish in self
            .publishes
            .iter()
            .filter(|p| p.is_refused && p.key.is_none())
        {
            let id = ids.get(&*publish.texts[0]);
            assert_eq!(id, None, "{} was refused", publish.texts[0]);
        }
    }

    fn judge_clients(&self) {
        for client in &self.clients {
            let received: BTreeSet<&str> = client.received.iter().map(|(_, t)| &**t).collect();
            for publish in &self.publishes {
                let is_owed = publish.id.is_some()
                    && publish.channel == client.channel
                    && publish.at > client.since
                    && client.cursor.is_some();
                let is_told = client.gaps.iter().any(|&gap| gap >= publish.at);
                if is_owed && publish.key.is_none() {
                    for text in &publish.texts {
                        let is_there = received.contains(&**text);
                        assert!(
                            is_there || is_told,
                            "I1: {text} of {:?} was passed over by {client:?}",
                            publish.id
                        );
                    }
                }
            }
        }
    }
}

fn last_loss(items: &[(EntryId, Item)]) -> EntryId {
    let losses = items
        .iter()
        .filter(|(_, item)| matches!(item, Item::Lost(_)));
    losses.map(|(id, _)| *id).max().unwrap_or(EntryId::ZERO)
}
