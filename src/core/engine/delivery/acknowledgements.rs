//! The acknowledgements of a request by lines: one response, which goes on while lines come.
//!
//! Owns how they are delimited, and the error that may be the last of them.

use super::state::Delivery;
use crate::engine::connections::Flags;
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
