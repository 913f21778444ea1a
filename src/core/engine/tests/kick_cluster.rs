//! Connections of a subject, on all nodes of a cluster.

use super::cluster::node_with;
use super::cluster::{ask_log, pair};
use super::redis::Redis;
use super::support::{self, Server, config, status};
use crate::engine::Access;
use crate::log::cluster::Lane;

/// The clock of a node does not start at 0, in seconds.
const START_S: u64 = 4_294_967;

/// A token that is good for this long.
fn token(subject: &str, left_s: u64) -> String {
    support::token(subject, START_S + left_s, "**", "x")
}

fn delete(query: &str) -> String {
    format!("DELETE /connections?{query} HTTP/1.1\r\nHost: h\r\n\r\n")
}

fn ended(redis: &mut Redis, node: &mut Server, query: &str) -> String {
    let answer = ask_log(redis, node, &delete(query));
    assert_eq!(status(&answer), "200", "{answer}");
    answer.split("\r\n\r\n").nth(1).unwrap().to_owned()
}

fn get_count(node: &mut Server) -> String {
    let answer = node.control("GET", "/connections?sub=ann");
    answer.split("\r\n\r\n").nth(1).unwrap().to_owned()
}

#[test]
fn connections_end_on_all_nodes() {
    let (mut redis, mut one, mut two) = pair();
    let (ann, bob) = (token("ann", 600), token("bob", 600));
    one.get("/sse/a", &ann);
    let (there, _) = two.get("/sse/a", &ann);
    let (aside, _) = two.get("/sse/b", &ann);
    let (other, _) = two.get("/sse/a", &bob);
    assert_eq!(get_count(&mut one), r#"{"connections":1,"node":"one"}"#);
    assert_eq!(get_count(&mut two), r#"{"connections":2,"node":"two"}"#);
    let answer = ended(&mut redis, &mut one, "sub=ann&channel=a");
    assert_eq!(answer, r#"{"ended":1,"node":"one"}"#);
    redis.serve(&mut two);
    two.pass(20);
    assert!(two.take(there).contains("event: expired"));
    assert!(!two.take(aside).contains("expired"));
    assert_eq!(
        ended(&mut redis, &mut two, "sub=ann"),
        r#"{"ended":1,"node":"two"}"#
    );
    two.pass(20);
    assert!(two.take(aside).contains("event: expired"));
    assert!(!two.take(other).contains("expired"));
    assert_eq!(
        ended(&mut redis, &mut two, "sub=ann"),
        r#"{"ended":0,"node":"two"}"#
    );
}

/// A message that is published after the response of another node comes to no connection that ends.
#[test]
fn message_after_a_kick_does_not_reach_those_that_it_ends_elsewhere() {
    const CONNECTIONS: usize = 18_000;
    let (mut redis, mut one, mut two) = pair();
    let ann = token("ann", 600);
    let ids: Vec<_> = (0..CONNECTIONS)
        .map(|_| two.get("/long-poll/a?hold=100", &ann).0)
        .collect();
    ended(&mut redis, &mut one, "sub=ann");
    ask_log(
        &mut redis,
        &mut one,
        "POST /publish/a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx",
    );
    for _ in 0..4 {
        redis.serve(&mut two);
    }
    two.pass(20);
    assert_eq!(two.engine.stats().expired, CONNECTIONS as u64);
    for id in ids {
        assert!(two.take(id).ends_with("\"messages\":[]}"));
    }
}

#[test]
fn blocked_subject_is_refused_on_all_nodes_and_on_those_that_start_later() {
    let (mut redis, mut one, mut two) = pair();
    let ann = token("ann", 3_000);
    let is_blocked = |node: &mut Server| status(&node.get("/poll/a", &ann).1) == "401";
    assert!(!is_blocked(&mut one) && !is_blocked(&mut two));
    let (id, _) = one.ask(Access::Trusted, &delete("sub=ann&block=1800"));
    assert!(is_blocked(&mut one), "at once");
    redis.serve(&mut one);
    assert_eq!(status(&one.take(id)), "200");
    redis.serve(&mut two);
    assert!(is_blocked(&mut two));
    // For longer than the log reaches.
    pass_long(&mut redis, &mut [&mut one, &mut two], 700);
    let mut late = node_with(&config(), "late", 3);
    late.pass(700_000);
    redis.connect(&mut late);
    pass_long(&mut redis, &mut [&mut one, &mut two, &mut late], 3);
    assert!(is_blocked(&mut late));
    pass_long(&mut redis, &mut [&mut one, &mut two, &mut late], 1_200);
    for node in [&mut one, &mut two, &mut late] {
        assert!(!is_blocked(node));
    }
}

/// Lets seconds pass, and the beginning of the log go.
fn pass_long(redis: &mut Redis, nodes: &mut [&mut Server], seconds: u64) {
    const KEPT: usize = 600;
    for _ in 0..seconds {
        for node in &mut *nodes {
            node.pass(1_000);
            redis.serve(node);
        }
        redis.log.drain(..redis.log.len().saturating_sub(KEPT));
    }
}

#[test]
fn without_the_engine_connections_end_on_the_node_that_is_asked() {
    let (mut redis, mut one, mut two) = pair();
    let ann = token("ann", 600);
    let (here, _) = one.get("/sse/a", &ann);
    two.get("/sse/a", &ann);
    one.engine.cluster().unwrap().broken(Lane::Publish);
    let (id, _) = one.ask(Access::Trusted, &delete("sub=ann&block=60"));
    one.apply_log(1_000);
    one.pass(20);
    assert!(one.take(here).contains("event: expired"));
    assert_eq!(status(&one.get("/poll/a", &ann).1), "401");
    assert_eq!(one.take(id), "", "it waits");
    one.pass(5_100);
    one.apply_log(1_000);
    assert_eq!(status(&one.take(id)), "503");
    let (_, answer) = one.ask(Access::Trusted, &delete("sub=ann"));
    assert_eq!(status(&answer), "503");
    assert!(
        answer.contains("on this node the connections end"),
        "{answer}"
    );
    redis.serve(&mut two);
    assert_eq!(get_count(&mut two), r#"{"connections":1,"node":"two"}"#);
}
