//! Many readers at once, some of them slow.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::client::Client;
use crate::eventually;
use crate::server::Server;
use crate::stream::Stream;

const STREAMS: usize = 500;
const MESSAGES: usize = 100;

#[test]
fn five_hundred_streams_receive_every_message_in_order() {
    let server = Server::start();
    let mut streams: Vec<Stream> = (0..STREAMS)
        .map(|n| server.stream(["/sse/all", "/ndjson/all", "/frame/all", "/sse/all,other"][n % 4]))
        .collect();
    server.wait_subscribers("all", STREAMS as u64);
    for number in 0..MESSAGES / 2 {
        server.publisher.publish("all", number.to_string()).unwrap();
    }
    // The fast read while more is published, the slow when all of it is.
    let (fast, slow) = streams.split_at_mut(STREAMS / 2);
    for (n, stream) in fast.iter_mut().enumerate() {
        expect(n, stream, 0..MESSAGES / 2);
    }
    for number in MESSAGES / 2..MESSAGES {
        server.publisher.publish("all", number.to_string()).unwrap();
    }
    for (n, stream) in fast.iter_mut().enumerate() {
        expect(n, stream, MESSAGES / 2..MESSAGES);
    }
    for (n, stream) in slow.iter_mut().enumerate() {
        expect(STREAMS / 2 + n, stream, 0..MESSAGES);
    }
    let delivered = (STREAMS * MESSAGES) as u64;
    assert_eq!(server.metric("encke_messages_delivered_total"), delivered);
    assert_eq!(server.metric("encke_gaps_total"), 0);
}

fn expect(n: usize, stream: &mut Stream, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let data = loop {
            let object = match n % 4 {
                1 => stream.object().unwrap(),
                2 => stream.script().unwrap(),
                _ => break stream.message().unwrap().data.unwrap(),
            };
            if let Some(data) = object["data"].as_str() {
                break data.to_owned();
            }
        };
        assert_eq!(data, number.to_string(), "stream {n}");
    }
}

/// A stream with a small receive buffer.
pub(crate) fn narrow(address: SocketAddr, target: &str) -> Stream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4 << 10).unwrap();
    socket.connect(&address.into()).unwrap();
    Stream::open(Client::over(TcpStream::from(socket)), target, "")
}

/// Publishes until the socket of the one reader is full, and returns the number of messages.
fn fill(server: &Server, text: &str) -> usize {
    let mut published = 0;
    eventually("the socket is full", || {
        server.publish("news", &format!("{published} {text}"));
        published += 1;
        server.metric("encke_writes_blocked_total") > 0
    });
    published
}

#[test]
fn stalled_reader_is_closed() {
    let server = Server::with(|config| config.write_timeout = Duration::from_millis(200));
    let mut stream = narrow(server.address, "/sse/news");
    stream.opening();
    let mut held = server.hold("/long-poll/beside");
    fill(&server, &"x".repeat(64 << 10));
    server.wait_subscribers("news", 0);
    assert_eq!(
        server.metric("encke_connections_ended_total{cause=\"stalled\"}"),
        1
    );
    // Its neighbours never noticed.
    server.wait_subscribers("beside", 1);
    server.publish("beside", "x");
    assert_eq!(held.answer().batch().data(), ["x"]);
}

#[test]
fn slow_reader_behind_history_gets_a_gap() {
    let server = Server::with(|config| config.history.max_messages = 5);
    for endpoint in ["sse", "ndjson"] {
        let mut stream = narrow(server.address, &format!("/{endpoint}/news"));
        server.wait_subscribers("news", 1);
        let blocked = server.metric("encke_writes_blocked_total");
        let text = "x".repeat(64 << 10);
        let mut published = 0;
        eventually("the socket is full", || {
            server.publish("news", &format!("{published} {text}"));
            published += 1;
            server.metric("encke_writes_blocked_total") > blocked
        });
        for _ in 0..20 {
            server.publish("news", &format!("{published} x"));
            published += 1;
        }
        let (mut numbers, mut gaps) = (Vec::new(), 0);
        while numbers.last() != Some(&(published - 1)) {
            let data = match endpoint {
                "sse" => {
                    let event = stream.message().expect("it goes on");
                    match event.event.as_deref() {
                        Some("gap") => None,
                        _ => event.data,
                    }
                }
                _ => {
                    let object = stream.object().expect("it goes on");
                    match (object["data"].as_str(), object.get("gap")) {
                        (Some(data), _) => Some(data.to_owned()),
                        (None, Some(_)) => None,
                        (None, None) => continue,
                    }
                }
            };
            match data {
                Some(data) => {
                    let (number, _) = data.split_once(' ').unwrap();
                    numbers.push(number.parse::<usize>().unwrap());
                }
                None => gaps += 1,
            }
        }
        assert_eq!(gaps, 1, "{endpoint}");
        assert!(numbers.is_sorted_by(|a, b| a < b), "{endpoint}");
        let newest: Vec<usize> = (published - 5..published).collect();
        assert!(numbers.ends_with(&newest), "{endpoint}: {numbers:?}");
        assert!(numbers.len() < published, "{endpoint}");
        drop(stream);
        server.wait_subscribers("news", 0);
    }
}

#[test]
fn slow_reader_does_not_delay_fast_readers() {
    let server = Server::start();
    let mut slow = narrow(server.address, "/ndjson/news");
    let mut fast = server.stream("/ndjson/news");
    server.wait_subscribers("news", 2);
    fast.object();
    let text = "x".repeat(16 << 10);
    for number in 0..200 {
        server.publish("news", &format!("{number} {text}"));
        let object = fast.object().unwrap();
        let data = object["data"].as_str().unwrap();
        assert!(data.starts_with(&format!("{number} ")));
    }
    // And misses nothing that history still has.
    slow.object();
    for number in 0..200 {
        let object = slow.object().unwrap();
        let data = object["data"].as_str().unwrap();
        assert!(data.starts_with(&format!("{number} ")), "{number}");
    }
}
