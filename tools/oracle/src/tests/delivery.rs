//! Order and completeness: every message once, in order.

use super::*;

#[test]
fn complete_stream_is_right() {
    let mut run = Run::new(3);
    run.streams(9_000)
        .gets(10_010, 1)
        .gets(11_010, 2)
        .gets(12_010, 3);
    run.is_right();
    assert_eq!(check(&run.logs, RULES).counts.complete, 1);
}

#[test]
fn polls_that_resume_are_right() {
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
fn skipped_message_is_lost() {
    let mut run = Run::new(3);
    run.streams(9_000).gets(10_010, 1).gets(12_010, 3);
    run.breaks(Kind::Lost);
}

#[test]
fn message_skipped_by_a_cursor_is_lost() {
    let mut run = Run::new(1);
    run.streams(9_000).at(10_500, Event::Cursor(id(1, 1)));
    run.breaks(Kind::Lost);
}

#[test]
fn message_skipped_on_one_of_two_channels_is_lost() {
    let mut run = Run::new(1);
    run.publish(publish(1, 2, 2, 11 * SECOND));
    run.publish(publish(1, 3, 1, 12 * SECOND));
    run.at(0, Event::Begin([1, 2].into()));
    run.streams(9_000).gets(10_010, 1).gets(12_010, 3);
    run.breaks(Kind::Lost);
}

#[test]
fn unacknowledged_message_that_another_client_has_is_lost() {
    let mut run = Run::new(0);
    let mut unanswered = publish(1, 1, 1, 10 * SECOND);
    unanswered.outcome = Outcome::Unknown;
    run.publish(unanswered);
    run.publish(publish(1, 2, 1, 11 * SECOND));
    run.streams(9_000).gets(11_010, 2);
    // No client has it: it may never have been accepted.
    run.is_right();

    let mut other = Run::new(0);
    other.streams(9_000).gets(10_010, 1).gets(11_010, 2);
    run.logs.clients.push(other.logs.clients.remove(0));
    run.logs.processes.push(0);
    run.breaks(Kind::Lost);
}

#[test]
fn message_missing_at_the_end_is_undelivered() {
    let mut run = Run::new(1);
    run.asks(9_000, Transport::LongPoll, Since::Now, 500)
        .batch(9_500, &[], id(1, 0), false);
    run.breaks(Kind::Undelivered);
}

#[test]
fn repeated_message_is_found() {
    let mut run = Run::new(2);
    run.streams(9_000)
        .gets(10_010, 1)
        .gets(11_010, 2)
        .gets(11_020, 2);
    run.breaks(Kind::Twice);
}

#[test]
fn reordered_messages_are_found() {
    let mut run = Run::new(2);
    run.logs.publishes[0] = publish(1, 1, 1, 10_990_000);
    run.streams(9_000)
        .at(10_500, Event::Beat)
        .gets(11_010, 2)
        .gets(11_020, 1);
    // A message that is passed over is missing, even if it comes later.
    assert_eq!(run.kinds(), [Kind::Lost, Kind::OutOfOrder]);
}

#[test]
fn message_of_another_channel_is_misrouted() {
    let mut run = Run::new(1);
    run.publish(publish(1, 2, 2, 11 * SECOND));
    run.streams(9_000).gets(10_010, 1);
    run.at(11_010, Event::Message(receipt(1, 2, 2)));
    run.breaks(Kind::Misrouted);
}

#[test]
fn message_under_another_channels_name_is_misrouted() {
    let mut run = Run::new(1);
    run.publish(publish(1, 2, 2, 11 * SECOND));
    run.streams(9_000).gets(10_010, 1).gets(11_010, 2);
    run.breaks(Kind::Misrouted);
}

#[test]
fn changed_length_is_mangled() {
    let mut run = Run::new(1);
    run.logs.publishes[0].length = 101;
    run.streams(9_000).gets(10_010, 1);
    run.breaks(Kind::Mangled);
}

#[test]
fn unpublished_or_refused_message_is_invented() {
    let mut run = Run::new(0);
    run.streams(9_000).gets(10_010, 1);
    run.breaks(Kind::Invented);

    let mut refused = publish(1, 1, 1, 10 * SECOND);
    refused.outcome = Outcome::Refused;
    run.publish(refused);
    run.breaks(Kind::Invented);
}

#[test]
fn response_without_an_acknowledged_message_is_found() {
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
fn unreadable_response_is_found() {
    let mut run = Run::new(0);
    run.streams(9_000)
        .at(9_500, Event::Nonsense("half a line".into()));
    run.breaks(Kind::Nonsense);
}

#[test]
fn request_from_another_place_is_an_instrument_fault() {
    let mut run = Run::new(1);
    run.streams(9_000)
        .gets(10_010, 1)
        .at(10_020, Event::Left)
        .asks(10_030, Transport::Poll, Since::After(id(1, 0)), 0)
        .batch(10_031, &[1], id(1, 1), false);
    run.breaks(Kind::Instrument);
}
