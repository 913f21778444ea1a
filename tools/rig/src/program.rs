//! A program of a test, whose log on standard error is read.
//!
//! Owns the reading: a thread takes every line, so that the program never waits for a reader.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};

use rustix::process::{Pid, Signal};

use crate::{PATIENCE, Process};

/// A program that runs. Its functions panic where it does not do what is expected in time.
#[derive(Debug)]
pub struct Program {
    process: Process,
    log: Receiver<String>,
}

impl Program {
    /// Starts a command.
    pub fn start(command: &mut Command) -> Program {
        let mut process = Process::start(command.stderr(Stdio::piped())).expect("it starts");
        let stderr = process.child().stderr.take().expect("it is a pipe");
        Program {
            process,
            log: lines(stderr),
        }
    }

    /// The next line of its log.
    pub fn line(&self) -> String {
        self.log.recv_timeout(PATIENCE).expect("a line of the log")
    }

    /// The next line of its log that has these words; those before it are skipped.
    pub fn line_with(&self, words: &str) -> String {
        let mut seen = Vec::new();
        loop {
            match self.log.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(words) => return line,
                Ok(line) => seen.push(line),
                Err(error) => panic!("no {words:?} in the log ({error}): {seen:#?}"),
            }
        }
    }

    /// The lines that it has logged since the last call.
    pub fn log(&self) -> String {
        self.log.try_iter().collect::<Vec<_>>().join("\n")
    }

    /// The next TCP address that its log names.
    pub fn address(&self) -> SocketAddr {
        let line = self.line_with("listening on 127.");
        let (_, text) = line.split_once("listening on ").expect("searched for");
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':');
        let address = &text[..end.unwrap_or(text.len())];
        address.trim_end_matches(':').parse().expect("an address")
    }

    /// Waits until it ends, and returns its exit code and the rest of its log.
    pub fn finish(&mut self) -> (Option<i32>, Vec<String>) {
        let mut lines = Vec::new();
        loop {
            match self.log.recv_timeout(PATIENCE) {
                Ok(line) => lines.push(line),
                // The log ends with the process.
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it runs on: {lines:#?}"),
            }
        }
        (self.process.wait().expect("it is ours").code(), lines)
    }

    /// Waits until it ends, and returns its exit code.
    pub fn exit_code(&mut self) -> Option<i32> {
        self.finish().0
    }

    /// The number of its process.
    pub fn pid(&self) -> Pid {
        self.process.pid()
    }

    /// The number of its process, as paths of `/proc` have it.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal).expect("it is there");
    }

    /// Its standard input, if that is a pipe.
    pub fn stdin(&mut self) -> &mut Option<ChildStdin> {
        &mut self.process.child().stdin
    }
}

/// Has a thread read lines, also if nobody takes them: a read of a pipe has no deadline.
pub fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (lines, taken) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            // A test that has read enough has dropped the other end.
            let _ = lines.send(line);
        }
    });
    taken
}
