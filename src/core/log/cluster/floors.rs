//! The newest id of each bucket of channel names.
//!
//! Owns the content of checkpoints. A node that has just started has read a short log, and a cursor
//! may be from before it. If nothing was published in the bucket of its channel since, the client
//! has missed nothing.
//!
//! Invariant: *never too low.* The id of a bucket is at least that of every message, loss or
//! deletion of its channels up to what the node has read. Where less is known it is that of the
//! loss.

mod frozen;

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use super::command::{BUCKETS, Salt};
use super::entry::Checkpoint;
use crate::message::EntryId;

/// The newest ids of all buckets.
#[derive(Debug)]
pub(super) struct Floors {
    salt: Option<Salt>,
    newest: Box<[EntryId]>,
    /// The loss up to which this node knows nothing, and other nodes may know more.
    unknown_to: Option<EntryId>,
}

impl Floors {
    pub(super) fn new() -> Floors {
        Floors {
            salt: None,
            newest: vec![EntryId::ZERO; BUCKETS].into(),
            unknown_to: None,
        }
    }

    pub(super) fn salt(&self) -> Option<Salt> {
        self.salt
    }

    /// Sets the salt once. What was noted before belongs to no bucket, so it counts for each.
    pub(super) fn set_salt(&mut self, salt: Salt, read: EntryId) {
        debug_assert!(self.salt.is_none());
        self.salt = Some(salt);
        if read != EntryId::ZERO {
            self.lose_all(read, true);
        }
    }

    fn bucket(&self, channel: &str) -> Option<usize> {
        self.salt.map(|salt| salt.bucket(channel))
    }

    /// Notes a message, loss or deletion of a channel.
    pub(super) fn note(&mut self, channel: &str, id: EntryId) {
        if let Some(bucket) = self.bucket(channel) {
            self.newest[bucket] = self.newest[bucket].max(id);
        }
    }

    /// Notes a loss of all channels. If it is this node's alone, checkpoints of others may say
    /// more.
    pub(super) fn lose_all(&mut self, id: EntryId, is_alone: bool) {
        for newest in &mut self.newest {
            *newest = (*newest).max(id);
        }
        self.unknown_to = match is_alone {
            true => Some(id),
            false => self.unknown_to.filter(|&unknown| unknown > id),
        };
    }

    /// The checkpoint of this node; `None` if another node may know more.
    pub(super) fn checkpoint(&self, up_to: EntryId) -> Option<Checkpoint> {
        let floors = self.newest.clone();
        let salt = self.salt.filter(|_| self.unknown_to.is_none())?;
        Some(Checkpoint {
            up_to,
            salt: salt_number(salt),
            floors,
        })
    }

    /// Applies the checkpoint of another node. Returns the ids to which buckets may be lowered, if
    /// any.
    pub(super) fn learn(&mut self, checkpoint: &Checkpoint) -> Option<Box<[EntryId]>> {
        let unknown_to = self.unknown_to?;
        let is_ours = self
            .salt
            .is_some_and(|salt| salt_number(salt) == checkpoint.salt);
        // Between what its node had read and what this one has there must be nothing.
        if !is_ours || checkpoint.up_to < unknown_to {
            return None;
        }
        for (newest, &floor) in self.newest.iter_mut().zip(&checkpoint.floors) {
            if *newest == unknown_to {
                *newest = floor.min(unknown_to);
            }
        }
        self.unknown_to = None;
        Some(self.newest.clone())
    }
}

/// A number by which salts differ, and which does not tell them.
fn salt_number(salt: Salt) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(salt.0, salt.1);
    hasher.write(b"checkpoint");
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> EntryId {
        EntryId::new(1, number)
    }

    fn floors() -> Floors {
        let mut floors = Floors::new();
        floors.set_salt(Salt(1, 2), EntryId::ZERO);
        floors
    }

    #[test]
    fn checkpoint_lowers_the_floors_of_a_newcomer() {
        let mut old = floors();
        old.note("early", id(3));
        old.note("late", id(30));
        let told = old.checkpoint(id(40)).unwrap();

        let mut new = floors();
        new.lose_all(id(20), true);
        new.note("late", id(30));
        new.note("latest", id(50));
        assert_eq!(new.checkpoint(id(50)), None);
        let floors = new.learn(&told).unwrap();
        let of = |channel| floors[new.bucket(channel).unwrap()];
        assert_eq!(
            (of("early"), of("late"), of("latest")),
            (id(3), id(30), id(50))
        );
        assert_eq!(of("other"), EntryId::ZERO);
        assert_eq!(new.learn(&told), None);
        assert!(new.checkpoint(id(50)).is_some());
    }

    #[test]
    fn what_does_not_reach_far_enough_teaches_nothing() {
        let told = floors().checkpoint(id(10)).unwrap();
        let mut new = floors();
        new.lose_all(id(20), true);
        assert_eq!(new.learn(&told), None);
        let mut other = Floors::new();
        other.set_salt(Salt(2, 1), EntryId::ZERO);
        other.lose_all(id(5), true);
        assert_eq!(other.learn(&told), None);
        // A loss that all are told is no lack of knowledge.
        new.lose_all(id(30), false);
        assert!(new.newest.iter().all(|&newest| newest == id(30)));
        assert!(new.checkpoint(id(40)).is_some());
    }
}
