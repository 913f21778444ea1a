//! A node whose network is gone: nothing arrives, and no connection is refused or reset.
//!
//! Needs network namespaces of its own, one for the engine and one node, and one for another node. Is
//! skipped where the system does not allow them.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::time::Instant;

use crate::encke::PATIENCE;
use crate::namespaces::unshare;
use crate::nodes::member;
use crate::redis::is_installed;

/// Runs Redis and the node `near` in one namespace, and the node `far` in another. Says `ready` when
/// they are started. Takes the link of the far one down or up for each line that is read.
const SCRIPT: &str = r#"
unshare --net sleep 1000 &
other=$!
trap 'kill $(jobs -p)' EXIT
until [ "$(readlink /proc/$other/ns/net)" != "$(readlink /proc/$$/ns/net)" ]; do kill -0 $other; done
at_far() { nsenter --target $other --net "$@"; }
ip link set lo up
ip link add name near type veth peer name far
ip link set far netns $other
ip addr add 10.0.0.1/30 dev near
ip link set near up
at_far ip addr add 10.0.0.2/30 dev far
at_far ip link set far up
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

/// The script, and all that it started, in namespaces that end with it.
struct Cluster {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<std::process::ChildStdout>,
    directory: PathBuf,
}

impl Cluster {
    /// Starts it; `None` where namespaces are not allowed.
    fn start() -> Option<Cluster> {
        let mut command = unshare()?;
        let name = format!("encke-partition-{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).unwrap();
        let mut child = command
            .arg(SCRIPT)
            .env("ENCKE", env!("CARGO_BIN_EXE_encke"))
            .env("DIRECTORY", &directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut cluster = Cluster {
            stdin: child.stdin.take().unwrap(),
            stdout: BufReader::new(child.stdout.take().unwrap()),
            child,
            directory,
        };
        cluster.until_said("ready");
        Some(cluster)
    }

    fn until_said(&mut self, word: &str) {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        assert_eq!(line.trim_end(), word);
    }

    /// Takes the link down or up.
    fn set_link(&mut self, state: &str) {
        writeln!(self.stdin, "{state}").unwrap();
        self.until_said(state);
    }

    fn node(&self, name: &str) -> Node {
        Node(self.directory.join(name))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // One that has ended already needs no end.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

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
    let len = body.len();
    let head = format!("{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close");
    write!(stream, "{head}\r\nContent-Length: {len}\r\n\r\n{body}").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

#[test]
fn node_without_network_is_unready_and_goes_on_without_a_gap() {
    if !is_installed() {
        return;
    }
    let Some(mut cluster) = Cluster::start() else {
        eprintln!("skipped: no network namespaces here (unshare, ip link add type veth)");
        return;
    };
    let [near, far] = ["near", "far"].map(|name| cluster.node(name));
    near.until_readyz(200);
    far.until_readyz(200);
    near.publish("before");
    let cursor = far.receives("earliest", "before");

    cluster.set_link("down");
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

    cluster.set_link("up");
    far.until_readyz(200);
    let at_far = far.receives(&cursor, "meanwhile");
    assert_eq!(at_far, at_near);
    far.publish("after");
    near.receives(&at_near, "after");
}
