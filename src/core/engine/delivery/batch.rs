//! The batch that answers a poll: its members beside the messages, and how it is written.
//!
//! Owns which cursor, gap and advice belong to given items. It does not decide when a poll is
//! answered.

use std::sync::Arc;

use super::ends::EndsNotice;
use super::retry_advice::spread_ms;
use super::shapes;
use super::state::Delivery;
use crate::base::meter::SharedBytes;
use crate::encode::{Ends, Envelope};
use crate::engine::response::{ResponseContext, ResponsePart};
use crate::hub::Item;
use crate::message::Seq;
use crate::transport::Transport;

/// The members of a batch beside its messages.
#[derive(Clone, Debug, Default)]
pub(super) struct Batch {
    pub(super) cursor: Seq,
    pub(super) more: bool,
    pub(super) gap: bool,
    pub(super) ends: EndsNotice,
    pub(super) retry_ms: Option<u32>,
    pub(super) spread_ms: Option<u32>,
}

/// The batch of these items.
pub(super) fn batch_of(delivery: &Delivery, index: u32, items: &[Item], more: bool) -> Batch {
    let audiences = items.iter().map(|item| match *item {
        Item::Message { key, .. } => delivery.hub.message(key).subscribers(),
        Item::Gap(_) | Item::End { .. } => 0,
    });
    Batch {
        cursor: match items.last() {
            Some(last) => last.seq(),
            None => empty_cursor(delivery, index),
        },
        more,
        gap: has_gap(items),
        ends: EndsNotice::Nothing,
        retry_ms: None,
        spread_ms: spread_ms(audiences.max().unwrap_or(0)),
    }
}

/// The cursor of a response without items. Nothing is pending, unless the right to receive it has
/// ended: then the cursor is before that.
pub(super) fn empty_cursor(delivery: &Delivery, index: u32) -> Seq {
    let conn = &delivery.connections[index];
    match conn.has_expired(delivery.now()) && delivery.hub.has_pending(&conn.reader) {
        true => conn.reader.cursor,
        // Only a reader from another node of a cluster is after the head.
        false => delivery.hub.head().max(conn.reader.cursor),
    }
}

/// Writes a batch with the messages among these items. It counts no delivery, as the bytes may be
/// shared.
pub(super) fn write_items(
    delivery: &mut Delivery,
    index: u32,
    context: &ResponseContext<'_>,
    batch: &Batch,
    items: &[Item],
    part: ResponsePart,
) {
    let mut objects = std::mem::take(&mut delivery.frames);
    objects.clear();
    for item in items {
        if let Item::Message { key, .. } = *item {
            objects.push(shapes::object(&mut delivery.hub, key));
        }
    }
    write_objects(delivery, index, context, batch, objects.iter(), part);
    objects.clear();
    delivery.frames = objects;
}

pub(super) fn write_objects<'o>(
    delivery: &mut Delivery,
    index: u32,
    context: &ResponseContext<'_>,
    batch: &Batch,
    objects: impl Iterator<Item = &'o Arc<SharedBytes>>,
    part: ResponsePart,
) {
    let framing = delivery.framing(index, Transport::LongPoll);
    let Delivery {
        connections,
        hub,
        response,
        ..
    } = delivery;
    let ended: Vec<&str>;
    let envelope = Envelope {
        cursor: hub.id(batch.cursor),
        more: batch.more,
        gap: batch.gap,
        ends: match &batch.ends {
            EndsNotice::Nothing => Ends::None,
            EndsNotice::All => Ends::All,
            EndsNotice::Of(channels) => {
                let names = channels.iter().map(|&channel| hub.channel(channel).name());
                ended = names.collect();
                Ends::Of(&ended)
            }
        },
        retry_ms: batch.retry_ms,
        spread_ms: batch.spread_ms,
    };
    let objects = objects.map(|object| object.bytes());
    connections.stats.completed += u64::from(batch.ends.is_all());
    response.batch(context, &envelope, objects, part, framing);
}

/// Whether a loss is among the items.
pub(super) fn has_gap(items: &[Item]) -> bool {
    items.iter().any(|item| matches!(item, Item::Gap(_)))
}

/// How many of the items are messages.
pub(super) fn message_count(items: &[Item]) -> usize {
    let is_message = |item: &&Item| matches!(item, Item::Message { .. });
    items.iter().filter(is_message).count()
}
