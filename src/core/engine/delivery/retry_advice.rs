//! Advice to clients on when to come back, so that a herd does not come back at once.
//!
//! Owns every number of milliseconds that a client is told.

use crate::engine::Engine;

/// Audience below which all may come back at once: re-parking them takes a few milliseconds.
const SPREAD_AUDIENCE: u32 = 1_000;

/// Clients that one thread takes back in a millisecond with most of its time to spare.
const RETURNS_PER_MS: u32 = 20;

/// Advice for an idle poll: never asked more often, nor more seldom, than this.
const RETRY_MS: std::ops::RangeInclusive<u64> = 500..=30_000;

/// Advice for an idle poll of a channel that has not shown its rhythm yet.
const UNKNOWN_RHYTHM_MS: u64 = 5_000;

/// Advice for a client refused for load.
pub(in crate::engine) const REFUSED_RETRY_MS: std::ops::RangeInclusive<u32> = 2_000..=10_000;

/// The time over which an audience is asked to come back.
pub(in crate::engine) fn spread_ms(audience: u32) -> Option<u32> {
    (audience >= SPREAD_AUDIENCE).then(|| audience.div_ceil(RETURNS_PER_MS))
}

impl Engine {
    /// When an idle poll of these channels should ask again: half of the time that usually passes
    /// between two messages, or has passed since the last, whichever is longer; later under load.
    pub(in crate::engine) fn poll_retry_ms(&mut self, channels: &[u32]) -> u32 {
        if self.drain.is_some() {
            return self.drain_retry_ms();
        }
        let rhythms = channels.iter().filter_map(|&channel| {
            let (mean_ms, newest) = self.hub.channel(channel).rhythm()?;
            Some(u64::from(mean_ms).max(self.now.since_ms(newest)))
        });
        let base = rhythms.min().map_or(UNKNOWN_RHYTHM_MS, |rhythm| rhythm / 2);
        // An idle thread changes nothing; a saturated one makes everybody four times as patient.
        let patience = 1_000 + 3 * u64::from(self.outside.load_permille.min(1_000));
        let advised = (base * patience / 1_000).clamp(*RETRY_MS.start(), *RETRY_MS.end());
        self.random.u64(advised / 10 * 9..=advised / 10 * 11) as u32
    }

    /// When the client of a stream that breaks should come back.
    pub(in crate::engine) fn reconnect_ms(&mut self) -> u32 {
        self.random.u32(1_000..=3_000)
    }

    /// When the client of a stream that encke ends should come back.
    pub(in crate::engine) fn recycle_ms(&mut self) -> u32 {
        match self.drain {
            Some(_) => self.drain_retry_ms(),
            None => self.random.u32(50..=1_000),
        }
    }

    /// When a client released by a drain should come back: each at its own moment.
    pub(in crate::engine) fn drain_retry_ms(&mut self) -> u32 {
        let window_ms = self.settings.drain_ms.clamp(1_000, 60_000) as u32;
        self.random.u32(100..=window_ms)
    }

    /// When a client refused for load should come back.
    pub(in crate::engine) fn refused_retry_ms(&mut self) -> u32 {
        self.random.u32(REFUSED_RETRY_MS)
    }
}
