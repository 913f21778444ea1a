//! The nodes of the cluster, as they follow from the log.
//!
//! Owns which nodes are members, the last beat of each, and whether the others know this node.
//! If it died together with the server before that, nobody would miss it, or notice the loss of its
//! messages.
//!
//! Invariants:
//! - *Counted in the log.* A node is a member from its first entry until it says that it leaves, or
//!   until another one has beaten five times since its last entry. No clock is asked, so all nodes
//!   that have read the same agree. Beats between the beginning of a term and its settling do not
//!   count: the last entries of a silent node may be lost, so it is missing, and not gone.
//! - *Known before relied upon.* A node has joined when the last beat of each other member says
//!   that it has read the entry by which the node became one.

mod frozen;

use std::collections::{BTreeMap, VecDeque};

use super::entry::{Beat, Head, MAX_DEPARTED, MAX_MEMBERS};
use crate::base::time::Time;
use crate::message::EntryId;

/// The number of beats of another node after which a silent node is no longer a member.
const BEATS: usize = 5;

/// A node of the cluster.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: Box<str>,
    pub(super) applied: EntryId,
    /// How many entries before its last beat it had still to apply then, if that is known.
    pub(super) lag: Option<u64>,
    pub(super) connections: u64,
    pub(super) digest: u64,
    pub(super) beat_at: Time,
    /// The entry by which it became a member.
    since: EntryId,
    /// The place of its last entry, in what this node has read.
    last: u64,
    /// The places of its last beats.
    beats: VecDeque<u64>,
}

/// The members of the cluster.
#[derive(Debug, Default)]
pub(super) struct Members {
    members: BTreeMap<u64, Member>,
    /// How many entries were read.
    read: u64,
    /// The node has joined by the entry with this id.
    joined: Option<EntryId>,
    /// Those that are no members any more, newest last. All their entries were read.
    departed: VecDeque<u64>,
}

impl Members {
    /// Notes an entry of a node. Returns whether it is a new member.
    pub(super) fn note(&mut self, id: EntryId, head: Head, now: Time) -> bool {
        self.read += 1;
        let read = self.read;
        if let Some(member) = self.members.get_mut(&head.node) {
            member.last = read;
            return false;
        }
        if self.members.len() >= MAX_MEMBERS {
            return false;
        }
        let member = Member {
            name: "".into(),
            applied: EntryId::ZERO,
            lag: None,
            connections: 0,
            digest: 0,
            beat_at: now,
            since: id,
            last: read,
            beats: VecDeque::new(),
        };
        self.members.insert(head.node, member);
        self.departed.retain(|&node| node != head.node);
        true
    }

    /// Notes a beat, after [`Members::note`]. `counts`: nodes that are silent meanwhile have gone.
    pub(super) fn note_beat(&mut self, head: Head, beat: &Beat<'_>, counts: bool, now: Time) {
        if beat.is_leaving {
            self.members.remove(&head.node);
            self.depart(head.node);
            return;
        }
        let Some(member) = self.members.get_mut(&head.node) else {
            return;
        };
        if *member.name != *beat.name {
            member.name = beat.name.into();
        }
        member.applied = beat.applied;
        member.connections = beat.connections;
        member.digest = beat.digest;
        member.beat_at = now;
        if !counts {
            return;
        }
        member.beats.push_back(self.read);
        if member.beats.len() < BEATS {
            return;
        }
        // One more would be the sixth.
        if member.beats.len() > BEATS {
            member.beats.pop_front();
        }
        let fifth = member.beats[0];
        let is_silent = |(&node, member): (&u64, &Member)| (member.last < fifth).then_some(node);
        let silent: Vec<u64> = self.members.iter().filter_map(is_silent).collect();
        for node in silent {
            self.members.remove(&node);
            self.depart(node);
        }
    }

    fn depart(&mut self, node: u64) {
        if self.departed.len() == MAX_DEPARTED {
            self.departed.pop_front();
        }
        self.departed.push_back(node);
    }

    /// Nodes that are no members any more, and will not be missed.
    pub(super) fn departed(&self) -> Vec<u64> {
        self.departed.iter().copied().collect()
    }

    /// Notes how many entries a node had still to apply when it sent its last beat.
    pub(super) fn note_lag(&mut self, node: u64, lag: Option<u64>) {
        if let Some(member) = self.members.get_mut(&node) {
            member.lag = lag;
        }
    }

    /// Whether all other members know that this node is one.
    pub(super) fn is_joined(&mut self, own: u64) -> bool {
        let Some(since) = self.members.get(&own).map(|member| member.since) else {
            return false;
        };
        if self.joined != Some(since) {
            let mut others = self.members.iter().filter(|(node, _)| **node != own);
            if others.all(|(_, member)| member.applied >= since) {
                self.joined = Some(since);
            }
        }
        self.joined == Some(since)
    }

    /// Whether the beats of all members show that they have read an entry.
    pub(super) fn have_all_read(&self, id: EntryId) -> bool {
        self.members.values().all(|member| member.applied >= id)
    }

    /// Whether a node is a member.
    pub(super) fn has(&self, node: u64) -> bool {
        self.members.contains_key(&node)
    }

    pub(super) fn ids(&self) -> Vec<u64> {
        self.members.keys().copied().collect()
    }

    /// Whether a node is the one that performs tasks of which one node is enough.
    pub(super) fn is_first(&self, node: u64) -> bool {
        self.members.keys().next() == Some(&node)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Member)> {
        self.members.iter().map(|(&node, member)| (node, member))
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Log(Members, u64);

    impl Log {
        fn entry(&mut self, node: u64) -> bool {
            self.1 += 1;
            let (id, nonce) = (EntryId::new(1, self.1), self.1);
            let head = Head {
                node,
                nonce,
                at_ms: 0,
            };
            self.0.note(id, head, Time(0))
        }

        fn beat(&mut self, node: u64, applied: u64, is_leaving: bool) {
            self.entry(node);
            let beat = Beat {
                applied: EntryId::new(1, applied),
                is_leaving,
                connections: 0,
                digest: 0,
                chain: Vec::new(),
                name: "n",
            };
            let head = Head {
                node,
                ..Head::default()
            };
            self.0.note_beat(head, &beat, true, Time(0));
        }
    }

    #[test]
    fn silent_node_goes_after_five_beats_of_another() {
        let mut log = Log(Members::default(), 0);
        assert!(log.entry(1));
        assert!(!log.entry(1));
        for _ in 0..4 {
            log.beat(2, 0, false);
            log.beat(3, 0, false);
        }
        log.entry(1);
        for _ in 0..3 {
            log.beat(3, 0, false);
            assert_eq!(log.0.ids(), [1, 2, 3]);
        }
        // The fifth since the last of node 2, and the fourth since that of node 1.
        log.beat(3, 0, false);
        assert_eq!(log.0.ids(), [1, 3]);
        log.beat(3, 0, false);
        assert_eq!(log.0.ids(), [3]);
        log.beat(3, 0, true);
        assert!(log.0.ids().is_empty());
    }

    #[test]
    fn node_has_joined_when_all_have_read_its_first_entry() {
        let mut log = Log(Members::default(), 0);
        log.beat(2, 0, false);
        assert!(log.0.is_joined(2));
        log.0.joined = None;
        log.entry(1);
        assert!(!log.0.is_joined(2) && !log.0.is_joined(9));
        log.beat(1, 0, false);
        assert!(!log.0.is_joined(2));
        log.beat(1, 1, false);
        assert!(log.0.is_joined(2));
        // It stays so, whoever comes, until it is no member any more.
        log.entry(3);
        assert!(log.0.is_joined(2));
        log.beat(2, 9, true);
        assert!(!log.0.is_joined(2));
        log.beat(2, 9, false);
        log.beat(1, 9, false);
        assert!(!log.0.is_joined(2));
        log.beat(3, 9, true);
        assert!(log.0.is_joined(2));
    }
}
