//! The ends of channels.

use std::time::Duration;

use super::support::{Server, get, handshake};
use crate::base::time::Time;
use crate::config::Config;
use crate::engine::connections::Sink;
use crate::engine::{Access, ConnId, Engine, State};

/// A poll whose socket takes nothing until the end of channel `a`, which was published meanwhile,
/// is too old. Then it takes everything.
fn held_poll_after_an_evicted_end(target: &str) -> (Engine, ConnId, Sink) {
    let mut config = Config::default();
    config.history.max_age = Duration::from_secs(1);
    let mut engine = Engine::new(&config, 2, 7);
    let mut wire = Sink {
        is_full: true,
        ..Sink::default()
    };
    let poll = engine.accept(Access::Trusted).expect("there is room");
    let request = get(target);
    engine.input(poll, request.as_bytes(), &mut wire);

    let publisher = engine.accept(Access::Trusted).expect("there is room");
    let request = b"POST /publish/a?end=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n";
    engine.input(publisher, request, &mut wire);
    engine.set_now(Time(2_000), 2_000);
    engine.serve_deadlines(1_000, &mut wire);
    assert_eq!(engine.state(poll), Some(State::Held));

    wire.is_full = false;
    engine.writable(poll, &mut wire);
    engine.deliver(1_000, &mut wire);
    (engine, poll, wire)
}

#[test]
fn lingering_poll_ends_with_the_gap_that_stands_for_the_end() {
    let target = "/long-poll/a?early=1&linger=5000";
    let (engine, poll, wire) = held_poll_after_an_evicted_end(target);
    assert_ne!(engine.state(poll), Some(State::Held));
    let sent = String::from_utf8_lossy(&wire.sent);
    assert!(
        sent.contains(r#""gap":true,"#) && sent.contains(r#""end":true"#),
        "{sent}"
    );
}

/// The member that says that one of several channels has ended.
const ENDED: &str = r#""ended":["a"]"#;

/// A server whose channel `a` has a message and an end, both too old, and the cursor before that.
fn server_with_an_evicted_end() -> (Server, String) {
    let mut config = Config::default();
    config.history.max_age = Duration::from_secs(1);
    let mut server = Server::new(&config);
    server.publish("b", "before");
    let (_, here) = server.get("/cursor", "");
    let cursor = here.split('"').nth_back(1).expect("a cursor").to_owned();
    server.publish("a", "x");
    server.publish("a?end=1", "");
    server.pass(2_000);
    (server, cursor)
}

#[test]
fn end_that_is_evicted_is_told_with_its_gap_to_polls() {
    let (mut server, cursor) = server_with_an_evicted_end();
    for way in ["poll", "long-poll"] {
        let (_, answer) = server.get(&format!("/{way}/a,b?since={cursor}"), "");
        assert!(answer.contains(r#""gap":true"#), "{answer}");
        assert!(answer.contains(ENDED), "{answer}");
    }
}

#[test]
fn end_that_is_evicted_is_told_with_its_gap_to_streams() {
    let (mut server, cursor) = server_with_an_evicted_end();
    for way in ["ndjson", "sse", "frame"] {
        let target = format!("/{way}/a,b?envelope=1&since={cursor}");
        let (id, mut answer) = server.get(&target, "");
        server.pass(0);
        answer += &server.take(id);
        let gap = answer.find("gap").expect("a gap");
        assert!(answer[gap..].contains(ENDED), "{way}: {answer}");
    }
}

#[test]
fn end_that_is_evicted_is_told_with_its_gap_to_a_held_poll() {
    let (_, _, wire) = held_poll_after_an_evicted_end("/long-poll/a,b?early=1");
    let sent = String::from_utf8_lossy(&wire.sent);
    assert!(sent.contains(r#""gap":true"#), "{sent}");
    assert!(sent.contains(ENDED), "{sent}");
}

#[test]
fn raw_socket_ends_once_where_its_channel_has_ended_behind_a_gap() {
    let (mut server, _) = server_with_an_evicted_end();
    let (_, answer) = server.ask(Access::Trusted, &handshake("/ws/a?raw=1&since=other-1"));
    let (_, frames) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(frames.ends_with("gap"), "{frames}");
}
