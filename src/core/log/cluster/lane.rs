//! The publish lane: commands that were sent, and their replies.
//!
//! Owns which replies are awaited, in their order, and the term that was opened on the connection.

use std::collections::VecDeque;

use super::command::OpenMode;
use crate::base::time::Time;
use crate::message::EntryId;

/// The most commands without a reply.
const MAX_AWAITED: usize = 64;

/// At most this many may be publishes, whose replies can be held, so that beats still fit.
const MAX_HELD: usize = 48;

/// The purpose of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    Open(OpenMode),
    /// An entry of the outbox, by its nonce, to a term.
    Item {
        nonce: u64,
        term: u64,
    },
    Note(Note),
}

impl Sent {
    fn is_item(self) -> bool {
        matches!(self, Sent::Item { .. })
    }
}

/// An entry of the node itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Note {
    Answer,
    Retold,
    Settled,
    Loss,
    Beat,
    Checkpoint,
    Readers,
    Blocks,
}

/// A command without a reply.
#[derive(Clone, Copy, Debug)]
pub(super) struct Awaited {
    pub(super) sent: Sent,
    at: Time,
    /// What was read of the log before it was sent.
    pub(super) read_to: EntryId,
}

/// The publish lane.
#[derive(Debug, Default)]
pub(super) struct PublishLane {
    pub(super) is_connected: bool,
    /// The term that was opened on the connection.
    pub(super) opened: Option<u64>,
    /// For how long the server had been running when the connection was made, in milliseconds.
    pub(super) up_ms: u64,
    /// The newest term that is known.
    pub(super) newest: u64,
    /// Since when.
    pub(super) newest_since: Time,
    /// The newest id that is known to exist.
    pub(super) tip: EntryId,
    /// Nothing is sent before that.
    pub(super) retry_at: Time,
    /// The reason for which the server did not open the log at the last try.
    pub(super) refusal: Option<Box<str>>,
    /// The term in which the server was found to have an older log than was read, if no term was opened
    /// for that since.
    pub(super) doubted: Option<u64>,
    /// No term before this one can be doubted: the history goes on from this one, whatever log the server
    /// had before.
    pub(super) trusted_from: u64,
    awaited: VecDeque<Awaited>,
    /// How many of them are notes that tell again.
    pub(super) retelling: usize,
}

impl PublishLane {
    /// Notes a term that is known.
    pub(super) fn note_term(&mut self, term: u64, now: Time) {
        if term > self.newest {
            self.newest = term;
            self.newest_since = now;
        }
    }

    /// Records that the server had an older log in this term than was read. Returns whether that is
    /// new.
    pub(super) fn doubt(&mut self, term: u64) -> bool {
        let is_new = self.doubted < Some(term) && term >= self.trusted_from;
        if is_new {
            self.doubted = Some(term);
        }
        is_new
    }

    /// Ends doubts about terms before this one: it was opened because the server had an older log, or the
    /// node begins its history anew with it.
    pub(super) fn undoubt(&mut self, term: u64) {
        self.doubted = self.doubted.filter(|&doubted| doubted >= term);
        self.trusted_from = term;
    }

    /// The time by a clock that goes on from the newest term. A server's clock may go back; terms must
    /// not.
    pub(super) fn term_time(&self, now: Time) -> u64 {
        self.newest.saturating_add(now.since_ms(self.newest_since))
    }

    /// Whether a command may be sent.
    pub(super) fn has_room(&self) -> bool {
        let newest = self.awaited.back().map(|awaited| awaited.sent);
        let is_opening = matches!(newest, Some(Sent::Open(_)));
        self.is_connected && !is_opening && self.awaited.len() < MAX_AWAITED
    }

    /// A command is sent. `read_to` is what was read of the log before.
    pub(super) fn sent(&mut self, sent: Sent, now: Time, read_to: EntryId) {
        if sent == Sent::Note(Note::Retold) {
            self.retelling += 1;
        }
        if matches!(sent, Sent::Open(_)) {
            self.opened = None;
        }
        self.awaited.push_back(Awaited {
            sent,
            at: now,
            read_to,
        });
    }

    /// Whether a publish may be sent of which the reply may be held.
    pub(super) fn has_room_for_item(&self) -> bool {
        let items = self.awaited.iter().filter(|one| one.sent.is_item());
        items.count() < MAX_HELD
    }

    /// Removes and returns the command to which a reply has come: the oldest, or the oldest of those
    /// that are entries of the outbox, or of the others.
    pub(super) fn answered(&mut self, is_item: Option<bool>) -> Option<Awaited> {
        let is_it = |one: &Awaited| is_item.is_none_or(|is| is == one.sent.is_item());
        let place = self.awaited.iter().position(is_it)?;
        let answered = self.awaited.remove(place)?;
        if answered.sent == Sent::Note(Note::Retold) {
            self.retelling -= 1;
        }
        Some(answered)
    }

    /// Whether no command is without a reply.
    pub(super) fn is_quiet(&self) -> bool {
        self.awaited.is_empty()
    }

    /// Whether an entry of the outbox may still have a reply.
    pub(super) fn awaits(&self, item: u64) -> bool {
        let is_it = |sent: &Sent| matches!(sent, Sent::Item { nonce, .. } if *nonce == item);
        self.awaited.iter().any(|one| is_it(&one.sent))
    }

    /// When the oldest command without a reply was sent. Publishes do not count while replies are held
    /// for replicas.
    pub(super) fn oldest(&self, awaits_replicas: bool) -> Option<Time> {
        let counts = |one: &&Awaited| !awaits_replicas || !one.sent.is_item();
        self.awaited.iter().find(counts).map(|one| one.at)
    }

    /// Records that the server does not open the log; it is asked again later. Each reason is
    /// logged once.
    pub(super) fn refused(&mut self, why: Box<str>, retry_at: Time) {
        if self.refusal.as_ref() != Some(&why) {
            log::warn!("engine: it does not open the log, and is asked again: {why}");
        }
        self.refusal = Some(why);
        self.retry_at = retry_at;
    }

    pub(super) fn connected(&mut self) {
        self.broken();
        self.is_connected = true;
    }

    pub(super) fn broken(&mut self) {
        self.is_connected = false;
        self.opened = None;
        self.up_ms = 0;
        self.awaited.clear();
        self.retelling = 0;
        self.retry_at = Time(0);
    }
}
