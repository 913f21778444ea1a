//! Warnings for the operator: at most one log line per second for each cause.
//!
//! Owns the wording and the rate. It counts nothing: it compares counters with their values of a
//! second ago.

use encke_core::base::time::Time;
use encke_core::engine::{CloseReason, Engine};

use crate::inbox::Inbox;

/// How often counters are compared.
const INTERVAL_MS: u64 = 1_000;

/// A counter that is worth a warning when it grows, and the option that sets the limit.
struct Cause {
    text: &'static str,
    count: fn(&Engine, &Inbox) -> u64,
}

const CAUSES: [Cause; 8] = [
    Cause {
        text: "connections refused: a connection limit is reached (--max-connections, \
               --max-connections-per-address, the file limit)",
        count: |engine, _| engine.stats().refused.iter().sum(),
    },
    Cause {
        text: "publishes refused: message memory is full (--history-total-bytes)",
        count: |engine, _| engine.hub().counts().busy,
    },
    Cause {
        text: "requests refused: channel limit reached (--max-channels, or half of \
               --history-total-bytes)",
        count: |engine, _| engine.hub().counts().too_many_channels,
    },
    Cause {
        text: "requests refused: a channel has as many subscribers as allowed (max-subscribers of \
               its policy)",
        count: |engine, _| engine.hub().counts().too_many_subscribers,
    },
    Cause {
        text: "publishes refused: a message was too large for its channel (max-message-bytes of \
               its policy)",
        count: |engine, _| engine.hub().counts().messages_too_large,
    },
    Cause {
        text: "connections closed: no memory for input or for the rest of a response \
               (--max-buffer-bytes, --history-total-bytes)",
        count: |engine, _| engine.stats().ends(CloseReason::NoRoom),
    },
    Cause {
        text: "readers closed: they took no bytes for too long (--write-timeout)",
        count: |engine, _| engine.stats().ends(CloseReason::Stalled),
    },
    Cause {
        text: "messages of producers without key and receipt may be lost: the engine has not \
               answered within --engine-patience",
        count: |_, inbox| inbox.undecided(),
    },
];

/// The counters' values of a second ago.
#[derive(Default)]
pub(super) struct RateLimitedWarnings {
    seen: [u64; CAUSES.len()],
    due: Time,
}

impl RateLimitedWarnings {
    /// Warnings of what counters grow by from now on.
    pub(super) fn since(engine: &Engine, inbox: &Inbox) -> RateLimitedWarnings {
        RateLimitedWarnings {
            seen: CAUSES.map(|cause| (cause.count)(engine, inbox)),
            due: engine.now(),
        }
    }

    /// Logs the causes whose counters have grown, at most once a second.
    pub(super) fn log(&mut self, now: Time, engine: &Engine, inbox: &Inbox) {
        if now < self.due {
            return;
        }
        self.due = now.after_ms(INTERVAL_MS);
        for (seen, cause) in self.seen.iter_mut().zip(CAUSES) {
            let count = (cause.count)(engine, inbox);
            if count > *seen {
                log::warn!("{} {}", count - *seen, cause.text);
            }
            *seen = count;
        }
    }
}
