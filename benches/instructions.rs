//! The hot path in instructions, counted by callgrind: the same on a noisy machine and on a quiet
//! one, so that a change of a percent shows.
//!
//! Needs valgrind and the runner of gungraun, of the version that `Cargo.lock` names:
//! `cargo install gungraun-runner --version 0.20.0 --locked`. Where either is missing this bench
//! says so and does nothing. Numbers are for [`CLIENTS`] clients where there are clients.

#![allow(missing_docs, reason = "the macros of gungraun write modules without")]

#[allow(dead_code, reason = "each bench uses a part of it")]
mod support;

use std::hint::black_box;
use std::process::{Command, Stdio};
use std::sync::Arc;

use encke_core::engine::ConnId;
use encke_core::http1::{Outcome, Scan, parse};
use encke_core::message::{ChannelName, Draft};
use encke_core::tokens::{Key, Rules, Signer, SystemRandom, Tokens};
use encke_test_client::websocket;
use gungraun::{library_benchmark, library_benchmark_group};
use support::cluster::Clustered;
use support::{CHANNEL, World, browser_get, get, handshake, name, post, text};

/// Connections served in a counted run.
const CLIENTS: usize = 100;

/// The date at which tokens are verified.
const UNIX_MS: u64 = 1_800_000_000_000;

const SECRET: &[u8] = b"a secret of more than 32 bytes, and of no use elsewhere";
const RSA: &[u8] = include_bytes!("../src/core/tokens/fixtures/rsa.pem");
const RSA_PRIVATE: &[u8] = include_bytes!("../src/core/tokens/fixtures/rsa.private.pem");

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let is_counted_run = arguments
        .first()
        .is_some_and(|first| first == "--gungraun-run");
    if is_counted_run {
        return counted::run();
    }
    if !has("--bench") {
        return println!("instructions: not run; they are counted by `cargo bench` alone");
    }
    let runner = std::env::var("GUNGRAUN_RUNNER").unwrap_or_else(|_| "gungraun-runner".to_owned());
    for program in ["valgrind", &runner] {
        if !is_installed(program) {
            return println!("instructions: skipped, there is no {program}; see benches/README.md");
        }
    }
    counted::run();
}

fn is_installed(program: &str) -> bool {
    let mut command = Command::new(program);
    command
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok()
}

/// A world, its connections and the request with which they come back.
struct Crowd {
    world: World,
    ids: Vec<ConnId>,
    request: Vec<u8>,
}

/// All of them parked, and the paths walked once: what is made once is not counted.
fn crowd(target: &str) -> Crowd {
    let request = match target.starts_with("/ws/") {
        true => handshake(target),
        false => get(target),
    };
    walked(World::new(CLIENTS), request)
}

/// The same, where a token is needed. The clients have one, which was seen before.
fn crowd_by_token(target: &str) -> Crowd {
    let (keys, _) = Key::parse(SECRET).unwrap();
    let rules = Rules {
        keys,
        ..Rules::default()
    };
    let claims =
        r#"{"sub":"user-42","exp":1900000000,"encke":{"subscribe":["news","user/42/**"]}}"#;
    let signer = Signer::parse(SECRET, SystemRandom::new()).unwrap();
    let token = signer.sign(claims, None).unwrap();
    let request =
        format!("GET {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n");
    walked(World::with_rules(CLIENTS, rules), request.into_bytes())
}

fn walked(world: World, request: Vec<u8>) -> Crowd {
    let (world, ids) = world.and_parked(CLIENTS, &request);
    let mut crowd = Crowd {
        world,
        ids,
        request,
    };
    for _ in 0..3 {
        crowd.world.publish(CHANNEL, text(100));
        crowd.world.deliver();
        crowd.come_back();
    }
    crowd
}

impl Crowd {
    fn come_back(&mut self) {
        for &id in &self.ids {
            if self.world.engine.state(id) == Some(encke_core::engine::State::Idle) {
                self.world.ask(id, &self.request);
            }
        }
    }
}

// A request's head, small and as a browser sends it.
#[library_benchmark]
#[bench::small(get("/long-poll/news?since=now"))]
#[bench::browser(browser_get("/sse/news"))]
fn parse_head(head: Vec<u8>) -> Vec<u8> {
    let outcome = parse(black_box(&head), &mut Scan::default(), 16 << 10);
    assert!(matches!(outcome, Ok(Outcome::Complete { .. })));
    head
}

// A message to a hundred long polls, which ask again and are parked.
#[library_benchmark]
#[bench::shared(crowd("/long-poll/news?since=now"))]
fn long_poll_cycle(mut crowd: Crowd) -> Crowd {
    crowd.world.publish(CHANNEL, text(100));
    crowd.world.deliver();
    crowd.come_back();
    crowd
}

// A message to a hundred streams.
#[library_benchmark]
#[bench::sse(crowd("/sse/news"))]
#[bench::ndjson(crowd("/ndjson/news"))]
#[bench::ws(crowd("/ws/news"))]
#[bench::ws_raw(crowd("/ws/news?raw=1"))]
fn deliver(mut crowd: Crowd) -> Crowd {
    crowd.world.publish(CHANNEL, text(100));
    crowd.world.deliver();
    crowd
}

// A message to a channel with a hundred parked readers, and to one without; not its delivery.
#[library_benchmark]
#[bench::waited_for(crowd("/sse/news"), name(CHANNEL))]
#[bench::alone(crowd("/sse/news"), name("other"))]
fn publish(mut crowd: Crowd, channel: ChannelName<'static>) -> Crowd {
    crowd.world.submit(Draft::new(channel, text(100)));
    crowd
}

// A hundred polls that find nothing new.
#[library_benchmark]
#[bench::idle(crowd("/poll/news?since=now"))]
#[bench::by_token(crowd_by_token("/poll/news?since=now"))]
fn poll(mut crowd: Crowd) -> Crowd {
    crowd.come_back();
    crowd
}

/// Publishes, pipelined on one connection, after as many as a channel's history keeps.
fn pipeline(depth: usize) -> Crowd {
    pipeline_of(post("/publish/news", 100), depth)
}

/// The same from a browser, with all the fields that it sends.
fn browser_pipeline(depth: usize) -> Crowd {
    let get = String::from_utf8(browser_get("/publish/news")).unwrap();
    let post = get.replacen("GET", "POST", 1);
    let one = post.replacen("\r\n\r\n", "\r\nContent-Length: 100\r\n\r\n", 1) + &"x".repeat(100);
    pipeline_of(one.into_bytes(), depth)
}

/// The same where the log is saved.
fn saved_pipeline(depth: usize) -> Crowd {
    pipeline_in(World::saved(1), post("/publish/news", 100), depth)
}

fn pipeline_of(one: Vec<u8>, depth: usize) -> Crowd {
    pipeline_in(World::new(1), one, depth)
}

fn pipeline_in(mut world: World, one: Vec<u8>, depth: usize) -> Crowd {
    let id = world.connect(&one);
    world.save();
    let mut crowd = Crowd {
        world,
        ids: vec![id],
        request: one.repeat(depth),
    };
    for _ in 0..2_000 / depth {
        crowd.come_back();
        crowd.world.save();
    }
    crowd
}

/// The same on a WebSocket.
fn socket(target: &str, frame: Vec<u8>, depth: usize) -> Crowd {
    let mut world = World::new(1);
    let id = world.connect(&handshake(target));
    let request = frame.repeat(depth);
    for _ in 0..2_000 / depth {
        world.ask(id, &request);
        world.deliver();
    }
    Crowd {
        world,
        ids: vec![id],
        request,
    }
}

/// The command that publishes what [`post`] does.
fn command() -> Vec<u8> {
    let data = "x".repeat(100);
    let command = format!(r#"{{"publish":"news","data":"{data}"}}"#);
    websocket::frame(websocket::TEXT, command.as_bytes(), [1, 2, 3, 4])
}

/// The frame of a raw socket that does.
fn raw() -> Vec<u8> {
    websocket::frame(websocket::TEXT, &[b'x'; 100], [1, 2, 3, 4])
}

// Sixteen publishes that came at once; they are not delivered.
#[library_benchmark]
#[bench::ws(socket("/ws/other", command(), 16))]
#[bench::ws_raw(socket("/ws/news?raw=1&publish=1", raw(), 16))]
fn publish_frames(mut crowd: Crowd) -> Crowd {
    crowd.world.ask(crowd.ids[0], &crowd.request);
    crowd
}

// Sixteen publishes that came at once.
#[library_benchmark]
#[bench::pipelined(pipeline(16))]
#[bench::browser(browser_pipeline(16))]
fn publish_request(mut crowd: Crowd) -> Crowd {
    crowd.come_back();
    crowd
}

// Sixteen publishes that came at once and are saved together.
#[library_benchmark]
#[bench::pipelined(saved_pipeline(16))]
fn publish_saved(mut crowd: Crowd) -> Crowd {
    crowd.come_back();
    crowd.world.save();
    crowd
}

/// A node of a cluster and an entry with this many messages, which the node is to apply. The
/// histories of its channels are full.
fn node(messages: usize) -> (Clustered, Arc<[u8]>) {
    let mut node = Clustered::new(1);
    for _ in 0..5_000 / messages {
        let entry = node.entry(messages);
        node.read(entry);
    }
    let entry = node.entry(messages);
    (node, entry)
}

/// A node of a cluster with a connection that has published, and so many publishes.
fn node_pipeline(depth: usize) -> (Clustered, ConnId, Vec<u8>) {
    let one = post("/publish/news", 100);
    let mut node = Clustered::new(1);
    let id = node.world.connect(&one);
    node.serve();
    let request = one.repeat(depth);
    for _ in 0..2_000 / depth {
        node.world.ask(id, &request);
        node.serve();
    }
    (node, id, request)
}

// An entry of another node, for channels without readers.
#[library_benchmark]
#[bench::one(node(1))]
#[bench::hundred(node(100))]
fn cluster_apply((mut node, entry): (Clustered, Arc<[u8]>)) -> Clustered {
    node.read(entry);
    node
}

// Sixteen publishes that came at once, from their requests to their responses.
#[library_benchmark]
#[bench::pipelined(node_pipeline(16))]
fn cluster_publish((mut node, id, request): (Clustered, ConnId, Vec<u8>)) -> Clustered {
    node.world.ask(id, &request);
    node.serve();
    node
}

/// A verification, a good token, and whether it was seen before.
fn token(key: &[u8], private: &[u8], is_seen: bool) -> (Tokens, String) {
    let signer = Signer::parse(private, SystemRandom::new()).expect("a key");
    let claims = r#"{"sub":"user-42","exp":4102444800,"encke":{"subscribe":["user/42/**"]}}"#;
    let token = signer.sign(claims, None).expect("good claims");
    let (keys, _) = Key::parse(key).expect("a key");
    let rules = Rules {
        keys,
        ..Rules::default()
    };
    let mut tokens = Tokens::new(rules, (1, 2));
    if is_seen {
        assert!(tokens.verify(token.as_bytes(), UNIX_MS).is_ok());
    }
    (tokens, token)
}

// A token that was seen before, short and long, and one that was not.
#[library_benchmark]
#[bench::hs256_seen(token(SECRET, SECRET, true))]
#[bench::rs256_seen(token(RSA, RSA_PRIVATE, true))]
#[bench::hs256_first(token(SECRET, SECRET, false))]
fn verify_token((mut tokens, token): (Tokens, String)) -> (Tokens, String) {
    assert!(tokens.verify(black_box(token.as_bytes()), UNIX_MS).is_ok());
    (tokens, token)
}

library_benchmark_group!(
    name = hot_path,
    benchmarks = [
        parse_head,
        long_poll_cycle,
        deliver,
        publish,
        publish_request,
        publish_saved,
        poll,
        publish_frames,
        cluster_apply,
        cluster_publish,
        verify_token
    ]
);

/// The entry that gungraun writes, where it can be called.
mod counted {
    use super::hot_path;

    gungraun::main!(library_benchmark_groups = hot_path);

    pub(super) fn run() {
        main();
    }
}
