//! The last answer to a request that publishes by lines, where that is an error.
//!
//! Owns its form: a response, or the last line of the acknowledgements. It says how many messages
//! were published before, and so it waits until they are saved. What a line is and whether it may
//! be published is decided where requests are.

use super::acknowledgements::{framing, write_error};
use super::line_step::refuse_now;
use super::publishing::{wait, wait_behind};
use super::settle::{last_response, settle};
use super::state::Delivery;
use super::waiting::Answer;
use crate::base::wheel::SLOT_MS;
use crate::engine::connections::{Flags, LineUpload, Wire};
use crate::engine::response::Problem;
use crate::engine::stats::Endpoint;
use crate::http1::status;
use crate::log::Mark;

/// Ends a request by lines whose time is up: its client was too slow, the server drains, or the
/// right to publish has ended. `unsaved` is the end of the log, if that is not saved.
pub(super) fn on_deadline(
    delivery: &mut Delivery,
    index: u32,
    unsaved: Option<Mark>,
    wire: &mut impl Wire,
) {
    let conn = &delivery.connections[index];
    if conn
        .line_upload()
        .is_some_and(|upload| upload.step.is_some())
    {
        // The log of the cluster has lines of it; what became of them comes first.
        return delivery.connections.arm_ms(index, SLOT_MS);
    }
    let problem = may_go_on(delivery, index).err().unwrap_or_else(|| {
        let detail = "no line end came within --body-timeout";
        Problem::new(status::REQUEST_TIMEOUT, detail)
    });
    let request = delivery.connections[index].request.as_mut();
    if let Some(upload) = request.and_then(|request| request.lines.take()) {
        refuse(delivery, index, upload, problem, unsaved);
        delivery.flush(index, wire);
    }
    settle(delivery, index, wire);
}

/// Whether a request by lines may publish more: not while the server drains, and not if its
/// connection was ended by a request about its subject.
pub(in crate::engine) fn may_go_on(delivery: &Delivery, index: u32) -> Result<(), Problem> {
    if delivery.connections[index].has_expired(delivery.now()) {
        let challenge = "Bearer realm=\"encke\", error=\"invalid_token\"";
        let problem = Problem::new(401, "the right to publish was ended by a request");
        return Err(problem.with("WWW-Authenticate", challenge));
    }
    match delivery.drain {
        None => Ok(()),
        Some(_) => Err(Problem::unavailable(
            "the server is draining; publish to another",
            1,
        )),
    }
}

/// Ends a request by lines with an error: nothing more is read from its connection. `unsaved` is a
/// place in the log that is not saved, and behind all that the request has published.
pub(in crate::engine) fn refuse(
    delivery: &mut Delivery,
    index: u32,
    upload: Box<LineUpload>,
    problem: Problem,
    unsaved: Option<Mark>,
) {
    let (published, has_acks) = (upload.published, upload.plan.has_acks);
    if let Some(mark) = unsaved.filter(|_| upload.newest.is_some() && !has_acks) {
        let problem = problem.after_publishing(published);
        return refuse_when_saved(delivery, index, upload, &problem, mark);
    }
    if !has_acks || !delivery.connections[index].awaits_log() {
        return refuse_now(delivery, index, &upload, problem);
    }
    let problem = problem.after_publishing(published);
    let requests = &mut delivery.connections.stats.requests;
    requests.count(Endpoint::Publish, problem.status);
    let mut last = Vec::new();
    let framing = framing(delivery, index);
    write_error(&mut last, framing, &problem, published);
    wait_behind(delivery, index, last);
}

/// Keeps the response with an error until the log is saved up to a place. The request is kept
/// beside it, for the response that it gets if that takes too long.
#[cold]
fn refuse_when_saved(
    delivery: &mut Delivery,
    index: u32,
    upload: Box<LineUpload>,
    problem: &Problem,
    mark: Mark,
) {
    let before = delivery.response.out.len();
    let context = last_response(delivery, &upload.head);
    delivery.response.problem(problem, &context);
    let written = delivery.response.out.split_off(before);
    let connections = &mut delivery.connections;
    let requests = &mut connections.stats.requests;
    requests.count(Endpoint::Publish, problem.status);
    connections.holders.clear(index);
    connections[index].flags.insert(Flags::CLOSE);
    let request = connections.request_state(index);
    request.input = Vec::new();
    request.lines = Some(upload);
    request.update_charge();
    wait(delivery, index, mark, Answer::Written(written));
}
