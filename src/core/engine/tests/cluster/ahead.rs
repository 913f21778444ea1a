//! Cursors from other nodes: readers that are ahead of their node, and what is lost.

use super::{ask_log, ids, member, node_with, pair, poll, ready};
use crate::config::{Config, Create, Policy};
use crate::engine::tests::redis::{EPOCH, Redis};
use crate::engine::tests::support::{Server, config, frame, get, post, socket, status};
use crate::engine::{Access, State};
use crate::message::Epoch;

#[test]
fn reader_from_a_later_term_waits_until_its_node_has_come_to_it() {
    let (mut redis, mut server) = ready();
    // Another node, which follows a term that was opened just now.
    let later = format!(
        "{}-3",
        Epoch::from_seed(u64::from_str_radix(EPOCH, 36).unwrap() + 9).as_str()
    );
    let target = format!("/poll/a?since={later}");
    let answer = poll(&mut server, &target);
    assert_eq!(status(&answer), "503", "{answer}");
    // The beat that was sent after it asked has come back: there is no such term.
    redis.pass(&mut server, 3_000);
    let answer = poll(&mut server, &target);
    assert_eq!(status(&answer), "200");
    assert!(answer.contains("\"gap\":true"), "{answer}");
}

#[test]
fn command_with_a_cursor_of_a_later_term_is_refused_and_not_told_a_gap() {
    let (mut redis, mut server) = ready();
    let id = socket(&mut server, "/ws/a");
    server.take(id);
    let later = Epoch::from_seed(u64::from_str_radix(EPOCH, 36).unwrap() + 9);
    let command = format!(
        "{{\"channels\":[\"b\"],\"since\":\"{}-3\"}}",
        later.as_str()
    );
    let answer = server.ask_again(id, frame(&command));
    assert!(answer.contains("\"status\":503"), "{answer}");
    assert!(!answer.contains("\"gap\""), "{answer}");
    // The beat that was sent after it asked has come back: there is no such term.
    redis.pass(&mut server, 3_000);
    server.take(id);
    let answer = server.ask_again(id, frame(&command));
    assert!(answer.contains("\"gap\":true"), "{answer}");
}

#[test]
fn readers_ahead_of_their_node_wait_until_it_has_come_to_them() {
    let (mut redis, mut one, mut two) = pair();
    let first = ids(&ask_log(&mut redis, &mut one, &post("/publish/a", "", "1")));
    let cursor = first[0].clone();

    let answer = poll(&mut two, &format!("/poll/a?since={cursor}"));
    assert!(
        ids(&answer).is_empty() && !answer.contains("gap"),
        "{answer}"
    );
    assert_eq!(member(&answer, "cursor"), cursor);
    assert!(answer.contains("\"retry\":100"), "{answer}");

    let hold = |two: &mut Server, target: &str| two.ask(Access::Trusted, &get(target)).0;
    let held = hold(&mut two, &format!("/long-poll/a?since={cursor}"));
    let short = hold(&mut two, &format!("/long-poll/a?since={cursor}&hold=1"));
    let stream = hold(&mut two, &format!("/sse/a?since={cursor}"));
    let socket = socket(&mut two, &format!("/ws/a?since={cursor}"));
    for id in [held, short, stream, socket] {
        let opening = two.take(id);
        assert!(!opening.contains("gap"), "{opening}");
    }
    two.pass(1_100);
    let ended = two.take(short);
    assert_eq!(
        member(&ended, "cursor"),
        cursor,
        "a hold that ends keeps its cursor"
    );

    // What they have already is not sent to them again.
    redis.tell(&mut two);
    two.pass(0);
    for id in [held, stream, socket] {
        assert_eq!(two.take(id), "");
    }
    let second = ids(&ask_log(&mut redis, &mut one, &post("/publish/a", "", "2")));
    redis.serve(&mut two);
    for id in [held, stream, socket] {
        let received = two.take(id);
        assert!(received.contains(&second[0]), "{received}");
        assert!(!received.contains(&format!("{cursor}\"")), "{received}");
    }
}

#[test]
fn reader_beyond_all_that_the_log_has_is_told_a_gap() {
    let (mut redis, mut server) = ready();
    let first = ids(&ask_log(
        &mut redis,
        &mut server,
        &post("/publish/a", "", "1"),
    ));
    let cursor = format!("{EPOCH}-1000");
    let since = |endpoint: &str| format!("/{endpoint}/a?since={cursor}");

    // Another node may have given it.
    let answer = poll(&mut server, &since("poll"));
    assert!(!answer.contains("gap"), "{answer}");
    assert_eq!(member(&answer, "cursor"), cursor);
    let (held, answer) = server.ask(Access::Trusted, &get(&since("long-poll")));
    assert_eq!(answer, "");
    let (stream, opening) = server.ask(Access::Trusted, &get(&since("sse")));
    assert!(!opening.contains("gap"), "{opening}");
    let socket = socket(&mut server, &since("ws"));
    server.take(socket);

    // A beat that was sent later has come back.
    redis.pass(&mut server, 2_000);
    let answer = server.take(held);
    assert!(answer.contains("\"gap\":true"), "{answer}");
    assert_eq!(ids(&answer), first);
    for (id, gap) in [(stream, "event: gap"), (socket, "\"gap\"")] {
        let told = server.take(id);
        assert!(told.contains(gap) && told.contains(&first[0]), "{told}");
        assert_eq!(server.engine.state(id), Some(State::Streaming));
    }
    let answer = poll(&mut server, &since("poll"));
    assert!(answer.contains("\"gap\":true"), "{answer}");
    assert_eq!(ids(&answer), first);
    // The next one may be right.
    assert!(!poll(&mut server, &since("poll")).contains("gap"));
}

#[test]
fn stream_ahead_of_its_node_is_done_when_the_node_has_come_to_it() {
    let (mut redis, mut one, mut two) = pair();
    ask_log(&mut redis, &mut one, &post("/publish/a?end=1", "", "1"));
    redis.serve(&mut two);
    let more = ids(&ask_log(&mut redis, &mut one, &post("/publish/a", "", "2")));

    // The channel is open again, which this node does not know yet.
    let target = format!("/sse/a?since={}", more[0]);
    let (stream, opening) = two.ask(Access::Trusted, &get(&target));
    assert_eq!(status(&opening), "200");
    ask_log(&mut redis, &mut one, &post("/publish/a?end=1", "", ""));
    redis.serve(&mut two);
    assert!(two.take(stream).contains("event: end"));
}

#[test]
fn poll_ahead_of_its_node_is_answered_with_the_end_when_the_node_has_come_to_it() {
    let (mut redis, mut one, mut two) = pair();
    let body = "{\"channel\":\"a\",\"data\":1,\"end\":true}";
    ask_log(&mut redis, &mut one, &post("/publish", "", body));
    let cursor = member(&poll(&mut one, "/poll/a"), "cursor");
    let target = get(&format!("/long-poll/a?since={cursor}"));
    let (held, answer) = two.ask(Access::Trusted, &target);
    assert_eq!(answer, "");
    redis.serve(&mut two);
    let answer = two.take(held);
    assert!(answer.contains("\"end\":true"), "{answer}");
    assert_eq!(member(&answer, "cursor"), cursor);
}

#[test]
fn channel_that_another_node_has_made_is_not_denied_to_a_reader_from_there() {
    let (mut redis, mut one) = ready();
    let config = Config {
        policies: vec![Policy {
            create: Create::Publisher,
            ..Policy::of("**".parse().unwrap())
        }],
        ..config()
    };
    let mut two = node_with(&config, "two", 2);
    redis.connect(&mut two);
    for _ in 0..50 {
        redis.pass(&mut one, 100);
        redis.pass(&mut two, 100);
    }
    let first = ids(&ask_log(&mut redis, &mut one, &post("/publish/a", "", "1")));
    let since = |endpoint: &str| get(&format!("/{endpoint}/a?since={}", first[0]));
    let (held, answer) = two.ask(Access::Trusted, &since("long-poll"));
    assert_eq!(answer, "", "it waits");
    let (_, opening) = two.ask(Access::Trusted, &since("sse"));
    assert_eq!(status(&opening), "200");
    let denied = two.ask(Access::Trusted, &get("/long-poll/b")).1;
    assert_eq!(status(&denied), "404");
    redis.serve(&mut two);
    let second = ids(&ask_log(&mut redis, &mut one, &post("/publish/a", "", "2")));
    redis.serve(&mut two);
    assert!(two.take(held).contains(&second[0]));
}

#[test]
fn loss_is_told_once_and_to_all() {
    let (mut redis, mut one, mut two) = pair();
    ask_log(&mut redis, &mut one, &post("/publish/a", "", "1"));
    redis.serve(&mut two);
    let (stream, _) = two.ask(Access::Trusted, &get("/ndjson/a"));
    let before = member(&poll(&mut two, "/poll/a"), "cursor");

    ask_log(&mut redis, &mut one, &post("/publish/b", "", "2"));
    // It is gone before the other node has read it.
    let (lost, _) = redis.log.pop().unwrap();
    ask_log_after(&mut redis, &mut one, lost);
    let mut received = String::new();
    for _ in 0..20 {
        redis.serve(&mut two);
        two.pass(1);
        received += &two.take(stream);
    }
    assert_eq!(received.matches("\"gap\":true").count(), 1, "{received}");
    let answer = poll(&mut two, &format!("/poll/a?since={before}"));
    assert!(answer.contains("\"gap\":true"), "{answer}");
    let cursor = member(&answer, "cursor");
    let answer = poll(&mut two, &format!("/poll/a?since={cursor}"));
    assert!(!answer.contains("gap"), "{answer}");
}

/// Publishes with the number after one that is gone.
fn ask_log_after(redis: &mut Redis, server: &mut Server, lost: crate::message::EntryId) {
    let (_, answer) = server.ask(Access::Trusted, &post("/publish/b", "", "3"));
    assert_eq!(answer, "");
    let node = server.engine.cluster().unwrap();
    let command = node.next_command().expect("it is appended");
    redis.answer(command);
    let (id, _) = redis.log.last_mut().unwrap();
    *id = lost.next();
    let reply = crate::log::cluster::Reply::Appended(*id);
    server.engine.cluster().unwrap().answered(reply);
    redis.serve(server);
}

#[test]
fn heartbeat_of_server_sent_events_is_the_cursor() {
    let (mut redis, mut server) = ready();
    let (stream, opening) = server.ask(Access::Trusted, &get("/sse/a"));
    assert!(opening.contains(&format!("id: {EPOCH}-")), "{opening}");
    redis.pass(&mut server, 16_000);
    let received = server.take(stream);
    let cursor = member(&poll(&mut server, "/cursor"), "cursor");
    let (epoch, now) = cursor.split_once('-').unwrap();
    // Of the head then: beats have come since.
    let event = received.split("id: ").nth(1).expect(&received);
    let (id, rest) = event.split_once('\n').unwrap();
    let number = id.strip_prefix(&format!("{epoch}-")).unwrap();
    assert!(number.parse::<u64>().unwrap() <= now.parse::<u64>().unwrap());
    assert!(rest.starts_with('\n'), "nothing is dispatched: {received}");
    assert!(!received.contains("data:"), "{received}");
}
