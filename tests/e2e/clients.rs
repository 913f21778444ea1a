//! Clients that were not written for encke: curl, an EventSource, and a library that reuses its
//! connections.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use encke_test_rig::program::lines;
use encke_test_rig::{Directory, Process};
use eventsource_client::{Client as _, ClientBuilder, ReconnectOptions, SSE};
use futures_util::StreamExt;
use serde_json::Value;

use crate::DEADLINE;
use crate::client::Batch;
use crate::server::Server;

/// A curl that is ended with the test.
struct Curl {
    _process: Process,
    lines: Receiver<String>,
}

impl Curl {
    fn run(server: &Server, target: &str, options: &[&str]) -> Curl {
        let mut command = Command::new("curl");
        command
            .args([
                "-q",
                "--silent",
                "--show-error",
                "--no-buffer",
                "--max-time",
                "30",
            ])
            .args(options)
            .arg(format!("http://{}{target}", server.address))
            .env_remove("http_proxy")
            .env("no_proxy", "*")
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut process = Process::start(&mut command)
            .unwrap_or_else(|error| panic!("curl is needed (apt-get install curl): {error}"));
        let stdout = process.child().stdout.take().unwrap();
        Curl {
            _process: process,
            lines: lines(stdout),
        }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(DEADLINE).expect("a line of curl's")
    }

    /// Reads lines up to one with this prefix, and returns the rest of that line.
    fn line_with(&self, begin: &str) -> String {
        loop {
            if let Some(rest) = self.line().strip_prefix(begin) {
                return rest.to_owned();
            }
        }
    }

    fn batch(&self) -> Batch {
        Batch::new(serde_json::from_str(&self.line()).unwrap())
    }
}

#[test]
fn curl_publishes_polls_and_waits() {
    let server = Server::start();
    let published = Curl::run(&server, "/publish/news", &["-d", "a=1&b=2"]);
    let published: Value = serde_json::from_str(&published.line()).unwrap();
    let batch = Curl::run(&server, "/poll/news", &[]).batch();
    assert_eq!(batch.data(), ["a=1&b=2"]);
    assert_eq!(batch.messages()[0]["id"], published["id"]);
    let held = Curl::run(
        &server,
        &format!("/long-poll/news?since={}", batch.cursor),
        &[],
    );
    server.wait_subscribers("news", 1);
    Curl::run(&server, "/publish/news", &["--data-binary", "two\nlines"]).line();
    assert_eq!(held.batch().data(), ["two\nlines"]);
    // A body that is larger than curl sends without asking.
    let directory = Directory::new();
    let file = directory.write("body", "x".repeat(1 << 20));
    let upload = ["-T", file.to_str().unwrap(), "-H", "Expect: 100-continue"];
    let put = Curl::run(&server, "/publish/large", &upload);
    assert!(put.line().contains("\"channel\":\"large\""));
}

#[test]
fn curl_streams() {
    let server = Server::start();
    let sse = Curl::run(&server, "/sse/news", &[]);
    let ndjson = Curl::run(&server, "/ndjson/news", &[]);
    let old = Curl::run(&server, "/ndjson/news", &["--http1.0"]);
    server.wait_subscribers("news", 3);
    let cursor = sse.line_with("id: ");
    for text in ["one", "two"] {
        server.publish("news", text);
        assert_eq!(
            sse.line_with("data: ").replace(&cursor, ""),
            match text {
                "one" => "",
                text => text,
            }
        );
        if text == "one" {
            assert_eq!(sse.line_with("data: "), "one");
        }
        for curl in [&ndjson, &old] {
            let object = loop {
                let object: Value = serde_json::from_str(&curl.line()).unwrap();
                if object.get("data").is_some() {
                    break object;
                }
            };
            assert_eq!(object["data"], text);
        }
    }
    for curl in [sse, ndjson, old] {
        drop(curl);
    }
    server.wait_subscribers("news", 0);
}

/// Follows with a foreign EventSource until it has `count` messages; their data.
fn follow(url: String, count: usize, ready: Sender<()>) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let reading = async {
        let reconnect = ReconnectOptions::reconnect(true)
            .retry_initial(true)
            .delay(Duration::from_millis(10))
            .delay_max(Duration::from_millis(50))
            .build();
        let client = ClientBuilder::for_url(&url).unwrap();
        let mut stream = client.reconnect(reconnect).build_http().stream();
        let mut data = Vec::new();
        while data.len() < count {
            // Anything but an event means that the connection ended; the next poll reconnects.
            let Some(Ok(SSE::Event(event))) = stream.next().await else {
                continue;
            };
            match event.event_type.as_str() {
                "cursor" => {
                    // The receiver of the first event may be gone.
                    let _ = ready.send(());
                }
                "message" => data.push(event.data),
                other => panic!("an event {other:?}"),
            }
        }
        data
    };
    let limit = 3 * DEADLINE;
    let read = runtime.block_on(async { tokio::time::timeout(limit, reading).await });
    read.expect("all messages come")
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|n| n.to_string()).collect()
}

#[test]
fn event_source_loses_nothing_when_the_server_ends_streams() {
    const COUNT: usize = 300;
    let server = Server::with(|config| {
        config.stream_max_bytes = 2_000;
        config.stream_max_age = Duration::from_millis(300);
    });
    let url = format!("http://{}/sse/news", server.address);
    let (ready, is_ready) = channel();
    let reader = thread::spawn(move || follow(url, COUNT, ready));
    is_ready.recv_timeout(DEADLINE).unwrap();
    for text in numbers(COUNT) {
        server.publish("news", &text);
    }
    assert_eq!(reader.join().unwrap(), numbers(COUNT));
    assert!(server.metric("encke_streams_recycled_total") > 3);
}

/// A relay that cuts each connection after so many bytes of the answer, in both directions.
fn relay(to: SocketAddr, cuts: usize) -> (SocketAddr, Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, cut) = channel();
    thread::spawn(move || {
        for (turn, client) in listener.incoming().enumerate() {
            let (Ok(client), Ok(server)) = (client, TcpStream::connect(to)) else {
                return;
            };
            let most = if turn < cuts {
                500 + 173 * turn as u64
            } else {
                u64::MAX
            };
            let (from, into) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || pass(from, into, u64::MAX));
            pass(server, client, most);
            if sender.send(()).is_err() {
                return;
            }
        }
    });
    (address, cut)
}

/// Passes on at most so many bytes, then ends both.
fn pass(mut from: TcpStream, mut into: TcpStream, most: u64) {
    let mut left = most;
    let mut bytes = [0; 64];
    while left > 0 {
        let length = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        match from.read(&mut bytes[..length]) {
            Ok(length @ 1..) if into.write_all(&bytes[..length]).is_ok() => left -= length as u64,
            _ => break,
        }
    }
    for socket in [from, into] {
        // Either may be ended by the other direction already.
        let _ = socket.shutdown(Shutdown::Both);
    }
}

#[test]
fn event_source_loses_nothing_when_connections_break() {
    const COUNT: usize = 150;
    const CUTS: usize = 3;
    let server = Server::start();
    let (address, cut) = relay(server.address, CUTS);
    let url = format!("http://{address}/sse/news,other");
    let (ready, is_ready) = channel();
    let reader = thread::spawn(move || follow(url, COUNT, ready));
    is_ready.recv_timeout(DEADLINE).unwrap();
    for text in numbers(COUNT) {
        let channel = if text.len() % 2 == 0 { "news" } else { "other" };
        server.publish(channel, &text);
    }
    assert_eq!(reader.join().unwrap(), numbers(COUNT));
    assert!(cut.try_iter().count() >= CUTS);
}

#[test]
fn keep_alive_library_uses_one_connection() {
    let server = Server::start();
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(DEADLINE))
        .proxy(None)
        .build()
        .into();
    let url = |target: &str| format!("http://{}{target}", server.address);
    let get = |target: &str| -> Value {
        let mut answer = agent.get(url(target)).call().unwrap();
        let text = answer.body_mut().read_to_string().unwrap();
        serde_json::from_str(&text).unwrap()
    };
    let mut cursor = Batch::new(get("/poll/news?since=now")).cursor;
    for turn in 0..20 {
        let mut answer = agent
            .post(url("/publish/news"))
            .send(turn.to_string())
            .unwrap();
        let id: Value = serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap();
        let batch = Batch::new(get(&format!("/long-poll/news?since={cursor}")));
        assert_eq!(batch.data(), [turn.to_string()]);
        assert_eq!(batch.cursor, id["id"].as_str().unwrap());
        cursor = batch.cursor;
        let empty = Batch::new(get(&format!("/long-poll/news?since={cursor}&hold=0.02")));
        assert_eq!(empty.messages().len(), 0);
        let early = Batch::new(get(&format!(
            "/long-poll/news?since={cursor}&hold=0.02&early=1"
        )));
        assert_eq!(early.cursor, cursor);
    }
    let mut text = agent.get(url("/metrics")).call().unwrap();
    let text = text.body_mut().read_to_string().unwrap();
    assert_eq!(
        crate::server::metric(&text, "encke_connections_accepted_total"),
        1
    );
}
