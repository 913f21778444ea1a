//! The clock by which the ages of messages are counted.
//!
//! Owns the time that a node writes into its entries, and the age that an entry has when it is read.
//! Both follow the clock of the server that keeps the log, as it was when the node was connected,
//! and run on by the node's own clock that never steps. So the wall clocks of nodes need not agree.
//!
//! Invariants:
//! - *Publication times rise along the log.*
//! - *An entry read after an own beat is at most as old as that beat.*

use serde::{Deserialize, Serialize};

use crate::base::time::Time;

/// The clock of a node.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Clock {
    /// The time of the server, in milliseconds since 1970, at a time of this node.
    server: Option<(u64, Time)>,
    now: Time,
    /// The wall clock of this node, in milliseconds since 1970.
    unix_ms: u64,
    /// When the newest own beat that was read back was sent.
    heard: Option<Time>,
    /// The newest time of publication so far.
    published_ms: u64,
}

impl Clock {
    /// That of a node which goes on from a state at this time; `None` where it cannot be its clock.
    pub(super) fn checked(self, now: Time) -> Option<Clock> {
        let is_past = |at: Option<Time>| at.is_none_or(|at| at <= now);
        let is_valid =
            self.now <= now && is_past(self.heard) && is_past(self.server.map(|(_, at)| at));
        is_valid.then_some(self)
    }

    pub(super) fn tick(&mut self, now: Time, unix_ms: u64) {
        (self.now, self.unix_ms) = (now, unix_ms);
    }

    /// The server has told its time. If the node has one that was right at the start, a clock that
    /// was set since is no reason to follow it: that of the server and that of this node would have
    /// to be wrong by as much.
    pub(super) fn set(&mut self, server_ms: u64) {
        let known = self.server.map(|_| self.stamp_ms());
        let (low, high) = (server_ms.min(self.unix_ms), server_ms.max(self.unix_ms));
        let time_ms = known.map_or(server_ms, |known| known.clamp(low, high));
        self.server = Some((time_ms, self.now));
    }

    /// An own beat was read that was sent then.
    pub(super) fn heard(&mut self, sent: Option<Time>) {
        self.heard = self.heard.max(sent);
    }

    /// The time for an entry that is written now, in milliseconds since 1970.
    pub(super) fn stamp_ms(&self) -> u64 {
        self.server.map_or(self.unix_ms, |(time_ms, at)| {
            time_ms.saturating_add(self.now.since_ms(at))
        })
    }

    /// The age of an entry with this time, which is read now and is next in the log, in milliseconds.
    /// Of the clocks that may be wrong, the one counts by which it is younger.
    pub(super) fn age_ms(&mut self, stamp_ms: u64) -> u64 {
        let now_ms = self.stamp_ms().min(self.unix_ms);
        self.published_ms = self.published_ms.max(stamp_ms).min(now_ms);
        let age_ms = now_ms - self.published_ms;
        let most_ms = self.heard.map_or(u64::MAX, |sent| self.now.since_ms(sent));
        age_ms.min(most_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400_000;

    /// A node that was connected to a server whose clock is right, at 10 days.
    fn clock(unix_ms: u64) -> Clock {
        let mut clock = Clock::default();
        clock.tick(Time(5), unix_ms);
        clock.set(10 * DAY);
        clock
    }

    #[test]
    fn wall_clock_of_node_has_no_part_in_what_it_writes() {
        for unix_ms in [0, 9 * DAY, 10 * DAY, 11 * DAY] {
            let mut clock = clock(unix_ms);
            assert_eq!(clock.stamp_ms(), 10 * DAY);
            clock.tick(Time(1_005), unix_ms);
            assert_eq!(clock.stamp_ms(), 10 * DAY + 1_000);
        }
    }

    #[test]
    fn clock_that_is_wrong_makes_nothing_older() {
        for (unix_ms, stamp_ms, age_ms) in [
            (10 * DAY, 10 * DAY - 700, 700),
            (11 * DAY, 10 * DAY - 700, 700),
            (9 * DAY, 10 * DAY - 700, 0),
            (10 * DAY, 11 * DAY, 0),
        ] {
            assert_eq!(clock(unix_ms).age_ms(stamp_ms), age_ms, "{unix_ms}");
        }
    }

    #[test]
    fn age_does_not_rise_along_the_log() {
        let mut clock = clock(10 * DAY);
        for (stamp_ms, age_ms) in [(900, 900), (800, 800), (DAY, 800), (100, 100), (50, 50)] {
            assert_eq!(clock.age_ms(10 * DAY - stamp_ms), age_ms);
        }
    }

    #[test]
    fn what_comes_after_an_own_beat_is_younger_than_that() {
        let mut clock = clock(10 * DAY);
        clock.heard(Some(Time(2)));
        clock.heard(None);
        assert_eq!(clock.age_ms(0), 3);
        clock.tick(Time(1_002), 10 * DAY + 997);
        assert_eq!(clock.age_ms(0), 1_000);
    }

    #[test]
    fn clock_that_is_set_does_not_move_a_node_that_runs() {
        let mut clock = clock(10 * DAY);
        clock.set(12 * DAY);
        assert_eq!(clock.stamp_ms(), 10 * DAY);
        clock.tick(Time(5), 11 * DAY);
        clock.set(10 * DAY);
        assert_eq!(clock.stamp_ms(), 10 * DAY);
        // Both say that its own one is slow.
        clock.tick(Time(5), 10 * DAY + 90);
        clock.set(10 * DAY + 70);
        assert_eq!(clock.stamp_ms(), 10 * DAY + 70);
    }
}
