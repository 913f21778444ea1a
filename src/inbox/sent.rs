//! Messages of producers that are handed to the log of a cluster and are not published yet.
//!
//! Owns their receipts: when a ticket is done, the producer gets its receipt. If the producer wants
//! none and the message was refused, the message is put back, because no one else would send it
//! again.
//!
//! Invariant: after a message was put back, no other is taken until all before it are done, so that
//! messages that are put back keep their order.

mod frozen;

use std::collections::VecDeque;

use encke_core::hub::{Published, Refusal};
use encke_core::log::cluster::Ticket;

use super::publication::{PublishError, Submission};

/// Messages with tickets.
#[derive(Default)]
pub(crate) struct Sent {
    /// In the order of tickets.
    waiting: VecDeque<(Ticket, Submission)>,
    /// Messages that were put back since others were taken.
    put_back: usize,
    /// Whether the log refused a message, and has taken none since.
    is_refused: bool,
    undecided: u64,
}

impl Sent {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether the log refused a message, and has taken none since.
    pub(super) fn is_refused(&self) -> bool {
        self.is_refused
    }

    /// Messages without key and receipt that may be published or not.
    pub(super) fn undecided(&self) -> u64 {
        self.undecided
    }

    /// Adds a message, whose ticket is after those of all others.
    pub(super) fn add(&mut self, ticket: Ticket, submission: Submission) {
        self.waiting.push_back((ticket, submission));
    }

    /// A ticket is done. Returns the message if it is to be put back, and its place among those
    /// that are held.
    pub(super) fn done(
        &mut self,
        ticket: Ticket,
        result: Result<Published, Refusal>,
    ) -> Option<(usize, Submission)> {
        self.waiting.front().filter(|first| first.0 == ticket)?;
        let (_, mut submission) = self.waiting.pop_front()?;
        let place = self.put_back;
        let is_put_back = match (result, submission.receipt.take()) {
            (Ok(published), receipt) => {
                self.is_refused &= place > 0;
                if let Some(receipt) = receipt {
                    receipt.send(Ok(published));
                }
                false
            }
            (Err(refusal), Some(receipt)) => {
                receipt.send(Err(match refusal {
                    Refusal::LogUndecided { .. } => PublishError::Undecided,
                    _ => PublishError::Unavailable,
                }));
                false
            }
            (Err(Refusal::LogUndecided { .. }), None) if submission.draft.key.is_none() => {
                self.undecided += 1;
                false
            }
            (Err(_), None) => true,
        };
        self.put_back = match self.waiting.is_empty() {
            true => 0,
            false => place + usize::from(is_put_back),
        };
        self.is_refused |= is_put_back;
        is_put_back.then_some((place, submission))
    }
}
