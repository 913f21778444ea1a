//! A node that starts, that cannot reach the log, and what it tells about itself.

use super::{ask_log, ids, node, pair, poll, ready};
use crate::engine::Access;
use crate::engine::tests::redis::{EPOCH, Redis};
use crate::engine::tests::support::{Server, config, get, post, status};
use crate::log::cluster::Lane;

#[test]
fn node_that_has_not_read_the_log_is_not_ready_and_publishes_nothing() {
    let mut redis = Redis::default();
    let mut server = node("one", 1);
    for _ in 0..2 {
        let (_, answer) = server.ask(Access::Trusted, &get("/readyz"));
        assert_eq!(status(&answer), "503");
        assert!(answer.contains("has not read the log"), "{answer}");
        let (_, answer) = server.ask(Access::Trusted, &post("/publish/a", "", "x"));
        assert_eq!(status(&answer), "503");
        assert!(answer.contains("Retry-After: "));
        // Nor can it judge a cursor, or give one.
        for target in [
            "/poll/a?since=0000000a-7",
            "/long-poll/a",
            "/ndjson/a",
            "/cursor",
        ] {
            let (_, answer) = server.ask(Access::Trusted, &get(target));
            assert_eq!(status(&answer), "503", "{target}: {answer}");
            assert!(answer.contains("has not read the log"), "{answer}");
        }
        // An EventSource, which a 503 would stop for good, comes back with the id that it has.
        let (_, answer) = server.ask(Access::Trusted, &get("/sse/a"));
        assert_eq!(status(&answer), "200");
        assert!(
            answer.contains("\nretry: ") && !answer.contains("id:"),
            "{answer}"
        );
        server.pass(5_000);
        server.apply_log(10);
    }
    redis.connect(&mut server);
    redis.pass(&mut server, 5_000);
    assert_eq!(status(&poll(&mut server, "/readyz")), "200");
}

#[test]
fn node_that_is_never_idle_is_ready_when_it_has_applied_what_was_there() {
    let (mut redis, mut one) = ready();
    for _ in 0..50 {
        ask_log(&mut redis, &mut one, &post("/publish/a", "", "old"));
    }
    let mut two = node("two", 2);
    redis.connect(&mut two);
    let mut was_ready = false;
    for _ in 0..100 {
        redis.pass(&mut one, 100);
        two.pass(100);
        redis.execute(&mut two);
        let node = two.engine.cluster().unwrap();
        let after = node.follows_after().unwrap();
        for (id, bytes) in redis.log.iter().filter(|entry| entry.0 > after) {
            node.read(*id, &bytes[..]);
        }
        // More comes than is applied.
        for _ in 0..9 {
            ask_log(&mut redis, &mut one, &post("/publish/a", "", "new"));
        }
        two.apply_log(8);
        assert!(two.engine.has_work());
        let is_ready = status(&poll(&mut two, "/readyz")) == "200";
        let old = ids(&poll(&mut two, "/poll/a")).len();
        assert!(!is_ready || old >= 50, "{old} are applied");
        was_ready |= is_ready;
    }
    assert!(was_ready);
}

#[test]
fn publisher_is_held_while_the_engine_is_away_and_then_told_so() {
    let (mut redis, mut server) = ready();
    let broken = |server: &mut Server| {
        let node = server.engine.cluster().unwrap();
        node.broken(Lane::Publish);
        node.broken(Lane::Follow);
    };
    broken(&mut server);
    let (not_sent, _) = server.ask(Access::Trusted, &post("/publish/a", "", "x"));
    let wait = |server: &mut Server, ms: u64| {
        for _ in 0..ms / 100 {
            server.pass(100);
            server.apply_log(100);
        }
    };
    wait(&mut server, 4_000);
    assert_eq!(server.take(not_sent), "");
    wait(&mut server, 3_000);
    let answer = server.take(not_sent);
    assert_eq!(status(&answer), "503");
    assert!(answer.contains("; nothing was published"), "{answer}");
    wait(&mut server, 5_000);
    let answer = poll(&mut server, "/readyz");
    assert_eq!(status(&answer), "503");
    assert!(answer.contains("has not heard the engine for "), "{answer}");
    // Later ones are refused at once.
    let (_, answer) = server.ask(Access::Trusted, &post("/publish/a", "", "x"));
    assert_eq!(status(&answer), "503");

    redis.connect(&mut server);
    redis.pass(&mut server, 3_000);
    assert_eq!(status(&poll(&mut server, "/readyz")), "200");
    // One that was sent and not answered may have been accepted.
    let (sent, _) = server.ask(Access::Trusted, &post("/publish/a", "", "x"));
    let node = server.engine.cluster().unwrap();
    assert!(node.next_command().is_some());
    broken(&mut server);
    wait(&mut server, 8_000);
    let answer = server.take(sent);
    assert_eq!(status(&answer), "503");
    assert!(answer.contains("may have been accepted") && answer.contains("Idempotency-Key"));
    assert!(!server.engine.has_waiting_publishers());
}

#[test]
fn log_is_applied_within_the_budget() {
    let (mut redis, mut one, mut two) = pair();
    let lines = "{\"channel\":\"a\",\"data\":1}\n".repeat(100);
    ask_log(&mut redis, &mut one, &post("/publish", "", &lines));
    let node = two.engine.cluster().unwrap();
    let after = node.follows_after().unwrap();
    for (id, bytes) in redis.log.iter().filter(|entry| entry.0 > after) {
        node.read(*id, &bytes[..]);
    }
    let mut calls = 0;
    loop {
        two.apply_log(30);
        calls += 1;
        if !two.engine.has_work() {
            break;
        }
        let applied = ids(&poll(&mut two, "/poll/a")).len();
        assert!(applied <= 30 * calls, "{applied}");
    }
    assert_eq!(ids(&poll(&mut two, "/poll/a")).len(), 100);
    assert!(calls > 3);
}

#[test]
fn nodes_are_listed_by_their_beats() {
    let (mut redis, mut one, mut two) = pair();
    two.ask(Access::Trusted, &get("/sse/a"));
    for _ in 0..15 {
        redis.pass(&mut two, 100);
        redis.pass(&mut one, 100);
    }
    let answer = poll(&mut one, "/nodes");
    assert!(answer.contains(&format!(
        "\"name\":\"one\",\"self\":true,\"term\":\"{EPOCH}\""
    )));
    let other = answer.split("\"name\":\"two\",\"self\":false").nth(1);
    assert!(
        other.expect(&answer).contains("\"connections\":1,"),
        "{answer}"
    );

    let mut single = Server::new(&config());
    assert_eq!(status(&poll(&mut single, "/nodes")), "404");
}

#[test]
fn metrics_of_a_node_move() {
    let (mut redis, mut server) = ready();
    let value = |server: &mut Server, name: &str| -> f64 {
        let page = poll(server, "/metrics");
        let line = page
            .lines()
            .find_map(|line| line.strip_prefix(&format!("encke_{name} ")));
        line.expect(name).parse().unwrap()
    };
    assert_eq!(value(&mut server, "engine_up"), 1.0);
    assert_eq!(value(&mut server, "engine_nodes"), 1.0);
    assert_eq!(value(&mut server, "engine_terms_total"), 1.0);
    let applied = value(&mut server, "engine_applied");
    ask_log(&mut redis, &mut server, &post("/publish/a", "", "x"));
    assert!(value(&mut server, "engine_applied") > applied);
    assert_eq!(value(&mut server, "engine_messages_total"), 1.0);
    assert_eq!(value(&mut server, "engine_groups_total"), 1.0);
    assert_eq!(value(&mut server, "engine_publish_seconds_count"), 1.0);
    assert_eq!(value(&mut server, "engine_lag_entries"), 0.0);
    assert!(!poll(&mut Server::new(&config()), "/metrics").contains("engine_"));
}

#[test]
fn node_that_cannot_number_an_entry_says_so_and_answers_publishers() {
    let (mut redis, mut server) = ready();
    let term = redis.log[0].0.term;
    let id = crate::message::EntryId::new(term, crate::message::Place::MAX_ENTRY);
    // A foreign entry is skipped.
    redis.log.push((id, b"?".to_vec()));
    let (publisher, _) = server.ask(Access::Trusted, &post("/publish/a", "", "x"));
    redis.serve(&mut server);
    assert_eq!(status(&server.take(publisher)), "200");
    assert_eq!(status(&poll(&mut server, "/readyz")), "503");
    let (_, refused) = server.ask(Access::Trusted, &post("/publish/a", "", "x"));
    assert_eq!(status(&refused), "503");
}
