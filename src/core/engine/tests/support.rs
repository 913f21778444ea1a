//! An engine with connections that take everything, and tokens for it.

use std::collections::BTreeMap;
use std::io::IoSlice;

use crate::base::time::Time;
use crate::config::Config;
use crate::engine::{Access, ConnId, Engine, Sent, Wire};
use crate::frozen::{Freezer, Thawer};
use crate::log::cluster::{Settings, Unrest};
use crate::log::{History, Identity, LogEnding, Mark};
use crate::tokens::{Key, Rules, Signer, SystemRandom};

/// The time of day at which a test begins, in seconds since 1970.
pub(super) const START_S: u64 = 1_800_000_000;

const SECRET: &[u8] = b"the secret of a test, 32 bytes..";
const OTHER_SECRET: &[u8] = b"another secret of a test, 32 ...";

/// Settings with the key that [`token`] signs with.
pub(super) fn config() -> Config {
    Config {
        tokens: rules(SECRET),
        ..Config::default()
    }
}

/// The rules of a server with one secret.
fn rules(secret: &[u8]) -> Rules {
    let (keys, _) = Key::parse(secret).unwrap();
    Rules {
        keys,
        ..Rules::default()
    }
}

/// The rules of a server with another key.
pub(super) fn other_rules() -> Rules {
    rules(OTHER_SECRET)
}

/// A token that is good for `left_s` seconds from the start, and grants to receive from and publish
/// to these channels.
pub(super) fn token(subject: &str, left_s: u64, subscribe: &str, publish: &str) -> String {
    let exp = START_S + left_s;
    let claims = format!(
        r#"{{"sub":"{subject}","exp":{exp},"encke":{{"subscribe":["{subscribe}"],"publish":["{publish}"]}}}}"#
    );
    #[expect(clippy::disallowed_methods, reason = "a secret signs without chance")]
    let signer = Signer::parse(SECRET, SystemRandom::new()).unwrap();
    signer.sign(&claims, None).unwrap()
}

/// The bytes that connections were sent, by index, and the number of writes; and how many bytes the
/// next write may take at most, where that is limited.
#[derive(Default)]
struct Received(
    BTreeMap<u32, Vec<u8>>,
    BTreeMap<u32, usize>,
    BTreeMap<u32, usize>,
);

impl Wire for Received {
    fn send(&mut self, index: u32, slices: &[IoSlice<'_>]) -> Sent {
        *self.1.entry(index).or_default() += 1;
        let received = self.0.entry(index).or_default();
        let begin = received.len();
        for slice in slices {
            received.extend_from_slice(slice);
        }
        match self.2.remove(&index) {
            Some(room) if begin + room < received.len() => {
                received.truncate(begin + room);
                Sent::Some(room)
            }
            _ => Sent::All,
        }
    }

    fn shutdown(&mut self, _: u32) {}

    fn has_unread(&mut self, _: u32) -> bool {
        false
    }
}

/// An engine and its clients.
pub(super) struct Server {
    pub(super) engine: Engine,
    received: Received,
    now_ms: u64,
}

impl Server {
    /// A server for at most 20,000 connections.
    pub(super) fn new(config: &Config) -> Server {
        let mut server = Server {
            engine: Engine::new(config, 20_000, 7),
            received: Received::default(),
            now_ms: 1_000,
        };
        server.pass(0);
        server
    }

    /// A server whose log is saved.
    pub(super) fn with_history(config: &Config) -> Server {
        let unix_ms = START_S * 1_000;
        let history = History::new(Identity::new([1, 2, 3]), config, 20_000, unix_ms);
        let engine = Engine::with_history(config, 20_000, 7, history, LogEnding::Clean);
        let now_ms = engine.now().0;
        let mut server = Server {
            engine,
            received: Received::default(),
            now_ms,
        };
        server.pass(0);
        server
    }

    /// A node of a cluster.
    pub(super) fn of_cluster(config: &Config, settings: Settings, seed: u64) -> Server {
        Server::with_engine(Engine::with_cluster(config, 20_000, seed, settings))
    }

    /// A server that has this engine.
    pub(super) fn with_engine(engine: Engine) -> Server {
        let now_ms = engine.now().0;
        let mut server = Server {
            engine,
            received: Received::default(),
            now_ms,
        };
        server.pass(0);
        server
    }

    /// Hands the node over: another engine goes on with its state, and these settings.
    pub(super) fn hand_over(&mut self, config: &Config, settings: Settings) {
        let state = frozen(&self.engine);
        let mut thawer = Thawer::new(&state[..]);
        let engine = Engine::thaw(config, Some(settings), 20_000, 99, &mut thawer).unwrap();
        thawer.finish().unwrap();
        engine.check();
        assert_eq!(engine.unrest(), Some(Unrest::Unanswered), "it goes on");
        self.engine = engine;
    }

    /// Applies what the node has read of the log.
    pub(super) fn apply_log(&mut self, budget: usize) {
        self.engine.apply_log(budget, &mut self.received);
    }

    /// The log is saved up to a place.
    pub(super) fn saved(&mut self, up_to: Mark) {
        self.engine.saved(up_to, &mut self.received);
    }

    /// Nothing is saved any longer.
    pub(super) fn stop_saving(&mut self) {
        self.engine.stop_saving(&mut self.received);
    }

    /// A client ends its side.
    pub(super) fn eof(&mut self, id: ConnId) {
        self.engine.eof(id, &mut self.received);
    }

    /// Lets time pass, and does what is due.
    pub(super) fn pass(&mut self, ms: u64) {
        self.now_ms += ms;
        let unix_ms = START_S * 1_000 + self.now_ms - 1_000;
        self.engine.set_now(Time(self.now_ms), unix_ms);
        while self.engine.continue_deferred(&mut self.received).is_some() {}
        self.engine.deliver(100_000, &mut self.received);
        self.engine.serve_deadlines(100_000, &mut self.received);
        while let Some(index) = self.engine.next_close() {
            self.received.0.remove(&index);
        }
    }

    /// Sends a request on a new connection, and returns what came back so far.
    pub(super) fn ask(&mut self, access: Access, request: &str) -> (ConnId, String) {
        let id = self.engine.accept(access).expect("there is room");
        self.received.0.remove(&id.index);
        self.engine
            .input(id, request.as_bytes(), &mut self.received);
        (id, self.take(id))
    }

    /// Sends a further request or frame on a connection, and returns what came back so far.
    pub(super) fn ask_again(&mut self, id: ConnId, request: impl AsRef<[u8]>) -> String {
        self.engine.input(id, request.as_ref(), &mut self.received);
        self.take(id)
    }

    /// The next write to a connection takes so many bytes at most.
    pub(super) fn limit_next_write(&mut self, id: ConnId, bytes: usize) {
        self.received.2.insert(id.index, bytes);
    }

    /// The socket of a connection takes bytes again.
    pub(super) fn writable(&mut self, id: ConnId) {
        self.engine.writable(id, &mut self.received);
    }

    /// The client of a connection closes its side.
    pub(super) fn end_of_input(&mut self, id: ConnId) {
        self.engine.eof(id, &mut self.received);
    }

    /// Processes a connection's buffered requests, and returns what came back so far.
    pub(super) fn resume(&mut self, id: ConnId) -> String {
        self.engine.resume(id, &mut self.received);
        self.take(id)
    }

    /// Processes a connection's buffered requests; what comes back is kept.
    pub(super) fn resume_only(&mut self, id: ConnId) {
        self.engine.resume(id, &mut self.received);
    }

    /// Asks for a target with a token in the header, on a public listener.
    pub(super) fn get(&mut self, target: &str, token: &str) -> (ConnId, String) {
        let request =
            format!("GET {target} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\r\n");
        self.ask(Access::Public, &request)
    }

    /// Asks the control surface.
    pub(super) fn control(&mut self, method: &str, target: &str) -> String {
        let request = format!("{method} {target} HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
        self.ask(Access::Trusted, &request).1
    }

    /// In how many writes a connection was sent what it was sent since the last call.
    pub(super) fn writes(&mut self, id: ConnId) -> usize {
        self.received.1.remove(&id.index).unwrap_or_default()
    }

    /// Publishes a text.
    pub(super) fn publish(&mut self, channel: &str, text: &str) {
        let request = post(&format!("/publish/{channel}"), "", text);
        let (_, response) = self.ask(Access::Trusted, &request);
        assert_eq!(status(&response), "200", "{response}");
    }

    /// The text that a connection has received since the last call; bytes that are not UTF-8, in
    /// headers of frames, are replaced.
    pub(super) fn take(&mut self, id: ConnId) -> String {
        let received = self.received.0.remove(&id.index).unwrap_or_default();
        String::from_utf8_lossy(&received).into_owned()
    }
}

/// The state of an engine.
pub(super) fn frozen(engine: &Engine) -> Vec<u8> {
    let mut freezer = Freezer::new(Vec::new());
    engine.freeze(&mut freezer).unwrap();
    freezer.into_inner()
}

/// The status code of a response.
pub(super) fn status(response: &str) -> &str {
    response.split(' ').nth(1).unwrap_or("none")
}

/// The status codes of responses, one behind another.
pub(super) fn statuses(responses: &str) -> Vec<&str> {
    let responses = responses.split("HTTP/1.1 ").skip(1);
    responses.map(|response| &response[..3]).collect()
}

/// A GET request.
pub(super) fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n")
}

/// A POST request; `fields` are whole lines.
pub(super) fn post(target: &str, fields: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {target} HTTP/1.1\r\nHost: h\r\n{fields}Content-Length: {length}\r\n\r\n{body}")
}

/// The handshake of a WebSocket.
pub(super) fn handshake(target: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
}

/// Opens a WebSocket.
pub(super) fn socket(server: &mut Server, target: &str) -> ConnId {
    let (id, response) = server.ask(Access::Trusted, &handshake(target));
    assert_eq!(status(&response), "101");
    id
}

/// A text frame of a client, whose mask changes nothing.
pub(super) fn frame(payload: &str) -> Vec<u8> {
    let mut frame = vec![0x81];
    match payload.len() {
        length @ ..126 => frame.push(0x80 | length as u8),
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload.as_bytes());
    frame
}

/// The head of a POST request whose body comes in chunks; `fields` are whole lines.
pub(super) fn chunked(target: &str, fields: &str) -> String {
    format!("POST {target} HTTP/1.1\r\nHost: h\r\n{fields}Transfer-Encoding: chunked\r\n\r\n")
}

/// A chunk of a body.
pub(super) fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

/// The end of a body in chunks.
pub(super) const LAST_CHUNK: &str = "0\r\n\r\n";
