//! Nodes that are upgraded, again and again: no client and no other node notices.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use encke_test_client::ResponseReader;
use encke_test_rig::{PATIENCE, http};
use rustix::process::Signal;

use crate::encke::Encke;
use crate::nodes::{member, nodes, poll_all, publish};
use crate::redis;

/// A stream that is opened once, and read to the end of a test.
struct Stream(BufReader<TcpStream>);

impl Stream {
    fn open(address: SocketAddr, target: &str) -> Stream {
        let mut stream = http::connect(address, PATIENCE).expect("it listens");
        write!(stream, "GET {target} HTTP/1.0\r\nHost: encke\r\n\r\n").expect("it reads");
        let mut stream = Stream(BufReader::new(stream));
        // The head, and the line that opens the stream.
        while !stream.line().contains("\"heartbeat\"") {}
        stream
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        let bytes = self.0.read_line(&mut line).expect("the stream goes on");
        assert!(bytes > 0, "the stream has ended");
        line
    }

    /// The ids of the next messages.
    fn ids(&mut self, count: usize) -> Vec<String> {
        let mut ids = Vec::new();
        while ids.len() < count {
            let line = self.line();
            assert!(!line.contains("\"gap\""), "{line}");
            if line.contains("\"id\"") {
                ids.push(member(&line, "id"));
            }
        }
        ids
    }
}

/// The value of a metric.
fn metric(node: &mut Encke, name: &str) -> f64 {
    let (_, text) = node.ask("GET", "/metrics", "");
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(name));
    let value = lines.find_map(|rest| rest.strip_prefix(' '));
    value.and_then(|value| value.parse().ok()).expect(name)
}

/// The names of the nodes that a node knows, each once.
fn names(node: &mut Encke) -> Vec<String> {
    let (_, listed) = node.ask("GET", "/nodes", "");
    let listed: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
    let nodes = listed["nodes"].as_array().expect("a list").iter();
    let mut names: Vec<String> = nodes
        .map(|node| member(&node.to_string(), "name"))
        .collect();
    names.sort_unstable();
    names
}

/// Publishes on a connection that is kept, until it is told to stop. Returns the ids.
fn publish_on(address: SocketAddr, stop: &AtomicBool) -> Vec<String> {
    let mut stream = http::connect(address, PATIENCE).expect("it listens");
    let mut responses = ResponseReader::default();
    let request = http::request("POST", "/publish/news", "", "x");
    let mut ids = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let sent = stream.write_all(request.as_bytes());
        sent.expect("the connection is kept");
        let mut body = Vec::new();
        let answer = http::read_response(&mut stream, &mut responses, &mut body);
        assert_eq!(answer.expect("an answer").status, 200);
        ids.push(member(str::from_utf8(&body).expect("text"), "id"));
    }
    ids
}

/// Tells publishers to stop when it is dropped, also where a test fails.
struct End<'s>(&'s AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn upgrades_of_both_nodes_are_noticed_by_nobody() {
    let Some(server) = redis(&[]) else { return };
    let [mut a, mut b] = nodes(&server, &["--history-messages", "100000"]);
    let term = metric(&mut a, "encke_engine_term");
    let terms = metric(&mut b, "encke_engine_terms_total");
    let addresses = [a.address(), b.address()];
    let mut streams = addresses.map(|address| Stream::open(address, "/ndjson/news"));
    let stop = &AtomicBool::new(false);
    let published: Vec<Vec<String>> = thread::scope(|scope| {
        let end = End(stop);
        let publishers = addresses.map(|address| scope.spawn(move || publish_on(address, stop)));
        for round in 0..10 {
            let node = if round % 3 == 2 { &mut b } else { &mut a };
            node.upgrade();
            assert_eq!(node.ask("GET", "/readyz", "").0, 200, "it is ready at once");
        }
        drop(end);
        let publishers = publishers.into_iter();
        publishers
            .map(|publisher| publisher.join().expect("no panic"))
            .collect()
    });
    let count = published.iter().map(Vec::len).sum();
    let received = streams[0].ids(count);
    assert_eq!(streams[1].ids(count), received, "{count} messages");
    // Each is there once, and those of a publisher in their order.
    let mut sorted = received.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sorted.len(), count);
    for ids in &published {
        let places = ids
            .iter()
            .map(|id| received.iter().position(|other| other == id));
        assert!(places.is_sorted_by(|one, next| one.is_some() && one < next));
    }
    for node in [&mut a, &mut b] {
        assert_eq!(names(node), ["a", "b"]);
        assert_eq!(metric(node, "encke_engine_term"), term);
        assert_eq!(metric(node, "encke_engine_holes_total"), 0.0);
        assert_eq!(metric(node, "encke_engine_resent_total"), 0.0);
    }
    assert_eq!(metric(&mut b, "encke_engine_terms_total"), terms);
    // Counters go on.
    assert_eq!(metric(&mut a, "encke_upgrades_total{result=\"done\"}"), 7.0);
    assert!(metric(&mut a, "encke_engine_messages_total") >= published[0].len() as f64);
}

/// Publishes on a thread, whose answer has to wait. Returns when it does.
fn publish_waiting(node: &mut Encke) -> thread::JoinHandle<String> {
    let address = node.address();
    let waiting = thread::spawn(move || {
        let request = http::request("POST", "/publish/news", "", "meanwhile");
        let (status, body) = http::ask(address, &request, PATIENCE).expect("an answer");
        assert_eq!(status, 200, "{body}");
        member(&body, "id")
    });
    let begun = Instant::now();
    while metric(node, "encke_engine_publishes_waiting") < 1.0 {
        assert!(begun.elapsed() < PATIENCE, "it waits");
        thread::yield_now();
    }
    waiting
}

#[test]
fn publisher_that_waits_for_an_engine_that_is_away_is_answered_by_the_next_process() {
    let Some(mut server) = redis(&[]) else { return };
    let [mut a, mut b] = nodes(&server, &["--engine-patience", "30s"]);
    let first = publish(&mut a, "news", "before");
    // Else the stream might begin before it.
    assert_eq!(poll_all(&mut b, "news", "earliest", 1)[0].0, first);
    let mut stream = Stream::open(b.address(), "/ndjson/news");
    server.kill().expect("it is ours");
    let waiting = publish_waiting(&mut a);
    for _ in 0..3 {
        a.upgrade();
    }
    assert_eq!(poll_all(&mut a, "news", "earliest", 1)[0].0, first);
    server.start_again().expect("it starts");
    let second = waiting.join().expect("no panic");
    // The engine has forgotten the first, which the node that was handed over still has.
    assert_eq!(stream.ids(1)[0], second);
    for node in [&mut a, &mut b] {
        let all = poll_all(node, "news", "earliest", 2);
        assert!(
            all.iter().map(|(id, _)| id).eq([&first, &second]),
            "{all:?}"
        );
    }
}

#[test]
fn what_a_silent_engine_was_sent_is_found_by_the_next_process() {
    let Some(server) = redis(&[]) else { return };
    let url = server.url();
    let args = [
        "--engine",
        &url,
        "--engine-patience",
        "60s",
        "--upgrade-timeout",
        "25s",
    ];
    let mut node = Encke::start(&args);
    node.until_readyz(200);
    server.signal(Signal::STOP).expect("it is ours");
    // The engine has it in its socket, and takes it when it goes on.
    let waiting = publish_waiting(&mut node);
    node.upgrade();
    server.signal(Signal::CONT).expect("it is ours");
    let first = waiting.join().expect("no panic");
    let second = publish(&mut node, "news", "it goes on");
    let received = poll_all(&mut node, "news", "earliest", 2);
    assert!(received.iter().map(|(id, _)| id).eq([&first, &second]));
}

#[test]
fn node_that_leads_to_another_log_does_not_take_over() {
    let Some(server) = redis(&[]) else { return };
    let url = server.url();
    let file = server.directory().path("encke.toml");
    let write = |lines: &str| fs::write(&file, lines).expect("a file");
    write("engine-patience = \"3s\"");
    let config = file.display().to_string();
    let mut node = Encke::start(&["--engine", &url, "--node", "a", "--config", &config]);
    node.until_readyz(200);
    write("engine-namespace = \"other\"");
    node.signal(Signal::USR2);
    node.line_with(
        "--engine-namespace cannot change in an upgrade: it was encke, and would be other",
    );
    publish(&mut node, "news", "it serves on");
    // What concerns this node alone may change.
    write("engine-patience = \"9s\"\nengine-ready = \"20s\"");
    node.upgrade();
    publish(&mut node, "news", "it goes on");
    assert_eq!(names(&mut node), ["a"]);
}

#[test]
fn lines_of_standard_input_go_on_over_upgrades() {
    let Some(server) = redis(&[]) else { return };
    let url = server.url();
    let (source, mut input) = std::io::pipe().expect("a pipe");
    let args = [
        "--engine",
        &url,
        "--stdin=news",
        "--history-messages",
        "5000",
    ];
    let mut node = Encke::start_with(&args, source.into());
    node.until_readyz(200);
    let mut stream = Stream::open(node.address(), "/ndjson/news");
    let writing = thread::spawn(move || {
        for number in 0..3_000 {
            writeln!(input, "{number}").expect("it reads");
        }
        input
    });
    for _ in 0..5 {
        node.upgrade();
    }
    let input = writing.join().expect("no panic");
    stream.ids(3_000);
    let received = poll_all(&mut node, "news", "earliest", 3_000);
    let data = received.iter().map(|(_, data)| data.parse::<usize>());
    assert!(data.eq((0..3_000).map(Ok)));
    drop(input);
}
