//! How long publishes wait for others, to share an entry of the log with them.
//!
//! Owns this decision. An entry costs the engine and each node about the same whether it has one
//! message or twenty. What is published while the entry before has no reply shares one anyway. At
//! some thousand publishes a second those are few, as the reply comes at once; so then the next
//! entry waits until [`INTERVAL`] after the last one, if several times as many messages are likely
//! to be there by then. At lower rates nothing waits, and at higher ones entries are large anyway.
//!
//! At such rates it also waits as long as each turn of the reactor brings more: what comes in a burst
//! shares an entry.
//!
//! Publishers that send the next message when the last one is answered gain nothing by a wait: their
//! messages come at its beginning, and none later. After a wait in vain the next entries do not wait: one,
//! then two, then four, until a wait was of use.

use std::time::{Duration, Instant};

/// The shortest time between two entries of which the later one waited.
const INTERVAL: Duration = Duration::from_millis(1);

/// An entry waits if it is likely to have this many times the messages at the end.
const GAIN: f64 = 4.0;

/// So many messages wait for no more: in a larger entry each would cost little less.
const ENOUGH: u64 = 32;

/// Messages in the time of an [`INTERVAL`] from which on bursts are waited for.
const BUSY: f64 = 2.0;

/// An entry that waited in vain has less than this part of what was expected.
const LEAST: f64 = 0.5;

/// The weight of the last entry in the rate.
const WEIGHT: f64 = 0.25;

/// The most entries in a row that do not wait after one that waited in vain.
const MAX_SKIPS: u32 = 1 << 10;

/// What is known of the rate of publishes.
#[derive(Debug)]
pub(super) struct Gathering {
    /// When the last entry was sent.
    sent: Option<Instant>,
    /// Messages in the time of an [`INTERVAL`], recently.
    rate: f64,
    wait: Option<Wait>,
    burst: Option<Burst>,
    /// Entries that do not wait.
    skips: u32,
    /// How many entries do not wait after the next one that waits in vain.
    next_skips: u32,
}

/// A wait under way.
#[derive(Clone, Copy, Debug)]
struct Wait {
    /// Messages that come before this moment do not prove the wait useful.
    half: Instant,
    until: Instant,
    /// How many messages are expected at the end.
    expected: f64,
    /// How many were there before half of it had passed.
    early: u64,
    /// The wait has ended; the entry may still be unsent.
    is_over: bool,
}

/// Messages that are coming.
#[derive(Clone, Copy, Debug)]
struct Burst {
    /// How many are there.
    messages: u64,
    began: Instant,
    /// When it was looked at last, and more had come.
    grew: Option<Instant>,
}

impl Gathering {
    pub(super) fn new() -> Gathering {
        Gathering {
            sent: None,
            rate: 0.0,
            wait: None,
            burst: None,
            skips: 0,
            next_skips: 1,
        }
    }

    /// Whether the messages that are there, which could be sent now, wait for more.
    pub(super) fn waits(&mut self, now: Instant, messages: u64) -> bool {
        if messages == 0 {
            (self.wait, self.burst) = (None, None);
            return false;
        }
        if messages >= ENOUGH {
            self.burst = None;
            if let Some(wait) = &mut self.wait {
                wait.is_over = true;
            }
            return false;
        }
        // Both note how many there are.
        let is_coming = self.is_coming(now, messages);
        self.is_expecting(now, messages) || is_coming
    }

    /// Whether more have come since the last turn.
    fn is_coming(&mut self, now: Instant, messages: u64) -> bool {
        let (before, began) = match self.burst {
            Some(burst) => (burst.messages, burst.began),
            None => (0, now),
        };
        let grows = messages > before && self.rate >= BUSY && now < began + INTERVAL;
        self.burst = Some(Burst {
            messages,
            began,
            grew: grows.then_some(now),
        });
        grows
    }

    /// Whether many more are likely to come.
    fn is_expecting(&mut self, now: Instant, messages: u64) -> bool {
        if let Some(wait) = &mut self.wait {
            if now < wait.half {
                wait.early = messages;
            }
            wait.is_over |= now >= wait.until;
            return !wait.is_over;
        }
        let Some(sent) = self.sent.filter(|_| self.skips == 0) else {
            return false;
        };
        let until = sent + INTERVAL;
        let left = until.saturating_duration_since(now);
        let more = self.rate * left.as_secs_f64() / INTERVAL.as_secs_f64();
        let expected = messages as f64 + more;
        if expected < GAIN * messages as f64 {
            return false;
        }
        self.wait = Some(Wait {
            half: now + left / 2,
            until,
            expected,
            early: messages,
            is_over: false,
        });
        true
    }

    /// When [`Gathering::waits`] is to be asked again at the latest, if messages wait.
    pub(super) fn until(&self) -> Option<Instant> {
        let wait = self.wait.filter(|wait| !wait.is_over);
        let burst = self.burst.and_then(|burst| burst.grew);
        wait.map(|wait| wait.until).into_iter().chain(burst).min()
    }

    /// So many messages are sent in one entry.
    pub(super) fn sent(&mut self, now: Instant, messages: u64) {
        self.burst = None;
        self.skips = self.skips.saturating_sub(1);
        if let Some(wait) = self.wait.take() {
            let is_vain = messages <= wait.early
                || (messages as f64) < LEAST * wait.expected.min(ENOUGH as f64);
            (self.skips, self.next_skips) = match is_vain {
                true => (self.next_skips, (2 * self.next_skips).min(MAX_SKIPS)),
                false => (0, 1),
            };
        }
        if let Some(before) = self.sent.replace(now) {
            let passed = now.saturating_duration_since(before).max(INTERVAL / 16);
            let rate = messages as f64 * INTERVAL.as_secs_f64() / passed.as_secs_f64();
            self.rate += WEIGHT * (rate - self.rate);
        }
    }

    /// The connection is gone, and with it what was to be sent.
    pub(super) fn forget(&mut self) {
        *self = Gathering::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The time until the engine has replied to an entry.
    const REPLY: Duration = Duration::from_micros(150);

    /// Publishes for two seconds, and returns how many messages an entry had in the second one, how
    /// long each waited on average, and how many there were. A publish comes `gap` after the last one,
    /// or when that is answered if `gap` is none, from each of so many publishers.
    fn run(gap: Option<Duration>, publishers: usize) -> (f64, Duration, u64) {
        let start = Instant::now();
        let mut gathering = Gathering::new();
        let step = Duration::from_micros(10);
        let (mut now, mut next) = (start, start);
        let mut free_at = start;
        let mut waiting: Vec<Instant> = Vec::new();
        let mut idle: Vec<Instant> = match gap {
            None => vec![start; publishers],
            Some(_) => Vec::new(),
        };
        let (mut entries, mut messages, mut waited) = (0, 0, Duration::ZERO);
        while now < start + Duration::from_secs(2) {
            now += step;
            while gap.is_some() && next <= now {
                waiting.push(next);
                next += gap.unwrap_or_default();
            }
            let come = idle.iter().filter(|&&at| at <= now).count();
            waiting.extend(idle.extract_if(.., |at| *at <= now).take(come));
            if waiting.is_empty() || now < free_at || gathering.waits(now, waiting.len() as u64) {
                continue;
            }
            gathering.sent(now, waiting.len() as u64);
            free_at = now + REPLY;
            if now > start + Duration::from_secs(1) {
                entries += 1;
                messages += waiting.len() as u64;
                waited += waiting.iter().map(|&at| now - at).sum::<Duration>();
            }
            if gap.is_none() {
                // They come one after another, as a server reads them.
                let answered = 1..=waiting.len() as u32;
                idle.extend(answered.map(|place| free_at + 7 * place * Duration::from_micros(1)));
            }
            waiting.clear();
        }
        let mean = waited / u32::try_from(messages).unwrap_or(1).max(1);
        (messages as f64 / f64::from(entries), mean, messages)
    }

    #[test]
    fn few_publishes_do_not_wait() {
        for per_second in [1, 100, 1_000, 2_000] {
            let (group, waited, _) = run(Some(Duration::from_secs(1) / per_second), 0);
            assert!(group < 1.1, "{per_second}: {group}");
            assert!(waited <= Duration::from_micros(20), "{waited:?}");
        }
    }

    #[test]
    fn many_publishes_share_entries_and_wait_for_less_than_the_interval() {
        for per_second in [10_000, 20_000, 50_000] {
            let (group, waited, _) = run(Some(Duration::from_secs(1) / per_second), 0);
            let most = f64::from(per_second) / 1_000.0;
            assert!(group > most.min(9.0) * 0.9, "{per_second}: {group}");
            assert!(waited < INTERVAL * 6 / 10, "{per_second}: {waited:?}");
        }
    }

    #[test]
    fn wait_that_is_over_needs_no_timer() {
        let start = Instant::now();
        let mut gathering = Gathering::new();
        for entry in 0..20 {
            gathering.sent(start + entry * INTERVAL, 10);
        }
        let sent = start + 19 * INTERVAL;
        let first = sent + INTERVAL / 10;
        assert!(gathering.waits(first, 1));
        assert_eq!(gathering.until(), Some(first), "it is a burst, perhaps");
        assert!(gathering.waits(first, 1));
        assert_eq!(gathering.until(), Some(sent + INTERVAL));
        assert!(gathering.waits(sent + INTERVAL, 9));
        assert!(!gathering.waits(sent + INTERVAL, 9));
        assert_eq!(gathering.until(), None, "it cannot be sent, perhaps");
        gathering.sent(sent + INTERVAL, 9);
        assert!(gathering.waits(sent + INTERVAL * 11 / 10, 1));
        assert!(!gathering.waits(sent + INTERVAL * 12 / 10, 0));
        assert_eq!(gathering.until(), None, "nothing waits any more");
    }

    #[test]
    fn burst_is_waited_for_while_it_grows() {
        let start = Instant::now();
        let mut gathering = Gathering::new();
        for entry in 0..20 {
            gathering.sent(start + entry * INTERVAL, 10);
        }
        let begin = start + 30 * INTERVAL;
        for turn in 1..=10 {
            assert!(gathering.waits(begin + turn * INTERVAL / 100, turn.into()));
        }
        assert!(!gathering.waits(begin + INTERVAL / 9, 10));
        gathering.sent(begin + INTERVAL / 9, 10);
        let begin = begin + 10 * INTERVAL;
        let growing = (0..).take_while(|turn| {
            let now = begin + *turn * INTERVAL / 20;
            gathering.waits(now, u64::from(turn + 1))
        });
        assert_eq!(growing.count(), 20, "for no longer than that");
    }

    #[test]
    fn publishers_that_wait_for_their_answers_are_hardly_slower() {
        for publishers in [1, 2, 4, 8, 16, 64] {
            let (_, _, count) = run(None, publishers);
            // Without waiting: alternately the one that comes first, and all others.
            let each = 2.0 * (REPLY.as_secs_f64() + 7e-6);
            let most = publishers as f64 / each;
            assert!(count as f64 > 0.8 * most, "{publishers}: {count} of {most}");
        }
    }
}
