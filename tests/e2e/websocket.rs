//! WebSockets: the handshake, what a socket is sent, and what its client may ask for.

use std::net::TcpStream;
use std::time::Duration;

use encke::Config;

use encke_test_client::websocket::{self, BINARY, PING, PONG, TEXT};
use serde_json::{Value, json};

use crate::eventually;
use crate::server::Server;
use crate::socket::{MASK, Socket, shaken};

#[test]
fn handshake_is_answered_as_the_specification_says() {
    let server = Server::start();
    let socket = Socket::open(&server, "/ws/news");
    let field = |name| socket.head.field(name);
    assert_eq!(field("Upgrade"), Some("websocket"));
    assert_eq!(field("Connection"), Some("Upgrade"));
    assert_eq!(field("Sec-WebSocket-Accept"), Some(websocket::ACCEPT));
    for absent in [
        "Sec-WebSocket-Protocol",
        "Sec-WebSocket-Extensions",
        "Content-Length",
        "Transfer-Encoding",
        "Keep-Alive",
    ] {
        assert_eq!(field(absent), None);
    }
    let offers = "Sec-WebSocket-Protocol: other, encke\r\n\
                  Sec-WebSocket-Extensions: permessage-deflate\r\n";
    let socket = Socket::open_with(&server, "/ws/news", offers);
    assert_eq!(socket.head.field("Sec-WebSocket-Protocol"), Some("encke"));
    assert_eq!(socket.head.field("Sec-WebSocket-Extensions"), None);
    let metric = "encke_requests_total{endpoint=\"ws\",status=\"101\"}";
    assert!(server.get("/metrics").text().contains(metric));
}

#[test]
fn wrong_handshakes_are_refused() {
    let server = Server::start();
    let without = |field: &str| -> String {
        let lines = websocket::HANDSHAKE.split_inclusive("\r\n");
        lines.filter(|line| !line.starts_with(field)).collect()
    };
    let with = |old: &str, new: &str| websocket::HANDSHAKE.replace(old, new);
    for (fields, status) in [
        (String::new(), 400),
        (without("Upgrade"), 400),
        (without("Connection"), 400),
        (without("Sec-WebSocket-Version"), 426),
        (with("Version: 13", "Version: 8"), 426),
        (without("Sec-WebSocket-Key"), 400),
        (with("dGhlIHNhbXBsZSBub25jZQ==", "AAAA"), 400),
        (
            with("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ"),
            400,
        ),
    ] {
        let answer = shaken(&server, "/ws/news", &fields);
        answer.problem(status);
        let version = answer.field("Sec-WebSocket-Version");
        assert_eq!(version, (status == 426).then_some("13"), "{fields}");
    }
    shaken(&server, "/ws/a,b?raw=1&publish=1", websocket::HANDSHAKE).problem(400);
    shaken(&server, "/ws/a?raw=2", websocket::HANDSHAKE).problem(400);
    shaken(&server, "/ws/a*", websocket::HANDSHAKE).problem(400);
    // The connection goes on.
    let mut client = server.client();
    client.get("/ws/news").problem(400);
    assert_eq!(client.get("/healthz").status(), 200);
    let mut client = server.client();
    client.ask("HEAD", "/ws/news", websocket::HANDSHAKE);
    assert_eq!(client.head().status, 400);
    let mut client = server.client();
    client
        .post("/ws/news", websocket::HANDSHAKE, "")
        .problem(405);
}

#[test]
fn page_of_another_origin_is_refused() {
    let server = Server::start();
    let fields = format!("{}Origin: https://other.example\r\n", websocket::HANDSHAKE);
    shaken(&server, "/ws/news", &fields).problem(403);
}

#[test]
fn objects_are_those_of_ndjson() {
    let server = Server::start();
    let first = server.publish("news", "one");
    let mut socket = Socket::open(&server, &format!("/ws/news?since={first}"));
    assert_eq!(socket.opening(), first);
    let second = server.publish("news", "two");
    assert_eq!(
        socket.object(),
        json!({"id": second, "channel": "news", "data": "two"})
    );
    let long = "x".repeat(100_000);
    for text in ["", "ü\"\u{2028}", &long] {
        server.publish("news", text);
        assert_eq!(socket.data(), text);
    }
}

#[test]
fn gap_is_an_object_or_the_end_of_a_raw_socket() {
    let server = Server::with(|config: &mut Config| config.history.max_messages = 1);
    let first = server.publish("news", "one");
    server.publish("news", "two");
    let third = server.publish("news", "three");
    let mut socket = Socket::open(&server, &format!("/ws/news?since={first}"));
    socket.opening();
    assert_eq!(socket.object()["gap"], true);
    assert_eq!(socket.object()["id"], *third);

    let mut raw = Socket::open(&server, &format!("/ws/news?raw=1&since={first}"));
    assert_eq!(raw.closed(), (3001, "gap".into()));
    let mut raw = Socket::open(&server, "/ws/news?raw=1&since=other-1");
    assert_eq!(raw.closed(), (3001, "gap".into()));
    let mut socket = Socket::open(&server, "/ws/news?since=other-1");
    let unknown = socket.opening();
    assert_eq!(socket.object()["gap"], true);
    assert_eq!(socket.object()["id"], *third);
    assert_ne!(unknown, third);
}

#[test]
fn raw_socket_is_sent_the_data_alone() {
    let server = Server::start();
    let mut socket = Socket::open(&server, "/ws/news?raw=1");
    let mut client = server.client();
    let mut publish = |kind: &str, body: &[u8]| {
        let fields = format!("Content-Type: {kind}\r\n");
        assert_eq!(client.post("/publish/news", &fields, body).status(), 200);
    };
    publish("text/plain", "Grüße".as_bytes());
    publish("application/json", b"{\"a\": 1}");
    publish("application/octet-stream", b"\0\xff");
    assert_eq!(socket.frame(TEXT), "Grüße".as_bytes());
    assert_eq!(socket.frame(TEXT), b"{\"a\": 1}");
    assert_eq!(socket.frame(BINARY), b"\0\xff");
    socket.send(TEXT, "x");
    let (code, _) = socket.closed();
    assert_eq!(code, 1008);
}

#[test]
fn raw_socket_receives_its_own_messages() {
    let server = Server::start();
    let mut socket = Socket::open(&server, "/ws/news?raw=1&publish=1");
    let mut other = Socket::open(&server, "/ws/news");
    other.opening();
    socket.send(TEXT, "text");
    socket.send(BINARY, b"\0\x01");
    for (is_last, opcode, payload) in [(false, TEXT, "Gr"), (false, 0, "ü"), (true, 0, "ße")] {
        let part = websocket::part(is_last, opcode, payload.as_bytes(), MASK);
        socket.client.send(part);
    }
    assert_eq!(socket.frame(TEXT), b"text");
    assert_eq!(socket.frame(BINARY), b"\0\x01");
    assert_eq!(socket.frame(TEXT), "Grüße".as_bytes());
    assert_eq!(other.data(), "text");
    let object = other.object();
    assert_eq!(
        (&object["data"], &object["encoding"]),
        (&json!("AAE="), &json!("base64"))
    );
    assert_eq!(other.data(), "Grüße");
}

#[test]
fn commands_publish() {
    let server = Server::start();
    let mut socket = Socket::open(&server, "/ws/news");
    socket.opening();
    socket.ask(json!({"publish": "news", "data": {"a": 1}, "event": "e", "key": "k", "ref": 7}));
    let answer = socket.object();
    let id = answer["published"]["id"].clone();
    assert_eq!(
        answer,
        json!({"published": {"id": id, "channel": "news", "subscribers": 1}, "ref": 7})
    );
    let message = json!({"id": id, "channel": "news", "data": {"a": 1}, "event": "e"});
    assert_eq!(socket.object(), message);
    // The same key is the same message.
    socket.ask(json!({"publish": "news", "data": 2, "key": "k", "ref": "again"}));
    assert_eq!(socket.object()["published"]["id"], id);
    socket.ask(json!({"publish": "other", "data": "x"}));
    assert_eq!(socket.object()["published"]["subscribers"], 0);
    assert_eq!(server.channel("other").unwrap()["messages"], 1);
}

#[test]
fn refused_command_is_answered_and_the_socket_stays() {
    let server = Server::start();
    let mut socket = Socket::open(&server, "/ws/news");
    socket.opening();
    for command in [
        "nonsense",
        "{}",
        r#"{"channels":["a*"]}"#,
        r#"{"publish":"a"}"#,
    ] {
        socket.send(TEXT, command);
        let answer = socket.object();
        assert_eq!(answer["error"]["status"], 400, "{answer}");
        assert_eq!(answer["error"]["title"], "Bad Request");
    }
    socket.ask(json!({"publish": "x".repeat(300), "data": 1, "ref": 5}));
    let answer = socket.object();
    assert_eq!(
        (&answer["error"]["status"], &answer["ref"]),
        (&json!(400), &json!(5))
    );
    socket.ask(json!({"publish": "news", "data": 1}));
    assert!(socket.object()["published"].is_object());
    assert_eq!(socket.data(), 1);
    // Bytes are no command.
    socket.send(BINARY, "{}");
    assert_eq!(socket.closed().0, 1008);
}

#[test]
fn followed_channels_are_changed_without_a_loss() {
    let server = Server::start();
    let before = server.publish("b", "before");
    let mut socket = Socket::open(&server, "/ws/a");
    socket.opening();
    socket.ask(json!({"channels": ["a", "b"]}));
    let answer = socket.object();
    assert_eq!(answer["channels"], json!(["a", "b"]));
    assert_eq!(answer["cursor"], *before);
    let one = server.publish("b", "one");
    assert_eq!(socket.object()["id"], *one);
    server.publish("a", "two");
    assert_eq!(socket.data(), "two");

    socket.ask(json!({"channels": ["b"], "since": before}));
    assert_eq!(
        socket.object(),
        json!({"channels": ["b"], "cursor": before})
    );
    assert_eq!(socket.object()["id"], *one);
    eventually("a is left", || server.subscribers("a") == 0);
    server.publish("a", "not followed");

    socket.ask(json!({"channels": []}));
    assert_eq!(socket.object()["channels"], json!([]));
    server.publish("b", "unseen");
    socket.ask(json!({"channels": ["b", "b"], "since": "earliest"}));
    assert_eq!(socket.object()["channels"], json!(["b"]));
    assert_eq!(socket.data(), "before");
    assert_eq!(socket.data(), "one");
    assert_eq!(socket.data(), "unseen");

    socket.ask(json!({"channels": ["b"], "since": "other-1"}));
    assert!(socket.object()["channels"].is_array());
    assert_eq!(socket.object()["gap"], true);
    assert_eq!(socket.data(), "before");
    let names: Vec<String> = (0..65).map(|n| n.to_string()).collect();
    socket.ask(json!({"channels": names}));
    let refusal = std::iter::repeat_with(|| socket.object()).find(|o| o.get("data").is_none());
    assert_eq!(refusal.unwrap()["error"]["status"], 400);
    assert_eq!(server.subscribers("b"), 1);
}

#[test]
fn socket_may_follow_nothing_and_be_alive() {
    let server = Server::with(|config| config.heartbeat = Duration::from_millis(50));
    let mut socket = Socket::open(&server, "/ws/news");
    socket.opening();
    socket.ask(json!({"channels": []}));
    while socket.next().expect("open").payload.first() != Some(&b'{') {}
    eventually("nobody follows", || server.subscribers("news") == 0);
    assert_eq!(socket.frame(PING), b"");
    let id = server.publish("news", "x");
    eventually("a heartbeat says the cursor", || {
        let frame = socket.next().expect("open");
        frame.opcode == TEXT
            && serde_json::from_slice::<Value>(&frame.payload).unwrap() == json!({"cursor": id})
    });
}

#[test]
fn heartbeats_ping() {
    let server = Server::with(|config| config.heartbeat = Duration::from_millis(20));
    let id = server.publish("news", "x");
    let mut socket = Socket::open(&server, "/ws/news");
    socket.opening();
    for _ in 0..3 {
        assert_eq!(socket.frame(PING), b"");
        assert_eq!(socket.object(), json!({"cursor": id}));
        socket.send(PONG, b"");
    }
    let mut raw = Socket::open(&server, "/ws/news?raw=1");
    for _ in 0..3 {
        assert_eq!(raw.frame(PING), b"");
    }
}

#[test]
fn publishing_asks_for_the_key_where_http_does() {
    let server = Server::with(|config| config.publish_key = Some("secret".into()));
    let mut socket = Socket::open(&server, "/ws/news");
    socket.opening();
    socket.ask(json!({"publish": "news", "data": 1, "ref": 1}));
    assert_eq!(socket.object()["error"]["status"], 401);
    let key = "Authorization: Bearer secret\r\n";
    let mut socket = Socket::open_with(&server, "/ws/news", key);
    socket.opening();
    socket.ask(json!({"publish": "news", "data": 1, "ref": 1}));
    assert!(socket.object()["published"].is_object());
    let mut raw = Socket::open(&server, "/ws/news?raw=1&publish=1");
    raw.send(TEXT, "x");
    let (code, reason) = raw.closed();
    assert_eq!(code, 1008);
    assert!(reason.contains("publish key"), "{reason}");
}

#[test]
fn frames_sent_at_once_with_the_handshake_are_served() {
    let server = Server::start();
    let mut client = server.client();
    let command = websocket::frame(TEXT, b"{\"publish\":\"news\",\"data\":1}", MASK);
    let head = format!(
        "GET /ws/news HTTP/1.1\r\nHost: h\r\n{}\r\n",
        websocket::HANDSHAKE
    );
    client.send([head.as_bytes(), &command.repeat(100)].concat());
    let head = client.head();
    assert_eq!(head.status, 101);
    let mut socket = Socket::after(client, head);
    socket.opening();
    let mut counts = [0, 0];
    while counts != [100, 100] {
        let object = socket.object();
        counts[usize::from(object.get("published").is_some())] += 1;
    }
}

/// A client that others wrote.
#[test]
fn tungstenite_speaks_with_it() {
    use tungstenite::Message;

    let server = Server::start();
    let stream = TcpStream::connect(server.address).expect("it listens");
    stream.set_read_timeout(Some(crate::DEADLINE)).unwrap();
    let url = format!("ws://{}/ws/news", server.address);
    let (mut socket, response) = tungstenite::client(url, stream).expect("a handshake");
    assert_eq!(response.status().as_u16(), 101);
    let read = |socket: &mut tungstenite::WebSocket<TcpStream>| -> Value {
        serde_json::from_str(socket.read().unwrap().to_text().unwrap()).unwrap()
    };
    assert!(read(&mut socket)["cursor"].is_string());
    let long = "ü".repeat(40_000);
    let command = json!({"publish": "news", "data": long}).to_string();
    socket.send(Message::text(command)).unwrap();
    assert_eq!(read(&mut socket)["published"]["channel"], "news");
    assert_eq!(read(&mut socket)["data"], *long);
    socket.send(Message::Ping("p".into())).unwrap();
    assert_eq!(socket.read().unwrap(), Message::Pong("p".into()));
    socket.close(None).unwrap();
    assert!(matches!(socket.read(), Ok(Message::Close(None))));
    assert!(matches!(
        socket.read(),
        Err(tungstenite::Error::ConnectionClosed)
    ));
}
