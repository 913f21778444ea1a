//! Forged logs: a right one, and one with each kind of fault, so that the checker is known to see it.

use super::{Kind, check};
use crate::log::{
    Batch, Deletion, Entry, Event, Id, Logs, Outcome, Publish, Receipt, Rules, Since, Span,
    Transport,
};

const SECOND: u64 = 1_000_000;

const RULES: Rules = Rules {
    history_messages: 4,
    history_age: 1_000 * SECOND,
    heartbeat: 2 * SECOND,
    slack: SECOND,
};

fn id(epoch: u64, seq: u64) -> Id {
    Id { epoch, seq }
}

fn receipt(epoch: u64, seq: u64, channel: u32) -> Receipt {
    Receipt {
        id: id(epoch, seq),
        channel,
        number: epoch * 1_000 + seq,
        length: 100,
    }
}

/// A message that was accepted at this time.
fn publish(epoch: u64, seq: u64, channel: u32, at: u64) -> Publish {
    Publish {
        channel,
        number: epoch * 1_000 + seq,
        length: 100,
        begun: at - 10,
        done: at,
        batch: 0,
        keyed: false,
        outcome: Outcome::Accepted(id(epoch, seq)),
        again: None,
    }
}

/// A run: what was published, and one client's log.
struct Run {
    logs: Logs,
}

impl Run {
    /// Messages 1 to `count` on channel 1, a second apart, from second 10; a client follows it.
    fn new(count: u64) -> Run {
        let mut run = Run {
            logs: Logs {
                clients: vec![Vec::new()],
                processes: vec![0],
                client_stops: vec![Vec::new()],
                end: 100 * SECOND,
                ..Logs::default()
            },
        };
        for seq in 1..=count {
            run.publish(publish(1, seq, 1, (9 + seq) * SECOND));
        }
        run.at(0, Event::Begin([1].into()));
        run
    }

    fn publish(&mut self, publish: Publish) -> &mut Run {
        self.logs.publishes.push(publish);
        self
    }

    /// Something happens to the client at a time in milliseconds.
    fn at(&mut self, ms: u64, event: Event) -> &mut Run {
        let at = ms * 1_000;
        let client = 0;
        self.logs.clients[0].push(Entry { client, at, event });
        self
    }

    fn asks(&mut self, ms: u64, transport: Transport, since: Since, hold_ms: u32) -> &mut Run {
        self.at(
            ms,
            Event::Asked {
                transport,
                since,
                hold_ms,
            },
        )
    }

    /// A stream that has been opened at the beginning.
    fn streams(&mut self, ms: u64) -> &mut Run {
        self.asks(ms, Transport::Ndjson, Since::Now, 0)
            .at(ms + 1, Event::Cursor(id(1, 0)))
    }

    fn gets(&mut self, ms: u64, seq: u64) -> &mut Run {
        self.at(ms, Event::Message(receipt(1, seq, 1)))
    }

    fn batch(&mut self, ms: u64, seqs: &[u64], cursor: Id, gap: bool) -> &mut Run {
        let receipts = seqs.iter().map(|&seq| receipt(cursor.epoch, seq, 1));
        self.at(
            ms,
            Event::Batch(Batch {
                receipts: receipts.collect(),
                cursor,
                gap,
                more: false,
            }),
        )
    }

    fn kinds(&self) -> Vec<Kind> {
        let verdict = check(&self.logs, RULES);
        verdict.by_kind().into_keys().collect()
    }

    #[track_caller]
    fn is_right(&self) {
        let verdict = check(&self.logs, RULES);
        assert!(verdict.findings.is_empty(), "{:#?}", verdict.findings);
    }

    #[track_caller]
    fn breaks(&self, kind: Kind) {
        let verdict = check(&self.logs, RULES);
        assert_eq!(self.kinds(), [kind], "{:#?}", verdict.findings);
    }
}

#[test]
fn a_right_stream() {
    let mut run = Run::new(3);
    run.streams(9_000)
        .gets(10_010, 1)
        .gets(11_010, 2)
        .gets(12_010, 3);
    run.is_right();
    assert_eq!(check(&run.logs, RULES).counts.complete, 1);
}

#[test]
fn right_polls_that_go_on_where_they_were() {
    let mut run = Run::new(3);
    run.asks(9_000, Transport::LongPoll, Since::Now, 500)
        .batch(9_500, &[], id(1, 0), false)
        .asks(9_500, Transport::LongPoll, Since::After(id(1, 0)), 20_000)
        .batch(10_010, &[1], id(1, 1), false)
        .asks(12_500, Transport::Poll, Since::After(id(1, 1)), 0)
        .batch(12_501, &[2, 3], id(1, 3), false);
    run.is_right();
}

#[test]
fn lost() {
    let mut run = Run::new(3);
    run.streams(9_000).gets(10_010, 1).gets(12_010, 3);
    run.breaks(Kind::Lost);
}

#[test]
fn lost_under_a_cursor() {
    let mut run = Run::new(1);
    run.streams(9_000).at(10_500, Event::Cursor(id(1, 1)));
    run.breaks(Kind::Lost);
}

#[test]
fn lost_from_one_of_two_channels() {
    let mut run = Run::new(1);
    run.publish(publish(1, 2, 2, 11 * SECOND));
    run.publish(publish(1, 3, 1, 12 * SECOND));
    run.at(0, Event::Begin([1, 2].into()));
    run.streams(9_000).gets(10_010, 1).gets(12_010, 3);
    run.breaks(Kind::Lost);
}

#[test]
fn lost_for_one_though_another_has_it() {
    let mut run = Run::new(0);
    let mut unanswered = publish(1, 1, 1, 10 * SECOND);
    unanswered.outcome = Outcome::Unknown;
    run.publish(unanswered);
    run.publish(publish(1, 2, 1, 11 * SECOND));
    run.streams(9_000).gets(11_010, 2);
    // Nobody has it: it may never have been accepted.
    run.is_right();

    let mut other = Run::new(0);
    other.streams(9_000).gets(10_010, 1).gets(11_010, 2);
    run.logs.clients.push(other.logs.clients.remove(0));
    run.logs.processes.push(0);
    run.breaks(Kind::Lost);
}

#[test]
fn undelivered() {
    let mut run = Run::new(1);
    run.asks(9_000, Transport::LongPoll, Since::Now, 500)
        .batch(9_500, &[], id(1, 0), false);
    run.breaks(Kind::Undelivered);
}

#[test]
fn twice() {
    let mut run = Run::new(2);
    run.streams(9_000)
        .gets(10_010, 1)
        .gets(11_010, 2)
        .gets(11_020, 2);
    run.breaks(Kind::Twice);
}

#[test]
fn out_of_order() {
    let mut run = Run::new(2);
    run.logs.publishes[0] = publish(1, 1, 1, 10_990_000);
    run.streams(9_000)
        .at(10_500, Event::Beat)
        .gets(11_010, 2)
        .gets(11_020, 1);
    // What is passed over is missing, whether it comes later or not.
    assert_eq!(run.kinds(), [Kind::Lost, Kind::OutOfOrder]);
}

#[test]
fn out_of_order_by_their_ids() {
    let mut run = Run::new(0);
    run.publish(publish(1, 2, 1, 10 * SECOND));
    run.publish(publish(1, 1, 1, 10_500_000));
    run.streams(9_000).gets(10_510, 1).gets(10_510, 2);
    run.breaks(Kind::OutOfOrder);
}

#[test]
fn misrouted() {
    let mut run = Run::new(1);
    run.publish(publish(1, 2, 2, 11 * SECOND));
    run.streams(9_000).gets(10_010, 1);
    run.at(11_010, Event::Message(receipt(1, 2, 2)));
    run.breaks(Kind::Misrouted);
}

#[test]
fn misrouted_under_the_name_of_a_channel_that_is_followed() {
    let mut run = Run::new(1);
    run.publish(publish(1, 2, 2, 11 * SECOND));
    run.streams(9_000).gets(10_010, 1).gets(11_010, 2);
    run.breaks(Kind::Misrouted);
}

#[test]
fn mangled() {
    let mut run = Run::new(1);
    run.logs.publishes[0].length = 101;
    run.streams(9_000).gets(10_010, 1);
    run.breaks(Kind::Mangled);
}

#[test]
fn invented_and_refused() {
    let mut run = Run::new(0);
    run.streams(9_000).gets(10_010, 1);
    run.breaks(Kind::Invented);

    let mut refused = publish(1, 1, 1, 10 * SECOND);
    refused.outcome = Outcome::Refused;
    run.publish(refused);
    run.breaks(Kind::Invented);
}

#[test]
fn one_id_for_two() {
    let mut run = Run::new(1);
    let mut other = publish(1, 1, 1, 10 * SECOND);
    other.number = 7;
    run.publish(other);
    run.streams(9_000).gets(10_010, 1);
    assert!(run.kinds().contains(&Kind::OneIdForTwo));
}

#[test]
fn a_retry_with_a_key_is_one_message() {
    let mut run = Run::new(2);
    run.logs.publishes[0].keyed = true;
    run.logs.publishes[0].again = Some(id(1, 1));
    run.streams(9_000).gets(10_010, 1).gets(11_010, 2);
    run.is_right();

    run.logs.publishes[0].again = Some(id(1, 3));
    let kinds = run.kinds();
    assert!(kinds.contains(&Kind::PublishedTwice), "{kinds:?}");
}

#[test]
fn a_retry_after_the_key_was_forgotten_may_be_two() {
    let mut run = Run::new(6);
    run.logs.publishes[0].keyed = true;
    run.logs.publishes[0].again = Some(id(1, 7));
    run.streams(9_000);
    for seq in 1..=6 {
        run.gets((9 + seq) * 1_000 + 10, seq);
    }
    let again = Receipt {
        number: 1_001,
        ..receipt(1, 7, 1)
    };
    run.at(16_010, Event::Message(again));
    run.is_right();
}

#[test]
fn a_batch_in_part() {
    let mut run = Run::new(0);
    for seq in 1..=3 {
        let mut of_batch = publish(1, seq, 1, 10 * SECOND);
        (of_batch.batch, of_batch.outcome) = (5, Outcome::Unknown);
        run.publish(of_batch);
    }
    run.publish(publish(1, 4, 1, 11 * SECOND));
    run.streams(9_000)
        .gets(10_010, 1)
        .gets(10_010, 2)
        .gets(10_010, 3)
        .gets(11_010, 4);
    run.is_right();
    run.logs.clients[0].remove(4);
    run.breaks(Kind::Lost);
}

#[test]
fn a_batch_with_another_message_inside() {
    let mut run = Run::new(0);
    for (seq, number) in [(1, 1_001), (3, 1_003)] {
        let mut of_batch = publish(1, seq, 1, 10 * SECOND);
        (of_batch.batch, of_batch.number) = (5, number);
        run.publish(of_batch);
    }
    run.streams(9_000).gets(10_010, 1).gets(10_010, 3);
    run.breaks(Kind::TornBatch);
}

#[test]
fn a_gap_with_cause_and_one_without() {
    let mut run = Run::new(6);
    run.streams(9_000)
        .gets(10_010, 1)
        .at(10_020, Event::Left)
        .asks(15_500, Transport::Ndjson, Since::After(id(1, 1)), 0)
        .at(15_510, Event::Cursor(id(1, 1)))
        .at(15_510, Event::Gap(id(1, 2)));
    for seq in 3..=6 {
        run.gets(15_520, seq);
    }
    run.is_right();
    assert_eq!(check(&run.logs, RULES).counts.excused, 1);

    // Four messages are kept, so the third must be there.
    let entries = &mut run.logs.clients[0];
    entries.retain(|entry| entry.event != Event::Message(receipt(1, 3, 1)));
    let gap = entries
        .iter_mut()
        .find(|entry| matches!(entry.event, Event::Gap(_)));
    gap.unwrap().event = Event::Gap(id(1, 3));
    run.breaks(Kind::Groundless);

    run.logs.deletions.push(Deletion {
        channel: 1,
        span: Span {
            from: 14 * SECOND,
            to: 15 * SECOND,
        },
    });
    run.is_right();
}

#[test]
fn a_gap_that_stands_after_messages_of_another_channel() {
    let mut run = Run::new(6);
    run.publish(publish(1, 7, 2, 16 * SECOND));
    run.publish(publish(1, 8, 1, 17 * SECOND));
    run.publish(publish(1, 9, 1, 18 * SECOND));
    run.publish(publish(1, 10, 1, 19 * SECOND));
    run.publish(publish(1, 11, 1, 20 * SECOND));
    run.at(0, Event::Begin([1, 2].into()));
    run.streams(9_000).gets(10_010, 1).at(10_020, Event::Left);
    run.asks(20_500, Transport::Ndjson, Since::After(id(1, 1)), 0);
    run.at(20_510, Event::Message(receipt(1, 7, 2)));
    let before = run.logs.clients[0].len();
    run.at(20_510, Event::Gap(id(1, 7)));
    for seq in 8..=11 {
        run.gets(20_520, seq);
    }
    run.is_right();

    // Without the gap, the next message of the channel shows that something is missing.
    run.logs.clients[0].remove(before);
    run.breaks(Kind::Lost);
    // As does a cursor past everything.
    run.logs.clients[0].truncate(before);
    run.at(20_520, Event::Cursor(id(1, 7)));
    assert!(run.kinds().contains(&Kind::Lost));
}

#[test]
fn a_gap_in_a_batch() {
    let mut run = Run::new(6);
    run.asks(9_000, Transport::Poll, Since::Now, 0)
        .batch(9_001, &[], id(1, 0), false)
        .asks(15_500, Transport::Poll, Since::After(id(1, 0)), 0)
        .batch(15_501, &[3, 4, 5, 6], id(1, 6), true);
    run.is_right();
}

#[test]
fn a_new_epoch_without_a_gap() {
    let mut run = Run::new(1);
    run.publish(publish(2, 1, 1, 20 * SECOND));
    run.logs.outages.push(Span {
        from: 11 * SECOND,
        to: 12 * SECOND,
    });
    run.streams(9_000)
        .gets(10_010, 1)
        .at(11_010, Event::Lost)
        .asks(12_500, Transport::Ndjson, Since::After(id(1, 1)), 0)
        .at(12_510, Event::Cursor(id(2, 0)));
    let mut told = Run {
        logs: std::mem::take(&mut run.logs),
    };
    let entries = told.logs.clients[0].clone();
    told.at(12_511, Event::Gap(id(2, 0)))
        .at(14_000, Event::Beat)
        .at(16_000, Event::Beat)
        .at(18_000, Event::Beat)
        .at(20_010, Event::Message(receipt(2, 1, 1)));
    told.is_right();
    assert_eq!(check(&told.logs, RULES).counts.epoch_gaps, 1);

    // It goes away between cursor and gap, and comes back with the cursor.
    run.logs = told.logs;
    run.logs.clients[0] = entries;
    run.at(12_520, Event::Left)
        .asks(20_500, Transport::Poll, Since::After(id(2, 0)), 0)
        .batch(20_501, &[1], id(2, 1), true);
    run.is_right();
    run.logs.clients[0].pop();
    run.batch(20_501, &[1], id(2, 1), false);
    run.breaks(Kind::Concealed);
}

#[test]
fn a_cursor_that_is_only_there_to_be_told_of_the_gap() {
    let mut run = Run::new(1);
    run.publish(publish(2, 1, 1, 11_900_000));
    run.publish(publish(2, 2, 1, 13 * SECOND));
    run.streams(9_000)
        .gets(10_010, 1)
        .at(11_000, Event::Left)
        .asks(12_500, Transport::Ndjson, Since::After(id(1, 1)), 0)
        .at(12_510, Event::Cursor(Id::parse("00000gap-0").unwrap()))
        .at(12_511, Event::Gap(id(2, 0)))
        .at(12_511, Event::Message(receipt(2, 1, 1)))
        .at(13_010, Event::Message(receipt(2, 2, 1)));
    run.is_right();
    // It is told whatever there is.
    run.logs.clients[0].remove(8);
    run.breaks(Kind::Groundless);
}

#[test]
fn a_batch_of_a_new_epoch_without_a_gap() {
    let mut run = Run::new(1);
    run.publish(publish(2, 1, 1, 20 * SECOND));
    run.asks(9_000, Transport::Poll, Since::Now, 0)
        .batch(9_001, &[], id(1, 0), false)
        .asks(20_500, Transport::Poll, Since::After(id(1, 0)), 0)
        .batch(20_501, &[1], id(2, 1), true);
    run.is_right();
    run.logs.clients[0].pop();
    run.batch(20_501, &[1], id(2, 1), false);
    run.breaks(Kind::Concealed);
}

#[test]
fn a_cursor_that_goes_back() {
    let mut run = Run::new(2);
    run.streams(9_000)
        .gets(10_010, 1)
        .gets(11_010, 2)
        .at(12_000, Event::Cursor(id(1, 1)))
        .at(12_001, Event::Cursor(id(1, 2)));
    assert_eq!(run.kinds(), [Kind::Lost, Kind::Rewound]);
}

#[test]
fn a_late_hold() {
    let mut run = Run::new(0);
    run.asks(9_000, Transport::LongPoll, Since::Now, 2_000)
        .batch(12_500, &[], id(1, 0), false);
    run.breaks(Kind::LateHold);

    // Stopped for a while, by whomever, it is not late.
    let stop = Span {
        from: 11 * SECOND,
        to: 12 * SECOND,
    };
    run.logs.server_stops.push(stop);
    run.is_right();
    run.logs.server_stops.clear();
    run.logs.client_stops[0].push(stop);
    run.is_right();
}

#[test]
fn a_hold_that_was_never_answered() {
    let mut run = Run::new(0);
    run.asks(9_000, Transport::LongPoll, Since::Now, 2_000)
        .at(12_500, Event::Left);
    run.breaks(Kind::LateHold);
}

#[test]
fn a_hold_given_up_late() {
    let mut run = Run::new(0);
    run.asks(9_000, Transport::LongPoll, Since::Now, 20_000)
        .at(10_000, Event::Nudged)
        .batch(11_500, &[], id(1, 0), false);
    run.breaks(Kind::LateHold);
}

#[test]
fn a_hold_that_ends_early() {
    let mut run = Run::new(0);
    run.asks(9_000, Transport::LongPoll, Since::Now, 4_000)
        .batch(10_500, &[], id(1, 0), false);
    run.breaks(Kind::EarlyEnd);

    let mut nudged = Run::new(0);
    nudged
        .asks(9_000, Transport::LongPoll, Since::Now, 4_000)
        .at(10_400, Event::Nudged)
        .batch(10_500, &[], id(1, 0), false);
    nudged.is_right();

    // A drain releases everybody.
    run.logs.outages.push(Span {
        from: 10 * SECOND,
        to: 13 * SECOND,
    });
    run.is_right();
}

#[test]
fn a_late_message() {
    let mut run = Run::new(1);
    run.streams(9_000).at(10_999, Event::Beat).gets(11_500, 1);
    run.breaks(Kind::LateMessage);
}

#[test]
fn a_message_that_woke_nobody() {
    let mut run = Run::new(1);
    run.asks(9_000, Transport::LongPoll, Since::Now, 0)
        .batch(9_001, &[], id(1, 0), false)
        .asks(9_500, Transport::LongPoll, Since::After(id(1, 0)), 8_000)
        .batch(17_501, &[], id(1, 0), false)
        .asks(17_501, Transport::LongPoll, Since::After(id(1, 0)), 8_000)
        .batch(17_502, &[1], id(1, 1), false);
    run.breaks(Kind::LateMessage);
}

#[test]
fn a_stream_left_without_what_it_was_owed() {
    let mut run = Run::new(1);
    run.streams(9_000)
        .at(10_999, Event::Beat)
        .at(12_500, Event::Left)
        .asks(12_600, Transport::Poll, Since::After(id(1, 0)), 0)
        .batch(12_601, &[1], id(1, 1), false);
    run.breaks(Kind::LateMessage);
}

#[test]
fn overlooked() {
    let mut run = Run::new(1);
    run.asks(9_000, Transport::Poll, Since::Now, 0)
        .batch(9_001, &[], id(1, 0), false)
        .asks(10_100, Transport::Poll, Since::After(id(1, 0)), 0)
        .batch(10_101, &[], id(1, 0), false)
        .asks(10_200, Transport::Poll, Since::After(id(1, 0)), 0)
        .batch(10_201, &[1], id(1, 1), false);
    run.breaks(Kind::Overlooked);
}

#[test]
fn a_silent_stream() {
    let mut run = Run::new(0);
    run.streams(9_000).at(12_500, Event::Beat);
    run.breaks(Kind::Silence);
}

#[test]
fn dropped_and_refused() {
    let mut run = Run::new(0);
    run.streams(9_000).at(9_500, Event::Lost);
    run.breaks(Kind::Dropped);

    let mut run = Run::new(0);
    run.at(9_000, Event::Unreachable);
    run.breaks(Kind::Refused);

    let mut run = Run::new(0);
    run.asks(9_000, Transport::Poll, Since::Now, 0)
        .at(9_001, Event::Refused(503));
    run.breaks(Kind::Refused);

    run.logs.outages.push(Span {
        from: 8 * SECOND,
        to: 10 * SECOND,
    });
    run.is_right();
}

#[test]
fn a_server_that_is_gone_may_be_heard_for_long() {
    let mut run = Run::new(1);
    run.streams(9_000).gets(19_000, 1).at(19_001, Event::Lost);
    run.logs.client_stops[0].push(Span {
        from: 10 * SECOND + 100_000,
        to: 18 * SECOND + 500_000,
    });
    run.logs.outages.push(Span {
        from: 10 * SECOND + 200_000,
        to: 12 * SECOND,
    });
    run.is_right();

    // One that came up again in time has nothing to do with it.
    let mut run = Run::new(1);
    run.streams(9_000)
        .gets(10_100, 1)
        .at(11_000, Event::Beat)
        .at(11_001, Event::Lost);
    run.logs.outages.push(Span {
        from: 8 * SECOND,
        to: 8 * SECOND + 900_000,
    });
    run.breaks(Kind::Dropped);
}

#[test]
fn whatever_there_is_begins_where_history_does() {
    let mut run = Run::new(6);
    run.asks(15_500, Transport::Poll, Since::Earliest, 0).batch(
        15_501,
        &[3, 4, 5, 6],
        id(1, 6),
        false,
    );
    run.is_right();
    let mut run = Run::new(6);
    run.asks(15_500, Transport::Poll, Since::Earliest, 0).batch(
        15_501,
        &[4, 5, 6],
        id(1, 6),
        false,
    );
    run.breaks(Kind::Groundless);
}

#[test]
fn whatever_there_is_may_be_nothing_after_a_deletion() {
    let mut run = Run::new(1);
    run.logs.deletions.push(Deletion {
        channel: 1,
        span: Span {
            from: 11 * SECOND,
            to: 12 * SECOND,
        },
    });
    run.asks(12_500, Transport::Poll, Since::Earliest, 0)
        .batch(12_501, &[], id(1, 0), false);
    run.is_right();
    run.logs.deletions.clear();
    assert_eq!(run.kinds(), [Kind::Undelivered, Kind::Overlooked]);
}

#[test]
fn nonsense() {
    let mut run = Run::new(0);
    run.streams(9_000)
        .at(9_500, Event::Nonsense("half a line".into()));
    run.breaks(Kind::Nonsense);
}

#[test]
fn a_client_that_asks_from_where_it_does_not_stand() {
    let mut run = Run::new(1);
    run.streams(9_000)
        .gets(10_010, 1)
        .at(10_020, Event::Left)
        .asks(10_030, Transport::Poll, Since::After(id(1, 0)), 0)
        .batch(10_031, &[1], id(1, 1), false);
    run.breaks(Kind::Instrument);
}
