//! Holds, heartbeats, late messages, and connections that end.

use super::*;

#[test]
fn late_end_of_a_hold_is_found() {
    let mut run = Run::new(0);
    run.asks(9_000, Transport::LongPoll, Since::Now, 2_000)
        .batch(12_500, &[], id(1, 0), false);
    run.breaks(Kind::LateHold);

    // Stopped for a while, by whomever, it is not late.
    let stop = span(11_000, 12_000);
    run.logs.server_stops.push(stop);
    run.is_right();
    run.logs.server_stops.clear();
    run.logs.client_stops[0].push(stop);
    run.is_right();
}

#[test]
fn hold_without_response_is_late() {
    let mut run = Run::new(0);
    run.asks(9_000, Transport::LongPoll, Since::Now, 2_000)
        .at(12_500, Event::Left);
    run.breaks(Kind::LateHold);
}

#[test]
fn late_end_of_a_given_up_hold_is_found() {
    let mut run = Run::new(0);
    run.asks(9_000, Transport::LongPoll, Since::Now, 20_000)
        .at(10_000, Event::Nudged)
        .batch(11_500, &[], id(1, 0), false);
    run.breaks(Kind::LateHold);
}

#[test]
fn early_end_of_a_hold_is_found() {
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

    // A drain ends all holds.
    run.logs.outages.push(span(10_000, 13_000));
    run.is_right();
}

#[test]
fn late_message_is_found() {
    let mut run = Run::new(1);
    run.streams(9_000).at(10_999, Event::Beat).gets(11_500, 1);
    run.breaks(Kind::LateMessage);
}

#[test]
fn hold_that_misses_a_message_is_late() {
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
fn stream_that_ends_without_an_old_message_is_late() {
    let mut run = Run::new(1);
    run.streams(9_000)
        .at(10_999, Event::Beat)
        .at(12_500, Event::Left)
        .asks(12_600, Transport::Poll, Since::After(id(1, 0)), 0)
        .batch(12_601, &[1], id(1, 1), false);
    run.breaks(Kind::LateMessage);
}

#[test]
fn stream_without_heartbeat_is_found() {
    let mut run = Run::new(0);
    run.streams(9_000).at(12_500, Event::Beat);
    run.breaks(Kind::Silence);
}

#[test]
fn drops_and_refusals_need_an_outage() {
    let mut run = Run::new(0);
    run.streams(9_000).at(9_500, Event::Lost);
    run.breaks(Kind::Dropped);

    let mut run = Run::new(0);
    run.at(9_000, Event::Unreachable(0));
    run.breaks(Kind::Refused);

    let mut run = Run::new(0);
    run.asks(9_000, Transport::Poll, Since::Now, 0)
        .at(9_001, Event::Refused(503));
    run.breaks(Kind::Refused);

    run.logs.outages.push(span(8_000, 10_000));
    run.is_right();
}

#[test]
fn late_reading_excuses_a_drop() {
    let mut run = Run::new(1);
    run.streams(9_000).gets(19_000, 1).at(19_001, Event::Lost);
    run.logs.client_stops[0].push(span(10_100, 18_500));
    run.logs.outages.push(span(10_200, 12_000));
    run.is_right();

    // One that came up again in time has nothing to do with it.
    let mut run = Run::new(1);
    run.streams(9_000)
        .gets(10_100, 1)
        .at(11_000, Event::Beat)
        .at(11_001, Event::Lost);
    run.logs.outages.push(span(8_000, 8_900));
    run.breaks(Kind::Dropped);
}

#[test]
fn right_to_receive_ends_what_it_opened() {
    // Before the end of the hold, but not long after that of the right.
    let held = |ms| {
        let mut run = Run::new(0);
        run.asks(9_000, Transport::LongPoll, Since::Now, 8_000)
            .at(9_000, Event::Lapses(11 * SECOND))
            .batch(ms, &[], id(1, 0), false);
        run
    };
    held(9_500).is_right();
    held(11_500).is_right();
    held(12_500).breaks(Kind::LateHold);

    let streaming = |ms| {
        let mut run = Run::new(0);
        run.asks(9_000, Transport::Ndjson, Since::Now, 0)
            .at(9_000, Event::Lapses(11 * SECOND))
            .at(9_001, Event::Cursor(id(1, 0)))
            .at(11_000, Event::Beat)
            .at(ms, Event::Beat)
            .at(ms, Event::Left);
        run
    };
    streaming(11_900).is_right();
    streaming(12_100).breaks(Kind::Deadline);
}

#[test]
fn good_token_is_not_refused() {
    let refused = |is_due| {
        let mut run = Run::new(0);
        run.asks(9_000, Transport::Poll, Since::Now, 0)
            .at(9_001, Event::Unauthorized { is_due });
        run
    };
    refused(true).is_right();
    refused(false).breaks(Kind::Refused);
}
