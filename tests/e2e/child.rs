//! The real binary as a child process, for tests of signals, standard input and limits of the
//! process.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use encke_test_rig::Program;

use crate::client::{Answer, Client};
use crate::eventually;
use crate::stream::Stream;

/// A running `encke`.
pub(crate) struct Encke {
    pub(crate) program: Program,
    pub(crate) address: SocketAddr,
}

impl Encke {
    /// Starts it on a port of its own.
    pub(crate) fn start(args: &[&str]) -> Encke {
        Encke::with_stdin(args, Stdio::null())
    }

    pub(crate) fn with_stdin(args: &[&str], stdin: Stdio) -> Encke {
        let program = Program::start(
            Command::new(env!("CARGO_BIN_EXE_encke"))
                .env_clear()
                .args(["--listen", "127.0.0.1:0", "--max-channels", "1000"])
                .args(args)
                .stdin(stdin)
                .stdout(Stdio::null()),
        );
        Encke {
            address: program.address(),
            program,
        }
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
