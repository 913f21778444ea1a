//! The real binary as a child process, for tests of signals, standard input and limits of the
//! process.
//!
//! Owns the child: a thread reads its log, so that the child never blocks on it, and a child that
//! outlives its test is killed.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};

use rustix::process::{Pid, Signal, kill_process};

use crate::client::{Answer, Client};
use crate::stream::Stream;
use crate::{DEADLINE, eventually};

/// A running `encke`.
pub(crate) struct Encke {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
    log: Receiver<String>,
}

impl Encke {
    /// Starts it on a port of its own.
    pub(crate) fn start(args: &[&str]) -> Encke {
        Encke::with_stdin(args, Stdio::null())
    }

    pub(crate) fn with_stdin(args: &[&str], stdin: Stdio) -> Encke {
        let mut child = Command::new(env!("CARGO_BIN_EXE_encke"))
            .env_clear()
            .args(["--listen", "127.0.0.1:0", "--max-channels", "1000"])
            .args(args)
            .stdin(stdin)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let stderr = child.stderr.take().expect("it is piped");
        let (lines, log) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if lines.send(line).is_err() {
                    return;
                }
            }
        });
        let mut encke = Encke {
            child,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            log,
        };
        let line = encke.wait_log("listening on ");
        let (_, address) = line.split_once("listening on ").expect("searched for");
        encke.address = address.trim().parse().expect("an address");
        encke
    }

    /// Reads the log up to a line with these words.
    pub(crate) fn wait_log(&mut self, words: &str) -> String {
        let mut seen = Vec::new();
        loop {
            match self.log.recv_timeout(DEADLINE) {
                Ok(line) if line.contains(words) => return line,
                Ok(line) => seen.push(line),
                Err(error) => panic!("no {words:?} in the log ({error}): {seen:#?}"),
            }
        }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("it is there");
    }

    /// Waits until it has ended; its exit code.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        loop {
            // Its log ends with it.
            match self.log.recv_timeout(DEADLINE) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it runs on"),
            }
        }
        self.child.wait().expect("it is ours").code()
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address)
    }

    pub(crate) fn get(&self, target: &str) -> Answer {
        self.client().get(target)
    }

    pub(crate) fn stream(&self, target: &str) -> Stream {
        Stream::open(self.client(), target, "")
    }

    pub(crate) fn wait_subscribers(&self, channel: &str, count: u64) {
        eventually(&format!("{count} subscribers of {channel}"), || {
            let answer = self.get(&format!("/channels/{channel}"));
            answer.status() == 200 && answer.json()["subscribers"]["total"] == count
        });
    }
}

impl Drop for Encke {
    fn drop(&mut self) {
        // One that has ended already needs no end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
