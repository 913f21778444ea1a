//! The results of lines that a request by lines has handed to the log of a cluster.
//!
//! Owns what the request makes of them: the numbers that it tells at its end, acknowledgements, and
//! its end where a line was refused. Lines behind that one may be published all the same: they were
//! handed over with it.

use super::acknowledgements::{framing, write_error};
use super::published::write_published;
use super::settle::{refuse_as, settle};
use super::state::Delivery;
use super::waiting::Fate;
use crate::engine::connections::{ConnId, Connections, LineUpload, State, Wire};
use crate::engine::response::Problem;
use crate::engine::stats::Endpoint;
use crate::hub::Hub;
use crate::log::Done;

/// Notes the result of a ticket for a request that waits for its lines, if it is of one of them.
pub(super) fn note(connections: &mut Connections, hub: &Hub, id: ConnId, done: &Done) {
    let Some(index) = connections.find(id) else {
        return;
    };
    let request = connections[index].request.as_mut();
    let upload = request.and_then(|request| request.lines.as_mut());
    if let Some(step) = upload.and_then(|upload| upload.step.as_mut()) {
        step.note(done.ticket, done.result, |channel, first| {
            hub.subscribers_at(channel, first.id.seq)
        });
    }
}

/// Takes the results of lines, all of which have one, or none will come any more. `failed` is why
/// the line behind them was not handed over.
pub(super) fn finish(
    delivery: &mut Delivery,
    index: u32,
    fate: Fate<'_>,
    failed: Option<Problem>,
    wire: &mut impl Wire,
) {
    let request = delivery.connections[index].request.as_mut();
    if let Some(mut upload) = request.and_then(|request| request.lines.take()) {
        let taken = take_results(delivery, index, &mut upload, fate.problem().as_ref());
        match taken.and_then(|()| failed.map_or(Ok(()), Err)) {
            Ok(()) => {
                let request = delivery.connections.request_state(index);
                request.lines = Some(upload);
                request.update_charge();
            }
            Err(problem) => refuse_now(delivery, index, &upload, problem),
        }
        delivery.flush_behind(index, wire);
    }
    settle(delivery, index, wire);
}

/// Counts and acknowledges the lines of a step up to the first that was refused, whose problem is
/// returned. One without a result has `missing`.
pub(in crate::engine) fn take_results(
    delivery: &mut Delivery,
    index: u32,
    upload: &mut LineUpload,
    missing: Option<&Problem>,
) -> Result<(), Problem> {
    let Some(step) = upload.step.take() else {
        return Ok(());
    };
    let mut acknowledged = Vec::new();
    let mut taken = Ok(());
    for line in step.lines {
        let (published, is_new) = match (line.result, missing) {
            (Some(Ok(result)), _) => result,
            (Some(Err(refusal)), _) => {
                taken = Err(in_line(refusal.into(), line.number));
                break;
            }
            (None, Some(missing)) => {
                taken = Err(in_line(missing.clone(), line.number));
                break;
            }
            (None, None) => {
                debug_assert!(false, "a line has its result before its ticket is done");
                continue;
            }
        };
        upload.note_newest(published.id);
        if line.number.is_none() {
            upload.ended = Some(published.id);
            continue;
        }
        upload.published += 1;
        upload.last = Some(published.id);
        upload.is_last_new = is_new;
        delivery.connections.stats.lines += 1;
        if upload.plan.has_acks {
            write_published(&mut acknowledged, &line.channel, &published);
            acknowledged.push(b'\n');
        }
        let names_itself = upload.plan.channel.is_none();
        upload.last_channel = Some(line.channel).filter(|_| names_itself && upload.plan.ends);
    }
    if !acknowledged.is_empty() {
        let framing = framing(delivery, index);
        framing.piece(&mut delivery.response.out, |out| {
            out.extend_from_slice(&acknowledged);
        });
    }
    taken
}

fn in_line(problem: Problem, number: Option<u64>) -> Problem {
    match number {
        Some(number) => problem.in_line(number),
        None => problem,
    }
}

/// Ends a request by lines with an error, for which nothing has to be awaited.
pub(super) fn refuse_now(
    delivery: &mut Delivery,
    index: u32,
    upload: &LineUpload,
    problem: Problem,
) {
    let published = upload.published;
    let problem = problem.after_publishing(published);
    if !upload.plan.has_acks {
        return refuse_as(Endpoint::Publish, delivery, index, &problem, &upload.head);
    }
    let requests = &mut delivery.connections.stats.requests;
    requests.count(Endpoint::Publish, problem.status);
    let framing = framing(delivery, index);
    write_error(&mut delivery.response.out, framing, &problem, published);
    delivery.connections.enter(index, State::Closing);
}
