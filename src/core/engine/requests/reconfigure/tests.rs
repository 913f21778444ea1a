//! Requests under way and parked connections, when the settings change.

use std::time::Duration;

use crate::base::time::{Time, millis};
use crate::config::{Config, Cors, Policy, Subscribe};
use crate::engine::connections::Sink;
use crate::engine::{Access, ConnId, Engine, Reloads};

const A: &str = "https://a.example";
const B: &str = "https://b.example";

fn cors(origins: &[&str]) -> Config {
    Config {
        cors: Cors::Origins(origins.iter().map(ToString::to_string).collect()),
        ..Config::default()
    }
}

struct Server {
    engine: Engine,
    wire: Sink,
}

impl Server {
    fn new(config: &Config) -> Server {
        Server {
            engine: Engine::new(config, 16, 1),
            wire: Sink::default(),
        }
    }

    fn connect(&mut self) -> ConnId {
        self.engine.accept(Access::Trusted).expect("there is room")
    }

    /// Sends bytes of a request, and returns what is answered at once.
    fn send(&mut self, id: ConnId, bytes: &str) -> String {
        self.wire.sent.clear();
        self.engine.input(id, bytes.as_bytes(), &mut self.wire);
        self.sent()
    }

    fn get(&mut self, id: ConnId, target: &str, fields: &str) -> String {
        let head = format!("GET {target} HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
        self.send(id, &head)
    }

    /// Publishes a message, and returns what parked connections are sent.
    fn publish(&mut self) -> String {
        let id = self.connect();
        let answer = self.send(
            id,
            "POST /publish/x HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi",
        );
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        self.wire.sent.clear();
        self.engine.deliver(100, &mut self.wire);
        self.sent()
    }

    fn sent(&self) -> String {
        String::from_utf8_lossy(&self.wire.sent).into_owned()
    }

    fn is_open_at(&mut self, id: ConnId, now: Time) -> bool {
        self.engine.set_now(now, 0);
        self.engine.serve_deadlines(100, &mut self.wire);
        while self.engine.next_close().is_some() {}
        self.engine.state(id).is_some()
    }
}

/// The origins that responses allow, in order.
fn allowed(responses: &str) -> Vec<&str> {
    let lines = responses.lines();
    let fields = lines.filter_map(|line| line.strip_prefix("Access-Control-Allow-Origin: "));
    fields.map(str::trim_end).collect()
}

fn origin(origin: &str) -> String {
    format!("Origin: {origin}\r\n")
}

#[test]
fn deadlines_that_are_set_stay_and_new_ones_are_new() {
    let config = Config::default();
    let mut server = Server::new(&config);
    let before = server.connect();
    server.engine.reconfigure(&Config {
        head_timeout: Duration::from_secs(1),
        ..config.clone()
    });
    let after = server.connect();
    let old = Time(millis(config.head_timeout));
    assert!(server.is_open_at(after, Time(900)));
    assert!(!server.is_open_at(after, Time(1_100)));
    assert!(server.is_open_at(before, Time(old.0 - 100)));
    assert!(!server.is_open_at(before, old.after_ms(100)));
}

#[test]
fn held_poll_of_the_only_origin_is_answered_for_it_when_others_join() {
    let mut server = Server::new(&cors(&[A]));
    let id = server.connect();
    assert_eq!(server.get(id, "/long-poll/x", &origin(A)), "");
    server.engine.reconfigure(&cors(&[B, A]));
    assert_eq!(allowed(&server.publish()), [A]);
    for (page, expected) in [(A, A), (B, B)] {
        let answer = server.get(id, "/poll/x", &origin(page));
        assert_eq!(allowed(&answer), [expected]);
    }
}

#[test]
fn held_poll_never_allows_two_origins_nor_one_that_was_removed() {
    let any = Config {
        cors: Cors::Any,
        ..Config::default()
    };
    for (next, expected) in [
        (cors(&[A]), &[A][..]),
        // The page cannot read it, as without any.
        (cors(&[A, "https://c.example"]), &["https://c.example"]),
        (cors(&["https://c.example", B, A]), &[B]),
        (any, &["*"]),
        (cors(&[]), &[]),
    ] {
        let mut server = Server::new(&cors(&[A, B]));
        let id = server.connect();
        assert_eq!(server.get(id, "/long-poll/x", &origin(B)), "");
        server.engine.reconfigure(&next);
        let answer = server.publish();
        assert!(answer.contains("\"cursor\""), "{answer}");
        assert_eq!(allowed(&answer), expected);
    }
}

#[test]
fn empty_response_that_holds_share_is_written_anew() {
    let config = cors(&[A]);
    let mut server = Server::new(&config);
    let mut now = Time(0);
    for (config, expected) in [(config, vec![A]), (cors(&[B]), vec![B])] {
        server.engine.reconfigure(&config);
        let id = server.connect();
        server.get(id, "/long-poll/x?hold=1", "");
        server.wire.sent.clear();
        now = now.after_ms(1_100);
        // In the same second of the day.
        assert!(server.is_open_at(id, now));
        assert_eq!(allowed(&server.sent()), expected);
    }
}

#[test]
fn request_under_way_survives_limits_below_it() {
    let config = Config::default();
    let mut server = Server::new(&config);
    let [whole, too_large] = [server.connect(), server.connect()];
    let padding = "x".repeat(2_000);
    for (id, length) in [(whole, 4), (too_large, 600)] {
        let head = format!(
            "POST /publish/x HTTP/1.1\r\nHost: h\r\nPadding: {padding}\r\n\
             Content-Length: {length}\r\n\r\nhi"
        );
        assert_eq!(server.send(id, &head), "");
    }
    let partial = server.connect();
    let head = format!("GET /poll/x HTTP/1.1\r\nPadding: {padding}");
    assert_eq!(server.send(partial, &head), "");
    server.engine.reconfigure(&Config {
        max_head_bytes: 512,
        max_body_bytes: 100,
        ..config
    });
    for (id, rest, status) in [
        (whole, "hi", "200 "),
        (too_large, "hi", "413 "),
        (partial, "x", "431 "),
    ] {
        let answer = server.send(id, rest);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{answer}"
        );
    }
}

/// A name is compared with every policy, for each channel of a connection.
#[test]
fn review_of_rights_takes_several_turns_where_there_are_many_policies() {
    const CONNECTIONS: usize = 16;
    let mut server = Server::new(&Config::default());
    let channels: Vec<String> = (0..64).map(|number| format!("c/{number}")).collect();
    let target = format!("/sse/{}", channels.join(","));
    for _ in 0..CONNECTIONS {
        let id = server.engine.accept(Access::Public).expect("there is room");
        server.get(id, &target, "");
    }
    let nobody = Policy {
        subscribe: Some(Subscribe::Nobody),
        ..Policy::of("c/**".parse().unwrap())
    };
    let other = |number| Policy::of(format!("other/{number}").parse().unwrap());
    server.engine.reconfigure(&Config {
        policies: (0..254).map(other).chain([nobody]).collect(),
        ..Config::default()
    });
    let mut ticks = 0;
    while server.engine.has_work() {
        ticks += 1;
        server.engine.serve_deadlines(100, &mut server.wire);
        while server.engine.next_close().is_some() {}
    }
    assert!((3..100).contains(&ticks), "{ticks}");
    assert_eq!(server.engine.stats().expired, CONNECTIONS as u64);
}

#[test]
fn page_can_be_switched_on_and_off() {
    let mut config = Config::default();
    let mut server = Server::new(&config);
    for page in [true, false, false, true] {
        config.page = page;
        server.engine.reconfigure(&config);
        let id = server.connect();
        let answer = server.get(id, "/", "");
        assert_eq!(answer.starts_with("HTTP/1.1 200 "), page, "{answer}");
        assert_eq!(answer.contains("<html"), page);
    }
}

#[test]
fn largest_batch_holds_for_polls_that_were_parked_before() {
    let mut server = Server::new(&Config::default());
    let id = server.connect();
    server.get(id, "/long-poll/x?limit=500&linger=60000", "");
    server.engine.reconfigure(&Config {
        max_batch: 2,
        ..Config::default()
    });
    let mut answer = String::new();
    let mut published = 0;
    while answer.is_empty() {
        published += 1;
        answer = server.publish();
    }
    assert_eq!((published, answer.matches("\"id\"").count()), (2, 2));
}

#[test]
fn reloads_are_counted_by_result() {
    let mut server = Server::new(&Config::default());
    let id = server.connect();
    let mut metrics = |engine_call: fn(&mut Engine)| {
        engine_call(&mut server.engine);
        server.get(id, "/metrics", "")
    };
    let text = metrics(|engine| engine.record_failed_reload());
    assert!(text.contains("\nencke_config_reload_failed 1"), "{text}");
    let text = metrics(|engine| engine.reconfigure(&Config::default()));
    assert!(text.contains("\nencke_config_reload_failed 0"));
    for line in ["{result=\"done\"} 1", "{result=\"failed\"} 1"] {
        assert!(text.contains(&format!("\nencke_config_reloads_total{line}")));
    }
    let expected = Reloads {
        done: 1,
        failed: 1,
        last_failed: false,
    };
    assert_eq!(server.engine.stats().reloads, expected);
}
