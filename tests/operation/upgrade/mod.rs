//! SIGUSR2: another process takes everything over, or this one serves on.
//!
//! encke is started by a link, which a test lets point to something else: to a program that speaks
//! the protocol up to a point (`fake`), to none, or to encke again.

mod failures;
mod fake;
mod listeners;
mod manager;
mod serving;
mod signals;
mod state;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use encke_test_rig::{Directory, PATIENCE, Program};
use rustix::process::{Pid, Signal, kill_process};

use crate::ENCKE;
use crate::http::{Address, Connection};

/// An encke that may become another process.
pub(crate) struct Server {
    pub(crate) encke: Program,
    pub(crate) address: Address,
    pub(crate) directory: Directory,
    /// The process that serves.
    pub(crate) pid: Pid,
}

impl Server {
    fn start(options: &[&str]) -> Server {
        Server::start_in(Directory::new(), options, |_| {})
    }

    /// `prepare` completes the command.
    fn start_in(
        directory: Directory,
        options: &[&str],
        prepare: impl FnOnce(&mut Command),
    ) -> Server {
        let command = Command::new(directory.path("encke"));
        Server::start_by(command, directory, options, prepare)
    }

    /// As [`Server::start_in`], by a command to which the options are appended.
    fn start_by(
        mut command: Command,
        directory: Directory,
        options: &[&str],
        prepare: impl FnOnce(&mut Command),
    ) -> Server {
        symlink(ENCKE, directory.path("encke")).unwrap();
        command
            .env_clear()
            .args(["--listen=127.0.0.1:0", "--max-channels=1000", "--drain=0"])
            .args(options)
            .stdin(Stdio::null());
        prepare(&mut command);
        let encke = Program::start(&mut command);
        let address = Address::Tcp(encke.address());
        // Then it listens everywhere.
        while !encke.line().contains("at most") {}
        Server {
            address,
            pid: encke.pid(),
            encke,
            directory,
        }
    }

    /// Lets the link that encke was started by point to another file.
    fn install(&self, program: impl AsRef<Path>) {
        let (link, new) = (self.directory.path("encke"), self.directory.path("new"));
        symlink(program, &new).unwrap();
        fs::rename(new, link).unwrap();
    }

    /// Installs a program that speaks the protocol in these steps: see `fake`.
    fn install_fake(&self, steps: &str) {
        let script = format!(
            "#!/bin/sh\nENCKE_FAKE='{steps}' ENCKE_FAKE_PID='{}' exec '{}' \
             upgrade::fake::program --exact --ignored --nocapture >/dev/null 2>&1\n",
            self.directory.path("pid").display(),
            std::env::current_exe().unwrap().display(),
        );
        self.install(self.executable("fake", &script));
    }

    /// A file that can be run.
    fn executable(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path(name);
        // Anew: one that runs cannot be written.
        let _ = fs::remove_file(&path);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).unwrap();
    }

    /// The next line of the log that has these words.
    fn line_with(&self, words: &str) -> String {
        loop {
            let line = self.encke.line();
            if line.contains(words) {
                return line;
            }
        }
    }

    /// Asks for an upgrade that fails, and returns why.
    fn fail(&self) -> String {
        self.signal(Signal::USR2);
        self.line_with("this process serves on")
    }

    /// Upgrades to what is installed.
    fn upgrade(&mut self) {
        self.signal(Signal::USR2);
        self.become_other();
    }

    /// Waits until another process has taken over. Returns what is logged until then.
    fn become_other(&mut self) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        let mut pid = None;
        let mut is_taken = false;
        // Each of the two processes says so.
        while pid.is_none() || !is_taken {
            let line = self.encke.line();
            if let Some((_, after)) = line.split_once("connections over to process ") {
                pid = Pid::from_raw(after.split(',').next().unwrap().parse().unwrap());
            }
            is_taken |= line.contains("connections over from encke ");
            lines.push(line);
        }
        self.pid = pid.unwrap();
        lines
    }

    /// The value of a series of the metrics.
    fn metric(&self, series: &str) -> f64 {
        let (_, text) = self.address.answer("GET", "/metrics", b"");
        let text = String::from_utf8(text).unwrap();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {series}"))
            .parse()
            .unwrap()
    }

    fn upgrades(&self, result: &str) -> f64 {
        self.metric(&format!("encke_upgrades_total{{result=\"{result}\"}}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = kill_process(self.pid, Signal::KILL);
    }
}

/// Connections that are open before an upgrade and answered after it.
struct Kept(Vec<Connection>);

impl Kept {
    fn open(address: &Address) -> Kept {
        let mut kept = Kept((0..20).map(|_| address.connect()).collect());
        kept.ask();
        kept
    }

    /// Asks on each of them.
    fn ask(&mut self) {
        for connection in &mut self.0 {
            connection.send("GET", "/healthz", b"");
            connection.status = 0;
            connection.finish();
            assert_eq!(connection.status, 200);
        }
    }
}

/// Waits until something is so.
fn wait_until(mut is_so: impl FnMut() -> bool) {
    let until = std::time::Instant::now() + PATIENCE;
    while !is_so() {
        assert!(std::time::Instant::now() < until, "it does not become so");
        std::thread::yield_now();
    }
}
