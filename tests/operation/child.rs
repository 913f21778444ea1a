//! A running encke, whose log a thread reads; it is killed when dropped.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use rustix::process::{Pid, Signal, kill_process};

use crate::PATIENCE;
use crate::http::Address;

pub(crate) const ENCKE: &str = env!("CARGO_BIN_EXE_encke");

pub(crate) struct Encke {
    pub(crate) child: Child,
    log: Receiver<String>,
}

impl Encke {
    /// Starts a command that runs encke with its log on standard error.
    pub(crate) fn start(command: &mut Command) -> Encke {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let stderr = child.stderr.take().unwrap();
        let (lines, log) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                // A test that has read enough has dropped the other end.
                let _ = lines.send(line);
            }
        });
        Encke { child, log }
    }

    /// The TCP address that the log names.
    pub(crate) fn address(&self) -> Address {
        loop {
            let line = self.log.recv_timeout(PATIENCE).unwrap();
            if let Some((_, address)) = line.split_once("listening on 127") {
                let address = address.split(' ').next().unwrap();
                return Address::Tcp(format!("127{address}").parse().unwrap());
            }
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until it ends, and returns its exit code.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        self.finish().0
    }

    /// Waits until it ends, and returns its exit code and the rest of its log.
    pub(crate) fn finish(&mut self) -> (Option<i32>, Vec<String>) {
        let mut lines = Vec::new();
        // The log ends with the process.
        while let Ok(line) = self.log.recv_timeout(PATIENCE) {
            lines.push(line);
        }
        (self.child.wait().unwrap().code(), lines)
    }

    /// The next line of its log.
    pub(crate) fn line(&self) -> String {
        self.log.recv_timeout(PATIENCE).unwrap()
    }

    /// The lines that it has logged since the last call.
    pub(crate) fn log(&self) -> String {
        let lines: Vec<String> = self.log.try_iter().collect();
        lines.join("\n")
    }
}

impl Drop for Encke {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
