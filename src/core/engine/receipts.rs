//! The receipts of producers whose messages go through the log of a cluster.
//!
//! Owns their order, which is that of tickets, and the results that were not taken yet.

mod frozen;

pub(super) use frozen::{freeze, thaw};

use std::collections::VecDeque;

use crate::hub::{Hub, Published, Refusal};
use crate::log::Done;
use crate::log::cluster::Ticket;
use crate::message::ChannelName;

/// Producers that wait for their receipts.
#[derive(Default)]
pub(super) struct Receipts {
    /// Messages that were handed to the log, in the order of their tickets.
    waiting: VecDeque<(Ticket, ChannelName<'static>)>,
    done: VecDeque<(Ticket, Result<Published, Refusal>)>,
}

impl Receipts {
    /// A message to this channel was handed to the log.
    pub(super) fn await_ticket(&mut self, ticket: Ticket, channel: ChannelName<'static>) {
        self.waiting.push_back((ticket, channel));
    }

    /// Whether results are there that nobody took yet.
    pub(super) fn has_results(&self) -> bool {
        !self.done.is_empty()
    }

    /// What waits, in the order of tickets.
    pub(super) fn tickets(&self) -> impl Iterator<Item = Ticket> {
        self.waiting.iter().map(|(ticket, _)| *ticket)
    }

    /// The next result, in the order of tickets.
    pub(super) fn next_done(&mut self) -> Option<(Ticket, Result<Published, Refusal>)> {
        self.done.pop_front()
    }

    /// Takes a ticket that is done, if it is a producer's. Returns whether it was.
    pub(super) fn take(&mut self, hub: &Hub, done: &Done) -> bool {
        let first = self.waiting.front().filter(|first| first.0 == done.ticket);
        let Some((_, channel)) = first else {
            return false;
        };
        let published = done.result.map(|first| Published {
            id: first.id,
            subscribers: hub.subscribers_at(channel, first.id.seq),
        });
        self.done.push_back((done.ticket, published));
        self.waiting.pop_front();
        true
    }
}
