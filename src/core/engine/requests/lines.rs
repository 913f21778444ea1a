//! Publishing by lines: each line of a body is published when its line end arrives.
//!
//! Owns the path of a line from the body to the log, the response to the request, and when its
//! rights are judged again, because a request may last for hours. An invalid line ends the request;
//! the lines before it stay published.
//!
//! Invariant: *a line is published at once or never.* A whole line waits only for the budget of a
//! step, or until the client has read the acknowledgements before it.

use super::execute::{authorize, await_log, context_of, invite_body, record, refuse_before_body};
use super::socket::identity;
use super::state::Requests;
use crate::base::meter::Charge;
use crate::engine::connections::{
    BodyEnd, CredentialRef, Flags, LinePlan, LineStep, LineUpload, State,
};
use crate::engine::delivery::{
    Delivery, acknowledge, framing_of_acknowledgements, may_go_on, refuse_lines, take_line_results,
    wait_for_lines, write_published,
};
use crate::engine::response::{Problem, ResponseContext};
use crate::engine::routing::{Identity, Operation, Route, publish_to};
use crate::http1::{self, Decoder, Head, Outcome, Scan, status};
use crate::hub::{Hub, Published};
use crate::log::{Clustered, Log, Mark};
use crate::message::lines::{LineBuffer, LineError, parse_line, without_mark};
use crate::message::{ChannelName, Data, Draft, MessageId, is_json};

/// The most lines of one connection in a step, before other requests of the tick are processed.
/// Empty lines count.
const LINES_PER_STEP: usize = 64;

/// The bytes of acknowledgements after which a step ends: those of its lines, with names of usual length.
const MAX_STEP_BYTES: usize = LINES_PER_STEP * 320;

/// Begins a request whose lines are published as they come. Returns the bytes of body taken.
pub(super) fn begin(
    requests: &mut Requests,
    delivery: &mut Delivery,
    index: u32,
    head: &Head<'_>,
    raw: &[u8],
    rest: &[u8],
) -> usize {
    let route = Route::of(head.path);
    let has_room = delivery.connections.buffers.has_room(raw.len());
    let judged = authorize(requests, delivery, index, head, route);
    let judged =
        judged.and_then(|operation| has_room.then_some(operation).ok_or_else(Problem::no_room));
    let (plan, identity) = match judged {
        Ok(operation) => plan(operation, head),
        Err(problem) => {
            // The bytes that follow are the body of this request.
            refuse_before_body(delivery, index, head, route, &problem);
            return rest.len();
        }
    };
    invite_body(delivery, head, rest);
    if plan.has_acks {
        // A malformed body may be found after the response has begun.
        delivery.connections[index].flags.insert(Flags::CLOSE);
        let context = ResponseContext {
            callback: None,
            ..context_of(delivery, index, head)
        };
        let framing = framing_of_acknowledgements(delivery, index);
        let response = &mut delivery.response;
        response.stream_head(&context, "application/x-ndjson", framing);
    }
    grant(delivery, index, &identity);
    let connections = &mut delivery.connections;
    let mut open = Charge::new(&connections.line_requests);
    open.set(1);
    let upload = Box::new(LineUpload {
        head: raw.into(),
        decoder: Decoder::new(head.framing),
        plan,
        lines: LineBuffer::default(),
        end: BodyEnd::Open,
        line: 0,
        published: 0,
        last: None,
        newest: None,
        is_last_new: false,
        last_channel: None,
        judged_by: requests.authorizer.changes(),
        step: None,
        is_end_handed: false,
        ended: None,
        _open: open,
    });
    connections.enter(index, State::Body);
    // The value may be that of an earlier request.
    connections[index].flags.remove(Flags::EXPIRES);
    connections.start_body_timeout(index);
    proceed(requests, delivery, index, upload, rest).unwrap_or(rest.len())
}

/// The plan of a request to publish by lines, and the identity that its credential proved.
fn plan(operation: Operation<'_>, head: &Head<'_>) -> (LinePlan, Identity) {
    let Operation::PublishByLines {
        channel,
        event,
        key,
        end,
        ack,
        identity,
    } = operation
    else {
        unreachable!("a request by lines is judged as one");
    };
    let plan = LinePlan {
        channel: channel.map(ChannelName::into_owned),
        event,
        key,
        is_json: is_json(head.content_type),
        ends: end,
        has_acks: ack,
    };
    (plan, identity)
}

/// Notes whose right a request uses, so that the request ends when the right does.
fn grant(delivery: &mut Delivery, index: u32, identity: &Identity) {
    let holders = &mut delivery.connections.holders;
    match identity {
        Identity::Anonymous => holders.clear(index),
        Identity::Publisher => holders.set(index, CredentialRef::Publisher),
        Identity::Token(token) => {
            holders.set(index, CredentialRef::from(&**token));
            holders.keep_token(index, std::sync::Arc::clone(token));
        }
    }
}

/// Takes the bytes of a body that have arrived, and publishes its whole lines, within the budget of
/// a step. Returns how many bytes were taken; `None` if all were, and the body is not complete.
pub(super) fn proceed(
    requests: &mut Requests,
    delivery: &mut Delivery,
    index: u32,
    mut upload: Box<LineUpload>,
    bytes: &[u8],
) -> Option<usize> {
    let taken = upload.take(bytes);
    let mut outcome = step(requests, delivery, index, &mut upload);
    if let Some(step) = &upload.step {
        if let Some(last) = step.last_ticket() {
            keep(delivery, index, upload);
            wait_for_lines(delivery, index, last, outcome.err());
            return Some(taken);
        }
        outcome = take_line_results(delivery, index, &mut upload, None).and(outcome);
    }
    match outcome {
        Ok(Step::Waits) => keep(delivery, index, upload),
        Ok(Step::NeedsInput) => {
            upload.lines.shrink();
            keep(delivery, index, upload);
            if delivery.connections.buffers.has_room(0) {
                return None;
            }
            let request = delivery.connections.request_state(index);
            let upload = request.lines.take().expect("it was kept");
            let mark = unsaved(requests, upload.newest);
            refuse_lines(delivery, index, upload, Problem::no_room(), mark);
        }
        Ok(Step::Done) => finish(requests, delivery, index, upload),
        Err(problem) => {
            let mark = unsaved(requests, upload.newest);
            refuse_lines(delivery, index, upload, problem, mark);
        }
    }
    Some(taken)
}

/// The state of a request by lines after a step.
enum Step {
    /// It waits for the next step: there are more whole lines.
    Waits,
    /// It needs more of its body.
    NeedsInput,
    /// All its lines are published.
    Done,
}

/// Publishes the lines that are whole, at most [`LINES_PER_STEP`] of them, and acknowledges them.
fn step(
    requests: &mut Requests,
    delivery: &mut Delivery,
    index: u32,
    upload: &mut LineUpload,
) -> Result<Step, Problem> {
    let before = upload.line;
    let published_before = upload.published;
    let mut acknowledged = Vec::new();
    let result = take_lines(requests, delivery, index, upload, &mut acknowledged);
    if !acknowledged.is_empty() {
        let framing = framing_of_acknowledgements(delivery, index);
        let mut piece = Vec::with_capacity(acknowledged.len() + 16);
        framing.piece(&mut piece, |out| out.extend_from_slice(&acknowledged));
        let mark = unsaved(requests, upload.newest);
        acknowledge(delivery, index, mark, piece, published_before);
    }
    if upload.line > before {
        delivery.connections.start_body_timeout(index);
    }
    result
}

fn take_lines(
    requests: &mut Requests,
    delivery: &mut Delivery,
    index: u32,
    upload: &mut LineUpload,
    acknowledged: &mut Vec<u8>,
) -> Result<Step, Problem> {
    let max_bytes = requests.max_body_bytes;
    // A complete body may have a last line without a line end, or an end to publish.
    let is_ready = upload.lines.has_line() || upload.end == BodyEnd::Whole;
    if is_ready {
        let buffers = &delivery.connections.buffers;
        // fault: acknowledgements-without-room
        requests.check_room_to_wait(buffers, MAX_STEP_BYTES)?;
        let identity = judge(requests, delivery, index, upload)?;
        let mut publisher = Publisher {
            requests,
            delivery,
            index,
            identity,
            max_bytes,
            acknowledged,
        };
        for _ in 0..LINES_PER_STEP {
            if !publisher.publish_next(upload)? {
                break;
            }
        }
    }
    match upload.end {
        _ if upload.lines.has_line() => Ok(Step::Waits),
        BodyEnd::Whole if upload.lines.is_empty() => Ok(Step::Done),
        // Its last line, without line end, is left to the next step.
        BodyEnd::Whole => Ok(Step::Waits),
        BodyEnd::Malformed(error) => Err(error.into()),
        BodyEnd::Open if upload.lines.is_longer_than(max_bytes) => {
            Err(too_long(max_bytes).in_line(upload.line + 1))
        }
        BodyEnd::Open => Ok(Step::NeedsInput),
    }
}

fn too_long(max_bytes: usize) -> Problem {
    Problem::new(
        status::CONTENT_TOO_LARGE,
        format!("a line has at most {max_bytes} bytes (--max-body-bytes)"),
    )
}

/// Judges a request again, before its next lines are published.
fn judge(
    requests: &mut Requests,
    delivery: &mut Delivery,
    index: u32,
    upload: &mut LineUpload,
) -> Result<Identity, Problem> {
    may_go_on(delivery, index)?;
    let changes = requests.authorizer.changes();
    if upload.judged_by == changes {
        return identity(requests, delivery, index);
    }
    // The settings have changed, so everything about the request is judged again.
    let head = parsed(&upload.head);
    let operation = authorize(requests, delivery, index, &head, Route::of(head.path))?;
    let (_, identity) = plan(operation, &head);
    grant(delivery, index, &identity);
    upload.judged_by = changes;
    Ok(identity)
}

/// Publishes the lines of one step.
struct Publisher<'s> {
    requests: &'s mut Requests,
    delivery: &'s mut Delivery,
    index: u32,
    identity: Identity,
    max_bytes: usize,
    acknowledged: &'s mut Vec<u8>,
}

impl Publisher<'_> {
    /// Takes and publishes the next line. Returns false if there is none.
    fn publish_next(&mut self, upload: &mut LineUpload) -> Result<bool, Problem> {
        let line = match upload.lines.take_line() {
            None if upload.end == BodyEnd::Whole => upload.lines.take_rest(),
            line => line,
        };
        let Some(line) = line else {
            return Ok(false);
        };
        upload.line += 1;
        let number = upload.line;
        let in_line = |problem: Problem| problem.in_line(number);
        let draft = self.prepare(&upload.plan, line, number);
        let Some(draft) = draft.map_err(in_line)? else {
            return Ok(true);
        };
        if let Log::Clustered(log) = &mut self.requests.log {
            let step = upload.step.get_or_insert_default();
            let handed = hand_over(log, &mut self.delivery.hub, step, Some(number), draft);
            handed.map_err(in_line)?;
            return Ok(true);
        }
        let published = self.publish(&upload.plan, draft);
        let (channel, published) = published.map_err(in_line)?;
        upload.published += 1;
        upload.last = Some(published.id);
        upload.note_newest(published.id);
        upload.is_last_new = published.id.seq == self.delivery.hub.head();
        upload.last_channel = channel;
        Ok(true)
    }

    /// The message of a line, if it may be published; `None` for an empty line.
    fn prepare(
        &mut self,
        plan: &LinePlan,
        line: &[u8],
        number: u64,
    ) -> Result<Option<Draft<'static>>, Problem> {
        if line.len() > self.max_bytes {
            return Err(too_long(self.max_bytes));
        }
        let Some(mut draft) = draft(plan, line, number, self.max_bytes)? else {
            return Ok(None);
        };
        let key = plan.key.as_ref();
        // fault: lines-share-a-key
        draft.key = key.map(|key| key.of_part(number));
        if plan.channel.is_none() {
            let rights = self.requests.authorizer.rights();
            let access = self.delivery.connections[self.index].access;
            publish_to(rights, &self.identity, access, &draft.channel)?;
        }
        Ok(Some(draft))
    }

    /// Publishes a line. Returns the channel too, if the line names it and it may have to end.
    fn publish(
        &mut self,
        plan: &LinePlan,
        draft: Draft<'static>,
    ) -> Result<(Option<ChannelName<'static>>, Published), Problem> {
        let names_itself = plan.channel.is_none();
        let channel = (names_itself && plan.ends || plan.has_acks).then(|| draft.channel.clone());
        let published = publish(self.requests, self.delivery, draft)?;
        self.delivery.connections.stats.lines += 1;
        if let Some(channel) = channel.as_deref().filter(|_| plan.has_acks) {
            write_published(self.acknowledged, channel, &published);
            self.acknowledged.push(b'\n');
        }
        Ok((channel.filter(|_| names_itself), published))
    }
}

/// Hands a line, or the end after the last, to the log of a cluster.
fn hand_over(
    log: &mut Clustered,
    hub: &mut Hub,
    step: &mut LineStep,
    number: Option<u64>,
    draft: Draft<'static>,
) -> Result<(), Problem> {
    let placed = log.publish(hub, &draft)?;
    step.push(number, draft.channel, placed);
    Ok(())
}

/// Publishes one line, or the end after the last.
fn publish(
    requests: &mut Requests,
    delivery: &mut Delivery,
    draft: Draft<'_>,
) -> Result<Published, Problem> {
    let published = requests.log.publish(&mut delivery.hub, draft);
    published.map_err(|(refusal, _)| Problem::from(refusal))
}

/// The message of a line; `None` for an empty line.
fn draft(
    plan: &LinePlan,
    line: &[u8],
    number: u64,
    max_bytes: usize,
) -> Result<Option<Draft<'static>>, Problem> {
    let Some(channel) = &plan.channel else {
        let line = if number == 1 {
            without_mark(line)
        } else {
            line
        };
        return parse_line(line, max_bytes).map_err(|error| match error {
            LineError::TooLarge { .. } => {
                Problem::new(status::CONTENT_TOO_LARGE, error.to_string())
            }
            error => Problem::bad(error.to_string()),
        });
    };
    let data = match plan.is_json {
        true if line.trim_ascii().is_empty() => return Ok(None),
        true => Data::json(line).map_err(|error| {
            let detail = format!("the content type says JSON, and it cannot be published: {error}");
            Problem::bad(detail)
        })?,
        false if line.is_empty() => return Ok(None),
        false => Data::text_or_bytes(line),
    };
    Ok(Some(Draft {
        event: plan.event.clone(),
        ..Draft::new(channel.clone(), data)
    }))
}

/// The place up to which the log has to be saved before a message is acknowledged.
fn unsaved(requests: &Requests, message: Option<MessageId>) -> Option<Mark> {
    requests.log.unsaved(message?.seq)
}

/// Ends a request whose lines are all published: publishes the end of the channel, if the request
/// asks for it, and writes the response.
fn finish(
    requests: &mut Requests,
    delivery: &mut Delivery,
    index: u32,
    mut upload: Box<LineUpload>,
) {
    if let Log::Clustered(log) = &mut requests.log
        && !std::mem::replace(&mut upload.is_end_handed, true)
        && let Some(end) = due_end(&delivery.hub, &upload)
    {
        let step = upload.step.get_or_insert_default();
        if let Err(problem) = hand_over(log, &mut delivery.hub, step, None, end) {
            return refuse_lines(delivery, index, upload, problem, None);
        }
        if let Some(ticket) = step.last_ticket() {
            keep(delivery, index, upload);
            return wait_for_lines(delivery, index, ticket, None);
        }
        // The line was published before, so there is a result.
        drop(take_line_results(delivery, index, &mut upload, None));
    }
    let ended = match publish_end(requests, delivery, &upload) {
        Ok(ended) => ended,
        Err(problem) => {
            let mark = unsaved(requests, upload.newest);
            return refuse_lines(delivery, index, upload, problem, mark);
        }
    };
    delivery.connections.holders.clear(index);
    if let Some(ended) = ended {
        upload.note_newest(ended);
    }
    let mark = unsaved(requests, upload.newest);
    let mut summary = format!("{{\"published\":{}", upload.published).into_bytes();
    if let Some(last) = upload.last.or(ended) {
        summary.extend_from_slice(b",\"last\":\"");
        last.write(&mut summary);
        summary.push(b'"');
    }
    summary.push(b'}');
    let head = parsed(&upload.head);
    if upload.plan.has_acks {
        let framing = framing_of_acknowledgements(delivery, index);
        let mut piece = Vec::new();
        summary.push(b'\n');
        framing.piece(&mut piece, |out| out.extend_from_slice(&summary));
        framing.end(&mut piece);
        acknowledge(delivery, index, mark, piece, upload.published);
    } else {
        let context = context_of(delivery, index, &head);
        if let Some(mark) = mark {
            await_log(delivery, index, &head, &context, mark, Some(summary));
            return;
        }
        delivery.response.json(&context, &summary);
    }
    record(delivery, index, &head, Route::of(head.path), status::OK);
    let next = match delivery.connections[index].awaits_log() {
        true => State::Publishing,
        false => State::Idle,
    };
    delivery.connections.enter(index, next);
}

/// Publishes the end of the channel of a request, or of its last line, if the request asks for it.
fn publish_end(
    requests: &mut Requests,
    delivery: &mut Delivery,
    upload: &LineUpload,
) -> Result<Option<MessageId>, Problem> {
    if upload.is_end_handed {
        return Ok(upload.ended);
    }
    match due_end(&delivery.hub, upload) {
        None => Ok(None),
        Some(end) => Ok(Some(publish(requests, delivery, end)?.id)),
    }
}

/// The end that is to be published after the lines of a request.
fn due_end(hub: &Hub, upload: &LineUpload) -> Option<Draft<'static>> {
    let plan = &upload.plan;
    let channel = plan.channel.as_ref().or(upload.last_channel.as_ref());
    let channel = channel.filter(|_| plan.ends)?;
    if is_published_after(hub, channel, upload) {
        return None;
    }
    Some(Draft {
        key: plan.key.as_ref().map(|key| key.of_part("end")),
        ..Draft::end(channel.clone())
    })
}

/// Whether the last line was published by an earlier request with the same key, and the channel has
/// newer messages. Then that request has ended the channel, and it was opened again since.
fn is_published_after(hub: &Hub, channel: &ChannelName<'_>, upload: &LineUpload) -> bool {
    let (Some(last), Some(index)) = (upload.last, hub.find(channel)) else {
        return false;
    };
    // fault: retry-ends-what-was-opened-again
    !upload.is_last_new && hub.channel(index).newest() > Some(last.seq)
}

/// Keeps a request by lines until it can continue.
fn keep(delivery: &mut Delivery, index: u32, upload: Box<LineUpload>) {
    let request = delivery.connections.request_state(index);
    request.lines = Some(upload);
    request.update_charge();
}

/// The head of a request whose head was parsed before.
fn parsed(raw: &[u8]) -> Head<'_> {
    match http1::parse(raw, &mut Scan::default(), raw.len()) {
        Ok(Outcome::Complete { head, .. }) => head,
        _ => unreachable!("the head was complete before"),
    }
}
