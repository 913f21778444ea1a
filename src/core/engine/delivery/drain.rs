//! Draining: parked connections are released one by one, each with a time to reconnect.
//!
//! Owns the phases of a drain. A release is an ordinary deadline: what happens then is decided in
//! `deadlines`.

mod frozen;

pub(super) use frozen::{FrozenDrain, thaw};

use crate::base::time::Time;
use crate::engine::connections::{Connections, State};

/// How long the last connections to be released have to read their responses: the last part of
/// `--drain`.
const LAST_RESPONSES_MS: u64 = 500;

/// How far the release has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Release {
    /// New connections are still accepted.
    NotBegun,
    /// Connections from this index on are yet to be scheduled.
    From(u32),
    /// Every connection has its moment.
    Scheduled,
}

/// A drain that is under way.
pub(in crate::engine) struct Drain {
    /// When new connections are no longer accepted and the release begins.
    closes_at: Time,
    /// When the last connection is released; later where releasing takes longer.
    ends_at: Time,
    release: Release,
}

impl Drain {
    /// A drain that releases connections, and is over, within `drain_ms` after `closes_at`.
    pub(super) fn new(closes_at: Time, drain_ms: u64) -> Drain {
        Drain {
            closes_at,
            ends_at: closes_at.after_ms(drain_ms.saturating_sub(LAST_RESPONSES_MS)),
            release: Release::NotBegun,
        }
    }

    /// Whether connections are still being scheduled.
    pub(in crate::engine) fn is_scheduling(&self) -> bool {
        matches!(self.release, Release::From(_))
    }

    /// Whether new connections are accepted.
    pub(in crate::engine) fn is_accepting(&self, now: Time) -> bool {
        now < self.closes_at
    }

    /// Whether the drain is over: no connection is left, or the time is up.
    pub(in crate::engine) fn is_over(&self, connections: &Connections) -> bool {
        let now = connections.now();
        let time_is_up = now >= self.ends_at.after_ms(LAST_RESPONSES_MS);
        !self.is_accepting(now) && (connections.len() == 0 || time_is_up)
    }

    /// When the next phase begins.
    pub(in crate::engine) fn next_due(&self, now: Time) -> Option<Time> {
        let due = [self.closes_at, self.ends_at.after_ms(LAST_RESPONSES_MS)];
        due.into_iter().find(|&at| at > now)
    }

    /// Gives connections their moments of release, at most `budget` of them.
    pub(super) fn release(
        &mut self,
        connections: &mut Connections,
        random: &mut fastrand::Rng,
        budget: usize,
    ) {
        let now = connections.now();
        if self.is_accepting(now) {
            return;
        }
        if now >= self.ends_at && connections.has_due() {
            // Deadlines of connections have passed that are not released yet: wait for them.
            self.ends_at = now;
        }
        let from = match self.release {
            Release::NotBegun => 0,
            Release::From(index) => index,
            Release::Scheduled => return,
        };
        let window_ms = self.ends_at.since_ms(now);
        let to = connections.capacity().min(from + budget as u32);
        // fault: drain-off-by-one
        for index in from..to {
            if connections.contains(index) {
                let at = now.after_ms(random.u64(0..=window_ms));
                schedule_release(connections, index, at);
            }
        }
        self.release = match to == connections.capacity() {
            true => Release::Scheduled,
            false => Release::From(to),
        };
    }
}

fn schedule_release(connections: &mut Connections, index: u32, at: Time) {
    let now = connections.now();
    let conn = &mut connections[index];
    if conn.is_parked() {
        let at = at.min(conn.ends_at(now));
        conn.set_ends_at(at);
        if !conn.is_blocked() {
            // A heartbeat that is due earlier is still sent.
            let due = connections.deadline(index).unwrap_or(at);
            connections.arm(index, at.min(due));
        }
    } else if conn.line_upload().is_some() {
        // It is refused then, unless a line is before.
        connections.arm(index, at);
    } else if matches!(conn.state(), State::Idle | State::Head)
        && !conn.has_input()
        && !conn.is_blocked()
    {
        // No request is under way, and none will be served.
        connections.arm(index, now);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::Config;
    use crate::engine::connections::Sink;
    use crate::engine::{Access, Engine};

    /// Supervisors such as `docker stop` kill after 10 s.
    #[test]
    fn drain_is_over_within_its_time_answers_included() {
        const CLIENTS: usize = 1_000;
        const DRAIN_MS: u64 = 8_000;
        let config = Config {
            max_channels: 10,
            ..Config::default()
        };
        assert_eq!(config.drain, Duration::from_millis(DRAIN_MS));
        let mut engine = Engine::new(&config, CLIENTS, 1);
        let mut sink = Sink::default();
        let start = Time(1_000);
        engine.set_now(start, 0);
        for _ in 0..CLIENTS {
            let id = engine.accept(Access::Trusted).unwrap();
            let request = b"GET /long-poll/x?hold=60 HTTP/1.1\r\nHost: x\r\n\r\n";
            engine.input(id, request, &mut sink);
        }
        engine.begin_drain();
        engine.release_drained(CLIENTS);
        let mut last_answer = start;
        for ms in (0..=DRAIN_MS).step_by(50) {
            engine.set_now(start.after_ms(ms), 0);
            let before = sink.answers();
            engine.serve_deadlines(CLIENTS, &mut sink);
            if sink.answers() > before {
                last_answer = start.after_ms(ms);
            }
        }
        assert_eq!(sink.answers(), CLIENTS);
        assert!(last_answer <= start.after_ms(DRAIN_MS - LAST_RESPONSES_MS));
        // Also where the connections are still open, as their clients take nothing.
        assert!(engine.is_drained() && engine.connection_count() > 0);
    }

    /// More connections than can be released in the time that the last of them has.
    #[test]
    fn every_held_poll_is_answered_though_releasing_takes_longer() {
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
            engine.serve_deadlines(10, &mut sink);
            engine.release_drained(CLIENTS);
            while engine.next_close().is_some() {}
            now = now.after_ms(50);
            engine.set_now(now, 0);
        }
        assert!(engine.is_drained());
        assert_eq!(sink.answers(), CLIENTS);
    }
}
