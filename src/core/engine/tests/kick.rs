//! Counting and ending the connections of a subject.

use super::support::{Server, config, get, status, token};
use crate::config::Config;
use crate::engine::Access;

/// The number that a response of `/connections` says.
fn number(response: &str) -> u64 {
    assert_eq!(status(response), "200", "{response}");
    let (_, number) = response.rsplit_once(':').unwrap();
    number.trim_end_matches('}').parse().unwrap()
}

#[test]
fn connections_of_a_subject_are_counted_and_ended() {
    let mut server = Server::new(&config());
    let (ann, bob) = (token("ann", 600, "**", "x"), token("bob", 600, "**", "x"));
    let (held, _) = server.get("/long-poll/a?hold=100", &ann);
    let (stream, _) = server.get("/sse/a,b", &ann);
    let (other, _) = server.get("/sse/a", &bob);
    // A poll is answered, and its connection is idle.
    server.get("/poll/a", &ann);
    assert_eq!(number(&server.control("GET", "/connections?sub=ann")), 2);
    assert_eq!(number(&server.control("GET", "/connections?sub=bob")), 1);
    assert_eq!(number(&server.control("GET", "/connections?sub=eve")), 0);

    assert_eq!(
        number(&server.control("DELETE", "/connections?sub=ann&channel=b")),
        1
    );
    server.pass(20);
    assert!(server.take(stream).contains("event: expired"));
    assert_eq!(server.take(held), "");
    assert_eq!(number(&server.control("GET", "/connections?sub=ann")), 1);

    assert_eq!(number(&server.control("DELETE", "/connections?sub=ann")), 1);
    assert_eq!(number(&server.control("DELETE", "/connections?sub=ann")), 0);
    server.pass(20);
    assert!(server.take(held).ends_with("\"messages\":[]}"));
    assert!(!server.take(other).contains("expired"));
    assert_eq!(server.engine.stats().expired, 2);
}

#[test]
fn blocked_subject_is_refused_for_its_time() {
    let mut server = Server::new(&config());
    let (ann, bob) = (token("ann", 600, "**", "**"), token("bob", 600, "**", "**"));
    server.get("/sse/a", &ann);
    assert_eq!(
        number(&server.control("DELETE", "/connections?sub=ann&block=60")),
        1
    );
    let (_, response) = server.get("/poll/a", &ann);
    assert_eq!(status(&response), "401");
    assert!(response.contains("the subject is blocked"), "{response}");
    assert_eq!(status(&server.get("/poll/a", &bob).1), "200");
    server.pass(60_000);
    assert_eq!(status(&server.get("/poll/a", &ann).1), "200");
}

/// The response to `DELETE` promises it, though deadlines are served some milliseconds later.
#[test]
fn message_after_a_kick_does_not_reach_those_that_it_ended() {
    let mut server = Server::new(&config());
    let ann = token("ann", 600, "**", "x");
    let published = |server: &mut Server, channel: &str| {
        let response = server.control("POST", &format!("/publish/{channel}"));
        let (_, id) = response.split_once("\"id\":\"").unwrap();
        id.split_once('"').unwrap().0.to_owned()
    };
    let first = published(&mut server, "other");
    let targets = [
        "/long-poll/a",
        "/long-poll/a?early=1",
        "/sse/a",
        "/ndjson/a",
    ];
    let ids = targets.map(|target| server.get(target, &ann).0);
    let pipelined = server.get("/long-poll/a", &ann).0;
    server.pass(1);
    assert_eq!(number(&server.control("DELETE", "/connections?sub=ann")), 5);
    let second = published(&mut server, "a");
    let again = server.ask_again(pipelined, get("/healthz"));
    server.pass(0);
    for id in ids {
        let rest = server.take(id);
        assert!(rest.contains(&first) && !rest.contains(&second), "{rest}");
    }
    assert!(
        again.contains(&first) && !again.contains(&second),
        "{again}"
    );
    assert_eq!(server.engine.stats().delivered, 0);
}

#[test]
fn ended_lingering_poll_gets_the_gathered_messages() {
    let mut server = Server::new(&config());
    let ann = token("ann", 600, "**", "x");
    let (id, _) = server.get("/long-poll/a?linger=5000", &ann);
    server.control("POST", "/publish/a?event=before");
    server.pass(1);
    assert_eq!(server.take(id), "");
    assert_eq!(number(&server.control("DELETE", "/connections?sub=ann")), 1);
    server.control("POST", "/publish/a?event=after");
    server.pass(20);
    let response = server.take(id);
    assert!(
        response.contains("before") && !response.contains("after"),
        "{response}"
    );
    // It comes back with its cursor.
    let (_, cursor) = response.split_once("{\"cursor\":\"").unwrap();
    let (cursor, _) = cursor.split_once('"').unwrap();
    let (_, response) = server.get(&format!("/poll/a?since={cursor}"), &ann);
    assert!(
        response.contains("after") && !response.contains("before"),
        "{response}"
    );
}

#[test]
fn malformed_connection_queries_are_refused() {
    let mut server = Server::new(&config());
    for (method, target, words) in [
        ("GET", "/connections", "sub="),
        ("DELETE", "/connections?sub=", "sub="),
        ("DELETE", "/connections?sub=%FF", "UTF-8"),
        ("DELETE", "/connections?sub=a&channel=a%2Cb", "channel name"),
        (
            "DELETE",
            "/connections?sub=a&block=0",
            "whole seconds, from 1",
        ),
        ("DELETE", "/connections?sub=a&block=1.5", "whole seconds"),
        ("DELETE", "/connections?sub=a&block=2592001", "2592000"),
    ] {
        let response = server.control(method, target);
        assert_eq!(status(&response), "400", "{target}");
        assert!(response.contains(words), "{response}");
    }
    let longest = "s".repeat(255);
    let target = format!("/connections?block=9&sub={longest}");
    assert_eq!(number(&server.control("DELETE", &target)), 0);
    let response = server.control("DELETE", &format!("{target}s"));
    assert!(response.contains("at most 255 bytes"), "{response}");
    assert_eq!(status(&server.control("POST", "/connections?sub=a")), "405");
}

/// More connections than are looked at in one tick.
#[test]
fn search_of_many_connections_takes_several_turns() {
    const CONNECTIONS: u64 = 18_000;
    let mut server = Server::new(&config());
    let token = token("ann", 600, "**", "x");
    for _ in 0..CONNECTIONS {
        server.get("/long-poll/a?hold=100", &token);
    }
    let request = "DELETE /connections?sub=ann HTTP/1.1\r\nHost: h\r\n\r\n";
    let (id, response) = server.ask(Access::Trusted, request);
    assert_eq!(response, "");
    server.pass(0);
    server.pass(0);
    assert_eq!(number(&server.take(id)), CONNECTIONS);
    server.pass(20);
    assert_eq!(server.engine.stats().expired, CONNECTIONS);
}

#[test]
fn without_keys_there_are_no_subjects() {
    let mut server = Server::new(&Config::default());
    server.get("/sse/a", &token("ann", 600, "**", "x"));
    assert_eq!(number(&server.control("GET", "/connections?sub=ann")), 0);
}

/// Channels that are compared count as well: a connection may follow many.
#[test]
fn search_of_many_channels_takes_several_turns() {
    let mut server = Server::new(&config());
    let ann = token("ann", 600, "**", "x");
    let names: Vec<_> = (0..64).map(|number| format!("a/{number}")).collect();
    for _ in 0..300 {
        server.get(&format!("/ndjson/{}", names.join(",")), &ann);
    }
    let request = "DELETE /connections?sub=ann&channel=a/63 HTTP/1.1\r\nHost: h\r\n\r\n";
    let (id, response) = server.ask(Access::Trusted, request);
    assert_eq!(response, "");
    server.pass(0);
    assert_eq!(number(&server.take(id)), 300);
}
