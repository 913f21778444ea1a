//! What a client is told for whom there is no connection to spare.
//!
//! Owns the one answer that is given without a connection: in the way of the endpoint asked for.

use crate::encode::sse;
use crate::engine::Engine;
use crate::engine::requests::params::callback_of;
use crate::engine::requests::route::{Endpoint, Receive, Route};
use crate::engine::response::heads::{Ending, Manner, Persistence};
use crate::engine::response::problem::Problem;
use crate::http1::{self, Method, Outcome, Scan};

/// Whose connections are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crowd {
    /// The server's.
    Server,
    /// Those of the client's address.
    Address,
    /// The process's descriptors, of which none was left.
    Descriptors,
}

impl Crowd {
    /// All of them, in the order of their numbers.
    pub const ALL: [Crowd; 3] = [Crowd::Server, Crowd::Address, Crowd::Descriptors];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Crowd::Server => "server",
            Crowd::Address => "address",
            Crowd::Descriptors => "descriptors",
        }
    }
}

impl Engine {
    /// Counts a connection for which there was no place.
    pub fn count_refused(&mut self, crowd: Crowd) {
        self.stats.turned_away[crowd as usize] += 1;
    }

    /// The answer to a request whose head is in `bytes` where there is no connection for it; none
    /// where the head is not whole.
    pub fn refusal(&mut self, bytes: &[u8], crowd: Crowd) -> Option<Vec<u8>> {
        self.count_refused(crowd);
        let mut scan = Scan::default();
        let parsed = http1::parse(bytes, &mut scan, self.settings.max_head_bytes);
        let Ok(Outcome::Complete { head, .. }) = parsed else {
            return None;
        };
        let route = Route::of(head.path);
        let is_read = matches!(head.method, Method::Get | Method::Head);
        let callback = callback_of(&head).filter(|_| route.is_some_and(|r| r.takes_callback()));
        let mut out = Vec::new();
        let manner = Manner {
            persistence: Persistence::Close,
            head_only: head.method == Method::Head,
            origin: head
                .origin
                .and_then(|origin| self.heads.origin(self.heads.echoed(origin)?)),
            callback: callback.as_deref(),
        };
        if let Some(Route::Receive(Receive::Sse, _)) = route.filter(|_| is_read) {
            // An EventSource that is refused by status gives up for ever.
            self.heads
                .stream(&mut out, &manner, "text/event-stream", Ending::Close);
            let retry_ms = self
                .random
                .u32(crate::engine::delivery::retry_advice::REFUSED_RETRY_MS);
            if !manner.head_only {
                sse::refusal(&mut out, retry_ms);
            }
        } else {
            let (status, detail) = match crowd {
                Crowd::Server | Crowd::Descriptors => {
                    (503, "there are as many connections as allowed")
                }
                Crowd::Address => (429, "your address has as many connections as allowed"),
            };
            let retry_s = self.random.u32(2..=10).to_string();
            let problem = Problem::new(status, detail).with("Retry-After", retry_s);
            self.stats.requests.count(Endpoint::Other, status);
            problem.write(&self.heads, &mut out, &manner);
        }
        Some(out)
    }
}
