//! The messages that a lingering poll gathers after its first one.
//!
//! Owns what is added to its batch, and when the batch is full: the end of a channel fills it. How
//! it is answered is in `poll`.

use super::shapes;
use super::state::Delivery;
use crate::engine::connections::LingeredMessage;
use crate::hub::{Item, Take};

/// Adds items to the batch of a lingering poll. Returns false where the poll is to be answered now.
pub(super) fn gather(delivery: &mut Delivery, index: u32, items: &[Item], more: bool) -> bool {
    let now = delivery.now();
    let Take {
        messages: max_messages,
        bytes: max_bytes,
    } = delivery.settings.max_batch;
    let Delivery {
        connections,
        hub,
        drain,
        ..
    } = delivery;
    let conn = &mut connections[index];
    let Some(linger_ms) = conn.options().map(|options| options.linger_ms) else {
        return false;
    };
    if linger_ms == 0 || drain.is_some() {
        return false;
    }
    if !conn.has_lingered() {
        let until = now.after_ms(linger_ms).min(conn.ends_at(now));
        conn.set_ends_at(until);
        connections.arm(index, until);
    }
    let options = connections[index].options_mut();
    let batch = &mut options.lingered;
    let mut is_full = more;
    let mut has_end = false;
    for item in items {
        let Item::Message { key, .. } = *item else {
            has_end |= matches!(item, Item::End { .. });
            // fault: gathered-gap-is-lost
            batch.gap |= matches!(item, Item::Gap(_));
            batch.ends.push(*item);
            batch.cursor = item.seq();
            continue;
        };
        let message = hub.message(key);
        let (channel, bytes, audience) = (
            message.channel(),
            message.data().len(),
            message.subscribers(),
        );
        if hub.keeps_latest(channel) {
            // fault: gathered-though-replaced
            batch.drop_replaced(channel);
        }
        if batch.bytes + bytes > max_bytes && !batch.messages.is_empty() {
            is_full = true;
            break;
        }
        batch.push(LingeredMessage {
            channel,
            bytes,
            object: shapes::object(hub, key),
        });
        batch.cursor = item.seq();
        batch.audience = batch.audience.max(audience);
    }
    batch.more = is_full;
    let limit = options.limit.min(max_messages);
    if is_full || has_end || batch.messages.len() >= limit || batch.bytes >= max_bytes {
        return false;
    }
    let (has_gap, cursor) = (batch.gap, batch.cursor);
    let reader = &mut connections[index].reader;
    // The gap may stand for the ends of its channels, which are evicted like messages.
    if has_gap && hub.are_done(hub.followed(reader), cursor) {
        return false;
    }
    reader.cursor = cursor;
    true
}
