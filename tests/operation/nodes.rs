//! Two nodes of a cluster and their engine, a real Redis, with the faults that move their metrics.
//!
//! Waits only for what can be observed: an answer, a metric.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Instant;

use encke_test_rig::redis::Server;
use encke_test_rig::{PATIENCE, Program, needs};
use rustix::process::Signal;

use crate::http::Address;
use crate::{ENCKE, file, note_highest};

/// Two nodes, and the highest values of their metrics so far.
pub(crate) struct Nodes {
    redis: Server,
    nodes: [Program; 2],
    addresses: [Address; 2],
    /// The highest value of each series, on either node.
    pub(crate) highest: BTreeMap<String, f64>,
}

impl Nodes {
    /// Starts them. The second has other limits than the first, which a metric tells.
    pub(crate) fn start() -> Nodes {
        let redis = Server::start(&[], 0, &[]).unwrap();
        let url = format!("--engine={}", redis.url());
        let nodes = ["--history-messages=7", "--history-messages=8"].map(|limit| {
            let mut command = Command::new(ENCKE);
            command.env_clear().args([&url, limit]).args([
                "--listen=127.0.0.1:0",
                "--engine-ready=2s",
                "--engine-patience=200ms",
            ]);
            Program::start(&mut command)
        });
        let addresses = nodes.each_ref().map(|node| Address::Tcp(node.address()));
        Nodes {
            redis,
            nodes,
            addresses,
            highest: BTreeMap::new(),
        }
    }

    /// Has everything happen, and returns the last metrics of the first node.
    pub(crate) fn run(&mut self) -> String {
        self.wait_for_ready();
        assert_eq!(
            self.addresses[0].status("POST", "/publish/news", b"one"),
            200
        );
        self.wait_for("encke_engine_nodes", 2.0);
        self.wait_for("encke_engine_config_differs", 1.0);
        let _stream = self.addresses[0].open("/sse/news");
        self.wait_for("encke_engine_channels_elsewhere", 1.0);

        // An engine that stops for a while.
        self.redis.signal(Signal::STOP).unwrap();
        let mut waits = self.addresses[0].ask("POST", "/publish/news", b"two");
        self.wait_for("encke_engine_publishes_waiting", 1.0);
        waits.finish();
        assert_eq!(waits.status, 503);
        self.wait_for("encke_engine_reconnects_total{cause=\"silent\"}", 1.0);
        self.redis.signal(Signal::CONT).unwrap();
        self.wait_for_ready();

        // An engine that forgets everything.
        self.redis.kill().unwrap();
        self.redis.start_again().unwrap();
        self.wait_for("encke_engine_retold_total", 1.0);
        self.wait_for_ready();
        assert_eq!(
            self.addresses[0].status("POST", "/publish/news", b"three"),
            200
        );
        self.misuse_engine();
        let text = self.scrape();
        for node in &self.nodes {
            node.signal(Signal::KILL);
        }
        text
    }

    /// Writes into the log what no node writes, and puts an older log in the place of the newer one.
    fn misuse_engine(&mut self) {
        self.redis.tell("XADD {encke}:log * field value").unwrap();
        self.wait_for("encke_engine_foreign_total", 1.0);
        self.wait_for_ready();
        self.redis.tell("COPY {encke}:log {encke}:older").unwrap();
        assert_eq!(
            self.addresses[0].status("POST", "/publish/news", b"four"),
            200
        );
        self.redis
            .tell("COPY {encke}:older {encke}:log REPLACE")
            .unwrap();
        self.wait_for("encke_engine_rollbacks_total", 1.0);
        self.wait_for_ready();
    }

    fn wait_for_ready(&mut self) {
        let begun = Instant::now();
        while self
            .addresses
            .iter()
            .any(|node| node.status("GET", "/readyz", b"") != 200)
        {
            assert!(begun.elapsed() < PATIENCE, "a node is not ready");
            self.scrape();
        }
    }

    /// Waits until a value was so high on one of the nodes.
    fn wait_for(&mut self, series: &str, value: f64) {
        let begun = Instant::now();
        while self
            .highest
            .get(series)
            .is_none_or(|highest| *highest < value)
        {
            assert!(begun.elapsed() < PATIENCE, "{series} is below {value}");
            self.scrape();
        }
    }

    /// Reads the metrics of both, remembers their values, and returns those of the first.
    fn scrape(&mut self) -> String {
        let [first, second] = self.addresses.each_ref().map(|node| {
            let (status, text) = node.answer("GET", "/metrics", b"");
            assert_eq!(status, 200);
            String::from_utf8(text).unwrap()
        });
        note_highest(&mut self.highest, &first);
        note_highest(&mut self.highest, &second);
        first
    }
}

/// The rights in the documentation are all that a node needs.
#[test]
fn documented_rights_of_the_user_suffice() {
    if !needs("redis-server", "redis-server") {
        return;
    }
    let page = std::fs::read_to_string(file("src/docs/nodes.md")).unwrap();
    let mut lines = page.lines();
    let line = lines.find(|line| line.starts_with("ACL SETUSER ")).unwrap();
    let redis = Server::start(&[], 0, &[]).unwrap();
    redis.tell(line).unwrap();
    let password = redis.directory().write("password", "PASSWORD");
    let mut command = Command::new(ENCKE);
    command.env_clear().args([
        &format!("--engine=redis+unix://encke@{}", redis.socket().display()),
        &format!("--engine-password-file={}", password.display()),
        "--listen=127.0.0.1:0",
    ]);
    let node = Program::start(&mut command);
    let address = Address::Tcp(node.address());
    let begun = Instant::now();
    while address.status("GET", "/readyz", b"") != 200 {
        assert!(begun.elapsed() < PATIENCE, "{}", node.log());
    }
    // A key needs a script.
    for _ in 0..2 {
        let mut request = address.connect();
        request.send_with("POST", "/publish/news", "Idempotency-Key: 1\r\n", b"hi");
        request.finish();
        assert_eq!(request.status, 200);
    }
    let batch = address.get_json("/poll/news?since=earliest");
    assert_eq!(batch["messages"].as_array().unwrap().len(), 1);
}
