//! What a client is told for whom there is no connection to spare.
//!
//! Owns the one answer that is given without a connection: in the way of the endpoint asked for.

use super::Engine;
use super::heads::{Ending, Manner, Persistence};
use super::problem::Problem;
use super::route::{Receive, Route};
use crate::encode::sse;
use crate::http1::{self, Outcome, Scan};

impl Engine {
    /// The answer at the connection limit to a request whose head is in `bytes`; none where it
    /// is not whole.
    pub fn refusal(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut scan = Scan::default();
        let parsed = http1::parse(bytes, &mut scan, self.settings.max_head_bytes);
        let Ok(Outcome::Complete { head, .. }) = parsed else {
            return None;
        };
        self.stats.refused(503);
        let mut out = Vec::new();
        let manner = Manner {
            persistence: Persistence::Close,
            origin: head
                .origin
                .and_then(|origin| Some(self.heads.allowed(origin)?.1)),
            ..Manner::SHARED
        };
        if let Some(Route::Receive(Receive::Sse, _)) = Route::of(head.path) {
            // An EventSource that is refused by status gives up for ever.
            self.heads
                .stream(&mut out, &manner, "text/event-stream", Ending::Close);
            let retry_ms = self.random.u32(super::advice::REFUSED_RETRY_MS);
            sse::refusal(&mut out, retry_ms);
        } else {
            let problem = Problem::unavailable(
                "there are as many connections as allowed; try again shortly",
                self.random.u32(2..=10),
            );
            problem.write(&self.heads, &mut out, &manner);
        }
        Some(out)
    }
}
