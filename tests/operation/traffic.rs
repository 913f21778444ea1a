//! Traffic of every kind on one encke, so that each of its metrics moves.
//!
//! Waits only for what can be observed: a response, a closed connection, a metric.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use encke_test_rig::{Directory, Program};
use rustix::process::Signal;

use crate::http::{Address, Connection};
use crate::{ENCKE, note_highest, tokens};

/// The fields of a handshake of WebSocket (RFC 6455, section 4.1).
const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Bytes of a large message.
const BIG: usize = 300 << 10;

/// An encke with limits low enough to be reached, and what its metrics were.
pub(crate) struct Traffic {
    encke: Program,
    tcp: Address,
    /// To which no limit by address applies.
    unix: Address,
    big: Vec<u8>,
    /// The file of settings.
    file: PathBuf,
    /// The highest value of each series so far.
    pub(crate) highest: BTreeMap<String, f64>,
    _directory: Directory,
}

impl Traffic {
    pub(crate) fn start() -> Traffic {
        let directory = Directory::new();
        let path = directory.path("encke");
        let file = directory.path("encke.toml");
        fs::write(&file, "").unwrap();
        let secret = directory.path("secret");
        fs::write(&secret, tokens::SECRET).unwrap();
        let mut command = Command::new(ENCKE);
        command
            .env_clear()
            .arg(format!("--listen=unix:{}", path.display()))
            .arg(format!("--config={}", file.display()))
            .arg(format!("--token-key-file={}", secret.display()))
            .arg(format!("--token-audience={}", tokens::AUDIENCE))
            .arg(format!("--token-issuer={}", tokens::ISSUER))
            .arg("--anonymous=**")
            .arg(format!("--data-dir={}", directory.path("data").display()))
            .arg(format!("--max-body-bytes={BIG}"))
            .arg(format!("--max-batch-bytes={BIG}"))
            .arg(format!("--max-buffer-bytes={}", BIG + (20 << 10)))
            .args([
                "--stdin=stdin",
                "--listen=127.0.0.1:0",
                "--log=info",
                "--max-connections-per-address=2",
                "--max-channels=20",
                "--history-messages=2",
                "--history-total-bytes=1M",
                "--stream-max-bytes=1M",
                "--idle-timeout=300ms",
                "--write-timeout=2s",
                "--drain-delay=1h",
            ])
            .stdin(Stdio::piped());
        let encke = Program::start(&mut command);
        Traffic {
            tcp: Address::Tcp(encke.address()),
            encke,
            unix: Address::Unix(path),
            big: vec![b'x'; BIG],
            file,
            highest: BTreeMap::new(),
            _directory: directory,
        }
    }

    /// Does everything, in an order in which what follows still has room, and returns the last
    /// metrics.
    pub(crate) fn run(&mut self) -> String {
        let steps: [fn(&mut Traffic); 15] = [
            Traffic::request_everything,
            Traffic::reload,
            Traffic::show_tokens,
            Traffic::receive_by_every_transport,
            Traffic::let_a_hold_expire,
            Traffic::evict_and_meet_a_gap,
            Traffic::publish_by_lines_and_end,
            Traffic::end_connections,
            Traffic::exceed_connections,
            Traffic::exceed_channels,
            Traffic::recycle_a_stream,
            Traffic::stall_readers,
            Traffic::fill_buffers,
            Traffic::produce,
            Traffic::drain,
        ];
        for step in steps {
            step(self);
            self.scrape();
        }
        self.scrape()
    }

    /// Reads the metrics and remembers their values.
    fn scrape(&mut self) -> String {
        let (status, text) = self.unix.answer("GET", "/metrics", b"");
        assert_eq!(status, 200);
        let text = String::from_utf8(text).unwrap();
        note_highest(&mut self.highest, &text);
        text
    }

    /// Scrapes until a value is seen that no request brings about for certain.
    fn scrape_until_moved(&mut self, series: &str) {
        for _ in 0..20_000 {
            self.scrape();
            if self.highest[series] > 0.0 {
                return;
            }
        }
        panic!("{series} does not move");
    }

    fn ended(&mut self, cause: &str) -> f64 {
        self.scrape();
        self.highest[&format!("encke_connections_ended_total{{cause=\"{cause}\"}}")]
    }

    fn publish(&self, channel: &str, body: &[u8]) -> u16 {
        let target = format!("/publish/{channel}");
        self.unix.status("POST", &target, body)
    }

    fn request_everything(&mut self) {
        assert_eq!(self.publish("news", b"hello"), 200);
        let batch = self.unix.get_json("/poll/news");
        assert_eq!(batch["messages"].as_array().unwrap().len(), 1);
        for (method, target, status) in [
            ("GET", "/healthz", 200),
            ("GET", "/readyz", 200),
            ("GET", "/channels", 200),
            ("GET", "/channels/unknown", 404),
            ("GET", "/nowhere", 404),
            ("DELETE", "/poll/news", 405),
        ] {
            assert_eq!(self.unix.status(method, target, b""), status, "{target}");
        }
    }

    fn reload(&mut self) {
        for (settings, series) in [
            ("hold = 'soon'", "encke_config_reload_failed"),
            ("", "encke_config_reloads_total{result=\"done\"}"),
        ] {
            fs::write(&self.file, settings).unwrap();
            self.encke.signal(Signal::HUP);
            self.scrape_until_moved(series);
        }
    }

    fn show_tokens(&mut self) {
        let good = tokens::good();
        let target = |token: &str| format!("/poll/news?token={token}");
        for _ in 0..2 {
            assert_eq!(self.unix.status("GET", &target(&good), b""), 200);
        }
        for bad in tokens::bad() {
            assert_eq!(self.unix.status("GET", &target(&bad), b""), 401, "{bad}");
        }
        let mut stream = self.unix.open(&format!("/sse/news?token={good}"));
        self.scrape();
        let ended = self
            .unix
            .answer("DELETE", "/connections?sub=ann&block=60", b"");
        assert_eq!(ended, (200, b"{\"ended\":1}".to_vec()));
        stream.read_to("event: expired");
        assert_eq!(self.unix.status("GET", &target(&good), b""), 401);
    }

    fn receive_by_every_transport(&mut self) {
        let targets = [
            "/long-poll/all?early=1",
            "/sse/all",
            "/ndjson/all",
            "/frame/all",
        ];
        let mut receivers = targets.map(|target| self.unix.open(target));
        let mut socket = self.unix.connect();
        socket.send_with("GET", "/ws/all", HANDSHAKE, b"");
        socket.read_bytes_to(b"heartbeat");
        self.scrape();
        assert_eq!(self.publish("all", b"hello"), 200);
        socket.read_bytes_to(b"hello");
        for receiver in &mut receivers {
            receiver.read_to("hello");
        }
    }

    fn let_a_hold_expire(&mut self) {
        let batch = self.unix.get_json("/long-poll/quiet?hold=0.01");
        assert!(batch["messages"].as_array().unwrap().is_empty());
    }

    fn evict_and_meet_a_gap(&mut self) {
        for _ in 0..4 {
            self.publish("news", b"hello");
        }
        let batch = self.unix.get_json("/poll/news?since=unknown-1");
        assert_eq!(batch["gap"], true);
    }

    fn publish_by_lines_and_end(&mut self) {
        let mut publisher = self.unix.connect();
        publisher.send_beginning("POST", "/publish/answer?lines=1", "", 9, b"line\n");
        self.scrape_until_moved("encke_line_requests");
        self.scrape_until_moved("encke_lines_published_total");
        let target = "/publish/answer?end=1";
        assert_eq!(self.unix.status("POST", target, b""), 200);
        assert_eq!(self.unix.get_json("/poll/answer")["end"], true);
    }

    fn end_connections(&mut self) {
        self.tcp.open("/sse/news").reset();
        // One is idle; one sends what is not expected.
        self.unix.open("/healthz").wait_for_end();
        let mut stray = self.unix.open("/ndjson/news");
        // The server closes after a part of them, so that the rest may meet a closed socket.
        let sent = stray.socket.write_all(&[b'x'; 64 << 10]);
        let kind = sent.err().map(|error| error.kind());
        assert!(
            matches!(kind, None | Some(ErrorKind::BrokenPipe)),
            "{kind:?}"
        );
        stray.wait_for_end();
    }

    fn exceed_connections(&mut self) {
        let _two = [self.tcp.connect(), self.tcp.connect()];
        self.tcp.ask("GET", "/poll/news", b"").wait_for_end();
    }

    fn exceed_channels(&mut self) {
        let names = Vec::from_iter((0..25).map(|number| format!("channel-{number}")));
        let statuses = names.iter().map(|name| self.publish(name, b"hello"));
        let refused = statuses.filter(|status| *status == 503).count();
        assert!((1..25).contains(&refused), "{refused}");
        for name in names {
            self.unix
                .status("DELETE", &format!("/channels/{name}"), b"");
        }
    }

    fn recycle_a_stream(&mut self) {
        let mut reader = self.unix.open("/ndjson/news");
        let reading = std::thread::spawn(move || reader.read_to_end());
        for _ in 0..500 {
            self.publish("news", &self.big);
            if reading.is_finished() {
                return;
            }
        }
        panic!("the stream does not end");
    }

    /// Each reader holds a message that is half sent, until there is no room for another.
    fn stall_readers(&mut self) {
        let mut readers: Vec<Connection> = Vec::new();
        while self.ended("no-room") == 0.0 {
            readers.push(self.unix.open("/ndjson/news"));
            // Frames that readers have not read completely do not count as history.
            assert_eq!(self.publish("news", &self.big), 200);
            assert!(readers.len() < 100, "every reader finds room");
        }
        readers.iter().for_each(Connection::wait_for_end);
    }

    /// Each connection leaves half a response in the buffers, until there is no room for another.
    fn fill_buffers(&mut self) {
        let before = self.ended("no-room");
        let mut readers = Vec::new();
        while self.ended("no-room") == before {
            readers.push(self.unix.ask("GET", "/poll/news", b""));
            assert!(readers.len() < 500, "every response finds room");
        }
    }

    /// A producer that is faster than encke.
    fn produce(&mut self) {
        let mut stdin = self.encke.stdin().take().unwrap();
        let is_enough = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let lines = b"line\n".repeat(1_000);
                while !is_enough.load(Ordering::Relaxed) {
                    stdin.write_all(&lines).unwrap();
                }
            });
            self.scrape_until_moved("encke_queue_messages");
            self.scrape_until_moved("encke_busy_ratio");
            is_enough.store(true, Ordering::Relaxed);
        });
        *self.encke.stdin() = Some(stdin);
    }

    fn drain(&mut self) {
        self.encke.signal(Signal::TERM);
        self.scrape_until_moved("encke_draining");
        assert_eq!(self.unix.status("GET", "/readyz", b""), 503);
    }
}
