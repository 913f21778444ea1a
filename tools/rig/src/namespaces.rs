//! Scripts in network namespaces of their own.

use std::io::Write;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::Receiver;

use crate::installed::say_skipped;
use crate::program::lines;
use crate::{Directory, PATIENCE, Process};

/// Makes two networks with a link between them: `near`, which is 10.0.0.1, in this one, and `far`,
/// 10.0.0.2, in the other. `at_far` runs a command there.
const TWO_NETWORKS: &str = r#"
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
"#;

/// A script for bash in namespaces in which `ip` may be used. The script, and all that it started,
/// ends when this is dropped.
#[derive(Debug)]
pub struct Script {
    _process: Process,
    stdin: ChildStdin,
    said: Receiver<String>,
    directory: Directory,
}

impl Script {
    /// Starts a script, and waits until it says `ready`. It is in a network `near`, 10.0.0.1, with a
    /// link to the network `far`, 10.0.0.2, in which `at_far` runs a command. `ENCKE` is the path of a program, and
    /// `DIRECTORY` that of its [`directory`](Script::directory). `None`, with a word to standard
    /// error, where the system does not allow namespaces.
    ///
    /// # Panics
    ///
    /// It ends, or says something else.
    pub fn start(script: &str, encke: &str) -> Option<Script> {
        let Some(mut command) = unshare() else {
            // Also in CI, where they may be forbidden.
            say_skipped("no network namespaces here (unshare, ip link add type veth)");
            return None;
        };
        let directory = Directory::new();
        command
            .arg(format!("{TWO_NETWORKS}{script}"))
            .env("ENCKE", encke)
            .env("DIRECTORY", directory.root())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut process = Process::start(&mut command).expect("it starts");
        let child = process.child();
        let mut script = Script {
            stdin: child.stdin.take().expect("it is a pipe"),
            said: lines(child.stdout.take().expect("it is a pipe")),
            _process: process,
            directory,
        };
        script.until_said("ready");
        Some(script)
    }

    /// The directory of the test.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Sends a line to the standard input of the script.
    ///
    /// # Panics
    ///
    /// It has ended.
    pub fn tell(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").expect("it reads");
    }

    /// Waits for the next line that it says, which must be this one.
    ///
    /// # Panics
    ///
    /// It is another one, the script has ended, or says nothing within [`PATIENCE`].
    pub fn until_said(&mut self, word: &str) {
        let line = self.said.recv_timeout(PATIENCE);
        let line = line.unwrap_or_else(|error| panic!("instead of {word}: {error}"));
        assert_eq!(line, word);
    }
}

/// `unshare` with namespaces in which `ip` may be used: by root at once, by others as root of a
/// user namespace. The process namespace ends its processes with the first of them.
fn unshare() -> Option<Command> {
    let ways: [&[&str]; 2] = [&[], &["--user", "--map-root-user"]];
    ways.into_iter().find_map(|way| {
        let command = || {
            let mut command = Command::new("unshare");
            command.args(way);
            command.args(["--net", "--pid", "--fork", "--kill-child", "--mount-proc"]);
            command.args(["bash", "-euc"]);
            command
        };
        let probe =
            "ip link set lo up && ip link add name a type veth peer name b && nsenter --version";
        let probed = command().arg(probe).output();
        probed
            .is_ok_and(|probed| probed.status.success())
            .then(command)
    })
}
