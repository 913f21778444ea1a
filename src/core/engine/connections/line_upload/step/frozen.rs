//! The lines that were handed to the log of a cluster, in a state that is handed over.
//!
//! Owns their form.

use serde::{Deserialize, Serialize};

use super::super::LineUpload;
use super::{HandedLine, LineStep};
use crate::frozen::ThawError;
use crate::hub::{Published, Refusal};
use crate::log::cluster::Ticket;
use crate::message::{ChannelName, MessageId};

/// The part of a request by lines that only the node of a cluster has.
#[derive(Serialize, Deserialize)]
pub(in crate::engine::connections) struct FrozenStep<'s> {
    #[serde(borrow)]
    lines: Option<Vec<FrozenLine<'s>>>,
    is_end_handed: bool,
    ended: Option<MessageId>,
}

/// The frozen form of a [`HandedLine`].
#[derive(Serialize, Deserialize)]
struct FrozenLine<'l> {
    number: Option<u64>,
    #[serde(borrow)]
    channel: ChannelName<'l>,
    ticket: Option<Ticket>,
    before: Option<Published>,
    result: Option<Result<(Published, bool), Refusal>>,
}

impl<'l> From<&'l HandedLine> for FrozenLine<'l> {
    fn from(line: &'l HandedLine) -> FrozenLine<'l> {
        FrozenLine {
            number: line.number,
            channel: line.channel.borrowed(),
            ticket: line.ticket,
            before: line.before,
            result: line.result,
        }
    }
}

impl From<FrozenLine<'_>> for HandedLine {
    fn from(frozen: FrozenLine<'_>) -> HandedLine {
        HandedLine {
            number: frozen.number,
            channel: frozen.channel.into_owned(),
            ticket: frozen.ticket,
            before: frozen.before,
            result: frozen.result,
        }
    }
}

impl<'s> FrozenStep<'s> {
    /// That of a request, if there is anything.
    pub(in crate::engine::connections) fn of(upload: &'s LineUpload) -> Option<FrozenStep<'s>> {
        let step = upload.step.as_deref();
        let is_any = step.is_some() || upload.is_end_handed || upload.ended.is_some();
        is_any.then(|| FrozenStep {
            lines: step.map(|step| step.lines.iter().map(FrozenLine::from).collect()),
            is_end_handed: upload.is_end_handed,
            ended: upload.ended,
        })
    }

    /// Gives it back to its request.
    ///
    /// # Errors
    ///
    /// [`ThawError::Damaged`] where a line has neither a result nor a ticket of its own.
    pub(in crate::engine::connections) fn thaw(
        self,
        upload: &mut LineUpload,
    ) -> Result<(), ThawError> {
        let lines = || self.lines.iter().flatten();
        let is_awaited = |line: &FrozenLine<'_>| line.result.is_some() || line.ticket.is_some();
        let tickets: Vec<Ticket> = lines().filter_map(|line| line.ticket).collect();
        // Each ticket gives one line its result.
        let are_tickets = tickets.is_sorted_by(|one, next| one < next);
        if !lines().all(is_awaited) || !are_tickets || (self.lines.is_some() && tickets.is_empty())
        {
            return Err(ThawError::Damaged("a line waits for no result"));
        }
        upload.step = self.lines.map(|lines| {
            let lines = lines.into_iter().map(HandedLine::from).collect();
            Box::new(LineStep { lines })
        });
        upload.is_end_handed = self.is_end_handed;
        upload.ended = self.ended;
        Ok(())
    }
}
