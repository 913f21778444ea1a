//! An engine that is frozen and thawed, in every state of a connection: what is thawed makes the
//! same calls of its sockets as what was frozen.

mod parked;
mod publishing;
mod requests;

use std::collections::{BTreeMap, HashMap};
use std::io::IoSlice;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::support::{START_S, config, get, handshake, other_rules, token};
use crate::base::time::Time;
use crate::config::{Config, Cors};
use crate::engine::{Access, ConnId, Engine, Sent, State, Wire};
use crate::frozen::damage::{damage, damaged};
use crate::frozen::{Freezer, ThawError, Thawer};
use crate::log::{History, Identity, LogEnding};
use crate::ws::{Opcode, unmask};

const MAX_CONNECTIONS: usize = 40;

/// Sockets with limited room, and the calls of them.
#[derive(Default)]
struct Sockets {
    /// Bytes that a socket takes; any number if it is not here.
    room: HashMap<u32, usize>,
    calls: Vec<(u32, String)>,
}

impl Wire for Sockets {
    fn send(&mut self, index: u32, slices: &[IoSlice<'_>]) -> Sent {
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        self.calls.push((index, text));
        match self.room.get_mut(&index) {
            Some(room) if *room < bytes.len() => Sent::Some(std::mem::take(room)),
            _ => Sent::All,
        }
    }

    fn shutdown(&mut self, index: u32) {
        self.calls.push((index, "shutdown".to_owned()));
    }

    fn has_unread(&mut self, _: u32) -> bool {
        false
    }
}

impl Sockets {
    /// All that was sent, by connection.
    fn sent(&self) -> BTreeMap<u32, String> {
        let mut sent = BTreeMap::new();
        for (index, text) in &self.calls {
            *sent.entry(*index).or_insert_with(String::new) += text;
        }
        sent
    }
}

fn state_of(engine: &Engine) -> Vec<u8> {
    let mut freezer = Freezer::new(Vec::new());
    engine.freeze(&mut freezer).unwrap();
    freezer.into_inner()
}

fn thawed(config: &Config, state: &[u8]) -> Result<Engine, ThawError> {
    let mut thawer = Thawer::new(state);
    let engine = Engine::thaw(config, None, MAX_CONNECTIONS, 99, &mut thawer)?;
    thawer.finish()?;
    engine.check();
    Ok(engine)
}

/// An engine at a time, with its sockets.
struct Server {
    config: Config,
    engine: Engine,
    sockets: Sockets,
    now_ms: u64,
}

impl Server {
    fn new(config: Config) -> Server {
        let engine = Engine::new(&config, MAX_CONNECTIONS, 7);
        Server::of(config, engine)
    }

    /// A server whose log is saved.
    fn saved(config: Config) -> Server {
        let unix_ms = START_S * 1_000;
        let history = History::new(Identity::new([1, 2, 3]), &config, MAX_CONNECTIONS, unix_ms);
        let engine = Engine::with_history(&config, MAX_CONNECTIONS, 7, history, LogEnding::Clean);
        Server::of(config, engine)
    }

    fn of(config: Config, engine: Engine) -> Server {
        let mut server = Server {
            now_ms: engine.now().0 + 1_000,
            config,
            engine,
            sockets: Sockets::default(),
        };
        server.pass(0);
        server
    }

    fn pass(&mut self, ms: u64) {
        self.now_ms += ms;
        tick(&mut self.engine, &mut self.sockets, self.now_ms);
    }

    /// Sends bytes on a new connection.
    fn ask(&mut self, bytes: impl AsRef<[u8]>) -> ConnId {
        let id = self.engine.accept(Access::Trusted).unwrap();
        self.send(id, bytes);
        id
    }

    /// Sends a GET on a new connection, whose socket takes so many bytes.
    fn get(&mut self, target: &str, room: Option<usize>) -> ConnId {
        let id = self.engine.accept(Access::Trusted).unwrap();
        self.sockets.room.extend(room.map(|room| (id.index, room)));
        self.send(id, get(target));
        id
    }

    /// Opens a WebSocket.
    fn socket(&mut self, target: &str) -> ConnId {
        let id = self.ask(handshake(target));
        assert_eq!(self.engine.state(id), Some(State::Streaming));
        id
    }

    fn send(&mut self, id: ConnId, bytes: impl AsRef<[u8]>) {
        self.engine.input(id, bytes.as_ref(), &mut self.sockets);
    }

    fn publish(&mut self, channel: &str, text: &str) -> ConnId {
        self.ask(publish(channel, text))
    }

    fn state(&self, id: ConnId) -> State {
        self.engine.state(id).unwrap()
    }

    /// Freezes and thaws the engine, and does the same with both. Returns what that sent.
    fn hand_over(mut self, then: impl Fn(&mut Engine, &mut Sockets, u64)) -> BTreeMap<u32, String> {
        let state = state_of(&self.engine);
        let mut copy = thawed(&self.config, &state).unwrap();
        assert!(state_of(&copy) == state, "not the same when frozen again");
        assert!(copy.connections().eq(self.engine.connections()));
        let sockets = [(); 2].map(|()| Sockets {
            room: self.sockets.room.clone(),
            calls: Vec::new(),
        });
        let [mut before, mut after] = sockets;
        then(&mut self.engine, &mut before, self.now_ms);
        then(&mut copy, &mut after, self.now_ms);
        assert_eq!(before.calls, after.calls, "frozen, thawed");
        let stats = [&self.engine, &copy].map(|engine| format!("{:?}", engine.stats()));
        assert_eq!(stats[0], stats[1], "frozen, thawed");
        assert!(
            state_of(&copy) == state_of(&self.engine),
            "not the same afterwards"
        );
        before.sent()
    }
}

/// One pass of the loop.
fn tick(engine: &mut Engine, sockets: &mut Sockets, now_ms: u64) {
    engine.set_now(Time(now_ms), START_S * 1_000 + now_ms);
    while let Some(id) = engine.next_deferred() {
        engine.resume(id, sockets);
    }
    engine.continue_deferred(sockets);
    engine.deliver(1_000, sockets);
    engine.serve_deadlines(1_000, sockets);
    engine.release_drained(1_000);
    while engine.next_close().is_some() {}
}

fn publish(channel: &str, text: &str) -> String {
    let length = text.len();
    format!("POST /publish/{channel} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{text}")
}

/// A text frame as a client sends it.
fn text_frame(text: &str) -> Vec<u8> {
    assert!(text.len() < 126);
    let mask = [1, 2, 3, 4];
    let mut payload = text.as_bytes().to_vec();
    unmask(&mut payload, mask, 0);
    let _ = Opcode::Text;
    let mut frame = vec![0x81, 0x80 | text.len() as u8];
    frame.extend_from_slice(&mask);
    frame.extend_from_slice(&payload);
    frame
}

/// A message is published, and time passes until every hold, stream and timeout has ended.
fn live_on(engine: &mut Engine, sockets: &mut Sockets, now_ms: u64) {
    let id = engine.accept(Access::Trusted).unwrap();
    engine.input(id, publish("a", "later").as_bytes(), sockets);
    for after_ms in [0, 16, 500, 1_000, 20_000, 100_000, 4_000_000] {
        tick(engine, sockets, now_ms + after_ms);
    }
}

/// The bytes that a connection was sent, or none.
fn server_answer(sent: &BTreeMap<u32, String>, id: ConnId) -> &str {
    sent.get(&id.index).map_or("", |text| text)
}

#[test]
fn empty_engine() {
    let sent = Server::new(Config::default()).hand_over(live_on);
    assert!(sent[&0].contains("200 OK"));
}

#[test]
fn tokens_blocks_and_reviews() {
    let mut server = Server::new(config());
    let ann = token("ann", 600, "**", "**");
    let with_token = |target: &str| {
        format!("GET {target} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {ann}\r\n\r\n")
    };
    let stream = server.engine.accept(Access::Public).unwrap();
    server.send(stream, with_token("/sse/a"));
    let poll = server.engine.accept(Access::Public).unwrap();
    server.send(poll, with_token("/long-poll/a?hold=100"));
    server.socket(&format!("/ws/a?token={ann}"));
    server.ask("DELETE /connections?sub=eve&block=60 HTTP/1.1\r\nHost: h\r\n\r\n");
    server.pass(20);
    // Another key: the review has not begun.
    server.config.tokens = other_rules();
    server.engine.reconfigure(&server.config.clone());
    let sent = server.hand_over(live_on);
    assert!(sent[&stream.index].contains("event: expired"));
}

#[test]
fn token_of_several_sockets_takes_its_memory_once() {
    let mut server = Server::new(config());
    let [ann, eve] = ["ann", "eve"].map(|name| token(name, 600, "**", "**"));
    let tokens = [&ann, &eve, &ann];
    let sockets = tokens.map(|token| server.socket(&format!("/ws/a?publish=1&token={token}")));
    let engine = thawed(&server.config, &state_of(&server.engine)).unwrap();
    let holders = &engine.delivery.connections.holders;
    let kept = sockets.map(|id| holders.token(id.index).unwrap());
    assert!(Arc::ptr_eq(kept[0], kept[2]) && !Arc::ptr_eq(kept[0], kept[1]));
}

/// A connection that is parked while the review is under way is no reason for it.
#[test]
fn newcomer_is_not_reviewed() {
    let mut server = Server::new(Config {
        anonymous: Some(vec!["a".parse().unwrap()]),
        ..config()
    });
    let request = |token: &str| format!("GET /sse/a HTTP/1.1\r\nHost: h\r\n{token}\r\n");
    let anonymous = server.engine.accept(Access::Public).unwrap();
    server.send(anonymous, request(""));
    server.config = config();
    server.engine.reconfigure(&config());
    let ann = token("ann", 600, "**", "**");
    let newcomer = server.engine.accept(Access::Public).unwrap();
    server.send(
        newcomer,
        request(&format!("Authorization: Bearer {ann}\r\n")),
    );
    let sent = server.hand_over(live_on);
    assert!(sent[&anonymous.index].contains("event: expired"));
    assert!(sent[&newcomer.index].contains("later"));
}

#[test]
fn token_that_expires() {
    let mut server = Server::new(config());
    let ann = token("ann", 60, "**", "**");
    let stream = server.engine.accept(Access::Public).unwrap();
    let request = format!("GET /sse/a HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {ann}\r\n\r\n");
    server.send(stream, request);
    let sent = server.hand_over(|engine, sockets, now_ms| tick(engine, sockets, now_ms + 60_000));
    assert!(sent[&stream.index].contains("event: expired"));
}

#[test]
fn drain_that_is_under_way() {
    let mut server = Server::new(Config {
        drain_delay: Duration::from_millis(100),
        ..Config::default()
    });
    let polls = [(); 9].map(|()| server.get("/long-poll/a", None));
    server.engine.begin_drain();
    for ms in [0, 200] {
        server.pass(ms);
    }
    server.engine.accept(Access::Trusted);
    let sent = server.hand_over(|engine, sockets, now_ms| {
        for after_ms in (0..9_000).step_by(100) {
            tick(engine, sockets, now_ms + after_ms);
        }
        assert!(engine.is_draining());
    });
    assert!(
        polls
            .iter()
            .all(|id| sent[&id.index].contains("\"retry\":"))
    );
}

#[test]
fn changed_settings_are_those_of_a_reload() {
    let mut server = Server::new(config());
    let ann = token("ann", 600, "**", "**");
    for target in ["/sse/a", "/long-poll/a?hold=100"] {
        let id = server.engine.accept(Access::Public).unwrap();
        server.send(
            id,
            format!("GET {target} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {ann}\r\n\r\n"),
        );
    }
    let trusted = server.get("/sse/a", None);
    let state = state_of(&server.engine);
    let others = Config {
        tokens: other_rules(),
        heartbeat: Duration::from_secs(3),
        ..config()
    };
    let mut thawed = thawed(&others, &state).unwrap();
    server.engine.reconfigure(&others);
    let [mut before, mut after] = [Sockets::default(), Sockets::default()];
    live_on(&mut server.engine, &mut before, server.now_ms);
    live_on(&mut thawed, &mut after, server.now_ms);
    assert_eq!(before.calls, after.calls, "reloaded, thawed");
    assert!(
        after.sent()[&0].contains("expired") && !after.sent()[&trusted.index].contains("expired")
    );
    assert_eq!(thawed.stats().reloads.done, 0);
}

#[test]
fn more_connections_than_there_may_be_are_refused_with_a_word() {
    let mut server = Server::new(Config::default());
    for _ in 0..3 {
        server.get("/sse/a", None);
    }
    let state = state_of(&server.engine);
    let mut thawer = Thawer::new(&state[..]);
    match Engine::thaw(&server.config, None, 2, 1, &mut thawer) {
        Err(ThawError::Exceeds(why)) => assert!(why.contains("--max-connections"), "{why}"),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it was thawed"),
    }
}

/// An engine with a connection of nearly every kind.
fn all_kinds() -> Server {
    let mut server = Server::saved(Config {
        anonymous: Some(vec!["**".parse().unwrap()]),
        ..config()
    });
    let ann = token("ann", 600, "**", "**");
    for target in [
        "/long-poll/a?linger=400&callback=f",
        "/long-poll/a,b?limit=2",
        "/sse/a,b",
        "/ndjson/a?pace=5",
    ] {
        let token = format!("Authorization: Bearer {ann}\r\n");
        server.ask(format!("GET {target} HTTP/1.1\r\nHost: h\r\n{token}\r\n"));
    }
    let blocked = server.get("/sse/a", None);
    server.sockets.room.insert(blocked.index, 9);
    server.publish("a", "one");
    server.pass(1);
    let socket = server.socket("/ws/a,b");
    server.send(socket, text_frame(r#"{"publish":"a","data":4,"ref":"r"}"#));
    server.send(socket, text_frame(r#"{"channels":["b"],"ref":5}"#));
    let half = server.socket("/ws/b");
    server.send(half, &text_frame("half a message")[..11]);
    server.ask("GET /poll/a HTTP/1.1\r\nHo");
    server.ask("POST /publish/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nab");
    server.ask(
        "POST /publish/a?lines=1&ack=1 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
         9\r\nline\nhalf",
    );
    server.ask(get("/healthz").repeat(40));
    server.ask(get("/connections?sub=ann"));
    server.ask("DELETE /connections?sub=eve&block=60 HTTP/1.1\r\nHost: h\r\n\r\n");
    server
}

#[test]
fn all_kinds_together() {
    let mut server = all_kinds();
    let mark = server.engine.take_unsaved().unwrap().up_to;
    server.hand_over(|engine, sockets, now_ms| {
        engine.saved(mark, sockets);
        live_on(engine, sockets, now_ms);
    });
}

/// The state of [`all_kinds`] in each format, as it was written when that was the newest.
const STATES: [(u32, &[u8]); 2] = [
    (1, include_bytes!("format-1.state")),
    (2, include_bytes!("format-2.state")),
];

#[test]
fn state_of_a_version_is_read_and_written_as_it_was() {
    for (format, state) in STATES {
        let server = all_kinds();
        let mut thawer = Thawer::of_format(state, format);
        let engine = Engine::thaw(&server.config, None, MAX_CONNECTIONS, 99, &mut thawer).unwrap();
        thawer.finish().unwrap();
        engine.check();
        let mut freezer = Freezer::of_format(Vec::new(), format);
        engine.freeze(&mut freezer).unwrap();
        let again = freezer.into_inner();
        assert!(again == state, "format {format} has changed");
        assert!(engine.connections().eq(server.engine.connections()));
        let mut server = Server::of(server.config, engine);
        let mark = server.engine.take_unsaved().unwrap().up_to;
        server.hand_over(|engine, sockets, now_ms| {
            engine.saved(mark, sockets);
            live_on(engine, sockets, now_ms);
        });
    }
}

#[test]
fn state_goes_through_the_format_before_and_back() {
    let server = all_kinds();
    let mut older = Freezer::of_format(Vec::new(), 1);
    server.engine.freeze(&mut older).unwrap();
    let older = older.into_inner();
    let mut thawer = Thawer::of_format(&older[..], 1);
    let engine = Engine::thaw(&server.config, None, MAX_CONNECTIONS, 99, &mut thawer).unwrap();
    let newer = state_of(&server.engine);
    assert!(state_of(&engine) == newer && newer != older);
    // Neither is taken for the other.
    assert!(thawed(&server.config, &older).is_err());
    let mut thawer = Thawer::of_format(&newer[..], 1);
    assert!(Engine::thaw(&server.config, None, MAX_CONNECTIONS, 99, &mut thawer).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// A damage that no checksum shows is refused, or what is thawed lives on.
    #[test]
    fn damaged_state_is_refused_or_lives(damages in prop::collection::vec(damage(), 1..4)) {
        let server = all_kinds();
        let state = damaged(&state_of(&server.engine), 0, damages);
        let Ok(mut engine) = thawed(&server.config, &state) else {
            return Ok(());
        };
        let again = state_of(&engine);
        prop_assert!(thawed(&server.config, &again).is_ok());
        let mut sockets = Sockets::default();
        let connections: Vec<_> = engine.connections().collect();
        for (id, _) in connections {
            engine.writable(id, &mut sockets);
            engine.input(id, get("/healthz").as_bytes(), &mut sockets);
        }
        let now_ms = engine.now().0.min(1 << 40);
        if engine.accept(Access::Trusted).is_some() {
            tick(&mut engine, &mut sockets, now_ms);
            for after_ms in [16, 1_000, 100_000] {
                tick(&mut engine, &mut sockets, now_ms + after_ms);
            }
        }
    }
}
