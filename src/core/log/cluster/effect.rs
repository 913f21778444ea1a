//! The effects of the log in its order: changes that the hub applies, and results for publishers.
//!
//! Owns only the types. Effects are to be applied in their order, one after another.

use serde::{Deserialize, Serialize};

use super::command::Salt;
use super::entry::Kick;
use super::messages::Drafts;
use crate::message::{ChannelName, EntryId};

/// A publish that waits for its result. Tickets rise, and are done in their order.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Ticket(pub u64);

/// One effect of the log.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// The salt is known. Once, and before anything is applied.
    Salt(Salt),
    /// A term is known, and so is the one before it; cursors of both are known from now on. Either
    /// the term is later than all that were known, or the one before it is older than all.
    Term {
        /// The term.
        term: u64,
        /// Where the term before it ended; `None` if none is known. An id of that term beyond its end
        /// counts as the end.
        closed: Option<EntryId>,
    },
    /// The messages of an entry are published. The entry's first part has number 0, and a message
    /// that also ends its channel ([`crate::message::DraftKind::Last`]) takes two parts.
    Apply {
        /// The id of the entry.
        id: EntryId,
        /// For how long it had been published when it was read, in milliseconds.
        age_ms: u64,
        /// The messages, in order; none is refused.
        drafts: Drafts,
    },
    /// A channel was deleted: its messages before this id are lost.
    Delete {
        /// The channel.
        channel: ChannelName<'static>,
        /// The id of the deletion.
        id: EntryId,
    },
    /// Messages of these channels may be lost, up to this id.
    Lose {
        /// The channels.
        channels: Vec<ChannelName<'static>>,
        /// The id of the loss.
        id: EntryId,
    },
    /// Messages of any channel may be lost, up to this id.
    LoseAll {
        /// The id of the loss.
        id: EntryId,
    },
    /// For each of [`super::command::BUCKETS`] buckets ([`Salt::bucket`]), the newest id of any
    /// message, loss or deletion in it that this node knows of now. A cursor at or after that of
    /// its bucket has missed nothing, whatever [`Effect::LoseAll`] said before.
    Floors {
        /// The ids, by bucket.
        floors: Box<[EntryId]>,
    },
    /// The log was read up to this id, and there is nothing to apply.
    Advance {
        /// The id.
        id: EntryId,
    },
    /// Another node has said how many readers channels have there.
    Readers {
        /// The node.
        node: u64,
        /// The round in which it was said.
        round: u8,
        /// Whether the round is over: channels that were not told in it have no readers there.
        ends_round: bool,
        /// Keys of channels ([`crate::hub::Hub::reader_key`]), and how many readers each has.
        counts: Vec<(u64, u32)>,
    },
    /// Connections of a subject end, or its tokens are refused.
    Kick {
        /// Whether it was asked of this node, which has ended its connections already.
        is_own: bool,
        /// What is to be done.
        kick: Kick<'static>,
    },
    /// A node that has told its readers is no member any more.
    Gone {
        /// The node.
        node: u64,
    },
    /// A publish or deletion has its result. It was applied by an earlier effect if it has an id.
    Done {
        /// Its ticket.
        ticket: Ticket,
        /// Its result.
        outcome: Outcome,
    },
}

/// The result of a publish or deletion. The order of these is that of states that are handed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It is in the log, and was applied if this node has read it.
    Published {
        /// The id of its entry.
        id: EntryId,
        /// The part of its first message in it.
        part: u16,
    },
    /// Its key had a message before, with this id, which is applied by now, or never will be.
    Earlier {
        /// The id of the entry of that message, whose part is 0.
        id: EntryId,
    },
    /// Nothing was published.
    NotPublished(Reason),
    /// It is not known whether it was published, and will not be tried again.
    Unknown {
        /// For how long the log has not answered, in milliseconds.
        silent_ms: u64,
    },
}

/// The reason for which nothing was published. The order of these is that of states that are handed
/// over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// The log did not answer in time.
    Silent {
        /// For how long it has not answered, in milliseconds.
        silent_ms: u64,
    },
    /// The server that keeps the log has no memory for it.
    Full,
    /// The server refused, in its words.
    Refused(Box<str>),
}
