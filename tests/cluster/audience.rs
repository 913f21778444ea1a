//! Three nodes: subscribers are counted over all of them, and a kick holds for all.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::time::{Duration, Instant, SystemTime};

use encke::tokens::{Signer, SystemRandom};

use encke_test_rig::PATIENCE;
use encke_test_rig::redis::Server;

use crate::encke::Encke;
use crate::redis;

/// How old the counts of other nodes are at most, and some time for a busy machine.
const LATE: Duration = Duration::from_secs(5);

fn start(server: &Server, name: &str, args: &[&str]) -> Encke {
    let url = server.url();
    let mut all = vec!["--engine", &url, "--node", name];
    all.extend(args);
    let mut node = Encke::start(&all);
    node.until_readyz(200);
    node
}

/// Asks a node until the answer is right.
fn until(
    node: &mut Encke,
    method: &str,
    target: &str,
    limit: Duration,
    is_right: impl Fn(&serde_json::Value) -> bool,
) {
    let begun = Instant::now();
    loop {
        let (_, answer) = node.ask(method, target, "x");
        let json = serde_json::from_str(&answer).expect("JSON");
        if is_right(&json) {
            return;
        }
        assert!(begun.elapsed() < limit, "{answer}");
    }
}

#[test]
fn subscribers_of_all_nodes_are_counted() {
    let Some(mut server) = redis(&[]) else { return };
    let [mut a, mut b, mut c] = ["a", "b", "c"].map(|name| start(&server, name, &[]));
    let streams = [
        a.stream("/sse/news", None),
        b.stream("/ndjson/news", None),
        b.stream("/sse/news,more", None),
        c.stream("/sse/news", None),
    ];
    for node in [&mut a, &mut b, &mut c] {
        until(node, "POST", "/publish/news", LATE, |json| {
            json["subscribers"] == 4
        });
        until(node, "GET", "/channels/news", LATE, |json| {
            json["subscribers"]["total"] == 4
        });
        until(node, "POST", "/publish/more", LATE, |json| {
            json["subscribers"] == 1
        });
    }
    // One that starts now knows it as soon as it is ready, or a moment later.
    let mut late = start(&server, "late", &[]);
    until(&mut late, "POST", "/publish/news", LATE, |json| {
        json["subscribers"] == 4
    });
    // What the engine forgets, the nodes know.
    server.kill().expect("it is ours");
    server.start_again().expect("it starts");
    for node in [&mut a, &mut late] {
        node.until_readyz(200);
        until(node, "POST", "/publish/news", PATIENCE, |json| {
            json["subscribers"] == 4
        });
    }
    // A node is killed; then a stream ends.
    drop(c);
    until(&mut a, "POST", "/publish/news", PATIENCE, |json| {
        json["subscribers"] == 3
    });
    let [here, ..] = streams;
    drop(here);
    until(&mut b, "POST", "/publish/news", LATE, |json| {
        json["subscribers"] == 2
    });
}

/// Whether a stream says that its right has expired, and ends.
fn expires(stream: BufReader<TcpStream>) -> bool {
    let lines = stream.lines().map(|line| line.expect("it ends in order"));
    lines
        .collect::<Vec<_>>()
        .iter()
        .any(|line| line.contains("event: expired"))
}

#[test]
fn kick_ends_connections_and_blocks_on_all_nodes() {
    const SECRET: &str = "a secret of the tests of several nodes";
    let Some(server) = redis(&[]) else { return };
    let file = server.directory().write("secret", SECRET);
    let key = ["--token-key-file", file.to_str().expect("a path")];
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let exp = now.expect("after 1970").as_secs() + 3_600;
    let signer = Signer::parse(SECRET.as_bytes(), SystemRandom::new()).expect("a key");
    let claims = format!(r#"{{"sub":"ann","exp":{exp},"encke":{{"subscribe":["**"]}}}}"#);
    let token = signer.sign(&claims, None).expect("claims");
    let [mut a, mut b] = ["a", "b"].map(|name| start(&server, name, &key));
    let streams = [&mut a, &mut b].map(|node| node.stream("/sse/news", Some(&token)));
    let (status, answer) = a.ask("DELETE", "/connections?sub=ann&block=600", "");
    assert_eq!((status, &*answer), (200, r#"{"ended":1,"node":"a"}"#));
    assert!(streams.into_iter().all(expires));
    let mut late = start(&server, "late", &key);
    for node in [&mut a, &mut b, &mut late] {
        let (status, answer) = node.ask("GET", &format!("/poll/news?token={token}"), "");
        assert_eq!(status, 401, "{answer}");
        assert!(answer.contains("the subject is blocked"), "{answer}");
    }
}
