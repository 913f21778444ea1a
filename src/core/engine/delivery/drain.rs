//! Draining: everyone parked is released at a moment of their own, and told when to come back.
//!
//! Owns the phases of a drain. A release is an ordinary deadline: what it does is decided where
//! every deadline is.

use crate::base::time::Time;
use crate::engine::Engine;
use crate::engine::connections::conn::State;

/// How long the last to be released have to take their answers.
const LAST_WORDS_MS: u64 = 500;

/// A drain that has begun.
pub(in crate::engine) struct Drain {
    /// When new connections are no longer accepted and the release begins.
    closes_at: Time,
    /// When whoever is left is let go; later where releasing takes longer.
    ends_at: Time,
    /// The next place in the table of connections to be given a moment of release.
    next: Option<u32>,
}

impl Drain {
    /// Whether moments of release are still being given out.
    pub(in crate::engine) fn is_releasing(&self) -> bool {
        self.next.is_some_and(|next| next > 0)
    }

    pub(in crate::engine) fn next_due(&self, now: Time) -> Option<Time> {
        let due = [self.closes_at, self.ends_at.after_ms(LAST_WORDS_MS)];
        due.into_iter().find(|&at| at > now)
    }
}

impl Engine {
    /// Begins to drain: readiness is refused, publishes are refused, answers close.
    pub fn begin_drain(&mut self) {
        if self.drain.is_none() {
            let closes_at = self.now.after_ms(self.settings.drain_delay_ms);
            self.drain = Some(Drain {
                closes_at,
                ends_at: closes_at.after_ms(self.settings.drain_ms),
                next: None,
            });
        }
    }

    /// Whether a drain has begun.
    pub fn is_draining(&self) -> bool {
        self.drain.is_some()
    }

    /// Whether new connections are accepted.
    pub fn is_accepting(&self) -> bool {
        self.drain
            .as_ref()
            .is_none_or(|drain| self.now < drain.closes_at)
    }

    /// Whether a drain is over: nobody is left, or the time is up.
    pub fn is_drained(&self) -> bool {
        self.drain.as_ref().is_some_and(|drain| {
            let is_closed = self.now >= drain.closes_at;
            is_closed
                && (self.conns.is_empty() || self.now >= drain.ends_at.after_ms(LAST_WORDS_MS))
        })
    }

    /// Gives connections their moments of release, at most `budget` of them.
    pub fn release_drained(&mut self, budget: usize) {
        let Some(drain) = &mut self.drain else { return };
        if self.now < drain.closes_at {
            return;
        }
        if self.now >= drain.ends_at && self.wheel.has_due(self.now.0) {
            // Those whose moment has come are still being released: none is cut off for that.
            drain.ends_at = self.now;
        }
        let window_ms = drain.ends_at.since_ms(self.now);
        let places = self.conns.capacity() as u32;
        let from = drain.next.unwrap_or(0);
        if drain.next.is_some() && from == 0 {
            return;
        }
        let to = places.min(from + budget as u32);
        for index in from..to {
            if self.conns.contains(index as usize) {
                let at = self.now.after_ms(self.random.u64(0..=window_ms));
                self.release_at(index, at);
            }
        }
        if let Some(drain) = &mut self.drain {
            drain.next = Some(if to == places { 0 } else { to });
        }
    }

    fn release_at(&mut self, index: u32, at: Time) {
        let now = self.now;
        let conn = self.conn(index);
        if conn.is_parked() {
            let at = at.min(conn.ends_at(now));
            conn.set_ends_at(at);
            if !conn.is_blocked() {
                // A heartbeat that is due before is not put off.
                let due = self.wheel.deadline_ms(index).map_or(at, Time);
                self.arm(index, at.min(due));
            }
        } else if matches!(conn.state(), State::Idle | State::Head) && !conn.has_input() {
            // Nothing is under way, and nothing will be.
            if !conn.is_blocked() {
                self.arm(index, now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::Config;
    use crate::engine::Access;
    use crate::engine::connections::wire::Sink;

    /// More than can be released in the time that is given to the last of them.
    #[test]
    fn nobody_is_left_without_an_answer_for_want_of_time() {
        const CLIENTS: usize = 500;
        let config = Config {
            drain: Duration::ZERO,
            max_channels: 10,
            ..Config::default()
        };
        let mut engine = Engine::new(&config, CLIENTS, 1);
        let mut sink = Sink::default();
        let mut now = Time(1_000);
        engine.set_now(now, 0);
        for _ in 0..CLIENTS {
            let id = engine.accept(Access::Trusted).unwrap();
            engine.input(
                id,
                b"GET /long-poll/x HTTP/1.1\r\nHost: x\r\n\r\n",
                &mut sink,
            );
        }
        assert_eq!(sink.answers(), 0);
        engine.begin_drain();
        for _ in 0..10 * CLIENTS {
            if engine.is_drained() {
                break;
            }
            engine.expire(10, &mut sink);
            engine.release_drained(CLIENTS);
            while engine.next_close().is_some() {}
            now = now.after_ms(50);
            engine.set_now(now, 0);
        }
        assert!(engine.is_drained());
        assert_eq!(sink.answers(), CLIENTS);
    }
}
