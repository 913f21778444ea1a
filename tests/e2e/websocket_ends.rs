//! WebSockets: their limits, and how they end.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use encke_test_client::websocket::{self, CLOSE, PING, PONG, TEXT};
use serde_json::{Value, json};

use crate::eventually;
use crate::server::Server;
use crate::socket::{MASK, Socket, shaken};

#[test]
fn pings_are_answered_at_most_ten_times_a_second() {
    let server = Server::start();
    let mut socket = Socket::open(&server, "/ws/news");
    socket.opening();
    for number in 0..100_u8 {
        socket.send(PING, [number]);
    }
    socket.ask(json!({"publish": "news", "data": 1}));
    let mut pongs = Vec::new();
    loop {
        let frame = socket.next().expect("open");
        match frame.opcode {
            PONG => pongs.push(frame.payload),
            _ => break,
        }
    }
    // The second may have ended in between.
    assert!((10..=20).contains(&pongs.len()), "{} pongs", pongs.len());
    assert!((0..10).all(|number: u8| pongs[usize::from(number)] == [number]));
}

#[test]
fn close_frame_is_echoed() {
    let server = Server::start();
    for (payload, echo) in [
        (&b"\x03\xe8bye"[..], &b"\x03\xe8"[..]),
        (b"", b""),
        (b"\x0f\xa0", b"\x0f\xa0"),
    ] {
        let mut socket = Socket::open(&server, "/ws/news");
        socket.opening();
        socket.send(CLOSE, payload);
        // Nothing counts after it.
        socket.send(TEXT, "{\"publish\":\"news\",\"data\":1}");
        assert_eq!(socket.frame(CLOSE), echo);
        socket.client.expect_end();
    }
    eventually("all are gone", || server.subscribers("news") == 0);
    assert!(
        server
            .channel("news")
            .is_none_or(|state| state["messages"] == 0)
    );
}

#[test]
fn broken_protocol_is_closed_with_its_code() {
    let server = Server::with(|config| config.max_body_bytes = 1_000);
    let masked = |first: u8, payload: &[u8]| {
        let mut bytes = websocket::frame(0, payload, MASK);
        bytes[0] = first;
        bytes
    };
    for (bytes, code) in [
        (b"\x81\x02hi".to_vec(), 1002),
        (masked(0xC1, b"x"), 1002),
        (masked(0x83, b"x"), 1002),
        (masked(0x80, b"x"), 1002),
        (masked(0x09, b"x"), 1002),
        (masked(0x88, b"\x03\xed"), 1002),
        (masked(0x81, b"\xff"), 1007),
        (masked(0x88, b"\x03\xe8\xff"), 1007),
        (masked(0x81, &[b' '; 1_001]), 1009),
        (
            [masked(0x01, &[b' '; 600]), masked(0x80, &[b' '; 600])].concat(),
            1009,
        ),
    ] {
        let mut socket = Socket::open(&server, "/ws/news");
        socket.opening();
        socket.client.send(bytes);
        assert_eq!(socket.closed().0, code);
    }
}

#[test]
fn message_that_never_ends_is_closed() {
    let server = Server::with(|config| config.body_timeout = Duration::from_millis(200));
    let mut socket = Socket::open(&server, "/ws/news");
    socket.opening();
    let whole = websocket::frame(TEXT, b"{\"channels\":[]}", MASK);
    socket.client.send(&whole[..5]);
    let (code, reason) = socket.closed();
    assert_eq!(code, 1008);
    assert!(reason.contains("--body-timeout"), "{reason}");
}

#[test]
fn unfinished_messages_are_counted_and_given_back() {
    let server = Server::with(|config| {
        config.max_buffer_bytes = 1 << 20;
        config.max_body_bytes = 200_000;
        config.max_batch_bytes = 200_000;
    });
    let part = websocket::part(false, TEXT, &[b' '; 100_000], MASK);
    let mut sockets = Vec::new();
    let mut refused = None;
    for _ in 0..20 {
        let mut socket = Socket::open(&server, "/ws/news");
        socket.opening();
        // The server may close before all is sent.
        let _ = socket.client.socket.write_all(&part);
        let _ = socket
            .client
            .socket
            .write_all(&websocket::frame(PING, b"", MASK));
        let frame = socket.next().expect("an answer");
        if let Some((code, _)) = frame.close_code() {
            refused = Some(code);
            break;
        }
        assert_eq!(frame.opcode, PONG);
        sockets.push(socket);
    }
    assert_eq!(refused, Some(1011));
    assert!(sockets.len() >= 5, "{}", sockets.len());
    drop(sockets);
    eventually("the memory is given back", || {
        server.metric("encke_buffer_bytes") == 0
    });
}

#[test]
fn socket_is_recycled_by_its_age_and_not_by_its_bytes() {
    let server = Server::with(|config| {
        config.stream_max_bytes = 4_096;
        config.stream_max_age = Duration::from_secs(1);
    });
    let mut socket = Socket::open(&server, "/ws/news");
    socket.opening();
    let long = "x".repeat(3_000);
    let mut last = String::new();
    for _ in 0..5 {
        last = server.publish("news", &long);
        assert_eq!(socket.data(), *long);
    }
    let (code, reason) = socket.closed();
    assert_eq!(code, 1001);
    let reason: Value = serde_json::from_str(&reason).expect("JSON");
    assert_eq!(reason["cursor"], *last);
    assert!(reason["retry"].as_u64().unwrap() <= 1_000);
}

#[test]
fn drain_says_when_to_come_back() {
    let mut server = Server::with(|config| {
        config.drain_delay = Duration::from_secs(3);
        config.drain = Duration::from_secs(3);
    });
    let mut socket = Socket::open(&server, "/ws/news");
    let cursor = socket.opening();
    server.handle.shutdown();
    eventually("it drains", || server.get("/readyz").status() == 503);
    let answer = shaken(&server, "/ws/news", websocket::HANDSHAKE);
    answer.problem(503);
    assert!(answer.field("Retry-After").is_some());
    socket.ask(json!({"publish": "news", "data": 1}));
    assert_eq!(socket.object()["error"]["status"], 503);
    let (code, reason) = socket.closed();
    assert_eq!(code, 1001);
    let reason: Value = serde_json::from_str(&reason).expect("JSON");
    assert_eq!(reason["cursor"], *cursor);
    assert!(reason["retry"].is_u64());
    drop(socket);
    server.stop().expect("drained");
}

#[test]
fn client_that_does_not_read_is_held_back() {
    let server = Server::start();
    let mut socket = Socket::open(&server, "/ws/news");
    socket.opening();
    let data = "x".repeat(50_000);
    let command = json!({"publish": "news", "data": data}).to_string();
    let command = websocket::frame(TEXT, command.as_bytes(), MASK);
    let sender: TcpStream = socket.client.socket.try_clone().expect("a descriptor");
    const COUNT: usize = 400;
    let writer = std::thread::spawn(move || {
        for _ in 0..COUNT {
            (&sender).write_all(&command).expect("it is sent");
        }
    });
    let mut answers = 0;
    while answers < COUNT {
        answers += usize::from(socket.object().get("published").is_some());
    }
    writer.join().expect("no panic");
}
