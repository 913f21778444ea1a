//! The memory of a parked connection, in bytes, and of cached tokens.
//!
//! A counting allocator measures the engine: the bytes that are allocated between `Engine::new` and
//! the moment when all connections are parked, with tables for exactly as many. Its `Wire` accepts
//! every byte. There is no reactor, so the size of an entry in its table of sockets is added.
//!
//! There is only one test, because tests of one binary run in parallel and would count each other's
//! memory.

use std::alloc::System;
use std::io::IoSlice;

use cap::Cap;
use encke::Config;
use encke_core::base::time::Time;
use encke_core::engine::{Access, ConnId, Engine, Sent, State, Wire};
use encke_core::message::{ChannelName, Data, Draft};
use encke_core::tokens::{Key, Rules, Signer, SystemRandom, Tokens};
use encke_test_client::websocket::{self, HANDSHAKE};

#[global_allocator]
static COUNTED: Cap<System> = Cap::new(System, usize::MAX);

const CONNECTIONS: usize = 10_000;

/// An entry of the reactor's table of sockets: descriptor, generation, address.
const SOCKET_BYTES: usize = 16;

/// Limit per connection if all wait on one channel.
const SHARED_BYTES: usize = 128;

/// Limit per connection if each has a channel of its own.
const OWN_BYTES: usize = 208;

/// Accepts every byte, and counts the writes.
#[derive(Default)]
struct Sink {
    sends: usize,
}

impl Wire for Sink {
    fn send(&mut self, _: u32, _: &[IoSlice<'_>]) -> Sent {
        self.sends += 1;
        Sent::All
    }

    fn shutdown(&mut self, _: u32) {
        panic!("no connection is to be closed");
    }

    fn has_unread(&mut self, _: u32) -> bool {
        false
    }
}

/// An engine with all connections parked.
struct Parked {
    engine: Engine,
    wire: Sink,
    ids: Vec<ConnId>,
    requests: Vec<String>,
    /// Live bytes before there was an engine, the vectors above included.
    before: usize,
}

impl Parked {
    /// Parks all connections. `target` returns the request target of the connection with a number.
    fn new(channels: usize, target: impl Fn(usize) -> String) -> Parked {
        let config = Config {
            max_connections: Some(CONNECTIONS),
            max_channels: channels,
            // One document, however many wait.
            page: false,
            ..Config::default()
        };
        let request = |n| {
            let target = target(n);
            let fields = match target.starts_with("/ws/") {
                true => HANDSHAKE,
                false => "",
            };
            format!("GET {target} HTTP/1.1\r\nHost: test\r\n{fields}\r\n")
        };
        let requests: Vec<String> = (0..CONNECTIONS).map(request).collect();
        let ids = Vec::with_capacity(CONNECTIONS);
        let before = COUNTED.allocated();
        let mut parked = Parked {
            engine: Engine::new(&config, CONNECTIONS, 1),
            wire: Sink::default(),
            ids,
            requests,
            before,
        };
        parked.engine.set_now(Time(1), 0);
        for _ in 0..CONNECTIONS {
            let id = parked.engine.accept(Access::Guarded).expect("room");
            parked.ids.push(id);
        }
        parked.ask();
        parked
    }

    /// Every connection sends its request.
    fn ask(&mut self) {
        for (&id, request) in self.ids.iter().zip(&self.requests) {
            self.engine.input(id, request.as_bytes(), &mut self.wire);
        }
    }

    /// Bytes for each connection, when all are in this state.
    fn each(&self, state: State) -> usize {
        for &id in &self.ids {
            assert_eq!(self.engine.state(id), Some(state));
        }
        let live = COUNTED.allocated() - self.before;
        live.div_ceil(CONNECTIONS) + SOCKET_BYTES
    }

    /// Publishes a message on a channel, and delivers it to all its readers.
    fn publish(&mut self, channel: &str) {
        let name = ChannelName::parse(channel.as_bytes()).expect("a valid name");
        let message = Draft::new(name, Data::Text("an event for everybody".into()));
        self.engine.submit(message).expect("room");
        let before = self.wire.sends;
        while self.engine.has_work() {
            self.engine.deliver(256, &mut self.wire);
        }
        assert_eq!(self.wire.sends - before, CONNECTIONS);
    }
}

#[test]
fn parked_connection_costs_little() {
    let shared = |word: &'static str| move |_| format!("/{word}/news");
    let own = |word: &'static str| move |n| format!("/{word}/users/{n}");
    for (word, state) in [
        ("long-poll", State::Held),
        ("sse", State::Streaming),
        ("ndjson", State::Streaming),
        ("ws", State::Streaming),
    ] {
        let each = Parked::new(1, shared(word)).each(state);
        println!("{word}, one channel for all: {each} bytes each");
        assert!(each <= SHARED_BYTES, "{word}: {each} bytes each");

        let each = Parked::new(CONNECTIONS, own(word)).each(state);
        println!("{word}, a channel for each: {each} bytes each");
        assert!(each <= OWN_BYTES, "{word}: {each} bytes each");
    }

    // Memory does not grow with events: a connection that is parked again costs the same.
    let mut polls = Parked::new(1, shared("long-poll"));
    for _ in 0..3 {
        polls.publish("news");
        polls.ask();
    }
    let each = polls.each(State::Held);
    assert!(each <= SHARED_BYTES, "after three events: {each} bytes");
    drop(polls);
    let mut streams = Parked::new(1, shared("sse"));
    for _ in 0..3 {
        streams.publish("news");
    }
    let each = streams.each(State::Streaming);
    assert!(each <= SHARED_BYTES, "after three events: {each} bytes");
    drop(streams);

    // Nor with what a client sends: a socket has no buffer between its messages.
    let mut sockets = Parked::new(1, shared("ws"));
    let before = sockets.each(State::Streaming);
    let command = websocket::frame(websocket::TEXT, br#"{"channels":["news"]}"#, [1, 2, 3, 4]);
    let (first, second) = command.split_at(10);
    let Parked {
        engine, wire, ids, ..
    } = &mut sockets;
    for &id in &*ids {
        engine.input(id, first, wire);
        engine.input(id, second, wire);
    }
    // All but the one decoder that they share.
    let each = sockets.each(State::Streaming);
    assert!(
        each <= before + 1,
        "after a command: {each} bytes, not {before}"
    );

    cached_tokens_take_what_is_counted();
}

/// The bytes that the cache of tokens counts are those of the allocator, and not far more.
fn cached_tokens_take_what_is_counted() {
    const SECRET: &[u8] = b"a secret of more than 32 bytes, and of no use elsewhere";
    let signer = Signer::parse(SECRET, SystemRandom::new()).expect("a secret");
    let sign = |n| {
        let grants = format!(r#"{{"subscribe":["news","user/{n}/**"],"publish":["chat/*"]}}"#);
        let claims = format!(r#"{{"sub":"user-{n}","exp":1800000000,"encke":{grants}}}"#);
        signer.sign(&claims, None).expect("good claims")
    };
    let texts: Vec<String> = (0..3_000).map(sign).collect();
    let (keys, _) = Key::parse(SECRET).expect("a secret");
    let rules = Rules {
        keys,
        ..Rules::default()
    };
    let mut tokens = Tokens::new(rules, (1, 2));
    let before = COUNTED.allocated();
    for text in &texts {
        assert!(tokens.verify(text.as_bytes(), 1_700_000_000_000).is_ok());
    }
    let (live, counts) = (COUNTED.allocated() - before, tokens.counts());
    println!(
        "{live} bytes of {} tokens, counted as {counts:?}",
        texts.len()
    );
    assert_eq!(counts.cache_entries, texts.len());
    assert!((live..live * 3 / 2).contains(&counts.cache_bytes));
}
