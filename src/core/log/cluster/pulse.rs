//! The beats of a node, which it must read back.
//!
//! Owns when a beat is due, and when the last one that was read back was sent. A node that does not
//! read its beats back counts as cut off from the log, even if its connections seem to work. The
//! exception is a node that is still reading older entries, over a slow connection for example: it has a
//! minute.

use std::collections::VecDeque;

use crate::base::histogram::Histogram;
use crate::base::time::Time;
use crate::message::EntryId;

/// Milliseconds between beats.
const BEAT_MS: u64 = 1_000;

/// After how many milliseconds without its beat a node makes its connections anew.
const DEAF_MS: u64 = 5_000;

/// How often that time is doubled at most: an entry can be so large that it needs longer.
const MAX_DOUBLINGS: u32 = 3;

/// After how many milliseconds without its beat the connections are made anew even if entries come:
/// they may be those of another server than the one that has the beats.
const DEAF_READING_MS: u64 = 60_000;

/// The most beats that are on their way.
const MAX_OUT: usize = 16;

/// The bounds of the buckets for the time that beats take, in milliseconds: from that of a server
/// beside the node to that after which the connections are made anew for certain.
pub(super) const DURATIONS_MS: &[u64] = &[
    1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 60_000,
];

/// The beats of a node.
#[derive(Debug)]
pub(super) struct Pulse {
    pub(super) due: Time,
    /// Nonces, and when they were sent.
    out: VecDeque<(u64, Time)>,
    /// When the newest beat that came back was sent.
    pub(super) heard: Option<Time>,
    /// Its id.
    pub(super) heard_at: EntryId,
    /// The time that beats took, there and back, in milliseconds.
    pub(super) took_ms: Histogram,
    /// When an entry from before the beats was read last.
    progressed: Time,
    /// Whether an entry was read since the connections were made anew for deafness.
    has_read: bool,
    doublings: u32,
}

impl Pulse {
    pub(super) fn new(now: Time) -> Pulse {
        Pulse {
            due: now,
            out: VecDeque::new(),
            heard: None,
            heard_at: EntryId::ZERO,
            took_ms: Histogram::new(DURATIONS_MS),
            progressed: now,
            has_read: true,
            doublings: 0,
        }
    }

    /// After how many milliseconds of silence the connections are made anew.
    pub(super) fn deaf_ms(&self) -> u64 {
        DEAF_MS << self.doublings
    }

    /// An entry was read. `is_behind` says that the log is known to have more.
    pub(super) fn progressed(&mut self, is_behind: bool, now: Time) {
        self.has_read = true;
        self.doublings = 0;
        if is_behind {
            self.progressed = now;
        }
    }

    /// The connections are made anew for deafness. If the last ones brought nothing, the next ones
    /// have more time.
    pub(super) fn resets(&mut self) {
        if !std::mem::replace(&mut self.has_read, false) {
            self.doublings = MAX_DOUBLINGS.min(self.doublings + 1);
        }
    }

    pub(super) fn sent(&mut self, nonce: u64, now: Time) {
        self.due = now.after_ms(BEAT_MS);
        // The first one is kept: it says for how long none came back.
        if self.out.len() < MAX_OUT {
            self.out.push_back((nonce, now));
        }
    }

    /// A beat of this node was read, with this id.
    pub(super) fn read(&mut self, nonce: u64, id: EntryId, now: Time) {
        while let Some(&(out, sent)) = self.out.front()
            && out <= nonce
        {
            self.out.pop_front();
            if out == nonce {
                self.heard = self.heard.max(Some(sent));
                self.heard_at = id;
                self.took_ms.record(now.since_ms(sent));
            }
        }
    }

    /// Whether a beat was sent so long ago that it will not come back.
    pub(super) fn is_deaf(&self, now: Time) -> bool {
        self.out.front().is_some_and(|&(_, sent)| {
            let silent_ms = now.since_ms(sent.max(self.progressed));
            silent_ms >= self.deaf_ms() || now.since_ms(sent) >= DEAF_READING_MS
        })
    }

    /// The connection is broken, and its beats do not count.
    pub(super) fn broken(&mut self, now: Time) {
        self.out.clear();
        self.due = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_from_before_the_beats_give_them_time_but_not_for_ever() {
        let mut pulse = Pulse::new(Time(0));
        pulse.sent(1, Time(0));
        assert!(!pulse.is_deaf(Time(4_999)) && pulse.is_deaf(Time(5_000)));
        pulse.progressed(false, Time(4_000));
        assert!(pulse.is_deaf(Time(5_000)), "entries of others are no beat");
        for second in (4..60).step_by(4) {
            pulse.progressed(true, Time(second * 1_000));
            assert!(!pulse.is_deaf(Time((second + 4) * 1_000 - 1)), "{second}");
        }
        assert!(pulse.is_deaf(Time(60_000)));
    }

    #[test]
    fn useless_resets_become_rarer() {
        let mut pulse = Pulse::new(Time(0));
        let mut after_ms = Vec::new();
        for _ in 0..6 {
            after_ms.push(pulse.deaf_ms());
            pulse.resets();
        }
        assert_eq!(after_ms, [5_000, 5_000, 10_000, 20_000, 40_000, 40_000]);
        pulse.progressed(true, Time(1));
        assert_eq!(pulse.deaf_ms(), 5_000);
    }
}
