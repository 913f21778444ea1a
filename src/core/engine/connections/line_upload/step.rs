//! The lines of a request that were handed to the log of a cluster together, and have no results
//! yet.
//!
//! Owns what each of them is. While there are some, no further line of the request is taken.

mod frozen;

pub(in crate::engine::connections) use frozen::FrozenStep;

use crate::hub::{Published, Refusal};
use crate::log::cluster::Ticket;
use crate::log::{First, Placed};
use crate::message::ChannelName;

/// The lines of a request that have no results yet.
#[derive(Default)]
pub(in crate::engine) struct LineStep {
    pub(in crate::engine) lines: Vec<HandedLine>,
}

/// A line that was handed over, or the end after the last.
pub(in crate::engine) struct HandedLine {
    /// Its number, from 1; `None`: it is the end after the last line.
    pub(in crate::engine) number: Option<u64>,
    pub(in crate::engine) channel: ChannelName<'static>,
    ticket: Option<Ticket>,
    /// The result of its message, if that was published before and only its end is new.
    before: Option<Published>,
    /// Its result, and whether it is published now.
    pub(in crate::engine) result: Option<Result<(Published, bool), Refusal>>,
}

impl LineStep {
    /// Adds a line that was handed over.
    pub(in crate::engine) fn push(
        &mut self,
        number: Option<u64>,
        channel: ChannelName<'static>,
        placed: Placed,
    ) {
        let (ticket, before, result) = match placed {
            Placed::Now(published) => (None, None, Some(Ok((published, false)))),
            Placed::Later { ticket, message } => (Some(ticket), message, None),
        };
        self.lines.push(HandedLine {
            number,
            channel,
            ticket,
            before,
            result,
        });
    }

    /// The ticket after which all have their results; `None` if they have them.
    pub(in crate::engine) fn last_ticket(&self) -> Option<Ticket> {
        self.lines.iter().filter_map(|line| line.ticket).max()
    }

    /// The tickets of lines without results, in their order.
    pub(in crate::engine) fn awaited(&self) -> impl Iterator<Item = Ticket> {
        let lines = self.lines.iter().filter(|line| line.result.is_none());
        lines.filter_map(|line| line.ticket)
    }

    /// Notes the result of a ticket, if it is of one of these lines. `subscribers` says how many a
    /// channel had.
    pub(in crate::engine) fn note(
        &mut self,
        ticket: Ticket,
        result: Result<First, Refusal>,
        subscribers: impl FnOnce(&str, First) -> u32,
    ) {
        let mut lines = self.lines.iter_mut();
        let Some(line) = lines.find(|line| line.ticket == Some(ticket)) else {
            return;
        };
        line.result = Some(result.map(|first| match line.before {
            Some(before) => (before, false),
            None => {
                let published = Published {
                    id: first.id,
                    subscribers: subscribers(&line.channel, first),
                };
                (published, first.is_new)
            }
        }));
    }

    /// The memory that it takes.
    pub(super) fn bytes(&self) -> usize {
        let names: usize = self.lines.iter().map(|line| line.channel.len()).sum();
        self.lines.capacity() * size_of::<HandedLine>() + names
    }
}
