//! Policies: what holds for the channels whose names match a pattern.

use std::time::Duration;

use encke::config::{Create, Policy};
use encke::{Publication, PublishError};
use serde_json::{Value, json};

use crate::eventually;
use crate::server::Server;

/// A server with a policy for the channels of a pattern.
fn server(pattern: &str, change: impl FnOnce(&mut Policy)) -> Server {
    let mut policy = Policy::of(pattern.parse().expect("a pattern"));
    change(&mut policy);
    Server::with(|config| config.policies = vec![policy])
}

fn number(id: &str) -> u64 {
    id.rsplit_once('-').unwrap().1.parse().unwrap()
}

#[test]
fn history_is_that_of_the_policy() {
    let server = server("short/**", |policy| policy.history_messages = Some(2));
    for channel in ["short/a", "long"] {
        (1..=4).for_each(|text: u32| drop(server.publish(channel, &text.to_string())));
    }
    assert_eq!(server.get("/poll/short/a").batch().data(), ["3", "4"]);
    let long = server.get("/poll/long").batch();
    assert_eq!(long.data(), ["1", "2", "3", "4"]);
}

#[test]
fn each_channel_has_the_age_of_its_policy() {
    let server = server("brief", |policy| {
        policy.history_age = Some(Duration::from_millis(30));
    });
    // The older message stays, though that of the other channel goes.
    server.publish("news", "kept");
    server.publish("brief", "gone");
    eventually("the message is dropped", || {
        let state = server.channel("brief");
        state.is_none_or(|state| state["messages"] == 0)
    });
    assert_eq!(server.get("/poll/news").batch().data(), ["kept"]);
}

#[test]
fn message_over_the_size_of_its_channel_is_refused_and_takes_no_number() {
    let server = server("small", |policy| policy.max_message_bytes = Some(4));
    let before = number(&server.publish("small", "1234"));
    let mut client = server.client();
    let refused = client.post("/publish/small", "", "12345");
    let detail = refused.problem(413);
    assert!(detail.contains("4 bytes (max-message-bytes"), "{detail}");

    let lines =
        "{\"channel\":\"other\",\"data\":\"12345\"}\n{\"channel\":\"small\",\"data\":\"12345\"}";
    let detail = client.post("/publish", "", lines).problem(413);
    assert!(detail.contains("message 2 of the batch"), "{detail}");

    let publication = Publication::new("small", "12345");
    let (publication, receipt) = publication.with_receipt();
    server.publisher.send(publication).unwrap();
    assert_eq!(receipt.wait(), Err(PublishError::TooLargeForChannel(4)));

    assert_eq!(number(&server.publish("other", "12345")), before + 1);
    let series = "encke_policy_refusals_total{key=\"max-message-bytes\"}";
    assert_eq!(server.metric(series), 3);
}

#[test]
fn full_channel_refuses_requests_that_would_park() {
    let server = server("room", |policy| policy.max_subscribers = Some(1));
    server.publish("room", "1");
    let stream = server.stream("/ndjson/room");
    server.wait_subscribers("room", 1);
    for target in [
        "/ndjson/room",
        "/frame/other,room",
        "/long-poll/room?since=now",
    ] {
        let refused = server.get(target);
        let detail = refused.problem(503);
        assert!(detail.contains("max-subscribers"), "{detail}");
        assert_eq!(refused.field("Retry-After"), Some("5"));
    }
    // An EventSource would give up at a 503.
    let text = server.stream("/sse/room").rest();
    assert!(text.starts_with("retry: "), "{text}");
    // What is answered at once takes no place.
    assert_eq!(server.get("/poll/room").batch().data(), ["1"]);
    assert_eq!(
        server.get("/long-poll/room?since=earliest").batch().data(),
        ["1"]
    );
    assert_eq!(server.subscribers("other"), 0);
    let series = "encke_policy_refusals_total{key=\"max-subscribers\"}";
    assert_eq!(server.metric(series), 4);

    drop(stream);
    server.wait_subscribers("room", 0);
    server.parked("room", "since=now&hold=60");
}

#[test]
fn receiver_cannot_create_a_channel_reserved_for_publishers() {
    let server = server("made/*", |policy| policy.create = Create::Publisher);
    let endpoints = ["poll", "long-poll", "sse", "ndjson", "frame"];
    for endpoint in endpoints {
        let detail = server
            .get(&format!("/{endpoint}/other,made/up"))
            .problem(404);
        assert!(detail.contains("made/up"), "{detail}");
    }
    assert_eq!(server.channel("made/up"), None);
    let series = "encke_policy_refusals_total{key=\"create\"}";
    assert_eq!(server.metric(series), 5);

    server.publish("made/up", "1");
    for endpoint in &endpoints[2..] {
        drop(server.stream(&format!("/{endpoint}/made/up")));
    }
    assert_eq!(server.get("/poll/made/up").batch().data(), ["1"]);
}

#[test]
fn latest_message_is_the_only_one_and_no_gap_is_told() {
    let server = server("state/**", |policy| policy.latest = true);
    let before = server.get("/poll/state/a?since=now").batch().cursor;
    let other = server.publish("news", "0");
    for text in ["1", "2", "3"] {
        server.publish("state/a", text);
    }
    for target in [
        format!("/poll/state/a,news?since={before}"),
        "/poll/news,state/a?since=earliest".into(),
        format!("/long-poll/state/a,news?since={before}"),
    ] {
        let batch = server.get(&target).batch();
        assert_eq!((batch.data(), batch.is_gap()), (vec!["0", "3"], false));
    }
    let behind = server
        .get(&format!("/long-poll/state/a?since={other}"))
        .batch();
    assert_eq!((behind.data(), behind.is_gap()), (vec!["3"], false));

    let mut lines = server.stream(&format!("/ndjson/state/a?since={other}"));
    assert_eq!(lines.object().unwrap()["cursor"], json!(other));
    assert_eq!(lines.object().unwrap()["data"], "3");
    let mut events = server.stream(&format!("/sse/state/a?since={other}"));
    events.opening();
    assert_eq!(events.message().unwrap().data.as_deref(), Some("3"));
    let mut scripts = server.stream(&format!("/frame/state/a?since={other}"));
    assert_eq!(scripts.script().unwrap()["cursor"], json!(other));
    assert_eq!(scripts.script().unwrap()["data"], "3");
    assert_eq!(server.metric("encke_messages_replaced_total"), 2);
}

#[test]
fn lost_latest_message_is_a_gap_until_there_is_a_newer_one() {
    let server = server("state", |policy| policy.latest = true);
    let before = server.publish("state", "1");
    server.publish("state", "2");
    let mut client = server.client();
    client.ask("DELETE", "/channels/state", "");
    assert_eq!(client.answer().status(), 204);
    let target = format!("/poll/state?since={before}");
    assert!(server.get(&target).batch().is_gap());
    server.publish("state", "3");
    let batch = server.get(&target).batch();
    assert_eq!((batch.data(), batch.is_gap()), (vec!["3"], false));
}

#[test]
fn lingering_poll_gathers_only_the_latest() {
    let server = server("state", |policy| policy.latest = true);
    let mut held = server.hold("/long-poll/state,news?since=now&hold=60&linger=60000&limit=3");
    server.wait_subscribers("state", 1);
    for (channel, text) in [("state", "1"), ("news", "2"), ("state", "3"), ("news", "4")] {
        server.publish(channel, text);
    }
    let batch = held.answer().batch();
    assert_eq!((batch.data(), batch.is_gap()), (vec!["2", "3", "4"], false));
}

#[test]
fn reader_that_blocks_gets_the_latest_next_and_no_gap() {
    let server = server("state", |policy| policy.latest = true);
    let mut stream = server.stream("/ndjson/state");
    let text = "x".repeat(100_000);
    let mut published = 0_u64;
    let mut publish = || {
        published += 1;
        server.publish("state", &format!("{published} {text}"));
        published
    };
    // The kernel's buffers take some of them.
    eventually("the reader blocks", || {
        publish();
        server.metric("encke_writes_blocked_total") > 0
    });
    for _ in 0..100 {
        publish();
    }
    let newest = publish();
    assert_eq!(server.metric("encke_messages"), 1);

    let mut received: Vec<u64> = Vec::new();
    while received.last() != Some(&newest) {
        let object = stream.object().expect("the stream goes on");
        assert_eq!(object.get("gap"), None, "{object}");
        let data = object.get("data").and_then(Value::as_str);
        let number: Option<u64> = data.and_then(|data| data.split(' ').next()?.parse().ok());
        received.extend(number);
    }
    assert!(received.is_sorted());
    // The kernel may have taken a few more; memory does not grow by what it did not take.
    assert!(received.len() < newest as usize, "none was replaced");
}
