//! The members of a cluster, in a state that is handed over.
//!
//! Owns their form.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use super::{BEATS, Member, Members};
use crate::base::time::Time;
use crate::frozen::{self, Freezer, ThawError, Thawer};
use crate::log::cluster::entry::{MAX_DEPARTED, MAX_MEMBERS, MAX_NAME_BYTES};
use crate::message::EntryId;

const MEMBERS: ThawError = ThawError::Damaged("the members of the cluster are not valid");

/// What there is one of.
#[derive(Serialize, Deserialize)]
struct Head {
    #[serde(deserialize_with = "frozen::count")]
    read: u64,
    joined: Option<EntryId>,
    departed: Vec<u64>,
}

/// The frozen form of a [`Member`].
#[derive(Serialize, Deserialize)]
struct FrozenMember<'m> {
    node: u64,
    name: &'m str,
    applied: EntryId,
    lag: Option<u64>,
    connections: u64,
    digest: u64,
    beat_at: Time,
    since: EntryId,
    last: u64,
    beats: Vec<u64>,
}

impl Members {
    /// Writes its state.
    pub(in crate::log::cluster) fn freeze<W: Write>(
        &self,
        state: &mut Freezer<W>,
    ) -> io::Result<()> {
        state.put(&Head {
            read: self.read,
            joined: self.joined,
            departed: self.departed(),
        })?;
        state.put_all(self.members.iter().map(|(&node, member)| FrozenMember {
            node,
            name: &member.name,
            applied: member.applied,
            lag: member.lag,
            connections: member.connections,
            digest: member.digest,
            beat_at: member.beat_at,
            since: member.since,
            last: member.last,
            beats: member.beats.iter().copied().collect(),
        }))
    }

    /// Reads what [`Members::freeze`] wrote.
    pub(in crate::log::cluster) fn thaw<R: Read>(
        state: &mut Thawer<R>,
    ) -> Result<Members, ThawError> {
        let head: Head = state.take()?;
        let mut members = Members {
            read: head.read,
            joined: head.joined,
            departed: head.departed.into(),
            ..Members::default()
        };
        let mut values = state.take_all();
        while let Some(frozen) = values.take::<FrozenMember<'_>>()? {
            let beats = &frozen.beats;
            let is_valid = members
                .members
                .last_key_value()
                .is_none_or(|(last, _)| *last < frozen.node)
                && frozen.name.len() <= MAX_NAME_BYTES
                && beats.len() <= BEATS
                && beats.is_sorted()
                && beats
                    .iter()
                    .chain([&frozen.last])
                    .all(|&place| place <= head.read);
            if !is_valid {
                return Err(MEMBERS);
            }
            let member = Member {
                name: frozen.name.into(),
                applied: frozen.applied,
                lag: frozen.lag,
                connections: frozen.connections,
                digest: frozen.digest,
                beat_at: frozen.beat_at,
                since: frozen.since,
                last: frozen.last,
                beats: frozen.beats.into(),
            };
            members.members.insert(frozen.node, member);
        }
        match members.members.len() <= MAX_MEMBERS && members.departed.len() <= MAX_DEPARTED {
            true => Ok(members),
            false => Err(MEMBERS),
        }
    }
}
