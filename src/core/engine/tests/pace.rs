//! Paced streams: when they are written to, and what they are sent then.

use super::support::{Server, get, status};
use crate::config::{Config, Policy};
use crate::engine::{Access, ConnId};

/// The least time after a deadline at which it is served: deadlines are rounded up.
const ROUNDING_MS: u64 = 20;

/// Opens a stream, and returns it and what it was sent.
fn open(server: &mut Server, target: &str) -> (ConnId, String) {
    let request = get(target);
    let (id, response) = server.ask(Access::Trusted, &request);
    assert_eq!(server.writes(id), 1);
    (id, response)
}

/// The data of the messages among the lines of a stream, in order.
fn data(text: &str) -> Vec<&str> {
    let parts = text.split("\"data\":\"").skip(1);
    parts.map(|part| part.split('"').next().unwrap()).collect()
}

#[test]
fn paced_write_carries_all_messages_since_the_last() {
    let mut server = Server::new(&Config::default());
    let (id, _) = open(&mut server, "/ndjson/a?pace=1000");
    for round in 0..3 {
        let messages: Vec<String> = (0..100).map(|n| format!("{round}.{n}")).collect();
        for message in &messages {
            server.publish("a", message);
            server.pass(1);
        }
        server.pass(800);
        assert_eq!(server.writes(id), 0, "{round}");
        server.pass(100 + ROUNDING_MS);
        // The pause is over: the reader is queued, and served in the next tick.
        server.pass(0);
        assert_eq!(server.writes(id), 1, "{round}");
        assert_eq!(data(&server.take(id)), messages);
    }
}

#[test]
fn message_after_a_pause_is_sent_at_once() {
    let mut server = Server::new(&Config::default());
    let (id, _) = open(&mut server, "/ndjson/a?pace=100");
    server.pass(200);
    server.publish("a", "1");
    server.pass(0);
    assert_eq!(data(&server.take(id)), ["1"]);
    server.publish("a", "2");
    server.pass(50);
    assert_eq!(server.take(id), "");
    server.pass(50 + ROUNDING_MS);
    server.pass(0);
    assert_eq!(data(&server.take(id)), ["2"]);
}

#[test]
fn heartbeat_comes_in_the_time_that_the_opening_says() {
    for (pace_ms, heartbeat_ms) in [(100, 15_000), (14_999, 15_000), (40_000, 40_000)] {
        let mut server = Server::new(&Config::default());
        let (id, opening) = open(&mut server, &format!("/ndjson/a?pace={pace_ms}"));
        let said = format!("\"heartbeat\":{heartbeat_ms}}}");
        assert!(opening.contains(&said), "{opening}");
        for _ in 0..3 {
            let mut silence_ms = 0;
            while server.writes(id) == 0 {
                server.pass(10);
                silence_ms += 10;
            }
            let is_in_time = silence_ms >= heartbeat_ms.min(15_000).max(pace_ms)
                && silence_ms <= heartbeat_ms + 3 * ROUNDING_MS;
            assert!(is_in_time, "{silence_ms} ms at pace={pace_ms}");
        }
    }
}

#[test]
fn more_than_a_write_holds_is_sent_without_a_pause() {
    let mut server = Server::new(&Config {
        history: crate::config::History {
            max_messages: 5_000,
            ..Config::default().history
        },
        ..Config::default()
    });
    for n in 0..2_000 {
        server.publish("a", &n.to_string());
    }
    let (id, _) = open(&mut server, "/ndjson/a?pace=1000&since=earliest");
    server.pass(1_000 + ROUNDING_MS);
    server.pass(0);
    assert_eq!(data(&server.take(id)).len(), 2_000);
    assert_eq!(server.writes(id), 3);
    assert_eq!(server.engine.stats().gaps, 0);
}

#[test]
fn paced_reader_keeps_no_message_and_gets_a_gap() {
    let mut server = Server::new(&Config {
        history: crate::config::History {
            max_messages: 10,
            ..Config::default().history
        },
        ..Config::default()
    });
    let (id, _) = open(&mut server, "/ndjson/a?pace=1000");
    for n in 0..30 {
        server.publish("a", &n.to_string());
    }
    let channel = server.engine.hub().find("a").unwrap();
    assert_eq!(server.engine.hub().channel(channel).len(), 10);
    server.pass(1_000 + ROUNDING_MS);
    server.pass(0);
    let text = server.take(id);
    assert!(text.contains("\"gap\":true"), "{text}");
    assert_eq!(data(&text).len(), 10);
    assert_eq!(server.writes(id), 1);
}

#[test]
fn latest_alone_is_sent_of_a_channel_that_owes_no_more() {
    let mut server = Server::new(&Config {
        policies: vec![Policy {
            latest: true,
            ..Policy::of("a".parse().unwrap())
        }],
        ..Config::default()
    });
    let (id, _) = open(&mut server, "/ndjson/a?pace=1000");
    for n in 0..30 {
        server.publish("a", &n.to_string());
        server.pass(10);
    }
    server.pass(700 + ROUNDING_MS);
    server.pass(0);
    let text = server.take(id);
    assert_eq!(data(&text), ["29"]);
    assert!(!text.contains("gap"), "{text}");
}

#[test]
fn end_is_written_together_with_the_messages_before_it() {
    let mut server = Server::new(&Config::default());
    let (id, _) = open(&mut server, "/ndjson/a?pace=1000");
    server.publish("a", "1");
    server.control("POST", "/publish/a?end=1");
    server.pass(1_000 + ROUNDING_MS);
    server.pass(0);
    let text = server.take(id);
    assert_eq!(data(&text), ["1"]);
    assert!(text.contains("\"end\":true"), "{text}");
    assert_eq!(server.writes(id), 1);
}

#[test]
fn paced_stream_ends_in_its_pause() {
    let config = Config {
        stream_max_age: std::time::Duration::from_secs(30),
        ..Config::default()
    };
    let mut server = Server::new(&config);
    let (id, _) = open(&mut server, "/ndjson/a?pace=60000");
    server.publish("a", "1");
    server.pass(31_000);
    let text = server.take(id);
    assert!(
        text.contains("\"retry\":") && data(&text).is_empty(),
        "{text}"
    );
}

#[test]
fn pace_is_one_to_60_000_milliseconds_of_a_stream() {
    let mut server = Server::new(&Config::default());
    let mut answer = |target: &str| {
        let request = get(target);
        let (_, response) = server.ask(Access::Trusted, &request);
        status(&response).to_owned()
    };
    for value in ["0", "60001", "-1", "1.5", "", "x", "99999999999999999999"] {
        for endpoint in ["sse", "ndjson", "frame", "ws"] {
            assert_eq!(answer(&format!("/{endpoint}/a?pace={value}")), "400");
        }
        assert_eq!(answer(&format!("/poll/a?pace={value}")), "200");
    }
    for value in ["1", "60000", "007"] {
        assert_eq!(answer(&format!("/sse/a?pace={value}")), "200");
    }
}

#[test]
fn message_lost_in_the_first_pause_is_a_gap_whatever_was_lost_before() {
    for since in ["earliest", "other-1"] {
        let mut server = Server::new(&Config {
            history: crate::config::History {
                max_messages: 2,
                ..Config::default().history
            },
            ..Config::default()
        });
        for n in 0..3 {
            server.publish("a", &n.to_string());
        }
        let (id, opening) = open(&mut server, &format!("/ndjson/a?since={since}&pace=1000"));
        assert_eq!(opening.contains("\"gap\":true"), since == "other-1");
        for n in 3..9 {
            server.publish("a", &n.to_string());
        }
        server.pass(1_000 + ROUNDING_MS);
        server.pass(0);
        let text = server.take(id);
        let [gap, message] = ["\"gap\":true", "\"data\":\"7\""].map(|part| text.find(part));
        assert!(gap.is_some() && gap < message, "{since}: {text}");
        assert_eq!(data(&text), ["7", "8"], "{since}");
    }
}
