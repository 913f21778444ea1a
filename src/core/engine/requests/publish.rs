//! Publishing over HTTP: one message, or a batch of lines.
//!
//! Owns the response bodies of `/publish`. All or nothing: what is refused has changed nothing.

use crate::encode::{self, Data, write_cursor, write_json_string};
use crate::engine::response::Problem;
use crate::hub::{Hub, NameError, Published, Submission, check_name};

/// The most lines in one batch: they are published in one turn.
const MAX_LINES: usize = 10_000;

/// Publishes one message.
pub(super) fn publish(
    hub: &mut Hub,
    channel: &str,
    event: Option<&str>,
    idempotency_key: Option<&str>,
    content_type: Option<&[u8]>,
    body: &[u8],
) -> Result<Published, Problem> {
    let data = Data::accept(content_type, body).map_err(|error| Problem::bad(error.detail()))?;
    let submission = Submission {
        data,
        event: event.map(Box::from),
        idempotency_key: idempotency_key.map(Box::from),
    };
    let published = hub.publish(channel, submission);
    published.map_err(|(refusal, _)| refusal.into())
}

/// Publishes a batch and returns the body that says what each line got.
pub(super) fn publish_batch(
    hub: &mut Hub,
    body: &[u8],
    max_body_bytes: usize,
) -> Result<Vec<u8>, Problem> {
    let lines = encode::publish_lines::parse(body, max_body_bytes).map_err(|error| match error
        .is_too_large()
    {
        true => Problem::new(413, error.detail()),
        false => Problem::bad(error.detail()),
    })?;
    if lines.len() > MAX_LINES {
        let detail = format!("{} lines; a batch has at most {MAX_LINES}", lines.len());
        return Err(Problem::new(413, detail));
    }
    let mut names = Vec::with_capacity(lines.len());
    let mut messages = Vec::with_capacity(lines.len());
    for line in lines {
        check_name(line.channel.as_bytes()).map_err(|error| refuse_name(&line.channel, error))?;
        names.push(line.channel.clone());
        let submission = Submission {
            event: line.event,
            ..Submission::new(line.data)
        };
        messages.push((line.channel, submission));
    }
    let published = hub.publish_all(messages)?;
    let mut answer = b"{\"published\":[".to_vec();
    for (place, (name, published)) in names.iter().zip(published).enumerate() {
        if place > 0 {
            answer.push(b',');
        }
        write_published(&mut answer, hub, name, published);
    }
    answer.extend_from_slice(b"]}");
    Ok(answer)
}

/// Appends what one message got.
pub(super) fn write_published(out: &mut Vec<u8>, hub: &Hub, channel: &str, published: Published) {
    out.extend_from_slice(b"{\"id\":\"");
    write_cursor(out, hub.epoch(), published.seq);
    out.extend_from_slice(b"\",\"channel\":");
    write_json_string(out, channel);
    out.extend_from_slice(b",\"subscribers\":");
    out.extend_from_slice(itoa::Buffer::new().format(published.subscribers).as_bytes());
    out.push(b'}');
}

fn refuse_name(name: &str, error: NameError) -> Problem {
    Problem::bad(format!("channel {name:?}: {}", error.detail()))
}
