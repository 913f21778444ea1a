//! The acknowledgements of a request by lines: one response, which goes on while lines come.
//!
//! Owns how they are delimited, the error that may be the last of them, and the response of a
//! request without them that is refused too late.

use super::settle::last_response;
use super::state::Delivery;
use crate::engine::connections::{Flags, State};
use crate::engine::response::{Framing, Problem};

/// How the acknowledgements of a connection's request are delimited.
pub(in crate::engine) fn framing(delivery: &Delivery, index: u32) -> Framing {
    match delivery.connections[index].flags.contains(Flags::HTTP10) {
        true => Framing::UntilClose,
        false => Framing::Chunked,
    }
}

/// Ends acknowledgements with an error.
pub(super) fn write_error(out: &mut Vec<u8>, framing: Framing, problem: &Problem, published: u64) {
    framing.piece(out, |out| {
        out.extend_from_slice(b"{\"error\":");
        problem.document(out);
        out.extend_from_slice(format!(",\"published\":{published}}}\n").as_bytes());
    });
    framing.end(out);
}

/// Whether a request by lines waits for the log to be refused.
pub(super) fn is_refused(delivery: &Delivery, index: u32) -> bool {
    let conn = &delivery.connections[index];
    conn.state() == State::Publishing && conn.line_upload().is_some()
}

/// Writes the response to a request by lines that waits to be refused, and of which too little was
/// saved in time.
pub(super) fn write_not_saved(delivery: &mut Delivery, index: u32, problem: &Problem) {
    delivery.connections.stats.late_answers += 1;
    let request = delivery.connections[index].request.as_mut();
    let upload = request.and_then(|request| request.lines.take());
    let upload = upload.expect("it was kept with its error");
    let context = last_response(delivery, &upload.head);
    delivery.response.problem(problem, &context);
}
