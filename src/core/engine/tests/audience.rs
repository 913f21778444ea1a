//! Readers of a cluster's nodes, as publishers, policies and operators see them.

use super::cluster::{ask_log, node_with, pair, poll, ready, settings};
use super::redis::Redis;
use super::support::{Server, config, frozen, get, post, status};
use crate::config::{Config, Policy};
use crate::engine::Access;
use crate::log::cluster::Lane;
use crate::log::cluster::entry::{Body, Entry};

/// Lets time pass for nodes.
fn pass(redis: &mut Redis, nodes: &mut [&mut Server], ms: u64) {
    for _ in 0..ms.div_ceil(50) {
        for node in &mut *nodes {
            node.pass(50);
            redis.serve(node);
        }
    }
}

/// `subscribers` in the answer to a publish.
fn subscribers(redis: &mut Redis, node: &mut Server, channel: &str) -> u32 {
    let answer = ask_log(redis, node, &post(&format!("/publish/{channel}"), "", "x"));
    count(&answer)
}

fn count(answer: &str) -> u32 {
    let at = answer.rfind("\"subscribers\":").expect(answer) + 14;
    let digits = answer[at..].split(|byte: char| !byte.is_ascii_digit());
    digits.map(str::to_owned).next().unwrap().parse().unwrap()
}

fn follow(node: &mut Server, target: &str) {
    let (id, _) = node.ask(Access::Trusted, &get(target));
    assert!(node.engine.state(id).is_some());
}

#[test]
fn publisher_is_told_the_readers_of_all_nodes() {
    let (mut redis, mut one, mut two) = pair();
    follow(&mut one, "/sse/a");
    follow(&mut two, "/sse/a,b");
    let (held, _) = two.ask(Access::Trusted, &get("/long-poll/a?hold=60"));
    assert_eq!(subscribers(&mut redis, &mut one, "a"), 1, "not told yet");
    // The publish has ended the hold.
    two.take(held);
    redis.serve(&mut two);
    pass(&mut redis, &mut [&mut one, &mut two], 1_000);
    assert_eq!(subscribers(&mut redis, &mut one, "b"), 1);
    assert_eq!(subscribers(&mut redis, &mut one, "a"), 2);
    assert_eq!(subscribers(&mut redis, &mut two, "a"), 2);
    assert_eq!(subscribers(&mut redis, &mut two, "c"), 0);
    // A batch, and what was published before with the same key.
    let lines = "{\"channel\":\"a\",\"data\":1}\n{\"channel\":\"b\",\"data\":1}\n";
    let answer = ask_log(&mut redis, &mut one, &post("/publish", "", lines));
    assert!(
        answer.contains("\"channel\":\"a\",\"subscribers\":2}"),
        "{answer}"
    );
    assert_eq!(count(&answer), 1);
    let keyed = post("/publish/a", "Idempotency-Key: k\r\n", "x");
    assert_eq!(count(&ask_log(&mut redis, &mut one, &keyed)), 2);
    assert_eq!(count(&one.ask(Access::Trusted, &keyed).1), 2);
    // Those of before are gone.
    let (gone, _) = two.ask(Access::Trusted, &get("/sse/b"));
    pass(&mut redis, &mut [&mut one, &mut two], 1_000);
    assert_eq!(subscribers(&mut redis, &mut one, "b"), 2);
    two.eof(gone);
    pass(&mut redis, &mut [&mut one, &mut two], 1_000);
    assert_eq!(subscribers(&mut redis, &mut one, "b"), 1);
}

#[test]
fn channels_are_shown_with_the_readers_of_all_nodes() {
    let (mut redis, mut one, mut two) = pair();
    follow(&mut one, "/sse/a");
    follow(&mut two, "/sse/a");
    follow(&mut two, "/sse/b");
    pass(&mut redis, &mut [&mut one, &mut two], 1_000);
    let answer = poll(&mut one, "/channels/a");
    assert!(answer.contains("\"subscribers\":{\"total\":2,"), "{answer}");
    assert!(answer.contains("\"sse\":1,"), "{answer}");
    assert!(answer.contains("\"elsewhere\":1}"), "{answer}");
    let answer = poll(&mut one, "/channels");
    assert!(answer.contains("\"subscribers\":{\"total\":2,"), "{answer}");
    // This node does not know it, and another has its readers.
    let answer = poll(&mut one, "/channels/b");
    assert!(answer.contains("\"subscribers\":{\"total\":1,"), "{answer}");
    assert_eq!(status(&poll(&mut one, "/channels/c")), "404");
    assert!(poll(&mut one, "/metrics").contains("encke_engine_channels_elsewhere 2.0\n"));
}

#[test]
fn policy_limits_the_subscribers_of_all_nodes() {
    let config = Config {
        policies: vec![Policy {
            max_subscribers: Some(2),
            ..Policy::of("few/*".parse().unwrap())
        }],
        ..config()
    };
    let mut redis = Redis::default();
    let mut nodes = ["one", "two"].map(|name| node_with(&config, name, name.len() as u64 + 4));
    // Seeds differ.
    nodes[1] = node_with(&config, "two", 9);
    let [one, two] = &mut nodes;
    redis.connect(one);
    redis.connect(two);
    pass(&mut redis, &mut [one, two], 8_000);
    follow(one, "/sse/few/a");
    follow(two, "/sse/few/a");
    follow(two, "/sse/few/b");
    pass(&mut redis, &mut [one, two], 1_000);
    for node in [one, two] {
        let answer = poll(node, "/ndjson/few/a");
        assert_eq!(status(&answer), "503", "{answer}");
        assert!(answer.contains("max-subscribers"), "{answer}");
        assert_eq!(status(&poll(node, "/ndjson/few/b")), "200");
        assert_eq!(status(&poll(node, "/ndjson/many")), "200");
    }
}

#[test]
fn readers_of_a_node_that_is_gone_are_not_counted() {
    let (mut redis, mut one, mut two) = pair();
    follow(&mut two, "/sse/a");
    pass(&mut redis, &mut [&mut one, &mut two], 1_000);
    assert_eq!(subscribers(&mut redis, &mut one, "a"), 1);
    // Its beats are missing.
    pass(&mut redis, &mut [&mut one], 7_000);
    assert_eq!(subscribers(&mut redis, &mut one, "a"), 0);
    // It was only away, and has lost no connection.
    pass(&mut redis, &mut [&mut one, &mut two], 2_000);
    assert_eq!(subscribers(&mut redis, &mut one, "a"), 1);
    // It leaves.
    two.engine.cluster().unwrap().leave();
    pass(&mut redis, &mut [&mut one, &mut two], 1_000);
    assert_eq!(subscribers(&mut redis, &mut one, "a"), 0);
}

#[test]
fn node_that_starts_late_learns_what_was_told_before() {
    let (mut redis, mut one, mut two) = pair();
    for number in 0..20 {
        follow(&mut one, &format!("/sse/a/{number}"));
    }
    pass(&mut redis, &mut [&mut one, &mut two], 20_000);
    // The beginning of the log is lost.
    redis.log.drain(..redis.log.len() - 3);
    let mut late = node_with(&config(), "late", 3);
    redis.connect(&mut late);
    pass(&mut redis, &mut [&mut one, &mut two, &mut late], 3_000);
    assert_eq!(status(&poll(&mut late, "/readyz")), "200");
    assert_eq!(subscribers(&mut redis, &mut late, "a/7"), 1);
    assert!(poll(&mut late, "/metrics").contains("encke_engine_channels_elsewhere 20.0\n"));
}

#[test]
fn broken_connection_loses_no_reader() {
    let (mut redis, mut one, mut two) = pair();
    follow(&mut two, "/sse/a");
    pass(&mut redis, &mut [&mut one, &mut two], 1_000);
    let (gone, _) = two.ask(Access::Trusted, &get("/sse/b"));
    two.pass(600);
    let node = two.engine.cluster().unwrap();
    while node.next_command().is_some() {}
    // What was sent is lost.
    node.broken(Lane::Publish);
    two.eof(gone);
    follow(&mut two, "/sse/c");
    two.pass(100);
    two.engine.cluster().unwrap().connected(Lane::Publish);
    pass(&mut redis, &mut [&mut one, &mut two], 2_000);
    for (channel, expected) in [("a", 1), ("b", 0), ("c", 1)] {
        assert_eq!(
            subscribers(&mut redis, &mut one, channel),
            expected,
            "{channel}"
        );
    }
}

/// What others have said goes along in a hand-over, and goes when they do.
#[test]
fn counts_are_the_same_right_after_a_hand_over() {
    let (mut redis, mut one, mut two) = pair();
    follow(&mut one, "/sse/a");
    follow(&mut two, "/sse/a,b");
    let (gone, _) = two.ask(Access::Trusted, &get("/sse/b"));
    pass(&mut redis, &mut [&mut one, &mut two], 3_000);
    let entries = redis.log.len();
    redis.execute(&mut one);
    one.engine.cluster().unwrap().rest(true);
    one.apply_log(10_000);
    let state = frozen(&one.engine);
    one.hand_over(&config(), settings("one"));
    one.engine.cluster().unwrap().rest(true);
    assert!(
        frozen(&one.engine) == state,
        "not the same when frozen again"
    );
    one.engine.cluster().unwrap().rest(false);
    assert_eq!(
        (subscribers_of(&mut one, "a"), subscribers_of(&mut one, "b")),
        (1, 2)
    );
    redis.connect(&mut one);
    assert_eq!(subscribers(&mut redis, &mut one, "a"), 2);
    // It tells its own again, and asks nobody for theirs.
    pass(&mut redis, &mut [&mut one, &mut two], 3_000);
    assert_eq!(subscribers(&mut redis, &mut two, "a"), 2);
    let told = redis.log[entries..]
        .iter()
        .filter(|(_, bytes)| tells(bytes));
    assert_eq!(told.count(), 1);
    // Changes count, and what a node has said goes with it.
    two.eof(gone);
    pass(&mut redis, &mut [&mut one, &mut two], 1_000);
    assert_eq!(subscribers_of(&mut one, "b"), 1);
    pass(&mut redis, &mut [&mut one], 7_000);
    assert_eq!(subscribers_of(&mut one, "b"), 0);
}

/// Whether an entry tells of readers.
fn tells(bytes: &[u8]) -> bool {
    matches!(Entry::read(bytes), Ok(entry) if matches!(entry.body, Body::Readers(_)))
}

/// The slot of a forgotten channel is used again, with as many readers.
#[test]
fn channel_in_the_place_of_a_forgotten_one_is_another() {
    let config = Config {
        max_channels: 1,
        ..config()
    };
    let (mut redis, mut one) = ready();
    let mut two = node_with(&config, "two", 2);
    redis.connect(&mut two);
    pass(&mut redis, &mut [&mut one, &mut two], 5_000);
    let (gone, _) = two.ask(Access::Trusted, &get("/sse/a"));
    pass(&mut redis, &mut [&mut one, &mut two], 1_000);
    assert_eq!(subscribers_of(&mut one, "a"), 1);
    // Both in one tick, before the next look.
    two.eof(gone);
    follow(&mut two, "/sse/b");
    pass(&mut redis, &mut [&mut one, &mut two], 1_000);
    assert_eq!(subscribers_of(&mut one, "b"), 1);
    assert_eq!(subscribers_of(&mut one, "a"), 0);
}

/// The readers of a channel elsewhere.
fn subscribers_of(node: &mut Server, channel: &str) -> u32 {
    node.engine.hub().readers_elsewhere(channel)
}

#[test]
fn quiet_nodes_tell_nothing() {
    let (mut redis, mut one, mut two) = pair();
    follow(&mut two, "/sse/a");
    pass(&mut redis, &mut [&mut one, &mut two], 3_000);
    let entries = redis.log.len();
    pass(&mut redis, &mut [&mut one, &mut two], 10_000);
    let beats = redis.log.len() - entries;
    assert!((20..=24).contains(&beats), "beats alone, not {beats}");
}
