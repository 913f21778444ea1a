//! One cursor over all transports: a client that changes from one to another, and whose connections
//! break at any byte, receives every message once and in order.

use std::thread;

use serde_json::Value;

use crate::client::Client;
use crate::server::Server;
use crate::stream::Stream;

const MESSAGES: usize = 600;
const TRANSPORTS: [&str; 6] = ["poll", "long-poll", "sse", "ndjson", "frame", "early"];

/// The state of a client.
struct Reader {
    cursor: String,
    seen: Vec<usize>,
    random: fastrand::Rng,
}

impl Reader {
    /// Notes a message, or a word about the cursor alone.
    fn note(&mut self, object: &Value) {
        assert_eq!(object.get("gap"), None, "nothing is lost: {object}");
        if let Some(data) = object.get("data") {
            self.seen.push(data.as_str().unwrap().parse().unwrap());
            self.cursor = object["id"].as_str().unwrap().to_owned();
        } else {
            self.cursor = object["cursor"].as_str().unwrap().to_owned();
        }
    }

    fn poll(&mut self, mut client: Client, target: &str) {
        client.ask("GET", target, "");
        // An answer that is cut is none: the client still has the cursor from before it.
        let Some(answer) = client.try_answer() else {
            return;
        };
        let batch = answer.batch();
        assert!(!batch.is_gap(), "{batch:?}");
        for message in batch.messages() {
            self.note(message);
        }
        self.cursor = batch.cursor;
    }

    fn stream(&mut self, client: Client, transport: &str, target: &str) {
        let mut client = client;
        client.ask("GET", target, "");
        let Some(head) = client.try_head() else {
            return;
        };
        let mut stream = Stream::new(client, head);
        loop {
            let object = match transport {
                "ndjson" => stream.object(),
                "frame" => stream.script(),
                _ => stream.event().map(|event| {
                    assert_ne!(event.event.as_deref(), Some("gap"));
                    match event.event {
                        Some(_) => serde_json::json!({"cursor": event.data}),
                        None => serde_json::json!({"id": event.id, "data": event.data}),
                    }
                }),
            };
            match object {
                Some(object) => self.note(&object),
                None => return,
            }
            if self.seen.len() == MESSAGES || self.random.u8(..) == 0 {
                return;
            }
        }
    }

    fn connect_once(&mut self, server: &Server, transport: &str) {
        let mut client = server.client();
        let most = if self.random.bool() { 900 } else { 9_000 };
        client.fuse = Some(self.random.usize(1..most));
        let (cursor, limit) = (&self.cursor, self.random.usize(1..20));
        let query = format!("a,b,c?since={cursor}&limit={limit}&hold=0.05");
        match transport {
            "poll" | "long-poll" => self.poll(client, &format!("/{transport}/{query}")),
            "early" => self.poll(client, &format!("/long-poll/{query}&early=1&linger=1")),
            _ => self.stream(client, transport, &format!("/{transport}/{query}")),
        }
    }
}

#[test]
fn cursor_carries_between_transports_when_connections_break() {
    let server = Server::with(|config| {
        config.stream_max_bytes = 20_000;
        // If the fuse is longer than the remaining messages, the stream continues with heartbeats.
        config.heartbeat = std::time::Duration::from_millis(20);
    });
    thread::scope(|scope| {
        let start = server.get("/poll/a,b,c?since=now").batch().cursor;
        scope.spawn(|| {
            for number in 0..MESSAGES {
                let channel = ["a", "b", "c"][number % 3];
                server
                    .publisher
                    .publish(channel, number.to_string())
                    .unwrap();
                if number % 40 == 0 {
                    // In step with the readers: some find a backlog, some wait.
                    server.get("/healthz");
                }
            }
        });
        for seed in 0..4 {
            let (server, start) = (&server, start.clone());
            scope.spawn(move || {
                let mut reader = Reader {
                    cursor: start,
                    seen: Vec::new(),
                    random: fastrand::Rng::with_seed(seed),
                };
                // Each transport is used once; after that the choice is random.
                for turn in 0.. {
                    let transport = match TRANSPORTS.get(turn) {
                        Some(transport) => transport,
                        None => TRANSPORTS[reader.random.usize(..TRANSPORTS.len())],
                    };
                    reader.connect_once(server, transport);
                    let expected: Vec<usize> = (0..reader.seen.len()).collect();
                    assert_eq!(reader.seen, expected, "seed {seed}, after {transport}");
                    if reader.seen.len() == MESSAGES && turn > TRANSPORTS.len() {
                        break;
                    }
                }
            });
        }
    });
}
