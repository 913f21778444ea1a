//! Clusters: one sequence over several terms and nodes, and gaps only by a fault that may lose.

use super::*;
use crate::cluster::{Cluster, Loss};

/// The term of messages before a restart of the log server, and the one after it.
const BEFORE: u64 = 1_700_000_000_000;
const AFTER: u64 = BEFORE + 12_345;

/// Messages 1 to 6 on channel 1 in seconds 10 to 15: entry 1, entry 2 with three parts, entry 1 and
/// entry 2 of the next term.
const IDS: [Id; 6] = [
    id_of(BEFORE, 1, 0),
    id_of(BEFORE, 2, 0),
    id_of(BEFORE, 2, 1),
    id_of(BEFORE, 2, 2),
    id_of(AFTER, 1, 0),
    id_of(AFTER, 2, 0),
];

const fn id_of(epoch: u64, seq: u64, part: u16) -> Id {
    Id { epoch, seq, part }
}

fn message(number: usize) -> Event {
    Event::Message(receipt_of(number))
}

fn receipt_of(number: usize) -> Receipt {
    Receipt {
        id: IDS[number - 1],
        channel: 1,
        number: number as u64,
        length: 100,
    }
}

/// A run with two nodes: the client streams on node 0 from the beginning.
fn run() -> Run {
    let mut run = Run::new(0);
    run.logs.cluster = Some(Cluster::default());
    for (place, id) in IDS.into_iter().enumerate() {
        let number = place as u64 + 1;
        let mut publish = publish(1, number, 1, (9 + number) * SECOND);
        publish.number = number;
        publish.outcome = Outcome::Accepted(id);
        publish.node = 1;
        run.publish(publish);
    }
    run.at(8_000, Event::Connected(0))
        .asks(9_000, Transport::Ndjson, Since::Now, 0)
        .at(9_001, Event::Cursor(id_of(BEFORE, 0, 0)));
    run
}

impl Run {
    /// The client has these messages, each in its second.
    fn has(&mut self, numbers: impl IntoIterator<Item = usize>) -> &mut Run {
        for number in numbers {
            self.at(9_000 + 1_000 * number as u64, message(number));
        }
        self
    }

    /// The client changes to another node, and asks there.
    fn moves(&mut self, ms: u64, node: u32, since: Since) -> &mut Run {
        self.at(ms, Event::Left)
            .at(ms + 1, Event::Connected(node))
            .asks(ms + 2, Transport::Ndjson, since, 0)
    }
}

fn lose(run: &mut Run, from_s: u64, to_s: u64, node: Option<u32>) {
    let span = span(from_s * 1_000, to_s * 1_000);
    let cluster = run.logs.cluster.get_or_insert_default();
    cluster.losses.push(Loss { span, node });
}

#[test]
fn order_holds_over_terms_and_nodes() {
    let mut run = run();
    run.has([1, 2]);
    run.moves(11_500, 1, Since::After(IDS[1]))
        .at(11_503, Event::Cursor(IDS[1]));
    run.has(3..=6);
    run.is_right();
}

#[test]
fn message_skipped_in_a_change_of_node_or_term_is_lost() {
    for skipped in [3, 4, 5] {
        let mut run = run();
        run.has([1, 2]);
        run.moves(11_500, 1, Since::After(IDS[1]))
            .at(11_503, Event::Cursor(IDS[1]));
        run.has((3..=6).filter(|&number| number != skipped));
        run.breaks(Kind::Lost);
    }
}

#[test]
fn message_that_comes_again_on_another_node_is_twice() {
    let mut run = run();
    run.has(1..=6);
    run.moves(16_500, 1, Since::After(IDS[5]))
        .at(16_503, Event::Cursor(IDS[5]));
    run.at(17_000, message(6)).breaks(Kind::Twice);
}

#[test]
fn later_term_before_an_earlier_one_is_out_of_order() {
    let mut run = run();
    for number in [1, 2, 3, 5, 4, 6] {
        run.at(15_000 + number as u64, message(number));
    }
    let kinds = run.kinds();
    assert!(kinds.contains(&Kind::OutOfOrder), "{kinds:?}");
}

#[test]
fn one_id_with_two_contents_is_seen_over_nodes() {
    let mut run = run();
    run.has(1..=5);
    let mut other = publish(1, 77, 1, 15 * SECOND);
    other.number = 77;
    other.outcome = Outcome::Unknown;
    run.publish(other);
    let forged = Receipt {
        number: 77,
        ..receipt_of(6)
    };
    run.at(15_000, Event::Message(forged));
    let kinds = run.kinds();
    assert!(kinds.contains(&Kind::OneIdForTwo), "{kinds:?}");
}

#[test]
fn key_is_one_message_over_terms() {
    let mut run = run();
    run.has(1..=6);
    let publish = &mut run.logs.publishes[3];
    (publish.keyed, publish.again) = (true, Some(id_of(AFTER, 7, 0)));
    let kinds = run.kinds();
    assert!(kinds.contains(&Kind::PublishedTwice), "{kinds:?}");
    // Where all that remembers the key may be gone, it may be published again.
    lose(&mut run, 12, 14, None);
    let kinds = run.kinds();
    assert!(!kinds.contains(&Kind::PublishedTwice), "{kinds:?}");
}

#[test]
fn gap_needs_a_fault_that_may_lose() {
    let gap = |losses: &[(u64, u64, Option<u32>)]| {
        let mut run = run();
        run.has(1..=4);
        run.at(13_500, Event::Gap(id_of(AFTER, 0, 0)));
        run.has([5, 6]);
        for &(from, to, node) in losses {
            lose(&mut run, from, to, node);
        }
        run
    };
    gap(&[]).breaks(Kind::Groundless);
    gap(&[(13, 14, None)]).is_right();
    gap(&[(13, 14, Some(0))]).is_right();
    // At another node, or long after it.
    gap(&[(13, 14, Some(1))]).breaks(Kind::Groundless);
    gap(&[(20, 21, None)]).breaks(Kind::Groundless);
}

#[test]
fn what_a_fault_lost_is_told_as_a_gap_before_the_next_term() {
    // Message 3 is gone. Message 4 is told again, before the gap.
    let lossy = |gap: Option<Id>| {
        let mut run = run();
        run.has([1, 2]);
        run.at(14_500, message(4));
        if let Some(gap) = gap {
            run.at(14_501, Event::Gap(gap));
        }
        run.at(14_502, message(5)).at(15_000, message(6));
        lose(&mut run, 12, 14, None);
        // The log server was away meanwhile.
        let away = span(11_000, 15_000);
        run.logs.cluster.get_or_insert_default().delays.push(away);
        run
    };
    lossy(Some(id_of(AFTER, 0, 0))).is_right();
    lossy(None).breaks(Kind::Lost);
}

#[test]
fn loss_excuses_nothing_before_it() {
    let skips = |lost_from: u64| {
        let mut run = run();
        run.has([1, 2]);
        run.at(13_000, message(4));
        run.at(30_000, Event::Gap(id_of(AFTER, 0, 0)));
        run.at(30_001, message(5)).at(30_002, message(6));
        lose(&mut run, lost_from, 30, None);
        let away = span(11_000, 30_000);
        run.logs.cluster.get_or_insert_default().delays.push(away);
        run
    };
    skips(12).is_right();
    skips(29).breaks(Kind::Lost);
    // Nor does it put off the gap that a node of its own is due to tell.
    let mut run = skips(29);
    lose(&mut run, 12, 12, Some(0));
    run.breaks(Kind::Lost);
}

#[test]
fn node_that_missed_the_log_tells_its_own_readers() {
    let missed = |node: u32| {
        let mut run = run();
        run.has([1, 2]);
        run.at(13_500, Event::Gap(IDS[3]));
        run.has([5, 6]);
        lose(&mut run, 12, 13, Some(node));
        run
    };
    missed(0).is_right();
    // A silent one is not excused.
    let mut silent = missed(0);
    let is_gap = |entry: &Entry| matches!(entry.event, Event::Gap(_));
    silent.logs.clients[0].retain(|entry| !is_gap(entry));
    assert!(silent.kinds().contains(&Kind::Lost));
    assert_eq!(missed(1).kinds(), [Kind::Groundless]);
}

#[test]
fn node_that_lags_begins_with_its_own_present() {
    let late = |cursor: Id, ms: u64| {
        let mut run = run();
        run.at(ms, Event::Begin([1].into()))
            .at(ms, Event::Connected(0))
            .asks(ms, Transport::Poll, Since::Now, 0)
            .batch(ms + 1, &[], cursor, false);
        run.kinds()
    };
    // Half a second behind the other node.
    assert!(!late(IDS[4], 15_500).contains(&Kind::Misplaced));
    // Much longer than the slack.
    assert!(late(IDS[4], 60_000).contains(&Kind::Misplaced));
}

#[test]
fn node_that_was_away_has_caught_up_soon_after() {
    let begins_behind = |ms: u64| {
        let mut run = run();
        run.at(ms, Event::Begin([1].into()))
            .at(ms, Event::Connected(0))
            .asks(ms, Transport::Ndjson, Since::Now, 0)
            .at(ms + 1, Event::Cursor(IDS[3]));
        let away = span(11_000, 20_000);
        run.logs.cluster.get_or_insert_default().nodes = vec![vec![away]];
        run.kinds().contains(&Kind::Misplaced)
    };
    assert!(!begins_behind(20_900));
    assert!(begins_behind(22_000));
}

#[test]
fn unknown_cursor_is_told_a_gap_and_keeps_its_place() {
    let mut run = run();
    run.has([1, 2]);
    run.at(12_100, Event::Left)
        .at(13_200, Event::Connected(0))
        .asks(13_201, Transport::Ndjson, Since::After(IDS[1]), 0)
        .at(13_202, Event::Cursor(Id::UNKNOWN))
        .at(13_203, Event::Left)
        .at(13_300, Event::Connected(1))
        .asks(13_301, Transport::Ndjson, Since::After(Id::UNKNOWN), 0)
        .at(13_302, Event::Gap(IDS[3]));
    run.has([5, 6]);
    lose(&mut run, 12, 13, None);
    run.is_right();
    run.logs.cluster = Some(Cluster::default());
    assert_eq!(run.kinds(), [Kind::Groundless]);
}

#[test]
fn response_without_a_message_of_the_same_node_overlooks_it() {
    let polled = |node: u32| {
        let mut run = run();
        run.at(10_500, Event::Begin([1].into()))
            .at(10_600, Event::Connected(node))
            .asks(10_601, Transport::Poll, Since::Now, 0)
            .batch(10_700, &[], IDS[0], false)
            .asks(11_300, Transport::Poll, Since::After(IDS[0]), 0)
            .batch(11_400, &[], IDS[0], false);
        run.kinds()
    };
    // Node 1 has answered the publisher in second 11.
    assert!(polled(1).contains(&Kind::Overlooked));
    assert!(!polled(0).contains(&Kind::Overlooked));
}

#[test]
fn node_that_is_away_may_refuse_and_no_other() {
    let refused = |node: u32| {
        let mut run = run();
        run.has(1..=6);
        run.at(15_100, Event::Left)
            .at(20_100, Event::Unreachable(node));
        let away = span(20_000, 21_000);
        run.logs.cluster = Some(Cluster {
            nodes: vec![vec![], vec![away]],
            ..Cluster::default()
        });
        run
    };
    refused(1).is_right();
    refused(0).breaks(Kind::Refused);
}

#[test]
fn id_beyond_any_log_is_nonsense() {
    let mut run = run();
    run.at(10_000, Event::Cursor(id_of(BEFORE, 1 << 40, 0)));
    assert!(run.kinds().contains(&Kind::Nonsense));
}

/// Messages 3 and 4 are those of the side that is given up, 5 and 6 those of the other one, in a
/// split from second 11 to 16. Message 7 comes after it.
fn split_run() -> Run {
    let mut run = run();
    let mut last = publish(1, 7, 1, 17 * SECOND);
    last.number = 7;
    last.outcome = Outcome::Accepted(LATER);
    run.publish(last);
    split(&mut run);
    run.has([1, 2]);
    run
}

const LATER: Id = id_of(AFTER, 9, 0);

fn split(run: &mut Run) {
    let span = span(11_500, 16_000);
    let cluster = run.logs.cluster.get_or_insert_default();
    cluster.splits.push(span);
    cluster.losses.push(Loss { span, node: None });
    cluster.delays.push(span);
}

fn later() -> Event {
    let id = LATER;
    Event::Message(Receipt {
        id,
        number: 7,
        ..receipt_of(6)
    })
}

#[test]
fn what_the_given_up_side_took_is_told_as_a_gap_when_the_split_is_over() {
    let told = |gap: Option<Id>| {
        let mut run = split_run();
        run.has([5, 6]);
        if let Some(gap) = gap {
            run.at(16_000, Event::Gap(gap));
        }
        run.at(17_000, later());
        run
    };
    told(Some(id_of(AFTER, 3, 0))).is_right();
    told(None).breaks(Kind::Lost);
    // Where there was no split, the gap was due at once.
    let mut run = told(Some(id_of(AFTER, 3, 0)));
    run.logs.cluster.get_or_insert_default().splits.clear();
    run.breaks(Kind::Lost);
}

#[test]
fn what_the_side_that_is_kept_took_is_not_excused_by_the_split() {
    let mut run = split_run();
    // A node of that side skips an entry; the gap at the end is that of the other side.
    run.at(15_000, message(6))
        .at(16_000, Event::Gap(id_of(AFTER, 3, 0)))
        .at(17_000, later());
    run.breaks(Kind::Lost);
}

#[test]
fn client_begins_anew_on_the_other_side_of_a_split() {
    let changes = |gap: Event| {
        let mut run = split_run();
        run.at(14_000, message(5));
        run.moves(14_100, 1, Since::After(IDS[4]))
            .at(14_103, Event::Refused(503))
            .asks(14_400, Transport::Ndjson, Since::After(IDS[4]), 0)
            .at(14_401, Event::Cursor(Id::UNKNOWN))
            .at(14_402, gap);
        for number in 1..=4 {
            run.at(14_500, message(number));
        }
        // And back, where the term of its cursor has an earlier end.
        run.moves(15_000, 0, Since::After(IDS[3]))
            .at(15_003, Event::Cursor(IDS[1]))
            .at(15_004, message(5))
            .at(15_005, message(6))
            .at(16_000, Event::Gap(id_of(AFTER, 3, 0)))
            .at(17_000, later());
        run
    };
    let gap = Event::Gap(id_of(BEFORE, 0, 0));
    changes(gap.clone()).is_right();
    let mut run = changes(gap);
    run.logs.cluster.get_or_insert_default().splits.clear();
    let kinds = run.kinds();
    for kind in [Kind::Refused, Kind::Twice] {
        assert!(kinds.contains(&kind), "{kind:?}: {kinds:?}");
    }
    // Without the gap it is concealed that the client begins anew.
    assert!(changes(Event::Beat).kinds().contains(&Kind::Concealed));
}

#[test]
fn node_in_a_split_refuses_only_cursors_of_the_other_side() {
    let refuses = |told: &[usize], cursor: usize, node: u32| {
        let mut run = split_run();
        for &number in told {
            run.at(14_000, message(number));
        }
        run.moves(14_100, node, Since::After(IDS[cursor - 1]))
            .at(14_103, Event::Refused(503));
        run.kinds().contains(&Kind::Refused)
    };
    assert!(!refuses(&[5], 5, 1));
    assert!(refuses(&[3, 4], 4, 1), "of the term before the split");
    assert!(refuses(&[5], 5, 0), "its own");
}

#[test]
fn client_that_stays_on_its_side_of_a_split_does_not_begin_anew() {
    let mut run = split_run();
    run.has([5, 6]);
    run.at(15_001, Event::Gap(id_of(AFTER, 0, 0)))
        .at(15_002, message(5))
        .at(15_003, message(6))
        .at(16_000, Event::Gap(id_of(AFTER, 3, 0)))
        .at(17_000, later());
    assert!(run.kinds().contains(&Kind::Twice));
}

#[test]
fn batch_with_a_gap_begins_anew_in_a_split() {
    let polled = |gap: bool| {
        let mut run = split_run();
        run.at(14_000, message(5));
        run.at(14_100, Event::Left)
            .at(14_101, Event::Connected(1))
            .asks(14_102, Transport::Poll, Since::After(IDS[4]), 0)
            .at(
                14_103,
                Event::Batch(Batch {
                    receipts: [1, 2, 3, 4].map(receipt_of).into(),
                    cursor: IDS[3],
                    gap,
                    more: false,
                    tells_ends: false,
                }),
            );
        run.kinds()
    };
    for kind in [Kind::Twice, Kind::OutOfOrder] {
        assert!(!polled(true).contains(&kind));
    }
    assert!(polled(false).contains(&Kind::Twice));
}

#[test]
fn order_of_publishing_holds_on_each_side_of_a_split() {
    // A publisher goes from one side to the other.
    let mut run = split_run();
    let publishes = &mut run.logs.publishes;
    (publishes[4].begun, publishes[4].done) = (11_600_000, 11_700_000);
    let kinds = run.kinds();
    assert!(!kinds.contains(&Kind::OutOfOrder), "{kinds:?}");
    // On one side.
    let publishes = &mut run.logs.publishes;
    (publishes[3].begun, publishes[3].done) = (11_800_000, 11_850_000);
    assert!(run.kinds().contains(&Kind::OutOfOrder));
}

#[test]
fn cursor_goes_back_to_before_what_is_lost_and_it_does_not_come_again() {
    let back = |again: bool| {
        let mut run = run();
        run.has(1..=4);
        lose(&mut run, 11, 14, None);
        run.moves(13_500, 1, Since::After(IDS[3]))
            .at(13_503, Event::Cursor(IDS[1]));
        if again {
            run.at(13_504, message(3));
        }
        run.at(13_505, Event::Gap(id_of(AFTER, 0, 0)));
        run.has([5, 6]);
        run
    };
    back(false).is_right();
    back(true).breaks(Kind::Twice);
    let mut run = back(false);
    run.logs.cluster = Some(Cluster::default());
    assert!(run.kinds().contains(&Kind::Rewound));
}

#[test]
fn what_was_lost_by_going_back_may_come_to_a_request_without_a_cursor() {
    let mut run = run();
    run.has(1..=4);
    lose(&mut run, 11, 14, None);
    run.moves(13_500, 1, Since::After(IDS[3]))
        .at(13_503, Event::Cursor(IDS[1]))
        .moves(13_504, 0, Since::Earliest)
        .at(13_507, Event::Cursor(id_of(BEFORE, 0, 0)));
    for number in 1..=4 {
        run.at(13_508, message(number));
    }
    run.has([5, 6]).is_right();
}

#[test]
fn cursor_at_the_beginning_of_a_term_is_before_what_was_lost_since() {
    let begins = |since: Since, start: Id, gaps: &[Id], lost: (u64, u64)| {
        let mut run = run();
        lose(&mut run, lost.0, lost.1, None);
        run.at(30_000, Event::Begin([2].into()))
            .at(30_000, Event::Connected(0))
            .asks(30_001, Transport::Ndjson, since, 0)
            .at(30_002, Event::Cursor(start))
            .at(30_003, Event::Left)
            .at(30_100, Event::Connected(1))
            .asks(30_101, Transport::Ndjson, Since::After(start), 0)
            .at(30_102, Event::Cursor(start));
        for &gap in gaps {
            run.at(30_103, Event::Gap(gap));
        }
        run.kinds().contains(&Kind::Groundless)
    };
    let (first, second) = (id_of(BEFORE, 0, 0), id_of(AFTER, 0, 0));
    assert!(!begins(Since::Earliest, first, &[IDS[5]], (1, 2)));
    assert!(begins(Since::Now, first, &[IDS[5]], (1, 2)));
    // The second term begins between seconds 13 and 14.
    assert!(!begins(Since::Earliest, second, &[IDS[5]], (13, 14)));
    assert!(begins(Since::Earliest, second, &[IDS[5]], (1, 2)));
    // It is told once.
    assert!(begins(Since::Earliest, first, &[IDS[5], LATER], (1, 2)));
    assert!(begins(Since::Earliest, first, &[first, first], (1, 2)));
}

#[test]
fn cursor_that_is_read_after_a_pause_was_sent_before() {
    let reads = |pauses: bool| {
        let mut run = run();
        lose(&mut run, 20, 21, None);
        run.has(1..=6);
        if pauses {
            run.at(15_500, Event::Paused).at(30_000, Event::Resumed);
        }
        run.at(30_001, Event::Cursor(id_of(AFTER, 3, 0)))
            .at(30_002, Event::Gap(id_of(AFTER, 9, 0)));
        run.kinds()
    };
    assert!(!reads(true).contains(&Kind::Groundless));
    assert!(reads(false).contains(&Kind::Groundless));
}
