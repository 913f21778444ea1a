//! The receipts of producers, in a state that is handed over.
//!
//! Owns their form. Results that were not taken are not in it: they are taken before
//! ([`Receipts::has_results`]).

use std::io::{self, Read, Write};

use super::{ChannelName, Receipts, Ticket};
use crate::frozen::{Freezer, ThawError, Thawer};

/// Writes what waits.
pub(in crate::engine) fn freeze<W: Write>(
    receipts: &Receipts,
    state: &mut Freezer<W>,
) -> io::Result<()> {
    state.put_all(&receipts.waiting)
}

/// Reads what [`freeze`] wrote. `of_lines`: tickets whose results are for requests by lines, which
/// would wait for ever for one that a producer takes.
pub(in crate::engine) fn thaw<R: Read>(
    mut of_lines: impl Iterator<Item = Ticket>,
    state: &mut Thawer<R>,
) -> Result<Receipts, ThawError> {
    let mut receipts = Receipts::default();
    let mut values = state.take_all();
    while let Some((ticket, channel)) = values.take::<(Ticket, ChannelName<'_>)>()? {
        if receipts.waiting.back().is_some_and(|last| last.0 >= ticket) {
            return Err(ThawError::Damaged("receipts are not in their order"));
        }
        receipts.await_ticket(ticket, channel.into_owned());
    }
    let waiting = &receipts.waiting;
    if of_lines.any(|ticket| waiting.binary_search_by_key(&ticket, |one| one.0).is_ok()) {
        return Err(ThawError::Damaged("a receipt is that of a line"));
    }
    Ok(receipts)
}
