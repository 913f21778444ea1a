//! Gaps, cursors and epochs.

use super::*;

#[test]
fn gap_needs_a_cause() {
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
        span: span(14_000, 15_000),
    });
    run.is_right();
}

#[test]
fn gap_may_follow_messages_of_another_channel() {
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
fn gap_in_a_batch_excuses_what_is_missing() {
    let mut run = Run::new(6);
    run.asks(9_000, Transport::Poll, Since::Now, 0)
        .batch(9_001, &[], id(1, 0), false)
        .asks(15_500, Transport::Poll, Since::After(id(1, 0)), 0)
        .batch(15_501, &[3, 4, 5, 6], id(1, 6), true);
    run.is_right();
}

#[test]
fn new_epoch_without_a_gap_is_concealed() {
    let mut run = Run::new(1);
    run.publish(publish(2, 1, 1, 20 * SECOND));
    run.logs.outages.push(span(11_000, 12_000));
    run.streams(9_000)
        .gets(10_010, 1)
        .at(11_010, Event::Lost)
        .asks(12_500, Transport::Ndjson, Since::After(id(1, 1)), 0)
        .at(12_510, Event::Cursor(Id::UNKNOWN));
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
        .asks(20_500, Transport::Poll, Since::After(Id::UNKNOWN), 0)
        .batch(20_501, &[1], id(2, 1), true);
    run.is_right();
    run.logs.clients[0].pop();
    run.batch(20_501, &[1], id(2, 1), false);
    run.breaks(Kind::Concealed);
}

#[test]
fn cursor_before_the_gap_must_lead_to_it() {
    let mut run = Run::new(1);
    run.publish(publish(2, 1, 1, 11_900_000));
    run.publish(publish(2, 2, 1, 13 * SECOND));
    run.streams(9_000)
        .gets(10_010, 1)
        .at(11_000, Event::Left)
        .asks(12_500, Transport::Ndjson, Since::After(id(1, 1)), 0)
        .at(12_510, Event::Cursor(Id::UNKNOWN))
        .at(12_511, Event::Gap(id(2, 0)))
        .at(12_511, Event::Message(receipt(2, 1, 1)))
        .at(13_010, Event::Message(receipt(2, 2, 1)));
    run.is_right();
    // It is told whatever there is.
    run.logs.clients[0].remove(8);
    run.breaks(Kind::Groundless);

    // With a cursor of the new epoch itself a client that comes back would never be told.
    let mut run = Run::new(1);
    run.streams(9_000)
        .gets(10_010, 1)
        .at(11_000, Event::Left)
        .asks(12_500, Transport::Ndjson, Since::After(id(1, 1)), 0)
        .at(12_510, Event::Cursor(id(2, 0)))
        .at(12_511, Event::Gap(id(2, 0)));
    run.breaks(Kind::Concealed);
}

#[test]
fn batch_of_a_new_epoch_without_a_gap_is_concealed() {
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
fn cursor_that_goes_back_is_found() {
    let mut run = Run::new(2);
    run.streams(9_000)
        .gets(10_010, 1)
        .gets(11_010, 2)
        .at(12_000, Event::Cursor(id(1, 1)))
        .at(12_001, Event::Cursor(id(1, 2)));
    assert_eq!(run.kinds(), [Kind::Lost, Kind::Rewound]);
}

#[test]
fn earliest_begins_with_the_oldest_kept() {
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
fn earliest_after_a_deletion_may_be_nothing() {
    let mut run = Run::new(1);
    run.logs.deletions.push(Deletion {
        channel: 1,
        span: span(11_000, 12_000),
    });
    run.asks(12_500, Transport::Poll, Since::Earliest, 0)
        .batch(12_501, &[], id(1, 0), false);
    run.is_right();
    run.logs.deletions.clear();
    assert_eq!(run.kinds(), [Kind::Undelivered, Kind::Overlooked]);
}

#[test]
fn gap_of_a_new_epoch_passes_only_what_is_gone() {
    for (passed, is_right) in [(0, true), (2, true), (3, false)] {
        let mut run = Run::new(6);
        run.asks(15_500, Transport::Ndjson, Since::Unknown, 0)
            .at(15_501, Event::Cursor(Id::UNKNOWN))
            .at(15_502, Event::Gap(id(1, passed)));
        for seq in passed.max(2) + 1..=6 {
            run.gets(15_503, seq);
        }
        match is_right {
            true => run.is_right(),
            false => run.breaks(Kind::Groundless),
        }
    }
}

#[test]
fn poll_for_the_earliest_is_told_of_no_gap() {
    let mut run = Run::new(6);
    run.asks(15_500, Transport::Poll, Since::Earliest, 0).batch(
        15_501,
        &[3, 4, 5, 6],
        id(1, 6),
        true,
    );
    run.breaks(Kind::Groundless);
}

#[test]
fn request_for_the_next_message_begins_with_the_present() {
    let mut run = Run::new(2);
    run.asks(11_500, Transport::Ndjson, Since::Now, 0)
        .at(11_501, Event::Cursor(id(1, 1)))
        .gets(11_502, 2);
    run.breaks(Kind::Misplaced);

    let mut run = Run::new(2);
    run.asks(11_500, Transport::Ndjson, Since::Now, 0)
        .gets(11_501, 2);
    run.breaks(Kind::Misplaced);

    let mut run = Run::new(2);
    run.asks(11_500, Transport::Ndjson, Since::Now, 0)
        .at(11_501, Event::Cursor(id(1, 2)));
    run.is_right();
}

#[test]
fn request_after_a_cursor_is_told_of_every_gap() {
    let mut run = Run::new(6);
    run.logs.end = 15 * SECOND;
    run.asks(9_000, Transport::Poll, Since::Earliest, 0)
        .batch(9_001, &[], id(1, 0), false)
        .asks(15_500, Transport::Poll, Since::After(id(1, 0)), 0)
        .batch(15_501, &[3, 4, 5, 6], id(1, 6), false);
    run.breaks(Kind::Lost);
}

#[test]
fn request_for_the_newest_begins_with_as_many_as_it_asked_for() {
    let first_of = |seqs: &[u64]| {
        let mut run = Run::new(6);
        run.asks(16_500, Transport::Poll, Since::Newest(2), 0)
            .batch(16_501, seqs, id(1, 6), false);
        run
    };
    first_of(&[5, 6]).is_right();
    first_of(&[6]).breaks(Kind::Misplaced);
    first_of(&[4, 5, 6]).breaks(Kind::Misplaced);
    let mut run = Run::new(6);
    run.asks(16_500, Transport::Poll, Since::Newest(2), 0)
        .batch(16_501, &[5, 6], id(1, 6), true);
    run.breaks(Kind::Groundless);
    // History keeps four.
    let mut run = Run::new(6);
    run.asks(16_500, Transport::Ndjson, Since::Newest(9), 0)
        .at(16_501, Event::Cursor(id(1, 2)))
        .gets(16_502, 3)
        .gets(16_503, 4)
        .gets(16_504, 5)
        .gets(16_505, 6);
    run.is_right();
}
