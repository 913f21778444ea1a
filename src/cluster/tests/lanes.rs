//! Order, and new connections.

use rustix::process::Signal;

use super::*;

fn body(number: usize) -> Vec<u8> {
    // Every tenth is large.
    let len = if number % 10 == 9 { 100_000 } else { number };
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.resize(8 + len, b'x');
    bytes
}

#[test]
fn replies_and_entries_come_in_order() {
    let Some(server) = redis(&[]) else { return };
    let mut lanes = Lanes::connected(&config(&server));
    let term = lanes.open(OpenMode::Look, EntryId::ZERO).term;
    let mut sent = 0;
    for round in 1..20 {
        for _ in 0..round {
            lanes.send(append(term, body(sent)));
            sent += 1;
        }
        let replies = lanes.replies(round);
        let first = sent + 1 - round;
        let expected =
            (first..=sent).map(|number| Reply::Appended(EntryId::new(term, number as u64)));
        assert!(replies.into_iter().eq(expected));
    }
    // From the middle: what is there, and then what comes.
    let middle = sent / 2;
    assert!(lanes.redis.follow(EntryId::new(term, middle as u64)));
    let last = sent - 1;
    for (number, (id, bytes)) in (middle..).zip(lanes.read(sent - middle)) {
        assert_eq!(id, EntryId::new(term, number as u64 + 1));
        assert!(bytes == body(number) && number <= last, "{number}");
    }
    lanes.send(append(term, body(sent)));
    let id = EntryId::new(term, sent as u64 + 1);
    assert_eq!(lanes.read(1), [(id, body(sent))]);
}

#[test]
fn foreign_entry_has_no_bytes() {
    let Some(server) = redis(&[]) else { return };
    let mut lanes = Lanes::connected(&config(&server));
    server.tell("XADD {encke}:log 5-1 a b").expect("OK");
    server.tell("XADD {encke}:log 5-2 a b b c").expect("OK");
    assert!(lanes.redis.follow(EntryId::ZERO));
    let expected = [
        (EntryId::new(5, 1), Vec::new()),
        (EntryId::new(5, 2), b"c".to_vec()),
    ];
    assert_eq!(lanes.read(2), expected);
}

#[test]
fn lanes_connect_again_after_a_crash() {
    let Some(mut server) = redis(&[]) else { return };
    let mut lanes = Lanes::connected(&config(&server));
    let term = lanes.open(OpenMode::Look, EntryId::ZERO).term;
    assert!(lanes.redis.follow(EntryId::ZERO));
    assert_eq!(lanes.read(1)[0].0, EntryId::new(term, 0));

    server.kill().expect("it is ours");
    // The publish lane notices it when it sends, the follow lane in its read.
    lanes.send(append(term, "a"));
    for lane in [Lane::Publish, Lane::Follow] {
        assert_eq!(lanes.until_broken(lane), Cause::Closed);
    }
    // Without a connection a command is dropped.
    lanes.send(append(term, "b"));
    assert!(!lanes.redis.follow(EntryId::ZERO));
    // The socket of a process that ends may still accept.
    while lanes.until_broken(Lane::Follow) != Cause::Unreachable {}
    server.start_again().expect("it starts");
    for lane in [Lane::Publish, Lane::Follow] {
        let causes = lanes.until_connected(lane);
        let is_of_a_crash = |cause| matches!(cause, &Cause::Unreachable | &Cause::Closed);
        assert!(causes.iter().all(is_of_a_crash), "{causes:?}");
    }
    let opened = lanes.open(OpenMode::Look, EntryId::new(term, 0));
    assert!(opened.term > term && opened.last == EntryId::ZERO);
    assert!(lanes.redis.follow(EntryId::ZERO));
    assert_eq!(lanes.read(1)[0].0, EntryId::new(opened.term, 0));
    assert!(lanes.redis.broken()[Cause::Closed as usize] >= 2);
}

#[test]
fn silent_server_is_left_after_the_deadline() {
    let Some(server) = redis(&[]) else { return };
    let mut lanes = Lanes::connected(&config(&server));
    let term = lanes.open(OpenMode::Look, EntryId::ZERO).term;
    assert!(lanes.redis.follow(EntryId::ZERO));
    assert_eq!(lanes.read(1).len(), 1);

    server.signal(Signal::STOP).expect("it is ours");
    lanes.send(append(term, "a"));
    for lane in [Lane::Publish, Lane::Follow] {
        assert_eq!(lanes.until_broken(lane), Cause::Silent);
    }
    server.signal(Signal::CONT).expect("it is ours");
    for lane in [Lane::Publish, Lane::Follow] {
        lanes.until_connected(lane);
    }
    // What was sent before the stop may have been done: the fence decides.
    let fenced = lanes.open(OpenMode::Fence, EntryId::new(term, 0));
    assert!(fenced.term > term);
    assert_eq!(lanes.reply_to(append(term, "b")), Reply::Stale);
}

#[test]
fn reset_drops_all_events_of_the_old_connection() {
    let Some(server) = redis(&[]) else { return };
    let mut lanes = Lanes::connected(&config(&server));
    let term = lanes.open(OpenMode::Look, EntryId::ZERO).term;
    for _ in 0..20 {
        for _ in 0..8 {
            lanes.send(append(term, "a"));
        }
        assert!(lanes.redis.follow(EntryId::ZERO));
        lanes.redis.reset();
        // The first event of each lane is that there is a new connection.
        for lane in [Lane::Publish, Lane::Follow] {
            let event = lanes.event(lane);
            assert!(matches!(event, Event::Connected { .. }), "{event:?}");
        }
        let opened = lanes.open(OpenMode::Look, EntryId::new(term, 0));
        assert_eq!(opened.term, term);
    }
    assert_eq!(lanes.redis.broken()[Cause::Reset as usize], 40);
}

#[test]
fn threads_end_with_the_reactors_side() {
    let Some(mut server) = redis(&[]) else { return };
    for is_there in [true, false] {
        let lanes = match is_there {
            true => Lanes::connected(&config(&server)),
            false => {
                server.kill().expect("it is ours");
                let mut lanes = Lanes::start(&config(&server));
                lanes.until_broken(Lane::Publish);
                lanes
            }
        };
        let Lanes { redis, rung } = lanes;
        drop(redis);
        // The bell is dropped with the last thread.
        let begun = Instant::now();
        while rung.recv_timeout(DEADLINE) != Err(crossbeam_channel::RecvTimeoutError::Disconnected)
        {
            assert!(begun.elapsed() < DEADLINE);
        }
    }
}
