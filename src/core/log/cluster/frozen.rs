//! A node in a state that is handed over.
//!
//! Owns the order of its parts, and what there is one of. Only a node that rests is written
//! ([`Node::unrest`]): it follows a settled term, and nothing is on its way. Its connections are
//! not in the state: the process that goes on makes its own.
//!
//! Settings are those of the new process. What follows from the settings of the old one, such as
//! the deadline of a publish, stays.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use super::audience::Audience;
use super::chain::Chain;
use super::clock::Clock;
use super::foreign::Foreign;
use super::members::Members;
use super::node::{Mode, Node};
use super::notes::Notes;
use super::outbox::Outbox;
use super::pulse::{DURATIONS_MS, Pulse};
use super::replica::{Loss, MAX_LOST, Replica};
use super::settings::Settings;
use super::window::Window;
use crate::base::histogram::FrozenHistogram;
use crate::base::time::Time;
use crate::frozen::{self, Freezer, ThawError, Thawer};
use crate::message::{ChannelName, EntryId};

const NODE: ThawError = ThawError::Damaged("the node of a cluster is not valid");

/// What there is one of.
#[derive(Serialize, Deserialize)]
struct Head<'h> {
    own: u64,
    salt: (u64, u64),
    #[serde(deserialize_with = "frozen::count")]
    nonce: u64,
    read_to: EntryId,
    /// The newest term, and the newest id, that are known to exist.
    newest: u64,
    tip: EntryId,
    /// Terms before this one are not doubted.
    trusted_from: u64,
    is_joined: bool,
    heard: Option<Time>,
    heard_at: EntryId,
    took_ms: FrozenHistogram,
    clock: Clock,
    foreign: EntryId,
    newest_since: Time,
    #[serde(borrow)]
    loss: Option<FrozenLoss<'h>>,
    checkpoint_due: Time,
    #[serde(deserialize_with = "frozen::count")]
    bytes_since_checkpoint: u64,
    suspect: Option<Vec<EntryId>>,
    blocked: Option<Time>,
}

/// The frozen form of a [`Loss`] that is still to be told.
#[derive(Serialize, Deserialize)]
enum FrozenLoss<'l> {
    All,
    #[serde(borrow)]
    Channels(Vec<ChannelName<'l>>),
}

impl<'l> From<&'l Loss> for FrozenLoss<'l> {
    fn from(loss: &'l Loss) -> FrozenLoss<'l> {
        match loss {
            Loss::All => FrozenLoss::All,
            Loss::Channels(channels) => {
                FrozenLoss::Channels(channels.iter().map(ChannelName::borrowed).collect())
            }
        }
    }
}

impl FrozenLoss<'_> {
    fn thaw(self) -> Result<Loss, ThawError> {
        match self {
            FrozenLoss::All => Ok(Loss::All),
            FrozenLoss::Channels(channels) if channels.len() > MAX_LOST => Err(NODE),
            FrozenLoss::Channels(channels) => {
                let channels = channels.into_iter().map(ChannelName::into_owned);
                Ok(Loss::Channels(channels.collect()))
            }
        }
    }
}

impl Node {
    /// Writes its state.
    ///
    /// # Errors
    ///
    /// It could not be written, or the node does not rest.
    pub fn freeze<W: Write>(&self, state: &mut Freezer<W>) -> io::Result<()> {
        if let Some(unrest) = self.unrest() {
            return Err(io::Error::other(unrest.to_string()));
        }
        state.put(&Head {
            own: self.own,
            salt: (self.salt.0, self.salt.1),
            // fault: nonces-begin-again
            nonce: self.nonce,
            read_to: self.read_to,
            newest: self.lane.newest,
            tip: self.lane.tip,
            trusted_from: self.lane.trusted_from,
            is_joined: self.is_joined,
            heard: self.pulse.heard,
            heard_at: self.pulse.heard_at,
            took_ms: self.pulse.took_ms.freeze(),
            clock: self.replica.clock,
            foreign: self.foreign.newest(),
            newest_since: self.lane.newest_since,
            loss: self.notes.loss.as_ref().map(FrozenLoss::from),
            checkpoint_due: self.notes.checkpoint_due,
            bytes_since_checkpoint: self.notes.bytes_since_checkpoint,
            suspect: self.suspect.as_ref().map(|chain| chain.as_slice().to_vec()),
            blocked: self.blocked,
        })?;
        self.replica.freeze(state)?;
        self.members.freeze(state)?;
        self.audience.freeze(state)?;
        self.window.freeze(state)?;
        self.outbox.freeze(state)
    }

    /// Reads the state of a node at a time. It goes on as one whose connections are broken.
    ///
    /// # Errors
    ///
    /// See [`ThawError`].
    pub fn thaw<R: Read>(
        settings: Settings,
        now: Time,
        state: &mut Thawer<R>,
    ) -> Result<Node, ThawError> {
        let head: Head<'_> = state.take()?;
        let is_past = |at: Option<Time>| at.is_none_or(|at| at <= now);
        let are_past = [head.heard, head.blocked, Some(head.newest_since)].map(is_past);
        if are_past.contains(&false) || head.heard_at > head.read_to {
            return Err(NODE);
        }
        let suspect = head.suspect.map(|terms| Chain::checked(&terms).ok_or(NODE));
        let suspect = suspect.transpose()?;
        let clock = head.clock.checked(now).ok_or(NODE)?;
        let loss = head.loss.map(FrozenLoss::thaw).transpose()?;
        let mut node = Node::new(settings, [head.own, head.salt.0, head.salt.1]);
        node.now = now;
        node.foreign = Foreign::after(head.foreign);
        node.nonce = head.nonce;
        node.mode = Mode::Live { is_settled: true };
        node.read_to = head.read_to;
        node.remembers = true;
        node.is_joined = head.is_joined;
        (node.lane.newest, node.lane.tip) = (head.newest, head.tip);
        node.lane.trusted_from = head.trusted_from;
        node.lane.newest_since = head.newest_since;
        node.pulse = Pulse::new(now);
        (node.pulse.heard, node.pulse.heard_at) = (head.heard, head.heard_at);
        node.pulse.took_ms = head.took_ms.thaw(DURATIONS_MS).ok_or(NODE)?;
        node.notes = Notes {
            loss,
            checkpoint_due: head.checkpoint_due,
            bytes_since_checkpoint: head.bytes_since_checkpoint,
            ..Notes::default()
        };
        node.suspect = suspect;
        node.blocked = head.blocked;
        node.replica = Replica::thaw(node.own, node.settings.ring_bytes, state)?;
        node.replica.clock = clock;
        node.members = Members::thaw(state)?;
        let is_other = |other| other != node.own && node.members.has(other);
        node.audience = Audience::thaw(is_other, state)?;
        node.window = Window::thaw(node.settings.log_bytes, node.settings.log_age_ms, state)?;
        node.outbox = Outbox::thaw(node.settings.awaits_replicas, (node.own, node.nonce), state)?;
        let tip = node.replica.tip();
        // A term that is settled has an entry that settled it.
        let is_settled = tip == node.read_to && tip.number > 0;
        let terms = node.lane.trusted_from..=node.lane.newest;
        match is_settled && terms.contains(&tip.term) {
            true => Ok(node),
            false => Err(NODE),
        }
    }
}
