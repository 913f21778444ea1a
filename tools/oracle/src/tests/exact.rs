//! The rules that only a simulation can check.

use super::*;
use crate::finding::Verdict;
use crate::log::Parked;
use crate::reader::Reader;
use crate::run::Conditions;
use crate::truth::Truth;

/// A server that is seen inside, and one client, which is judged as it goes.
struct Inside {
    truth: Truth,
    head: u64,
    now: u64,
    log: Vec<Entry>,
    reader: Reader,
    verdict: Verdict,
}

impl Inside {
    /// A client of channel 1 that sends a request after `count` messages were published to it.
    fn new(count: u64, transport: Transport, since: Since) -> Inside {
        let mut inside = Inside {
            truth: Truth::exact(3),
            head: 0,
            now: 100,
            log: Vec::new(),
            reader: Reader::default(),
            verdict: Verdict::default(),
        };
        for _ in 0..count {
            inside.publishes(1);
        }
        let hold_ms = 0;
        inside.at(Event::Begin([1, 2].into())).at(Event::Asked {
            transport,
            since,
            hold_ms,
        })
    }

    fn publishes(&mut self, channel: u32) {
        self.head += 1;
        self.now += 100;
        self.truth.accept(publish(1, self.head, channel, self.now));
        if self.truth.between(1, channel, 0, self.head).is_empty() {
            self.truth.observe(channel, Some(self.head), 0);
        }
    }

    fn published(mut self, channel: u32) -> Inside {
        self.publishes(channel);
        self
    }

    /// History drops everything of a channel up to a message.
    fn drops(mut self, channel: u32, seq: u64) -> Inside {
        let kept = self.truth.between(1, channel, seq, u64::MAX);
        let oldest = kept.first().map(|known| known.seq);
        self.truth.observe(channel, oldest, seq);
        self
    }

    /// From here on a channel owes only its newest message, or all again.
    fn latest(mut self, channel: u32, is_latest: bool) -> Inside {
        self.truth.set_latest(1, channel, is_latest);
        self
    }

    /// A newer message of a channel, from which on history keeps it.
    fn replaced(mut self, channel: u32) -> Inside {
        self.publishes(channel);
        let lost = self.truth.exactly().expect("it is").lost(channel);
        self.truth.observe(channel, Some(self.head), lost);
        self
    }

    fn at(mut self, event: Event) -> Inside {
        self.now += 100;
        let (client, at) = (0, self.now);
        self.log.push(Entry { client, at, event });
        let conditions = Conditions {
            rules: RULES,
            ..Conditions::TIMELESS
        };
        let verdict = &mut self.verdict;
        self.reader
            .judge(&self.log, &self.truth, &conditions, verdict);
        self
    }

    fn parked(self, is_held: bool) -> Inside {
        let parked = Parked {
            head: id(1, self.head),
            is_held,
            is_writable: true,
            is_empty: self.head == 0,
        };
        self.at(Event::Parked(parked))
    }

    fn gets(self, seq: u64, channel: u32) -> Inside {
        self.at(Event::Message(receipt(1, seq, channel)))
    }

    #[track_caller]
    fn breaks(&self, kinds: &[Kind]) {
        let found: Vec<Kind> = self.verdict.by_kind().into_keys().collect();
        assert_eq!(found, kinds, "{:#?}", self.verdict.findings);
    }
}

/// A stream that has had the first message.
fn stream() -> Inside {
    Inside::new(0, Transport::Ndjson, Since::Now)
        .parked(false)
        .at(Event::Cursor(id(1, 0)))
        .published(1)
        .gets(1, 1)
}

#[test]
fn stream_that_has_everything_is_right() {
    let run = stream().published(2).gets(2, 2);
    run.at(Event::Settled(id(1, 2))).breaks(&[]);
}

#[test]
fn settled_stream_must_have_everything() {
    let run = stream().published(2);
    run.at(Event::Settled(id(1, 2)))
        .breaks(&[Kind::Undelivered]);
}

#[test]
fn message_that_a_writable_reader_waits_for_is_kept() {
    let gap = |run: Inside| run.drops(1, 2).at(Event::Gap(id(1, 2)));
    gap(stream().published(1)).breaks(&[Kind::Evicted]);
    gap(stream().published(1).at(Event::Blocked)).breaks(&[]);
}

#[test]
fn gap_for_a_message_that_is_there_is_groundless() {
    let run = stream().published(1);
    run.at(Event::Gap(id(1, 2))).breaks(&[Kind::Groundless]);
}

#[test]
fn gap_without_a_missing_message_needs_a_forgotten_channel() {
    let gap = |run: Inside| run.at(Event::Gap(id(1, 1)));
    gap(stream()).breaks(&[Kind::Groundless]);
    let mut run = stream();
    run.truth.forget();
    gap(run).breaks(&[]);
}

#[test]
fn gap_must_come_where_the_channel_lost_its_newest_message() {
    // Channel 1 loses message 2; nothing after message 3 can tell of it any more.
    let run = stream().at(Event::Blocked).published(1).published(2);
    run.drops(1, 2).gets(3, 2).breaks(&[Kind::Lost]);
    // Where it has lost message 4 too, the gap stands there.
    let run = stream().at(Event::Blocked);
    let run = run.published(1).published(2).published(1);
    let run = run.drops(1, 4).gets(3, 2);
    run.at(Event::Gap(id(1, 4))).breaks(&[]);
}

#[test]
fn held_request_must_be_owed_nothing() {
    let ask = |since| Inside::new(2, Transport::LongPoll, since);
    ask(Since::After(id(1, 2))).parked(true).breaks(&[]);
    ask(Since::After(id(1, 1)))
        .parked(true)
        .breaks(&[Kind::Lost]);
    ask(Since::Unknown)
        .parked(true)
        .breaks(&[Kind::Concealed, Kind::Groundless]);
    ask(Since::Earliest).drops(1, 2).parked(true).breaks(&[]);
}

#[test]
fn request_for_the_next_message_does_not_begin_in_the_future() {
    let run = Inside::new(2, Transport::Ndjson, Since::Now);
    run.at(Event::Cursor(id(1, 3))).breaks(&[Kind::Misplaced]);
}

#[test]
fn reader_of_the_latest_is_owed_the_newest_alone() {
    let run = || stream().latest(1, true).replaced(1).replaced(1);
    run().gets(3, 1).at(Event::Settled(id(1, 3))).breaks(&[]);
    run()
        .at(Event::Settled(id(1, 3)))
        .breaks(&[Kind::Undelivered]);
    // It may be sent more than it is owed.
    run().gets(2, 1).gets(3, 1).breaks(&[]);
}

#[test]
fn gap_for_a_replaced_message_is_groundless() {
    let run = || stream().latest(1, true).replaced(1).replaced(1);
    let gap = |run: Inside| run.at(Event::Gap(id(1, 2)));
    gap(run()).breaks(&[Kind::Groundless]);
    // Once the channel owes all again, old losses are told too.
    gap(run().latest(1, false)).breaks(&[]);
}

#[test]
fn loss_of_the_newest_is_told_until_it_is_replaced() {
    let lost = |run: Inside| run.latest(1, true).replaced(1).drops(1, 2);
    let gap = |run: Inside| run.at(Event::Gap(id(1, 2)));
    let blocked = || stream().at(Event::Blocked);
    gap(lost(blocked())).breaks(&[]);
    lost(blocked())
        .published(2)
        .gets(3, 2)
        .breaks(&[Kind::Lost]);
    // It may have been under way when the next message came.
    gap(lost(blocked()).replaced(1)).breaks(&[]);
    gap(lost(stream()).replaced(1)).breaks(&[Kind::Groundless]);
    lost(blocked()).replaced(1).gets(3, 1).breaks(&[]);
}
