//! Messages of producers that the log of a cluster was given, in a state that is handed over.
//!
//! Owns their form. Receipts are not in it: those who wait for them are in the process that ends.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use super::{Sent, Submission, Ticket};
use crate::inbox::Waiting;
use encke_core::frozen::{Count, Freezer, ThawError, Thawer};

/// What there is one of.
#[derive(Serialize, Deserialize)]
struct Head {
    put_back: usize,
    is_refused: bool,
    undecided: Count,
}

impl Sent {
    /// Their tickets, in their order.
    pub(crate) fn tickets(&self) -> impl Iterator<Item = Ticket> {
        self.waiting.iter().map(|(ticket, _)| *ticket)
    }

    /// Writes its state.
    pub(crate) fn freeze<W: Write>(&self, state: &mut Freezer<W>) -> io::Result<()> {
        state.put(&Head {
            put_back: self.put_back,
            is_refused: self.is_refused,
            undecided: Count(self.undecided),
        })?;
        let waiting = self.waiting.iter();
        state.put_all(waiting.map(|(ticket, one)| (*ticket, Waiting::of(&one.draft))))
    }

    /// Reads what [`Sent::freeze`] wrote.
    pub(crate) fn thaw<R: Read>(state: &mut Thawer<R>) -> Result<Sent, ThawError> {
        let head: Head = state.take()?;
        let mut sent = Sent {
            put_back: head.put_back.min(1 << 31),
            is_refused: head.is_refused,
            undecided: head.undecided.0,
            ..Sent::default()
        };
        let mut values = state.take_all();
        while let Some((ticket, waiting)) = values.take::<(Ticket, Waiting<'_>)>()? {
            let submission = Submission {
                draft: waiting.draft()?,
                receipt: None,
            };
            sent.add(ticket, submission);
        }
        Ok(sent)
    }
}
