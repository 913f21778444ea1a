//! Advice to clients on when to come back, so that they do not all come back at once.
//!
//! Owns how that time is computed.

use super::state::Delivery;
use crate::hub::Channels;

/// Audience below which all clients may come back at once: parking them again takes milliseconds.
const SPREAD_AUDIENCE: u32 = 1_000;

/// Clients that one thread can park again in a millisecond with most of its time to spare.
const RETURNS_PER_MS: u32 = 20;

/// Bounds of the advice for a poll that brings no message.
const RETRY_MS: std::ops::RangeInclusive<u64> = 500..=30_000;

/// Advice for a poll of channels that had fewer than two messages.
const UNKNOWN_INTERVAL_MS: u64 = 5_000;

/// Advice for a client that is ahead of this node of a cluster: the node catches up at once.
pub(super) const AHEAD_RETRY_MS: u32 = 100;

/// Advice for a client that is refused for load.
pub(in crate::engine) const REFUSED_RETRY_MS: std::ops::RangeInclusive<u32> = 2_000..=10_000;

/// The time over which an audience is asked to come back; `None` where it is small enough to come
/// back at once.
pub(super) fn spread_ms(audience: u32) -> Option<u32> {
    (audience >= SPREAD_AUDIENCE).then(|| audience.div_ceil(RETURNS_PER_MS))
}

/// When the client of a poll of these channels that brings no message should ask again: half of the
/// usual time between two messages, or of the time since the newest if that is longer; later under
/// load. It differs for each request.
pub(super) fn poll_retry_ms(delivery: &mut Delivery, channels: &[u32]) -> u32 {
    if delivery.drain.is_some() {
        return drain_retry_ms(delivery);
    }
    let now = delivery.now();
    let intervals = channels.iter().filter_map(|&channel| {
        let (mean_interval_ms, newest) = delivery.hub.channel(channel).publish_interval()?;
        Some(u64::from(mean_interval_ms).max(now.since_ms(newest)))
    });
    let base = intervals
        .min()
        .map_or(UNKNOWN_INTERVAL_MS, |interval| interval / 2);
    // Scale the interval by load: ×1 when idle, ×4 when saturated.
    let factor = 1_000 + 3 * u64::from(delivery.gauges.load_permille.min(1_000));
    let advised = (base * factor / 1_000).clamp(*RETRY_MS.start(), *RETRY_MS.end());
    delivery.random.u64(advised / 10 * 9..=advised / 10 * 11) as u32
}

/// When the client of a held poll whose response brings no message should ask again.
pub(super) fn held_retry_ms(delivery: &mut Delivery, index: u32) -> u32 {
    let reader = &delivery.connections[index].reader;
    let channels: Channels = delivery.hub.followed(reader).collect();
    poll_retry_ms(delivery, &channels)
}

/// When the client of a stream that breaks should come back.
pub(super) fn reconnect_ms(delivery: &mut Delivery) -> u32 {
    delivery.random.u32(1_000..=3_000)
}

/// When the client of a stream that is ended should come back.
pub(super) fn recycle_ms(delivery: &mut Delivery) -> u32 {
    match delivery.drain {
        Some(_) => drain_retry_ms(delivery),
        None => delivery.random.u32(50..=1_000),
    }
}

/// When a client released by a drain should come back: each at its own moment.
pub(super) fn drain_retry_ms(delivery: &mut Delivery) -> u32 {
    let window_ms = delivery.settings.drain_ms.clamp(1_000, 60_000) as u32;
    delivery.random.u32(100..=window_ms)
}

/// When the client of a stream that is rejected should come back.
pub(super) fn rejected_retry_ms(delivery: &mut Delivery) -> u32 {
    match delivery.drain {
        Some(_) => drain_retry_ms(delivery),
        None => delivery.random.u32(REFUSED_RETRY_MS),
    }
}
