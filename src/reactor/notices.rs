//! What an operator should know and no client will say: one log line a second for each cause.
//!
//! Owns the wording and the rate. It counts nothing: it compares counters with what they were a
//! second ago.

use encke_core::base::time::Time;
use encke_core::engine::{CloseReason, Engine};

/// How often counters are compared.
const INTERVAL_MS: u64 = 1_000;

/// What is worth a line, and the option that it may call for.
struct Cause {
    text: &'static str,
    count: fn(&Engine) -> u64,
}

const CAUSES: [Cause; 5] = [
    Cause {
        text: "connections refused: as many as allowed (--max-connections, the file limit)",
        count: |engine| engine.stats().refused.iter().sum(),
    },
    Cause {
        text: "publishes refused: the memory for messages is spent (--history-total-bytes)",
        count: |engine| engine.hub().counts().busy,
    },
    Cause {
        text: "uses refused: as many channels as allowed (--max-channels)",
        count: |engine| engine.hub().counts().too_many_channels,
    },
    Cause {
        text: "connections ended: the memory for requests and answers is spent (--max-buffer-bytes)",
        count: |engine| engine.stats().ends(CloseReason::NoRoom),
    },
    Cause {
        text: "readers closed: they took nothing for too long (--write-timeout)",
        count: |engine| engine.stats().ends(CloseReason::Stalled),
    },
];

/// The counters as they were.
#[derive(Default)]
pub(super) struct Notices {
    seen: [u64; CAUSES.len()],
    due: Time,
}

impl Notices {
    /// Says what has happened since the last look, at most once a second.
    pub(super) fn look(&mut self, now: Time, engine: &Engine) {
        if now < self.due {
            return;
        }
        self.due = now.after_ms(INTERVAL_MS);
        for (seen, cause) in self.seen.iter_mut().zip(CAUSES) {
            let count = (cause.count)(engine);
            if count > *seen {
                log::warn!("{} {}", count - *seen, cause.text);
            }
            *seen = count;
        }
    }
}
