//! The ends of channels in responses to readers.
//!
//! Owns which ends a batch or the opening of a stream tells. A reader is done when it has received
//! the ends of all its channels: its response says so, and nothing more comes. A reader of several
//! channels gets each end that comes before the others. An end may be evicted before it is told, so
//! behind a gap a reader is told of all that have ended. Nothing here is on the path of a message:
//! it is asked where an end or a gap is among the items, and where a reader begins on channels that
//! have ended.

use super::start::{Start, known};
use crate::engine::routing::{Names, Since};
use crate::hub::{Channels, Hub, Item};
use crate::message::Seq;

/// The ends of its channels that a response reports to a reader.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum EndsNotice {
    /// Nothing.
    #[default]
    Nothing,
    /// All have ended: the reader is done.
    All,
    /// These have, of several.
    Of(Box<[u32]>),
}

impl EndsNotice {
    /// Whether it is nothing, as nearly always.
    pub(super) fn is_nothing(&self) -> bool {
        matches!(self, EndsNotice::Nothing)
    }

    /// Whether the reader is done.
    pub(super) fn is_all(&self) -> bool {
        matches!(self, EndsNotice::All)
    }

    fn of(channels: impl Iterator<Item = u32>) -> EndsNotice {
        let channels: Box<[u32]> = channels.collect();
        match channels.is_empty() {
            true => EndsNotice::Nothing,
            false => EndsNotice::Of(channels),
        }
    }
}

/// The ends that the response to a held poll with these items reports. The poll follows `followed`,
/// and its client is at `cursor` afterwards.
#[cold]
pub(super) fn among(
    hub: &Hub,
    followed: impl Iterator<Item = u32>,
    cursor: Seq,
    items: &[Item],
) -> EndsNotice {
    let followed: Channels = followed.collect();
    if hub.are_done(followed.iter().copied(), cursor) {
        return EndsNotice::All;
    }
    match items.iter().any(|item| matches!(item, Item::Gap(_))) {
        true => EndsNotice::of(hub.done_among(&followed, cursor).into_iter()),
        false => EndsNotice::of(ended_among(items)),
    }
}

/// The ends that the response to a poll reports that is answered at once. `known` are those of its
/// channels that exist; `cursor` is that of the batch, which holds `items` and may tell a gap.
#[inline]
pub(super) fn at_poll(
    hub: &Hub,
    known: &[u32],
    (names, since): (&Names<'_>, Since),
    cursor: Seq,
    (items, gap): (&[Item], bool),
) -> EndsNotice {
    let has_ended = |&channel: &u32| hub.channel(channel).has_ended();
    match known.iter().any(has_ended) {
        false => EndsNotice::Nothing,
        true => at_poll_of_ended(hub, known, (names, since), cursor, (items, gap)),
    }
}

#[cold]
fn at_poll_of_ended(
    hub: &Hub,
    known: &[u32],
    (names, since): (&Names<'_>, Since),
    cursor: Seq,
    (items, gap): (&[Item], bool),
) -> EndsNotice {
    if known.len() == names.len() && hub.are_done(known.iter().copied(), cursor) {
        return EndsNotice::All;
    }
    match since {
        // Earlier ends it was told before.
        Since::After(_) if !gap => EndsNotice::of(ended_among(items)),
        _ => EndsNotice::of(hub.done_among(known, cursor).into_iter()),
    }
}

/// Whether a reader that starts here is done with these channels.
pub(super) fn are_over(hub: &Hub, names: &Names<'_>, start: Start) -> bool {
    let known: Channels = known(hub, names).collect();
    known.len() == names.len() && hub.are_done(known.into_iter(), start.cursor)
}

/// The channels whose ends are among these items.
fn ended_among(items: &[Item]) -> impl Iterator<Item = u32> {
    items.iter().filter_map(|item| match *item {
        Item::End { channel, .. } => Some(channel),
        Item::Message { .. } | Item::Gap(_) => None,
    })
}
