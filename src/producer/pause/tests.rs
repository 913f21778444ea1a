use std::io::{PipeWriter, Write};
use std::time::Duration;

use super::*;
use crate::inbox::{self, Inbox, Submitted};
use encke_core::config::Config;
use encke_core::hub::Published;
use encke_core::message::{Data, Epoch, MessageId, Seq};

/// A queue of two messages.
fn queue() -> (Publisher, Inbox) {
    let poll = mio::Poll::new().unwrap();
    let waker = mio::Waker::new(poll.registry(), mio::Token(0)).unwrap();
    let config = Config {
        queue: 2,
        ..Config::default()
    };
    let (publisher, _, inbox) = inbox::channel(&config, waker);
    (publisher, inbox)
}

/// The published messages, once there are at least `count`.
fn published(inbox: &mut Inbox, count: usize) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        inbox.on_wake();
        inbox.take_messages(100, |draft| {
            let Data::Text(text) = &draft.data else {
                panic!("no text");
            };
            lines.push(text.to_string());
            let seq = Seq(1);
            let epoch = Epoch::from_seed(0);
            let id = MessageId { epoch, seq };
            Ok(Submitted::Published(Published { id, subscribers: 0 }))
        });
        if lines.len() >= count {
            return lines;
        }
        thread::yield_now();
    }
}

fn start(rest: Rest, is_paused: bool, publisher: &Publisher) -> (Producer, PipeWriter) {
    let (source, input) = io::pipe().unwrap();
    let producer = go_on_with(source, rest, is_paused, publisher);
    (producer, input)
}

fn go_on_with(source: PipeReader, rest: Rest, is_paused: bool, to: &Publisher) -> Producer {
    let lines = Lines::to_channel("a").unwrap();
    Producer::start(source.into(), lines, rest, is_paused, to.clone(), || {}).unwrap()
}

fn wait_until_paused(producer: &mut Producer) {
    while !producer.is_paused() {
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn half_a_line_goes_along() {
    let (publisher, mut inbox) = queue();
    let (source, mut input) = io::pipe().unwrap();
    let again = source.try_clone().unwrap();
    let mut first = go_on_with(source, Rest::default(), false, &publisher);
    input.write_all(b"one\nhal").unwrap();
    assert_eq!(published(&mut inbox, 1), ["one"]);
    first.pause();
    wait_until_paused(&mut first);
    let rest = first.rest().unwrap().clone();

    // The producer does not read now.
    input.write_all(b"f\nthree\n").unwrap();
    let mut second = go_on_with(again, rest, true, &publisher);
    assert!(second.is_paused());
    second.go_on();
    assert_eq!(published(&mut inbox, 2), ["half", "three"]);
    drop((first, input));
    wait_until_paused(&mut second);
    assert_eq!(second.rest(), None, "it has ended");
    second.go_on();
    assert!(second.is_paused());
}

#[test]
fn pause_that_is_taken_back_loses_nothing() {
    let (publisher, mut inbox) = queue();
    let (mut producer, mut input) = start(Rest::default(), false, &publisher);
    for line in 0..500 {
        writeln!(input, "{line}").unwrap();
        producer.pause();
        if line % 3 == 0 {
            wait_until_paused(&mut producer);
        }
        producer.go_on();
        assert_eq!(published(&mut inbox, 1), [line.to_string()]);
    }
}

#[test]
fn producer_that_waits_for_room_pauses_when_there_is_some() {
    let (publisher, mut inbox) = queue();
    let (mut producer, mut input) = start(Rest::default(), false, &publisher);
    input.write_all(b"1\n2\n3\n4\n5\n").unwrap();
    while inbox.len() < 2 {
        thread::yield_now();
    }
    producer.pause();
    let mut lines = Vec::new();
    while !producer.is_paused() {
        lines.extend(published(&mut inbox, 0));
    }
    assert!(lines.len() < 5, "it did not read all before it paused");
    producer.go_on();
    while lines.len() < 5 {
        lines.extend(published(&mut inbox, 1));
    }
    assert_eq!(lines, ["1", "2", "3", "4", "5"]);
}
