//! A server with few resources: no log, a full disk under its log, less
//! memory than its clients ask for.
//!
//! The server is the real binary, started by a shell that limits its resources. It cannot report
//! its port without a log, so it inherits its socket.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use encke_test_rig::Process;
use rustix::process::Signal;

use crate::client::{Client, request};
use crate::eventually;
use crate::server::metric;

/// A server that a shell has started.
struct Poor {
    process: Process,
    address: SocketAddr,
}

impl Poor {
    /// Starts it after `before` (shell commands) with redirections `with`.
    fn start(before: &str, with: &str, args: &[&str]) -> Poor {
        Poor::start_with(before, with, args, Stdio::inherit())
    }

    /// The same with another standard error.
    fn start_with(before: &str, with: &str, args: &[&str], stderr: Stdio) -> Poor {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let script = format!(
            "{before}\nexport LISTEN_PID=$$ LISTEN_FDS=1\nexec \"$0\" \"$@\" 3<&0 0</dev/null {with}"
        );
        let mut command = Command::new("/bin/sh");
        command
            .env_clear()
            .args(["-c", &script, env!("CARGO_BIN_EXE_encke")])
            .args(args)
            .stdin(OwnedFd::from(listener))
            .stdout(Stdio::null())
            .stderr(stderr);
        Poor {
            process: Process::start(&mut command).expect("there is a shell"),
            address,
        }
    }

    fn client(&self) -> Client {
        Client::connect(self.address)
    }

    fn status(&self, name: &str) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.split_whitespace().next());
        number.expect("a port in the log").parse().unwrap()
    }

    /// Ends it as a service manager does; it must end of its own accord.
    fn end(mut self) {
        self.process.signal(Signal::TERM).unwrap();
        eventually("it ends", || !self.process.runs());
        let code = self.process.wait().unwrap();
        assert_eq!(code.code(), Some(0), "{code:?}");
    }
}

const LOGGING: [&str; 6] = ["--log", "trace", "--max-connections", "4", "--drain", "0"];

/// Has a server without a log do what is logged, at every level.
fn is_served(server: Poor) {
    let mut held = server.client();
    held.ask("GET", "/long-poll/news?hold=60", "");
    let mut client = server.client();
    eventually("it is parked", || {
        let answer = client.get("/channels/news");
        answer.status() == 200 && answer.json()["subscribers"]["total"] == 1
    });
    assert_eq!(client.post("/publish/news", "", "hello").status(), 200);
    assert_eq!(held.answer().batch().data(), ["hello"]);
    client.get("/poll/a%00").problem(400);
    let mut bad = server.client();
    bad.send("nonsense\r\n\r\n");
    bad.answer().problem(400);
    // Refusals are what is warned of, once a second, so they go on until that second is over.
    let crowd: Vec<_> = (0..8).map(|_| TcpStream::connect(server.address)).collect();
    eventually("somebody is refused", || {
        let text = client.get("/metrics");
        metric(text.text(), "encke_connections_refused_total") > 0
    });
    drop(crowd);
    assert_eq!(client.get("/healthz").status(), 200);
    server.end();
}

#[test]
fn closed_standard_error_changes_nothing() {
    is_served(Poor::start("", "2>&-", &LOGGING));
}

#[test]
fn full_disk_under_the_log_changes_nothing() {
    is_served(Poor::start("", "2>/dev/full", &LOGGING));
}

#[test]
fn closed_log_pipe_changes_nothing() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    // The shell hands it on as it is.
    is_served(Poor::start_with("", "", &LOGGING, writer.into()));
}

/// Bytes of a message, and of a body that never ends.
const LARGE: usize = 1 << 20;

/// Kilobytes of address space that it may have: what it has at its start, its limits by its own
/// formula, and little more.
const ADDRESS_SPACE_KB: u64 = 200 << 10;

#[test]
fn server_with_little_memory_refuses_and_stays_up() {
    let args = [
        "--history-total-bytes=24M",
        "--max-buffer-bytes=8M",
        "--max-connections=400",
        "--max-channels=1000",
        "--drain=0",
    ];
    let before = format!("ulimit -v {ADDRESS_SPACE_KB}");
    let server = Poor::start(&before, "", &args);
    let mut client = server.client();
    // History: the oldest messages are evicted, or publishers get 503.
    let large = vec![b'x'; LARGE];
    for number in 0..100 {
        let answer = client.post(&format!("/publish/large-{}", number % 7), "", &large);
        assert!(matches!(answer.status(), 200 | 503), "{answer:?}");
    }
    client
        .post("/publish/large", "", vec![b'x'; LARGE + 1])
        .problem(413);
    let mut client = server.client();
    // Heads and bodies that never end, and answers that are never read: what there is no room for
    // is refused, or its connection ends.
    let held: Vec<_> = (0..300)
        .map(|number| {
            let mut held = server.client();
            match number % 3 {
                0 => held.send("GET /poll/x HTTP/1.1\r\nX: ".to_owned() + &"w".repeat(15_000)),
                1 => {
                    let head =
                        "POST /publish/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n";
                    held.send(head.to_owned() + &"w".repeat(200_000));
                }
                _ => held.send(request("GET", "/poll/large-1", "", "").repeat(8)),
            }
            held
        })
        .collect();
    eventually("there is no room for all", || {
        let text = client.get("/metrics");
        let text = text.text();
        metric(text, "encke_connections_ended_total{cause=\"no-room\"}") > 0
            && text.contains("status=\"503\"")
    });
    // A neighbour is served all the while.
    assert_eq!(client.post("/publish/small", "", "hello").status(), 200);
    let answer = client.get("/poll/small");
    assert_eq!(answer.batch().data(), ["hello"]);
    assert!(server.status("VmPeak:") <= ADDRESS_SPACE_KB);
    drop(held);
    eventually("everything is given back", || {
        metric(client.get("/metrics").text(), "encke_buffer_bytes") == 0
    });
    server.end();
}
