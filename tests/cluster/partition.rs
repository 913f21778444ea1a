//! A node whose network is gone: nothing arrives, and no connection is refused or reset.
//!
//! Needs network namespaces of its own, one for the engine and one node, and one for another node. Is
//! skipped where the system does not allow them.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Instant;

use encke_test_rig::namespaces::Script;
use encke_test_rig::{PATIENCE, http, needs};

use crate::nodes::member;

/// Runs Redis and the node `near` in one namespace, and the node `far` in another. Says `ready` when
/// they are started. Takes the link of the far one down or up for each line that is read.
const SCRIPT: &str = r#"
cd "$DIRECTORY"
redis-server --bind 10.0.0.1 --protected-mode no --save '' --appendonly no >redis.log &
node() {
    name=$1; shift
    "$@" "$ENCKE" --engine redis://10.0.0.1:6379 --node $name --listen "unix:$DIRECTORY/$name" \
        --engine-ready 3s --engine-patience 1s --heartbeat 1s 2>$name.log &
}
node near
node far at_far
echo ready
while read -r state; do
    at_far ip link set far $state
    echo $state
done
"#;

/// A node, by the socket that it listens on.
struct Node(PathBuf);

impl Node {
    fn ask(&self, method: &str, target: &str, body: &str) -> (u16, String) {
        ask(&self.0, method, target, body).expect("an answer")
    }

    fn publish(&self, body: &str) {
        let (status, answer) = self.ask("POST", "/publish/news", body);
        assert_eq!(status, 200, "{answer}");
    }

    /// Polls until a message has come, which must be this one, and returns the cursor after it.
    fn receives(&self, since: &str, data: &str) -> String {
        let begun = Instant::now();
        loop {
            let target = format!("/long-poll/news?since={since}&hold=10");
            let (status, batch) = self.ask("GET", &target, "");
            assert_eq!(status, 200, "{batch}");
            assert!(!batch.contains("\"gap\""), "{batch}");
            let json: serde_json::Value = serde_json::from_str(&batch).expect("JSON");
            if let Some(message) = json["messages"].get(0) {
                assert_eq!(message["data"], data, "{batch}");
                return member(&message.to_string(), "id");
            }
            assert!(begun.elapsed() < PATIENCE, "{data} is received");
        }
    }

    /// Waits until `/readyz` has this status.
    fn until_readyz(&self, status: u16) {
        let begun = Instant::now();
        while ask(&self.0, "GET", "/readyz", "").is_none_or(|(found, _)| found != status) {
            assert!(begun.elapsed() < PATIENCE, "/readyz is {status}");
            std::thread::yield_now();
        }
    }
}

/// The status and the body of an answer; `None` if nobody listens yet.
fn ask(socket: &Path, method: &str, target: &str, body: &str) -> Option<(u16, String)> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
    let request = http::request(method, target, "Connection: close\r\n", body);
    http::ask_on(&mut stream, &request).ok()
}

#[test]
fn node_without_network_is_unready_and_goes_on_without_a_gap() {
    if !needs("redis-server", "redis-server") {
        return;
    }
    let Some(mut script) = Script::start(SCRIPT, env!("CARGO_BIN_EXE_encke")) else {
        return;
    };
    let [near, far] = ["near", "far"].map(|name| Node(script.directory().path(name)));
    let mut set_link = |state| {
        script.tell(state);
        script.until_said(state);
    };
    near.until_readyz(200);
    far.until_readyz(200);
    near.publish("before");
    let cursor = far.receives("earliest", "before");

    set_link("down");
    far.until_readyz(503);
    // The other one serves on, alone.
    near.publish("meanwhile");
    let at_near = near.receives(&cursor, "meanwhile");
    assert_eq!(near.ask("GET", "/readyz", "").0, 200);
    // Readers of the lost one notice nothing, and its publishers are told.
    let (status, batch) = far.ask("GET", &format!("/poll/news?since={cursor}"), "");
    assert_eq!(status, 200);
    assert!(!batch.contains("\"gap\""), "{batch}");
    let (status, answer) = far.ask("POST", "/publish/news", "refused");
    assert_eq!(status, 503, "{answer}");

    set_link("up");
    far.until_readyz(200);
    let at_far = far.receives(&cursor, "meanwhile");
    assert_eq!(at_far, at_near);
    far.publish("after");
    near.receives(&at_near, "after");
}
