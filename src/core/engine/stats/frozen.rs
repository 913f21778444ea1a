//! Counters in a state that is handed over: they go on.
//!
//! Owns their forms.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use super::{CloseReason, ConnectionLimit, Endpoint, Reloads, Requests, Stats};
use crate::base::histogram::FrozenHistogram;
use crate::frozen::{Count, Freezer, ThawError, Thawer};
use crate::http1::status;
use crate::hub::DURATIONS_MS;

#[derive(Serialize, Deserialize)]
struct FrozenStats {
    accepted: Count,
    refused: [Count; ConnectionLimit::ALL.len()],
    requests: Vec<FrozenRequests>,
    delivered: Count,
    gaps: Count,
    late_answers: Count,
    lines: Count,
    completed: Count,
    holds_expired: Count,
    expired: Count,
    blocked: Count,
    recycled: Count,
    reloads: Count,
    failed_reloads: Count,
    has_last_reload_failed: bool,
    hold_ms: FrozenHistogram,
    delay_ms: FrozenHistogram,
    ended: [Count; CloseReason::ALL.len()],
}

/// The requests to one endpoint, by its number, that were answered with one status.
#[derive(Serialize, Deserialize)]
struct FrozenRequests {
    endpoint: u8,
    status: u16,
    count: Count,
}

/// Writes the counters.
pub(in crate::engine) fn freeze<W: Write>(stats: &Stats, state: &mut Freezer<W>) -> io::Result<()> {
    let requests = stats.requests.iter();
    let requests = requests.map(|(endpoint, status, count)| FrozenRequests {
        endpoint: endpoint.number() as u8,
        status,
        count: Count(count),
    });
    // fault: counters-begin-again
    state.put(&FrozenStats {
        accepted: Count(stats.accepted),
        refused: stats.refused.map(Count),
        requests: requests.collect(),
        delivered: Count(stats.delivered),
        gaps: Count(stats.gaps),
        late_answers: Count(stats.late_answers),
        lines: Count(stats.lines),
        completed: Count(stats.completed),
        holds_expired: Count(stats.holds_expired),
        expired: Count(stats.expired),
        blocked: Count(stats.blocked),
        recycled: Count(stats.recycled),
        reloads: Count(stats.reloads.done),
        failed_reloads: Count(stats.reloads.failed),
        has_last_reload_failed: stats.reloads.last_failed,
        hold_ms: stats.hold_ms.freeze(),
        delay_ms: stats.delay_ms.freeze(),
        ended: stats.ended.map(Count),
    })
}

/// Reads what [`freeze`] wrote.
pub(in crate::engine) fn thaw<R: Read>(state: &mut Thawer<R>) -> Result<Stats, ThawError> {
    const DAMAGED: ThawError = ThawError::Damaged("a counter is of nothing that is counted");
    let frozen: FrozenStats = state.take()?;
    let mut requests = Requests::default();
    for FrozenRequests {
        endpoint,
        status,
        count,
    } in frozen.requests
    {
        let counts = requests.0.get_mut(usize::from(endpoint));
        let counts = counts.ok_or(DAMAGED)?;
        counts[status::index(status).ok_or(DAMAGED)?] = count.0;
    }
    let histogram = |frozen: FrozenHistogram| frozen.thaw(DURATIONS_MS).ok_or(DAMAGED);
    Ok(Stats {
        accepted: frozen.accepted.0,
        refused: frozen.refused.map(|count| count.0),
        requests,
        delivered: frozen.delivered.0,
        gaps: frozen.gaps.0,
        late_answers: frozen.late_answers.0,
        lines: frozen.lines.0,
        completed: frozen.completed.0,
        holds_expired: frozen.holds_expired.0,
        expired: frozen.expired.0,
        blocked: frozen.blocked.0,
        recycled: frozen.recycled.0,
        reloads: Reloads {
            done: frozen.reloads.0,
            failed: frozen.failed_reloads.0,
            last_failed: frozen.has_last_reload_failed,
        },
        hold_ms: histogram(frozen.hold_ms)?,
        delay_ms: histogram(frozen.delay_ms)?,
        ended: frozen.ended.map(|count| count.0),
    })
}

const _: () = assert!(Endpoint::COUNT <= 1 << u8::BITS);
