//! Where a reader starts in the sequence.
//!
//! Owns the translation of `since` into a cursor.

use crate::engine::response::ResponseContext;
use crate::engine::routing::{Identity, Names, Params, Receive, Since};
use crate::hub::Hub;
use crate::message::Seq;

/// Where a reader starts.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Start {
    pub(super) cursor: Seq,
    /// The request asks for all history: what was evicted before it is no gap.
    pub(super) fresh: bool,
    /// The client's cursor is of another epoch, or ahead of ours: a gap is reported first, then all
    /// history is sent.
    pub(super) gap: bool,
}

/// Where the reader of a request with this `since` starts.
pub(in crate::engine) fn start(hub: &Hub, receive: Receive, since: Since) -> Start {
    let head = hub.head();
    let at = |cursor, fresh, gap| Start { cursor, fresh, gap };
    match since {
        Since::Absent if receive == Receive::Poll => at(Seq::ZERO, true, false),
        Since::Earliest => at(Seq::ZERO, true, false),
        Since::Absent | Since::Now => at(head, false, false),
        Since::After(seq) if seq <= head => at(seq, false, false),
        Since::After(_) | Since::Unknown => at(Seq::ZERO, true, true),
    }
}

/// A request to receive, as it reaches delivery.
pub(in crate::engine) struct ReceiveRequest<'r, 'b> {
    pub(in crate::engine) index: u32,
    pub(in crate::engine) receive: Receive,
    pub(in crate::engine) names: &'r Names<'b>,
    pub(in crate::engine) params: &'r Params<'b>,
    pub(in crate::engine) identity: &'r Identity,
    pub(in crate::engine) start: Start,
    pub(in crate::engine) context: &'r ResponseContext<'b>,
}
