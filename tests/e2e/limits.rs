//! At the limits: connections, descriptors.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::process::{Resource, Rlimit, prlimit};

use crate::DEADLINE;
use crate::child::Encke;
use crate::client::{Client, request};
use crate::eventually;
use crate::server::Server;
use crate::stream::Stream;

/// All that a server says to a request before it ends the connection; nothing where it resets it.
fn whole_answer(mut socket: TcpStream, target: &str) -> Vec<u8> {
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut bytes = Vec::new();
    let request = format!("{}{}", "", request("GET", target, "", ""));
    let asked = socket.write_all(request.as_bytes());
    match asked.and_then(|()| socket.read_to_end(&mut bytes)) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("neither served nor closed"),
        _ => bytes,
    }
}

#[test]
fn request_at_the_connection_limit_is_refused_in_the_format_of_its_endpoint() {
    let server = Server::with(|config| config.max_connections = Some(2));
    let (mut one, mut two) = (server.client(), server.client());
    one.get("/healthz");
    two.get("/healthz");
    // A connection that is accepted before its request is there is closed unanswered.
    let refused = |target: &str| {
        let mut answer = Vec::new();
        eventually("an answer", || {
            answer = whole_answer(TcpStream::connect(server.address).unwrap(), target);
            !answer.is_empty()
        });
        String::from_utf8(answer).unwrap()
    };
    let poll = refused("/poll/news");
    assert!(poll.starts_with("HTTP/1.1 503 "), "{poll}");
    assert!(poll.contains("\r\nRetry-After: "), "{poll}");
    assert!(poll.contains("application/problem+json"), "{poll}");
    let sse = refused("/sse/news");
    assert!(sse.starts_with("HTTP/1.1 200 "), "{sse}");
    assert!(sse.contains("text/event-stream"), "{sse}");
    let (_, body) = sse.split_once("\r\n\r\n").unwrap();
    assert!(
        body.starts_with("retry: ") && body.ends_with("\n\n"),
        "{sse}"
    );
    let jsonp = refused("/poll/news?callback=app.on");
    assert!(jsonp.starts_with("HTTP/1.1 200 "), "{jsonp}");
    let (_, body) = jsonp.split_once("\r\n\r\n").unwrap();
    assert!(body.starts_with("/**/app.on({\"error\":{"), "{jsonp}");
    // Open connections are still served, and a new one is accepted when one is closed.
    assert_eq!(one.get("/healthz").status(), 200);
    drop(two);
    eventually("a connection is free", || {
        whole_answer_or_served(server.address).is_some_and(|status| status == 200)
    });
}

/// The status of a request, where there is an answer.
fn whole_answer_or_served(address: std::net::SocketAddr) -> Option<u16> {
    let mut socket = TcpStream::connect(address).ok()?;
    let ask = request("GET", "/healthz", "Connection: close\r\n", "");
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket.write_all(ask.as_bytes()).ok()?;
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    text.get(9..12)?.parse().ok()
}

/// Clock ticks that a process has had of a processor.
fn cpu_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, after_name) = stat.rsplit_once(')').unwrap();
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = |index: usize| fields[index].parse::<u64>().unwrap();
    ticks(11) + ticks(12)
}

fn descriptors(pid: u32) -> u64 {
    let listing = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    listing.count() as u64
}

#[test]
fn server_without_descriptors_does_not_spin_and_recovers() {
    let encke = Encke::start(&[]);
    assert_eq!(encke.get("/healthz").status(), 200);
    let pid = encke.program.id();
    let mut first = encke.client();
    first.get("/healthz");
    // Room for two more than there are now; those of the requests above may be still open.
    let limit = Rlimit {
        current: Some(descriptors(pid) + 2),
        maximum: Some(20_000),
    };
    prlimit(Some(encke.program.pid()), Resource::Nofile, limit)
        .expect("a child's limit can be lowered");

    let before = cpu_ticks(pid);
    let mut held: Vec<Client> = Vec::new();
    let mut turned_away = 0;
    while turned_away < 10 {
        let mut client = encke.client();
        client.ask("GET", "/healthz", "");
        match client.try_head() {
            Some(head) if head.status == 200 => {
                client.take(3);
                held.push(client);
            }
            Some(head) => {
                assert_eq!(head.status, 503);
                assert!(head.field("Retry-After").is_some());
                turned_away += 1;
            }
            // It was accepted before its request was there.
            None => turned_away += 1,
        }
        assert!(held.len() < 10, "the limit is in force");
    }
    encke.program.line_with("connections refused");
    // Ten rests of a tenth of a second: a loop that spins takes a hundred ticks for it.
    let spent = cpu_ticks(pid) - before;
    assert!(spent < 50, "{spent} ticks");

    assert_eq!(first.get("/healthz").status(), 200);
    held.clear();
    eventually("it accepts again", || {
        whole_answer_or_served(encke.address) == Some(200)
    });
}

#[test]
fn stream_at_the_channel_limit_ends_with_a_retry() {
    let server = Server::with(|config| config.max_channels = 1);
    server.publish("a", "x");
    let mut stream = Stream::open(server.client(), "/sse/b", "");
    let event = stream.event().unwrap();
    assert!(event.retry_ms.is_some() && event.data.is_none());
    for target in ["/long-poll/b", "/ndjson/b", "/frame/b"] {
        let answer = server.get(target);
        answer.problem(503);
        assert!(answer.field("Retry-After").is_some(), "{target}");
    }
}

#[test]
fn connection_over_the_limit_per_address_is_refused() {
    let server = Server::with(|config| config.max_connections_per_address = Some(2));
    let (mut one, mut two) = (server.client(), server.client());
    one.get("/healthz");
    two.get("/healthz");
    let mut answer = Vec::new();
    eventually("a third is refused", || {
        answer = whole_answer(TcpStream::connect(server.address).unwrap(), "/poll/news");
        !answer.is_empty()
    });
    let text = String::from_utf8(answer).unwrap();
    assert!(text.starts_with("HTTP/1.1 429 "), "{text}");
    assert!(text.contains("\r\nRetry-After: "), "{text}");
    assert_eq!(one.get("/healthz").status(), 200);
}

#[test]
fn memory_of_all_history_is_bounded() {
    let server = Server::with(|config| {
        config.history.max_total_bytes = 300 << 10;
        config.max_body_bytes = 60 << 10;
    });
    let text = "x".repeat(50 << 10);
    for channel in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        server.publish(channel, &text);
    }
    assert!(server.metric("encke_history_bytes") <= 300 << 10);
    let oldest = server.get("/poll/a").batch();
    assert_eq!(oldest.messages().len(), 0, "the oldest of all went");
    assert_eq!(server.get("/poll/h").batch().messages().len(), 1);
}

#[test]
fn memory_of_unfinished_requests_is_bounded() {
    let server = Server::with(|config| {
        config.max_body_bytes = 100 << 10;
        config.max_batch_bytes = 100 << 10;
        config.max_buffer_bytes = 200 << 10;
    });
    let mut senders = Vec::new();
    for _ in 0..20 {
        let mut client = server.client();
        client.send("POST /publish/x HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n");
        client.send("x".repeat(50_000));
        senders.push(client);
    }
    // The first three or four of them use up the memory.
    let counter = "encke_requests_total{endpoint=\"other\",status=\"503\"} ";
    crate::eventually("all but the first few are refused", || {
        let metrics = server.get("/metrics");
        let count = metrics
            .text()
            .lines()
            .find_map(|line| line.strip_prefix(counter));
        count.is_some_and(|count| count.parse::<u32>().unwrap() >= 16)
    });
    assert!(server.metric("encke_buffer_bytes") <= 200 << 10);
    drop(senders);
    server.publish("x", "there is room again");
}

/// Clients that request large responses and read them keep encke busy. A small request waits for a
/// few large responses to each of them, and not for all that they request.
#[test]
fn small_request_is_not_delayed_by_large_responses() {
    const GREEDY: usize = 24;
    const DEPTH: usize = 32;
    const ROUNDS: usize = 8;
    let server = Server::with(|config| config.max_batch_bytes = 8 << 20);
    let large = "x".repeat(1 << 20);
    for _ in 0..3 {
        server.publish("large", &large);
    }
    let (is_over, answers) = (AtomicBool::new(false), AtomicUsize::new(0));
    let has_begun = Barrier::new(GREEDY + 1);
    let be_greedy = || {
        let ask = request("GET", "/poll/large", "", "");
        let mut socket = TcpStream::connect(server.address).unwrap();
        socket.write_all(ask.repeat(DEPTH).as_bytes()).unwrap();
        has_begun.wait();
        let (mut read, mut buffer) = (0, vec![0; 1 << 20]);
        while !is_over.load(Ordering::Relaxed) {
            read += socket.read(&mut buffer).unwrap();
            while read > large.len() * 3 {
                read -= large.len() * 3;
                answers.fetch_add(1, Ordering::Relaxed);
                socket.write_all(ask.as_bytes()).unwrap();
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..GREEDY {
            scope.spawn(be_greedy);
        }
        has_begun.wait();
        let mut client = server.client();
        let waited = [(); 5].map(|()| {
            let before = answers.load(Ordering::Relaxed);
            assert_eq!(client.get("/healthz").status(), 200);
            answers.load(Ordering::Relaxed) - before
        });
        is_over.store(true, Ordering::Relaxed);
        let longest = waited.into_iter().max().unwrap();
        assert!(
            longest < ROUNDS * GREEDY,
            "large answers came first: {waited:?}"
        );
    });
}
