//! Where a reader starts in the sequence.
//!
//! Owns the translation of `since` into a cursor, and which channels a request may
//! use.

use crate::engine::response::{Problem, ResponseContext};
use crate::engine::routing::{Identity, Names, Params, Receive, Since};
use crate::hub::{Channels, Hub};
use crate::message::Seq;

/// Where a reader starts.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Start {
    pub(super) cursor: Seq,
    /// Earlier evictions are not reported as gaps: the request asks for all history or its newest
    /// part, or the gap is reported already (`gap`).
    pub(super) ignores_earlier_losses: bool,
    /// The client's cursor is of another epoch, or ahead of ours: a gap is reported first, then all
    /// history is sent.
    pub(super) gap: bool,
}

/// Where the reader of a request with this `since` starts. Polls are hot.
#[inline(always)]
pub(in crate::engine) fn start(
    hub: &Hub,
    receive: Receive,
    names: &Names<'_>,
    since: Since,
) -> Start {
    let head = hub.head();
    let at = |cursor, ignores_earlier_losses, gap| Start {
        cursor,
        ignores_earlier_losses,
        gap,
    };
    match since {
        Since::Absent if receive == Receive::Poll => at(Seq::ZERO, true, false),
        Since::Earliest => at(hub.before_all(known(hub, names)), true, false),
        Since::Newest(count) => at(hub.before_newest(known(hub, names), count), true, false),
        Since::Absent | Since::Now => at(head, false, false),
        Since::After(seq) if seq <= head => at(seq, false, false),
        // The client comes from a node that has applied more of the log.
        Since::After(seq) if hub.is_shared() => at(seq, false, false),
        Since::After(_) | Since::Later(_) | Since::Unknown => {
            at(hub.before_all(known(hub, names)), true, true)
        }
    }
}

/// Those of the channels that exist.
pub(super) fn known(hub: &Hub, names: &Names<'_>) -> impl Iterator<Item = u32> {
    names.iter().filter_map(|name| hub.find(name))
}

impl Start {
    /// Whether the reader is ahead of this node of a cluster: what its channels are here does not
    /// tell what it knows.
    pub(super) fn is_ahead(&self, hub: &Hub) -> bool {
        self.cursor > hub.head()
    }
}

/// Checks that all channels exist, or may be created by a receiver. Where the reader is ahead of
/// this node of a cluster, another node may have created them.
#[inline]
pub(super) fn check_names(
    hub: &mut Hub,
    names: &Names<'_>,
    start: Option<Start>,
) -> Result<(), Problem> {
    match hub.first_missing(names) {
        None => Ok(()),
        Some(_) if start.is_some_and(|start| start.is_ahead(hub)) => Ok(()),
        Some(name) => {
            let detail = format!(
                "there is no channel {name} now, and only a publisher creates it (create of its \
                 policy)"
            );
            Err(Problem::new(404, detail))
        }
    }
}

/// Checks that each channel has room for one more reader.
#[inline]
pub(super) fn check_subscribers(hub: &mut Hub, channels: &[u32]) -> Result<(), Problem> {
    match hub.has_room_for_reader(channels) {
        true => Ok(()),
        false => Err(Problem::unavailable(
            "a channel of this request has as many subscribers as allowed (max-subscribers of its \
             policy); try again later",
            5,
        )),
    }
}

/// The channels of a request, made if need be, with room for one more reader.
pub(super) fn open_channels(hub: &mut Hub, names: &Names<'_>) -> Result<Channels, Problem> {
    let channels = hub.open_all(names.iter())?;
    check_subscribers(hub, &channels)?;
    Ok(channels)
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
