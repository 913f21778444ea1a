//! WebSockets and rights: what a token lets a socket ask for, and what ends it.

use std::time::SystemTime;

use encke::Config;
use encke::config::{Create, Policy, Publish, Subscribe};
use encke::tokens::{Key, Signer, SystemRandom};
use encke_test_client::websocket::{self, TEXT};
use serde_json::{Value, json};

use crate::server::{self, Server, any_port};
use crate::socket::{Socket, shaken};

const SECRET: &[u8] = b"a secret of the tests of sockets, with enough bytes";

/// Settings with a key for tokens, and with the publish key `key`.
fn settings() -> Config {
    let mut config = server::config();
    give_keys(&mut config);
    config
}

fn give_keys(config: &mut Config) {
    config.tokens.keys = Key::parse(SECRET).expect("a secret").0;
    config.publish_key = Some("key".into());
}

/// A token of `ann` that is good for so many seconds.
fn token_for(seconds: u64, subscribe: &[&str], publish: &[&str]) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let exp = now.expect("after 1970").as_secs() + seconds;
    let grants = json!({"subscribe": subscribe, "publish": publish});
    let claims = json!({"sub": "ann", "exp": exp, "encke": grants});
    let signer = Signer::parse(SECRET, SystemRandom::new()).expect("a secret");
    signer
        .sign(&claims.to_string(), None)
        .expect("right claims")
}

fn token(subscribe: &[&str], publish: &[&str]) -> String {
    token_for(3_600, subscribe, publish)
}

fn status(answer: &Value) -> u64 {
    answer["error"]["status"]
        .as_u64()
        .unwrap_or_else(|| panic!("{answer}"))
}

/// The object that the reason of a close frame is.
fn reason((code, reason): (u16, String), expected: u16) -> Value {
    assert_eq!(code, expected, "{reason}");
    serde_json::from_str(&reason).expect("JSON")
}

fn publish(server: &Server, channel: &str, text: &str) -> String {
    let target = format!("/publish/{channel}");
    let key = "Authorization: Bearer key\r\n";
    let answer = server.client().post(&target, key, text);
    answer.json()["id"].as_str().expect("an id").to_owned()
}

#[test]
fn handshake_is_judged_as_a_request() {
    let server = Server::with(give_keys);
    shaken(&server, "/ws/news", websocket::HANDSHAKE).problem(401);
    let wrong = "/ws/news?token=a.b.c";
    shaken(&server, wrong, websocket::HANDSHAKE).problem(401);
    let target = format!("/ws/news,other?token={}", token(&["news"], &[]));
    shaken(&server, &target, websocket::HANDSHAKE).problem(403);
    let target = format!("/ws/news?token={}", token(&["news"], &[]));
    Socket::open(&server, &target).opening();
}

#[test]
fn commands_are_judged_by_the_token_of_the_handshake() {
    let server = Server::with(give_keys);
    let token = token(&["news", "user/**"], &["chat"]);
    let fields = format!("Authorization: Bearer {token}\r\n");
    let mut socket = Socket::open_with(&server, "/ws/news", &fields);
    socket.opening();
    for (command, expected) in [
        (json!({"channels": ["news", "other"]}), 403),
        (json!({"publish": "news", "data": 1}), 403),
        (json!({"publish": "chat"}), 400),
    ] {
        socket.ask(command);
        assert_eq!(status(&socket.object()), expected);
    }
    socket.ask(json!({"publish": "chat", "data": 1, "ref": "r"}));
    let answer = socket.object();
    assert_eq!(answer["published"]["channel"], "chat");
    assert_eq!(answer["ref"], "r");
    socket.ask(json!({"channels": ["news", "user/1"]}));
    assert_eq!(socket.object()["channels"], json!(["news", "user/1"]));
    publish(&server, "user/1", "hi");
    assert_eq!(socket.data(), "hi");
}

#[test]
fn socket_ends_when_its_token_expires() {
    let server = Server::with(give_keys);
    let target = format!("/ws/news?token={}", token_for(2, &["news"], &[]));
    let mut socket = Socket::open(&server, &target);
    let cursor = socket.opening();
    let end = reason(socket.closed(), 3000);
    assert_eq!(end, json!({"cursor": cursor, "retry": 0, "expired": true}));
    assert_eq!(server_metric(&server, "encke_rights_ended_total"), 1);
}

fn server_metric(server: &Server, name: &str) -> u64 {
    let fields = "Authorization: Bearer key\r\n";
    let answer = server.client().get_with("/metrics", fields);
    server::metric(answer.text(), name)
}

#[test]
fn kicked_socket_ends_and_its_commands_are_not_executed() {
    let server = Server::with(give_keys);
    let target = format!("/ws/news?token={}", token(&["**"], &["**"]));
    let mut socket = Socket::open(&server, &target);
    let mut raw = Socket::open(&server, &format!("{target}&raw=1&publish=1"));
    socket.opening();
    let key = "Authorization: Bearer key\r\n";
    let mut operator = server.client();
    operator.ask("DELETE", "/connections?sub=ann&block=60", key);
    assert_eq!(operator.answer().json()["ended"], 2);
    assert_eq!(reason(socket.closed(), 3000)["expired"], true);
    assert_eq!(reason(raw.closed(), 3000)["expired"], true);
    shaken(&server, &target, websocket::HANDSHAKE).problem(401);
}

/// A block ends the connections of one channel only, if it names one; but no token of the subject
/// is good for anything meanwhile.
#[test]
fn commands_of_a_blocked_subject_on_open_sockets_are_refused() {
    let server = Server::with(give_keys);
    let target = format!("/ws/news?token={}", token(&["**"], &["**"]));
    let mut socket = Socket::open(&server, &target);
    socket.opening();
    let key = "Authorization: Bearer key\r\n";
    let mut operator = server.client();
    operator.ask("DELETE", "/connections?sub=ann&channel=other&block=60", key);
    assert_eq!(operator.answer().json()["ended"], 0);
    for command in [
        json!({"channels": ["news"]}),
        json!({"publish": "news", "data": 1}),
    ] {
        socket.ask(command);
        assert_eq!(status(&socket.object()), 401);
    }
    publish(&server, "news", "hi");
    assert_eq!(socket.data(), "hi");
}

#[test]
fn reload_that_takes_the_right_away_ends_the_socket() {
    let server = Server::with(give_keys);
    let target = format!("/ws/news?token={}", token(&["**"], &["**"]));
    let mut socket = Socket::open(&server, &target);
    let cursor = socket.opening();
    let mut publisher = Socket::open_with(&server, "/ws/news", "Authorization: Bearer key\r\n");
    publisher.opening();

    let mut changed = settings();
    changed.policies = vec![Policy {
        subscribe: Some(Subscribe::Nobody),
        ..Policy::of("news".parse().expect("a pattern"))
    }];
    let reloading = server
        .handle
        .reload(changed.clone())
        .expect("right settings");
    reloading.wait();
    assert_eq!(reason(socket.closed(), 3000)["cursor"], *cursor);

    changed.publish_key = Some("other".into());
    let reloading = server.handle.reload(changed).expect("right settings");
    reloading.wait();
    publisher.ask(json!({"publish": "news", "data": 1}));
    assert_eq!(reason(publisher.closed(), 3000)["expired"], true);
}

/// A socket on a channel for anyone stays, though its token is trusted no more.
#[test]
fn token_of_a_removed_key_grants_no_more() {
    let server = Server::with(|config| {
        give_keys(config);
        config.anonymous = Some(vec!["open".parse().expect("a pattern")]);
    });
    let target = format!("/ws/open?token={}", token(&["**"], &["**"]));
    let mut socket = Socket::open(&server, &target);
    socket.opening();
    socket.ask(json!({"publish": "open", "data": 1}));
    assert!(socket.object()["published"].is_object());
    assert_eq!(socket.data(), 1);

    let mut changed = settings();
    changed.anonymous = Some(vec!["open".parse().expect("a pattern")]);
    changed.tokens.keys = Key::parse(b"another secret, of more than 32 bytes")
        .expect("a secret")
        .0;
    let reloading = server.handle.reload(changed).expect("right settings");
    reloading.wait();
    socket.ask(json!({"publish": "open", "data": 2}));
    assert_eq!(status(&socket.object()), 401);
    publish(&server, "open", "3");
    assert_eq!(socket.data(), "3");
}

#[test]
fn policies_hold_for_commands() {
    let policy = |pattern: &str| Policy::of(pattern.parse().expect("a pattern"));
    let server = Server::with(|config| {
        config.policies = vec![
            Policy {
                max_subscribers: Some(1),
                ..policy("room")
            },
            Policy {
                create: Create::Publisher,
                ..policy("made")
            },
            Policy {
                max_message_bytes: Some(4),
                ..policy("small")
            },
        ];
    });
    let mut first = Socket::open(&server, "/ws/room");
    first.opening();
    shaken(&server, "/ws/room", websocket::HANDSHAKE).problem(503);
    // The place that it has already is its own.
    first.ask(json!({"channels": ["room", "other"]}));
    assert_eq!(first.object()["channels"], json!(["room", "other"]));

    let mut socket = Socket::open(&server, "/ws/news");
    socket.opening();
    for (command, expected) in [
        (json!({"channels": ["news", "room"]}), 503),
        (json!({"channels": ["made"]}), 404),
        (json!({"publish": "small", "data": "12345"}), 413),
    ] {
        socket.ask(command);
        assert_eq!(status(&socket.object()), expected);
    }
    server.publish("made", "1");
    socket.ask(json!({"channels": ["made"], "since": "-1"}));
    assert_eq!(socket.object()["channels"], json!(["made"]));
    assert_eq!(socket.data(), "1");
    let mut raw = Socket::open(&server, "/ws/small?raw=1&publish=1");
    raw.send(TEXT, "12345");
    assert_eq!(raw.closed().0, 1009);
}

#[test]
fn public_address_serves_no_publishing_where_control_is_apart() {
    let server = Server::with(|config| {
        config.control = vec![any_port()];
        config.policies = vec![Policy {
            publish: Publish::Anyone,
            ..Policy::of("open".parse().expect("a pattern"))
        }];
    });
    server.client().post("/publish/open", "", "x").problem(404);
    let mut socket = Socket::open(&server, "/ws/open");
    socket.opening();
    socket.ask(json!({"publish": "open", "data": "x"}));
    assert_eq!(status(&socket.object()), 404);
    let mut raw = Socket::open(&server, "/ws/open?raw=1&publish=1");
    raw.send(TEXT, "x");
    assert_eq!(raw.closed().0, 1008);
}

#[test]
fn raw_socket_that_only_receives_is_refused_before_its_message_is_kept() {
    let server = Server::start();
    for bytes in [1, 1_024, 1_025, 200_000] {
        let mut raw = Socket::open(&server, "/ws/news?raw=1");
        raw.send(TEXT, "x".repeat(bytes));
        assert_eq!(raw.closed().0, 1008, "{bytes}");
    }
}

#[test]
fn key_makes_a_publish_idempotent() {
    let server = Server::start();
    let mut socket = Socket::open(&server, "/ws/other");
    socket.opening();
    let mut ids = Vec::new();
    for data in [1, 2] {
        socket.ask(json!({"publish": "news", "data": data, "key": "k"}));
        ids.push(socket.object()["published"]["id"].take());
    }
    assert_eq!(ids[0], ids[1]);
    let key = "Idempotency-Key: k\r\n";
    let answer = server.client().post("/publish/news", key, "3");
    assert_eq!(answer.json()["id"], ids[0]);
}

/// Whoever is let in may publish what the listener lets everyone publish, so a page of another
/// origin is not, token or not.
#[test]
fn origin_that_may_not_post_may_not_open_a_socket() {
    let server = Server::with(|config| {
        give_keys(config);
        config.publish_key = None;
        config.cors = encke::config::Cors::Origins(vec!["https://shop.example".into()]);
    });
    let target = format!("/ws/news?token={}", token(&["**"], &["**"]));
    for (fields, expected) in [
        ("Origin: https://other.example\r\n", 403),
        ("Origin: null\r\n", 403),
        // A name that was made to resolve to this machine: a token proves nothing where none is
        // needed to publish.
        (
            "Sec-Fetch-Site: same-origin\r\nOrigin: http://test\r\n",
            403,
        ),
    ] {
        let fields = format!("{}{fields}", websocket::HANDSHAKE);
        let answer = shaken(&server, &target, &fields);
        assert_eq!(answer.status(), expected, "{fields}");
    }
    for fields in ["Origin: https://shop.example\r\n", ""] {
        Socket::open_with(&server, &target, fields).opening();
    }
    // Where publishers need a credential, the token is one.
    let guarded = Server::with(give_keys);
    let fields = "Sec-Fetch-Site: same-origin\r\nOrigin: http://test\r\n";
    Socket::open_with(&guarded, &target, fields).opening();
}
