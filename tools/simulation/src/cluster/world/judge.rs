//! What must hold when a world has come to its end.

use std::collections::{BTreeMap, BTreeSet};

use encke_core::message::EntryId;

use super::super::audience::expected;
use super::super::link::Peer;
use super::super::replica::Item;
use super::{Kind, World, is_after_rolled};

impl World {
    /// Compares what a node that goes has applied to what others have.
    pub(super) fn check_contents(&mut self, peer: &Peer) {
        for (id, item) in &peer.replica.items {
            let Item::Messages(messages) = item else {
                continue;
            };
            let texts = messages.iter().map(|(_, text)| (*id, text.clone()));
            self.applied_by_gone.extend(texts);
            if is_after_rolled(&self.rolled, *id) {
                continue;
            }
            let known = self.contents.entry(*id).or_insert_with(|| messages.clone());
            assert_eq!(known, messages, "I4: {id} has two contents");
        }
    }

    /// Whether a node may say that a message was published before with this id. It must not have
    /// applied another one there; unless that one is of an older log, and it has told a loss of all
    /// behind it, while another node has applied the message itself.
    pub(super) fn may_be_earlier(&self, number: u64, id: EntryId, text: &str) -> bool {
        let replica = &self.peers[&number].replica;
        match replica.has_message(id, text) {
            None | Some(true) => true,
            Some(false) => {
                is_after_rolled(&self.rolled, id)
                    && replica.has_lost(id)
                    && self.is_applied(id, text)
            }
        }
    }

    /// Whether some node has applied a message under an id.
    fn is_applied(&self, id: EntryId, text: &str) -> bool {
        let mut peers = self.peers.values();
        peers.any(|peer| peer.replica.has_message(id, text) == Some(true))
            || self.applied_by_gone.contains(&(id, text.to_owned()))
    }

    pub(super) fn judge(&mut self) {
        for number in self.numbers() {
            let peer = self.peers.remove(&number).expect("it is there");
            self.check_contents(&peer);
            self.peers.insert(number, peer);
        }
        self.judge_readers();
        self.judge_histories();
        self.judge_messages();
        self.judge_clients();
        for number in self.numbers() {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(world: &mut World, number: u64, id: EntryId, item: Item) {
        let peer = world.peers.get_mut(&number).expect("a world has two nodes");
        peer.replica.items.push((id, item));
    }

    fn message(text: &str) -> Item {
        Item::Messages(vec![("a".to_owned(), text.to_owned())])
    }

    #[test]
    fn earlier_message_is_the_one_of_its_id_or_one_of_which_a_loss_was_told() {
        let (end, id) = (EntryId::new(5, 3), EntryId::new(5, 9));
        let mut world = World::new(0, false);
        let may_be = |world: &World| world.may_be_earlier(1, id, "it");
        assert!(may_be(&world), "it may be older than what the node has");
        apply(&mut world, 1, id, message("it"));
        assert!(may_be(&world));
        assert!(!world.may_be_earlier(1, id, "another"));

        // Each of what excuses another message is needed.
        let mut world = World::new(0, false);
        apply(&mut world, 1, id, message("another"));
        world.rolled.push(end);
        apply(&mut world, 1, id.next(), Item::LostAll);
        assert!(!may_be(&world), "nobody has it");
        apply(&mut world, 2, id, message("it"));
        assert!(may_be(&world));
        world.rolled.clear();
        assert!(!may_be(&world), "no older log has given the id");
        // The node that has it may go before an older log is put in place.
        world.remove_peer(2);
        world.rolled.push(end);
        assert!(may_be(&world));
        let peer = world.peers.get_mut(&1).expect("it is there");
        peer.replica.items.pop();
        assert!(!may_be(&world), "no loss was told");
    }
}
