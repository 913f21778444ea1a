//! Two nodes: what is published on one is received on the other, whatever happens to the engine.

use std::time::Instant;

use encke_test_rig::redis::{Server, Servers};
use encke_test_rig::{PATIENCE, free_ports};
use rustix::process::Signal;

use crate::encke::Encke;
use crate::redis;

/// Nodes of one cluster that are ready.
pub(crate) fn nodes(server: &Server, args: &[&str]) -> [Encke; 2] {
    nodes_at(&server.url(), args)
}

fn nodes_at(url: &str, args: &[&str]) -> [Encke; 2] {
    ["a", "b"].map(|name| {
        let mut all = vec!["--engine", url, "--node", name];
        all.extend(args);
        let mut node = Encke::start(&all);
        node.until_readyz(200);
        node
    })
}

/// A member of a JSON object, as text without quotes.
pub(crate) fn member(json: &str, name: &str) -> String {
    let json: serde_json::Value = serde_json::from_str(json).expect("JSON");
    match &json[name] {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

pub(crate) fn publish(node: &mut Encke, channel: &str, body: &str) -> String {
    let (status, answer) = node.ask("POST", &format!("/publish/{channel}"), body);
    assert_eq!(status, 200, "{answer}");
    member(&answer, "id")
}

/// Publishes with a key, and returns the id.
pub(crate) fn publish_once(node: &mut Encke, channel: &str, key: &str, body: &str) -> String {
    let target = format!("/publish/{channel}");
    let key = format!("Idempotency-Key: {key}\r\n");
    let (status, answer) = node.ask_with("POST", &target, &key, body);
    assert_eq!(status, 200, "{answer}");
    member(&answer, "id")
}

/// The messages of a channel after a cursor, as ids and data, and the rest of the batch.
fn poll(node: &mut Encke, channel: &str, since: &str) -> (Vec<(String, String)>, String) {
    let target = format!("/long-poll/{channel}?since={since}&hold=10");
    let (status, batch) = node.ask("GET", &target, "");
    assert_eq!(status, 200, "{batch}");
    let json: serde_json::Value = serde_json::from_str(&batch).expect("JSON");
    let messages = json["messages"].as_array().expect("a list").iter();
    let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    let messages = messages.map(|message| (text(&message["id"]), text(&message["data"])));
    (messages.collect(), batch)
}

/// Polls until so many messages have come.
pub(crate) fn poll_all(
    node: &mut Encke,
    channel: &str,
    since: &str,
    count: usize,
) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let mut cursor = since.to_owned();
    let begun = Instant::now();
    while all.len() < count {
        assert!(begun.elapsed() < PATIENCE, "{all:?} and no more");
        let (messages, batch) = poll(node, channel, &cursor);
        assert!(!batch.contains("\"gap\""), "{batch}");
        cursor = member(&batch, "cursor");
        all.extend(messages);
    }
    all
}

#[test]
fn messages_of_one_node_are_received_on_the_other() {
    let Some(server) = redis(&[]) else { return };
    let [mut a, mut b] = nodes(&server, &[]);
    let mut published = Vec::new();
    for number in 0..20 {
        let node = if number % 2 == 0 { &mut a } else { &mut b };
        let data = number.to_string();
        published.push((publish(node, "news", &data), data));
    }
    for node in [&mut a, &mut b] {
        assert_eq!(poll_all(node, "news", "earliest", 20), published);
        // A cursor is good on both.
        assert_eq!(poll_all(node, "news", &published[9].0, 10), published[10..]);
    }
}

#[test]
fn crash_of_an_engine_without_persistence_is_no_gap() {
    let Some(mut server) = redis(&[]) else { return };
    let [mut a, mut b] = nodes(&server, &["--engine-patience", "30s"]);
    let first = publish(&mut a, "news", "before");
    assert_eq!(poll_all(&mut b, "news", "earliest", 1)[0].0, first);
    server.kill().expect("it is ours");
    // What is there stays there for readers.
    assert_eq!(poll_all(&mut b, "news", "earliest", 1)[0].0, first);
    let waiting = std::thread::spawn(move || {
        let second = publish(&mut a, "news", "meanwhile");
        (a, second)
    });
    server.start_again().expect("it starts");
    let (mut a, second) = waiting.join().expect("no panic");
    let third = publish(&mut b, "news", "after");
    for node in [&mut a, &mut b] {
        let all = poll_all(node, "news", "earliest", 3);
        let ids: Vec<&String> = all.iter().map(|(id, _)| id).collect();
        assert_eq!(ids, [&first, &second, &third]);
        assert_eq!(poll_all(node, "news", &first, 2), all[1..]);
    }
}

#[test]
fn failover_is_no_gap() {
    let Some(mut redis) = Servers::of_test() else {
        return;
    };
    let sentinels = redis.url(redis.servers[0].address);
    // The first Sentinel does not answer, so that the next one is asked.
    let [nobody] = free_ports().expect("a port");
    let url = sentinels.replace("://", &format!("://{nobody},"));
    let [mut a, mut b] = nodes_at(&url, &["--engine-patience", "30s"]);
    let mut published = vec![publish(&mut a, "news", "0")];
    redis.wait_for_key("{encke}:log").expect("it is replicated");
    redis.servers[0].kill().expect("it is ours");
    for number in 1..20 {
        let node = if number % 2 == 0 { &mut a } else { &mut b };
        published.push(publish(node, "news", &number.to_string()));
    }
    for node in [&mut a, &mut b] {
        let all = poll_all(node, "news", "earliest", 20);
        assert!(all.into_iter().map(|(id, _)| id).eq(published.clone()));
        assert_eq!(poll_all(node, "news", &published[0], 19).len(), 19);
    }
}

#[test]
fn silent_engine_delays_and_loses_nothing() {
    let Some(server) = redis(&[]) else { return };
    let [mut a, mut b] = nodes(
        &server,
        &["--engine-patience", "5s", "--engine-ready", "2s"],
    );
    let first = publish(&mut a, "news", "before");
    server.signal(Signal::STOP).expect("it is ours");
    let (status, body) = a.ask("POST", "/publish/news", "meanwhile");
    assert_eq!(status, 503, "{body}");
    a.until_readyz(503);
    server.signal(Signal::CONT).expect("it is ours");
    for node in [&mut a, &mut b] {
        node.until_readyz(200);
    }
    let last = publish(&mut b, "news", "after");
    for node in [&mut a, &mut b] {
        // It may be that what was refused comes too, and that it comes alone.
        let (mut cursor, begun) = (first.clone(), Instant::now());
        while cursor != last {
            assert!(begun.elapsed() < PATIENCE, "{cursor} and no more");
            cursor = poll_all(node, "news", &cursor, 1).pop().expect("one").0;
        }
    }
}

#[test]
fn node_that_starts_reads_what_was_published_before() {
    let Some(server) = redis(&[]) else { return };
    let [mut a, b] = nodes(&server, &[]);
    drop(b);
    let first = publish(&mut a, "news", "one");
    let second = publish(&mut a, "news", "two");
    // It ends by a drain, which says to the others that it leaves.
    a.signal(Signal::TERM);
    let (code, lines) = a.finish();
    assert_eq!(code, Some(0));
    // It is not ready because it drains, and for no other reason.
    assert!(
        !lines.iter().any(|line| line.contains("does not hear")),
        "{lines:?}"
    );
    let url = server.url();
    let mut c = Encke::start(&["--engine", &url, "--node", "c"]);
    c.until_readyz(200);
    assert_eq!(poll_all(&mut c, "news", &first, 1)[0].0, second);
}
