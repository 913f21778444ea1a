//! The beats of a node, which it must read back.
//!
//! Owns when one is due, and when the last one that came back was sent. A node whose beats do not
//! come back is deaf, whatever its connections say.

use std::collections::VecDeque;

use crate::base::time::Time;

/// Milliseconds between beats.
const BEAT_MS: u64 = 1_000;

/// After how many milliseconds without its beat a node makes its connections anew.
pub(super) const DEAF_MS: u64 = 5_000;

/// The most beats that are on their way.
const MAX_OUT: usize = 16;

/// The beats of a node.
#[derive(Debug)]
pub(super) struct Pulse {
    pub(super) due: Time,
    /// Nonces, and when they were sent.
    out: VecDeque<(u64, Time)>,
    /// When the newest beat that came back was sent.
    pub(super) heard: Option<Time>,
    pub(super) took_ms: u64,
}

impl Pulse {
    pub(super) fn new(now: Time) -> Pulse {
        Pulse {
            due: now,
            out: VecDeque::new(),
            heard: None,
            took_ms: 0,
        }
    }

    pub(super) fn sent(&mut self, nonce: u64, now: Time) {
        self.due = now.after_ms(BEAT_MS);
        // The first one is kept: it says for how long none came back.
        if self.out.len() < MAX_OUT {
            self.out.push_back((nonce, now));
        }
    }

    /// A beat of this node was read.
    pub(super) fn read(&mut self, nonce: u64, now: Time) {
        while let Some(&(out, sent)) = self.out.front()
            && out <= nonce
        {
            self.out.pop_front();
            if out == nonce {
                self.heard = self.heard.max(Some(sent));
                self.took_ms = now.since_ms(sent);
            }
        }
    }

    /// Whether a beat was sent so long ago that it will not come back.
    pub(super) fn is_deaf(&self, now: Time) -> bool {
        let oldest = self.out.front();
        oldest.is_some_and(|&(_, sent)| now.since_ms(sent) >= DEAF_MS)
    }

    /// The connection is broken, and its beats do not count.
    pub(super) fn broken(&mut self, now: Time) {
        self.out.clear();
        self.due = now;
    }
}
