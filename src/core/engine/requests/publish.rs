//! Publishing over HTTP: one message, or a batch of lines.
//!
//! Owns the response bodies of `/publish`. All or nothing: what is refused has changed nothing.

use crate::engine::delivery::{Form, Unnumbered, write_published};
use crate::engine::response::Problem;
use crate::hub::{Hub, Refusal};
use crate::log::cluster::Ticket;
use crate::log::{Clustered, Log};
use crate::message::{Data, Draft, Seq, lines};

/// The most lines in one batch: they are published in one tick.
const MAX_LINES: usize = 10_000;

/// Makes data of a body by its content type.
pub(super) fn accept(content_type: Option<&[u8]>, body: &[u8]) -> Result<Data, Problem> {
    Data::accept(content_type, body).map_err(|error| {
        Problem::bad(format!(
            "the content type says JSON, and the body cannot be published as JSON: {error}; \
             correct it, or send another content type, such as text/plain"
        ))
    })
}

/// Publishes a batch and returns the body that says what each line got, and the number of the last.
/// `permit` judges each channel.
pub(super) fn publish_batch(
    log: &mut Log,
    hub: &mut Hub,
    body: &[u8],
    max_body_bytes: usize,
    permit: impl Fn(&str) -> Result<(), Problem>,
) -> Result<(Vec<u8>, Option<Seq>), Problem> {
    let drafts = parse_batch(body, max_body_bytes, permit)?;
    let published = log.publish_all(hub, drafts).map_err(refuse_batch)?;
    let mut answer = b"{\"published\":[".to_vec();
    for (index, (channel, published)) in published.iter().enumerate() {
        if index > 0 {
            answer.push(b',');
        }
        write_published(&mut answer, channel, published);
    }
    answer.extend_from_slice(b"]}");
    // Not always the last: a channel that has ended keeps its end.
    // fault: batch-waits-for-its-last-line
    let newest = published
        .iter()
        .map(|(_, published)| published.id.seq)
        .max();
    Ok((answer, newest))
}

/// Hands a batch to the log of a cluster, and returns the result without ids; `None` if it is empty.
pub(super) fn hand_over_batch(
    log: &mut Clustered,
    hub: &mut Hub,
    body: &[u8],
    max_body_bytes: usize,
    permit: impl Fn(&str) -> Result<(), Problem>,
) -> Result<Option<(Ticket, Unnumbered)>, Problem> {
    let drafts = parse_batch(body, max_body_bytes, permit)?;
    if drafts.is_empty() {
        return Ok(None);
    }
    let ticket = log.publish_all(hub, &drafts).map_err(refuse_batch)?;
    Ok(Some((ticket, Unnumbered::of(Form::Batch, &drafts))))
}

/// The messages of a batch, which may be published.
fn parse_batch(
    body: &[u8],
    max_body_bytes: usize,
    permit: impl Fn(&str) -> Result<(), Problem>,
) -> Result<Vec<Draft<'static>>, Problem> {
    let drafts = lines::parse(body, max_body_bytes).map_err(|error| {
        let detail = error.to_string();
        match error.is_too_large() {
            true => Problem::new(413, detail),
            false => Problem::bad(detail),
        }
    })?;
    if drafts.len() > MAX_LINES {
        let detail = format!("{} lines; a batch has at most {MAX_LINES}", drafts.len());
        return Err(Problem::new(413, detail));
    }
    // Lines of a batch often have one channel, and a judgement compares it with many patterns.
    // fault: first-line-alone-is-judged
    for (place, draft) in drafts.iter().enumerate() {
        if place == 0 || drafts[place - 1].channel != draft.channel {
            permit(&draft.channel)?;
        }
    }
    Ok(drafts)
}

/// Says which message of a batch is too large; otherwise as for one message.
fn refuse_batch(refusal: Refusal) -> Problem {
    let Refusal::TooLargeForChannel { max_bytes, place } = refusal else {
        return refusal.into();
    };
    let number = u32::from(place) + 1;
    let detail = format!(
        "message {number} of the batch: a message to its channel has at most {max_bytes} bytes \
         (max-message-bytes of its policy)"
    );
    Problem::new(413, detail)
}
