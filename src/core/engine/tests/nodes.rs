//! The node of a cluster that is handed over: publishers get their answers, readers all messages,
//! and nobody else notices.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::cluster::{ask_log, ids, member, pair, poll, ready, settings};
use super::redis::Redis;
use super::support::{Server, config, frame, frozen, get, post, socket, status};
use crate::engine::{Access, ConnId, Engine};
use crate::frozen::damage::{damage, damaged};
use crate::frozen::{Freezer, Thawer};
use crate::log::cluster::{Lane, Settings, Unrest};
use crate::message::{ChannelName, Draft};

/// Hands a node over, which comes to rest first: its commands have their replies.
fn hand_over(redis: &mut Redis, server: &mut Server) {
    rest(redis, server);
    server.hand_over(&config(), settings("one"));
    redis.connect(server);
}

fn rest(redis: &mut Redis, server: &mut Server) {
    redis.execute(server);
    server.engine.cluster().unwrap().rest(true);
    server.apply_log(10_000);
    assert_eq!(server.engine.unrest(), None);
}

/// A request whose response is not there yet.
fn ask(server: &mut Server, request: &str) -> ConnId {
    server.ask(Access::Trusted, request).0
}

#[test]
fn publishers_of_every_kind_get_their_answers_and_readers_all_messages() {
    let (mut redis, mut one, mut two) = pair();
    let entries = redis.log.len();
    let stream = ask(&mut one, &get("/ndjson/a"));
    let held = ask(&mut one, &get("/long-poll/a,b"));
    let ws = socket(&mut one, "/ws/a");
    let raw = socket(&mut one, "/ws/b?raw=1&publish=1");
    for id in [stream, held, ws, raw] {
        one.take(id);
    }
    let single = ask(&mut one, &post("/publish/a", "", "1"));
    let keyed = ask(&mut one, &post("/publish/a", "Idempotency-Key: k\r\n", "2"));
    let batch = "{\"channel\":\"a\",\"data\":3}\n{\"channel\":\"b\",\"data\":4,\"end\":true}";
    let batch = ask(&mut one, &post("/publish", "", batch));
    let lines = ask(
        &mut one,
        "POST /publish/a?lines=1&ack=1&end=1 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    one.ask_again(lines, "4\r\n5\n6\n\r\n0\r\n\r\n");
    let bad = ask(
        &mut one,
        &post(
            "/publish?lines=1",
            "",
            "{\"channel\":\"c\",\"data\":7}\nno\n",
        ),
    );
    one.ask_again(ws, frame("{\"publish\":\"a\",\"data\":8,\"ref\":9}"));
    one.ask_again(raw, frame("nine"));
    let channel = ChannelName::parse(&b"a"[..]).unwrap();
    one.engine.send(&Draft::new(channel, "ten".into())).unwrap();
    // Half of them are sent and not read, the others not even sent.
    assert_eq!(redis.log.len(), entries);
    redis.execute(&mut one);
    let deletion = ask(&mut one, "DELETE /channels/x HTTP/1.1\r\nHost: h\r\n\r\n");
    let late = ask(&mut one, &post("/publish/d", "", "11"));
    one.engine.cluster().unwrap().rest(true);
    one.apply_log(10_000);
    assert_eq!(one.engine.unrest(), None);
    let state = frozen(&one.engine);
    one.hand_over(&config(), settings("one"));
    let again = rested(&mut one);
    assert!(again == state, "not the same when frozen again");

    redis.connect(&mut one);
    for _ in 0..4 {
        one.engine.cluster().unwrap().rest(false);
        redis.serve(&mut one);
        while let Some(id) = one.engine.next_deferred() {
            one.resume_only(id);
        }
    }
    for (id, messages) in [(single, 1), (keyed, 1), (batch, 2), (late, 1)] {
        let answer = one.take(id);
        assert_eq!(
            (status(&answer), ids(&answer).len()),
            ("200", messages),
            "{answer}"
        );
    }
    assert_eq!(status(&one.take(deletion)), "204");
    let told = one.take(lines);
    assert!(
        ids(&told).len() == 2 && told.contains("{\"published\":2,\"last\":"),
        "{told}"
    );
    let told = one.take(bad);
    assert!(status(&told) == "400" && told.contains("line 2"), "{told}");
    assert!(told.ends_with("\"published\":1}"), "{told}");
    assert!(one.take(ws).contains("\"ref\":9}"));
    let (_, receipt) = one.engine.next_receipt().expect("a receipt");
    assert!(receipt.is_ok());
    assert!(!one.engine.has_waiting_publishers());

    // All is there once, for the readers here and elsewhere.
    redis.serve(&mut two);
    let received = one.take(stream);
    assert_eq!(
        ids(&poll(&mut one, "/poll/a,b,c,d")),
        ids(&poll(&mut two, "/poll/a,b,c,d"))
    );
    let all = ids(&poll(&mut two, "/poll/a"));
    assert_eq!(all.len(), 7);
    assert!(
        received.contains(&all[0]) && !received.contains("gap"),
        "{received}"
    );
    assert!(one.take(held).contains(&all[0]));
    assert!(one.take(raw).contains("nine"));
    // No term was opened for it: the first is the only one.
    assert_eq!(terms(&redis), 1);
    assert_eq!(nodes(&mut two), "one two");
}

/// The state of a node that has just been thawed.
fn rested(server: &mut Server) -> Vec<u8> {
    server.engine.cluster().unwrap().rest(true);
    frozen(&server.engine)
}

fn terms(redis: &Redis) -> usize {
    redis.log.iter().filter(|(id, _)| id.number == 0).count()
}

/// The names of the nodes that a node knows.
fn nodes(server: &mut Server) -> String {
    let listed = poll(server, "/nodes");
    let names = listed.split("\"name\":\"").skip(1);
    let mut names: Vec<_> = names.map(|rest| rest.split('"').next().unwrap()).collect();
    names.sort_unstable();
    names.join(" ")
}

#[test]
fn what_is_undecided_is_found_in_the_log() {
    let (mut redis, mut one) = ready();
    let cursor = member(&poll(&mut one, "/poll/a"), "cursor");
    let there = ask(&mut one, &post("/publish/a", "", "there"));
    let command = one.engine.cluster().unwrap().next_command().unwrap();
    redis.answer(command);
    let lost = ask(&mut one, &post("/publish/a", "", "lost"));
    one.engine.cluster().unwrap().next_command().unwrap();
    // Neither reply comes: the connections are gone.
    for lane in [Lane::Publish, Lane::Follow] {
        one.engine.cluster().unwrap().broken(lane);
    }
    hand_over(&mut redis, &mut one);
    redis.pass(&mut one, 5_000);
    for id in [there, lost] {
        assert_eq!(status(&one.take(id)), "200");
    }
    let received = poll(&mut one, &format!("/poll/a?since={cursor}"));
    assert!(
        ids(&received).len() == 2 && !received.contains("gap"),
        "{received}"
    );
}

#[test]
fn readers_ahead_of_a_node_that_is_handed_over_wait_until_it_has_come_to_them() {
    let (mut redis, mut two, mut one) = pair();
    let first = ids(&ask_log(&mut redis, &mut two, &post("/publish/a", "", "1")));
    let since = |endpoint: &str| get(&format!("/{endpoint}/a?since={}", first[0]));
    let held = ask(&mut one, &since("long-poll"));
    let stream = ask(&mut one, &since("ndjson"));
    let opening = one.take(stream);
    assert!(!opening.contains("gap"), "{opening}");
    hand_over(&mut redis, &mut one);
    let second = ids(&ask_log(&mut redis, &mut two, &post("/publish/a", "", "2")));
    redis.serve(&mut one);
    for id in [held, stream] {
        let received = one.take(id);
        assert_eq!(ids(&received), second, "{received}");
        assert!(!received.contains("gap"), "{received}");
    }
}

#[test]
fn node_is_handed_over_again_and_again() {
    let (mut redis, mut one, mut two) = pair();
    let stream = ask(&mut two, &get("/ndjson/a"));
    let mut published = Vec::new();
    for round in 0..20 {
        let id = ask(&mut one, &post("/publish/a", "", &round.to_string()));
        hand_over(&mut redis, &mut one);
        redis.pass(&mut one, 300);
        redis.pass(&mut two, 300);
        published.extend(ids(&one.take(id)));
        assert_eq!(status(&poll(&mut one, "/readyz")), "200");
    }
    let received = two.take(stream);
    assert_eq!(ids(&received), published);
    assert_eq!((published.len(), terms(&redis)), (20, 1));
    assert_eq!(nodes(&mut two), "one two");
}

/// The ring goes along, so what the server forgets later is told again.
#[test]
fn node_that_was_handed_over_remembers_what_the_server_forgets() {
    let (mut redis, mut one) = ready();
    let cursor = member(&poll(&mut one, "/poll/a"), "cursor");
    ask_log(&mut redis, &mut one, &post("/publish/a", "", "1"));
    hand_over(&mut redis, &mut one);
    // Another server has nothing.
    let mut empty = Redis::default();
    for lane in [Lane::Publish, Lane::Follow] {
        one.engine.cluster().unwrap().broken(lane);
    }
    empty.connect(&mut one);
    empty.pass(&mut one, 6_000);
    let received = poll(&mut one, &format!("/poll/a?since={cursor}"));
    assert!(
        ids(&received).len() == 1 && !received.contains("gap"),
        "{received}"
    );
    let node = one.engine.cluster().unwrap();
    assert!(node.counts().retold > 0, "{:?}", node.counts());
    // And so does a node that starts with that server.
    let mut two = Server::of_cluster(&config(), settings("two"), 2);
    empty.connect(&mut two);
    for _ in 0..50 {
        empty.pass(&mut one, 100);
        empty.pass(&mut two, 100);
    }
    assert_eq!(ids(&poll(&mut two, "/poll/a")), ids(&received));
}

#[test]
fn node_that_cannot_rest_says_why_and_goes_on() {
    let (mut redis, mut one) = ready();
    assert_eq!(one.engine.unrest(), Some(Unrest::Unanswered));
    let node = |server: &mut Server| server.engine.cluster().unwrap().rest(true);
    let waiting = ask(&mut one, &post("/publish/a", "", "1"));
    let command = one.engine.cluster().unwrap().next_command().unwrap();
    node(&mut one);
    assert_eq!(one.engine.unrest(), Some(Unrest::Unanswered));
    assert!(one.engine.cluster().unwrap().next_command().is_none());
    let reply = redis.answer(command);
    one.engine.cluster().unwrap().answered(reply);
    assert_eq!(one.engine.unrest(), None);
    // What is read and not applied is not in the state.
    let (id, bytes) = redis.log.last().unwrap().clone();
    one.engine.cluster().unwrap().read(id, &bytes[..]);
    assert_eq!(one.engine.unrest(), Some(Unrest::Unapplied));
    let mut state = Freezer::new(Vec::new());
    assert!(one.engine.freeze(&mut state).is_err());
    one.apply_log(100);
    assert_eq!(one.engine.unrest(), None);
    one.engine.cluster().unwrap().rest(false);
    redis.serve(&mut one);
    assert_eq!(status(&one.take(waiting)), "200");

    let mut new = Server::of_cluster(&config(), settings("new"), 3);
    node(&mut new);
    assert_eq!(new.engine.unrest(), Some(Unrest::Warming));
    one.engine.cluster().unwrap().leave();
    node(&mut one);
    assert_eq!(one.engine.unrest(), Some(Unrest::Halted));
}

#[test]
fn format_without_nodes_and_settings_of_others_are_refused() {
    let (mut redis, mut one) = ready();
    rest(&mut redis, &mut one);
    assert_eq!(one.engine.formats(), [2]);
    let mut older = Freezer::of_format(Vec::new(), 1);
    let error = one.engine.freeze(&mut older).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::Unsupported);
    let state = frozen(&one.engine);
    assert!(Engine::thaw(&config(), None, 20_000, 1, &mut Thawer::new(&state[..])).is_err());
    let single = frozen(&Server::new(&config()).engine);
    assert!(thawed(&single).is_none());
}

fn thawed(state: &[u8]) -> Option<Engine> {
    let mut thawer = Thawer::new(state);
    let settings = Settings {
        ring_bytes: 200,
        patience_ms: 1,
        ..settings("other")
    };
    let engine = Engine::thaw(&config(), Some(settings), 20_000, 5, &mut thawer).ok()?;
    thawer.finish().ok()?;
    engine.check();
    Some(engine)
}

/// The state of a node with a publisher of every kind, and the server of its log.
static BUSY: LazyLock<(Redis, Vec<u8>)> = LazyLock::new(|| {
    let (mut redis, mut two, mut one) = pair();
    for channel in ["a", "b", "c"] {
        ask(&mut two, &get(&format!("/sse/{channel}")));
    }
    redis.pass(&mut two, 1_000);
    redis.pass(&mut one, 1_000);
    assert_eq!(one.engine.hub().channels_elsewhere(), 3);
    let first = ids(&ask_log(&mut redis, &mut two, &post("/publish/a", "", "1")));
    ask(&mut one, &get(&format!("/ndjson/a?since={}", first[0])));
    let ws = socket(&mut one, "/ws/a");
    ask(
        &mut one,
        &post("/publish/a?end=1", "Idempotency-Key: k\r\n", "2"),
    );
    ask(
        &mut one,
        &post(
            "/publish?lines=1",
            "",
            "{\"channel\":\"c\",\"data\":7}\nno\n",
        ),
    );
    redis.execute(&mut one);
    ask(&mut one, &post("/publish/a?lines=1&end=1", "", "4\n5\n"));
    one.ask_again(ws, frame("{\"publish\":\"a\",\"data\":8,\"ref\":9}"));
    let channel = ChannelName::parse(&b"a"[..]).unwrap();
    one.engine.send(&Draft::new(channel, "ten".into())).unwrap();
    one.engine.cluster().unwrap().rest(true);
    (redis, frozen(&one.engine))
});

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// A damage that no checksum shows is refused, or what is thawed lives on.
    #[test]
    fn damaged_node_is_refused_or_lives(damages in prop::collection::vec(damage(), 1..4)) {
        let (redis, state) = &*BUSY;
        let Some(engine) = thawed(&damaged(state, 0, damages)) else {
            return Ok(());
        };
        let mut redis = redis.clone();
        let mut server = Server::with_engine(engine);
        redis.connect(&mut server);
        redis.pass(&mut server, 2_000);
        server.engine.cluster().unwrap().rest(true);
        if server.engine.unrest().is_none() {
            prop_assert!(thawed(&frozen(&server.engine)).is_some());
        }
    }
}
