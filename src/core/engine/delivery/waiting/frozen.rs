//! The responses that wait for the log, in a state that is handed over.
//!
//! Owns their form.

use std::io::{self, Read, Write};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Answer, Publishing, Unnumbered, Waiting};
use crate::base::meter::Meter;
use crate::base::time::Time;
use crate::engine::connections::ConnId;
use crate::engine::delivery::published::FrozenUnnumbered;
use crate::engine::response::{FrozenContext, FrozenProblem, Problem, ResponseContext};
use crate::engine::stats::Endpoint;
use crate::frozen::{Bytes, Freezer, ThawError, Thawer};
use crate::log::Mark;

#[derive(Serialize, Deserialize)]
struct FrozenWaiting<'w> {
    index: u32,
    generation: u32,
    mark: Mark,
    due: Time,
    #[serde(borrow)]
    answer: FrozenAnswer<'w>,
}

#[derive(Serialize, Deserialize)]
enum FrozenAnswer<'a> {
    Http {
        context: FrozenContext,
        endpoint: u8,
        #[serde(borrow)]
        json: Option<Bytes<'a>>,
    },
    #[serde(borrow)]
    Written(Bytes<'a>),
    Acknowledgements {
        #[serde(borrow)]
        piece: Bytes<'a>,
        published_before: u64,
    },
    Command {
        #[serde(borrow)]
        object: Bytes<'a>,
        reference: Option<&'a str>,
    },
    // Of a node of a cluster alone.
    Silence,
    #[serde(borrow)]
    Lines(Option<FrozenProblem<'a>>),
}

/// Writes the responses that wait, in their order.
pub(in crate::engine::delivery) fn freeze<W: Write>(
    publishing: &Publishing,
    state: &mut Freezer<W>,
) -> io::Result<()> {
    let waiting = publishing.queue.iter().map(|waiting| FrozenWaiting {
        index: waiting.id.index,
        generation: waiting.id.generation,
        mark: waiting.mark,
        due: waiting.due,
        answer: FrozenAnswer::from(&waiting.answer),
    });
    // fault: answers-that-wait-are-lost
    state.put_all(waiting)?;
    if state.has_nodes() {
        let waiting = publishing.queue.iter();
        let unnumbered = waiting.map(|one| one.unnumbered.as_deref().map(FrozenUnnumbered::from));
        state.put_all(unnumbered)?;
    }
    Ok(())
}

impl<'a> From<&'a Answer> for FrozenAnswer<'a> {
    fn from(answer: &'a Answer) -> FrozenAnswer<'a> {
        match answer {
            Answer::Http {
                context,
                endpoint,
                json,
            } => FrozenAnswer::Http {
                context: context.into(),
                endpoint: endpoint.number() as u8,
                json: json.as_deref().map(Bytes),
            },
            Answer::Written(bytes) => FrozenAnswer::Written(Bytes(bytes)),
            Answer::Acknowledgements {
                piece,
                published_before,
            } => FrozenAnswer::Acknowledgements {
                piece: Bytes(piece),
                published_before: *published_before,
            },
            Answer::Command { object, reference } => FrozenAnswer::Command {
                object: Bytes(object),
                reference: reference.as_deref(),
            },
            Answer::Silence => FrozenAnswer::Silence,
            Answer::Lines(failed) => FrozenAnswer::Lines(failed.as_ref().map(FrozenProblem::from)),
        }
    }
}

/// Reads what [`freeze`] wrote; what it takes is charged to `buffers`. `is_node`: the server is a
/// node of a cluster. Calls `note` with the connection of each response.
pub(in crate::engine::delivery) fn thaw<R: Read>(
    buffers: &Arc<Meter>,
    is_node: bool,
    mut note: impl FnMut(ConnId),
    state: &mut Thawer<R>,
) -> Result<Publishing, ThawError> {
    let mut all = Vec::new();
    let mut values = state.take_all();
    while let Some(frozen) = values.take::<FrozenWaiting<'_>>()? {
        let waiting = Waiting {
            id: ConnId {
                index: frozen.index,
                generation: frozen.generation,
            },
            mark: frozen.mark,
            due: frozen.due,
            answer: Answer::try_from(frozen.answer)?,
            unnumbered: None,
        };
        if matches!(waiting.answer, Answer::Silence | Answer::Lines(_)) && !is_node {
            return Err(ThawError::Damaged("a response waits for a cluster"));
        }
        all.push(waiting);
    }
    if state.has_nodes() {
        thaw_unnumbered(&mut all, is_node, state)?;
    }
    let mut publishing = Publishing::new(buffers);
    for waiting in all {
        let is_after = |last: &Waiting| last.mark <= waiting.mark && last.due <= waiting.due;
        if !publishing.back().is_none_or(is_after) {
            return Err(ThawError::Damaged("responses do not wait in their order"));
        }
        note(waiting.id);
        publishing.push(waiting);
    }
    Ok(publishing)
}

/// Reads the results without ids, one for each response that waits.
fn thaw_unnumbered<R: Read>(
    all: &mut [Waiting],
    is_node: bool,
    state: &mut Thawer<R>,
) -> Result<(), ThawError> {
    const DAMAGED: ThawError = ThawError::Damaged("results are of no response");
    let mut waiting = all.iter_mut();
    let mut values = state.take_all();
    while let Some(frozen) = values.take::<Option<FrozenUnnumbered<'_>>>()? {
        let one = waiting.next().filter(|_| is_node || frozen.is_none());
        let one = one.ok_or(DAMAGED)?;
        one.unnumbered = frozen.map(|frozen| Box::new(Unnumbered::from(frozen)));
    }
    match waiting.next() {
        None => Ok(()),
        Some(_) => Err(DAMAGED),
    }
}

impl TryFrom<FrozenAnswer<'_>> for Answer {
    type Error = ThawError;

    fn try_from(frozen: FrozenAnswer<'_>) -> Result<Answer, ThawError> {
        Ok(match frozen {
            FrozenAnswer::Http {
                context,
                endpoint,
                json,
            } => Answer::Http {
                context: ResponseContext::try_from(context)?,
                endpoint: Endpoint::all()
                    .nth(usize::from(endpoint))
                    .ok_or(ThawError::Damaged("a request was to no endpoint"))?,
                json: json.map(|json| json.0.to_vec()),
            },
            FrozenAnswer::Written(bytes) => Answer::Written(bytes.0.to_vec()),
            FrozenAnswer::Acknowledgements {
                piece,
                published_before,
            } => Answer::Acknowledgements {
                piece: piece.0.to_vec(),
                published_before,
            },
            FrozenAnswer::Command { object, reference } => Answer::Command {
                object: object.0.to_vec(),
                reference: reference.map(Box::from),
            },
            FrozenAnswer::Silence => Answer::Silence,
            FrozenAnswer::Lines(failed) => {
                Answer::Lines(failed.map(Problem::try_from).transpose()?)
            }
        })
    }
}
