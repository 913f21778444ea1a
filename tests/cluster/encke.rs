//! A node of a test, and the few requests that tests need.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Instant;

use encke_test_rig::{PATIENCE, Program, http};
use rustix::process::{Pid, Signal, kill_process};

/// A process of encke.
pub(crate) struct Encke {
    program: Program,
    /// The process that serves: after an upgrade it is no child.
    pid: Pid,
    address: Option<SocketAddr>,
}

impl Encke {
    /// Starts a process with these arguments, on a free port.
    pub(crate) fn start(args: &[&str]) -> Encke {
        Encke::start_with(args, Stdio::null())
    }

    /// The same, with a file of the authorities that it trusts, and no others.
    #[cfg(feature = "tls")]
    pub(crate) fn start_trusting(authorities: &std::path::Path, args: &[&str]) -> Encke {
        let mut command = Encke::command(args);
        command.env("SSL_CERT_FILE", authorities);
        Encke::spawn(&mut command)
    }

    /// The same, with this standard input.
    pub(crate) fn start_with(args: &[&str], input: Stdio) -> Encke {
        Encke::spawn(Encke::command(args).stdin(input))
    }

    fn command(args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_encke"));
        command
            .args(["--listen", "127.0.0.1:0"])
            .args(args)
            .env_clear()
            .stdin(Stdio::null());
        command
    }

    fn spawn(command: &mut Command) -> Encke {
        let program = Program::start(command);
        Encke {
            pid: program.pid(),
            program,
            address: None,
        }
    }

    /// The next line of its log that contains these words; the lines before it are skipped.
    pub(crate) fn line_with(&self, words: &str) -> String {
        self.program.line_with(words)
    }

    /// Waits until it ends, and returns its exit code and the rest of its log.
    pub(crate) fn finish(&mut self) -> (Option<i32>, Vec<String>) {
        self.program.finish()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).expect("it is ours");
    }

    /// Upgrades it: another process takes over, and serves.
    pub(crate) fn upgrade(&mut self) {
        self.signal(Signal::USR2);
        let handed_over = self.line_with(" connections over");
        let taken = self.line_with(" connections over");
        // Either may come first.
        let line = [handed_over, taken]
            .into_iter()
            .find(|line| line.contains("to process "));
        let line = line.expect("it is handed over");
        let pid = line
            .split("to process ")
            .nth(1)
            .and_then(|rest| rest.split(',').next());
        let pid = pid.and_then(|pid| Pid::from_raw(pid.parse().ok()?));
        self.pid = pid.expect("the number of a process");
    }

    /// The address that it listens on.
    pub(crate) fn address(&mut self) -> SocketAddr {
        *self.address.get_or_insert_with(|| self.program.address())
    }

    /// Sends a request, and returns the status and the body of the answer.
    pub(crate) fn ask(&mut self, method: &str, target: &str, body: &str) -> (u16, String) {
        self.ask_with(method, target, "", body)
    }

    /// The same, with further fields of the head, each with the end of its line.
    pub(crate) fn ask_with(
        &mut self,
        method: &str,
        target: &str,
        fields: &str,
        body: &str,
    ) -> (u16, String) {
        let fields = format!("Connection: close\r\n{fields}");
        let request = http::request(method, target, &fields, body);
        http::ask(self.address(), &request, PATIENCE).expect("an answer")
    }

    /// Opens a stream, with a token if there is one, and returns its connection when its head is there.
    pub(crate) fn stream(&mut self, target: &str, token: Option<&str>) -> BufReader<TcpStream> {
        let mut stream = http::connect(self.address(), PATIENCE).expect("it listens");
        let field = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
        let field = field.unwrap_or_default();
        write!(
            stream,
            "GET {target} HTTP/1.1\r\nHost: encke\r\n{field}\r\n"
        )
        .expect("it reads");
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        stream.read_line(&mut line).expect("a head");
        assert!(line.contains(" 200 "), "{line}");
        stream
    }

    /// Asks `/readyz` until the status is this one.
    pub(crate) fn until_readyz(&mut self, status: u16) -> String {
        let begun = Instant::now();
        loop {
            let (found, body) = self.ask("GET", "/readyz", "");
            if found == status {
                return body;
            }
            assert!(begun.elapsed() < PATIENCE, "{found}: {body}");
            std::thread::yield_now();
        }
    }
}

impl Drop for Encke {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = kill_process(self.pid, Signal::KILL);
    }
}
