//! The old process serves on, and nothing is dropped, whatever the new one does.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use encke_test_rig::Directory;
use rustix::process::{Resource, Rlimit, prlimit};

use super::{Kept, Server};

/// Streams and idle connections over an upgrade that fails for a reason that the log names.
struct Watched {
    server: Server,
    kept: Kept,
    stream: crate::http::Connection,
    published: u32,
}

impl Watched {
    fn start(options: &[&str]) -> Watched {
        let server = Server::start(options);
        let mut stream = server.address.open("/sse/news");
        stream.read_to("retry");
        Watched {
            kept: Kept::open(&server.address),
            stream,
            server,
            published: 0,
        }
    }

    /// Tries an upgrade, which is to fail and to count as `result`.
    fn fails(&mut self, result: &str, words: &str) {
        let before = self.server.upgrades(result);
        let line = self.server.fail();
        assert!(line.contains(words), "{words:?} is not in {line:?}");
        assert_eq!(self.server.upgrades(result), before + 1.0, "{line}");
        self.kept.ask();
        self.published += 1;
        let message = format!("message {}", self.published);
        let published = self
            .server
            .address
            .status("POST", "/publish/news", message.as_bytes());
        assert_eq!(published, 200);
        self.stream.read_to(&message);
        // The process that was started is gone, and was awaited.
        if let Ok(pid) = fs::read_to_string(self.server.directory.path("pid")) {
            assert!(
                !Path::new("/proc").join(&pid).exists(),
                "{words}: {pid} is there"
            );
        }
    }

    fn fails_with(&mut self, steps: &str, result: &str, words: &str) {
        self.server.install_fake(steps);
        self.fails(result, words);
    }
}

#[test]
fn program_that_cannot_be_started() {
    let mut watched = Watched::start(&[]);
    watched.server.install("/nowhere/encke");
    watched.fails("failed", "cannot start");
    let file = watched.server.executable("text", "no program");
    watched.server.install(&file);
    watched.fails("failed", "cannot start");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    watched.fails("failed", "cannot start");
    watched.server.install("/");
    watched.fails("failed", "cannot start");
}

/// The memory of the state counts as a file.
#[test]
fn state_that_exceeds_the_limit_for_files() {
    let mut watched = Watched::start(&[]);
    let limit = Rlimit {
        current: Some(1 << 20),
        maximum: None,
    };
    prlimit(Some(watched.server.pid), Resource::Fsize, limit).unwrap();
    for channel in ["a", "b", "c"] {
        let target = format!("/publish/{channel}");
        let body = vec![b'x'; 600 << 10];
        let published = watched.server.address.status("POST", &target, &body);
        assert_eq!(published, 200);
    }
    watched.fails("failed", "File too large");
}

#[test]
fn program_that_knows_nothing_of_it() {
    let mut watched = Watched::start(&[]);
    watched.server.install("/bin/false");
    watched.fails("failed", "(exit status: 1)");
    watched.server.install("/bin/true");
    watched.fails("failed", "(exit status: 0)");
    // It reads what it is told, and says something of its own.
    watched.server.install("/bin/cat");
    watched.fails("failed", "before it was ready");
}

#[test]
fn program_that_ends_at_any_step() {
    let mut watched = Watched::start(&[]);
    for (steps, words) in [
        ("", "before it was ready (exit status: 7)"),
        ("hello", "before it was ready (exit status: 7)"),
        ("hello ready", "before it had taken over (exit status: 7)"),
        (
            "hello ready state",
            "before it had taken over (exit status: 7)",
        ),
        (
            "hello ready state descriptors",
            "before it had taken over (exit status: 7)",
        ),
    ] {
        watched.fails_with(steps, "failed", words);
    }
    // The word may still be sent to a process that has said that it is there, and ends.
    watched.server.install(crate::ENCKE);
    watched.server.upgrade();
    watched.kept.ask();
    assert_eq!(watched.server.upgrades("failed"), 5.0);
}

#[test]
fn program_that_says_what_is_wrong() {
    let mut watched = Watched::start(&[]);
    for step in ["garbage", "long", "nothing"] {
        for (before, when) in [
            ("hello", "before it was ready"),
            ("hello ready state descriptors", "before it had taken over"),
        ] {
            let steps = format!("{before} {step} hang");
            watched.fails_with(&steps, "failed", "a message cannot be read");
            watched.fails_with(&steps, "failed", when);
        }
    }
    watched.fails_with("hello taken hang", "failed", "taken came instead of ready");
    watched.fails_with(
        "hello ready state ready hang",
        "failed",
        "ready came instead of taken",
    );
    watched.fails_with("hello format-9 hang", "failed", "not offered: 9");
}

#[test]
fn program_that_refuses() {
    let mut watched = Watched::start(&[]);
    let words = "the new process refuses: it is Sunday";
    watched.fails_with("hello refuse", "refused", words);
    watched.fails_with("hello ready state refuse", "refused", words);
    watched.fails_with(
        "hello ready state descriptors refuse hang",
        "refused",
        words,
    );
}

#[test]
fn program_that_hangs_at_any_step() {
    let mut watched = Watched::start(&["--upgrade-timeout=300ms"]);
    for (steps, words) in [
        ("hang", "the time is up, before it was ready"),
        ("hello hang", "the time is up, before it was ready"),
        (
            "hello ready hang",
            "the time is up, before it had taken over",
        ),
        (
            "hello ready state descriptors hang",
            "the time is up, before it had taken over",
        ),
    ] {
        watched.fails_with(steps, "timeout", words);
    }
    assert!(watched.server.metric("encke_upgrade_seconds_count") >= 2.0);
}

/// Nobody is served meanwhile: that ends long before an attempt has to.
#[test]
fn pause_ends_by_itself() {
    let mut watched = Watched::start(&["--upgrade-timeout=1h"]);
    let words = "the time is up, before it had taken over";
    watched.fails_with("hello ready hang", "timeout", words);
}

#[test]
fn settings_that_are_wrong_by_now() {
    let directory = Directory::new();
    let file = directory.path("encke.toml");
    fs::write(&file, "hold = 3").unwrap();
    let option = format!("--config={}", file.display());
    let mut watched = Watched::start(&[&option]);
    fs::write(&file, "hold = 'soon'").unwrap();
    watched.fails("refused", "encke.toml:1: hold: \"soon\"");
    fs::write(&file, "listen = 'unix:/nowhere/at/all'").unwrap();
    // The command line overrides it.
    fs::write(&file, "control = 'unix:/nowhere/at/all'").unwrap();
    watched.fails("refused", "cannot listen on unix:/nowhere/at/all");
    fs::write(&file, "max-connections = 1").unwrap();
    watched.fails("refused", "max-connections");
    let dir = directory.path("data");
    fs::write(&file, format!("data-dir = '{}'", dir.display())).unwrap();
    watched.fails("refused", "--data-dir cannot change in an upgrade");
    fs::write(&file, "hold = 3").unwrap();
    watched.server.upgrade();
    watched.kept.ask();
}

/// It may have answered: the old process cannot go on. Its code has a service manager start encke
/// again.
#[test]
fn program_that_ends_when_it_is_to_serve() {
    for (last, code) in [("", Some(1)), ("serving", Some(0))] {
        let mut server = Server::start(&[]);
        let mut kept = Kept::open(&server.address);
        server.install_fake(&format!("hello ready state descriptors taken go {last}"));
        kept.ask();
        server.signal(rustix::process::Signal::USR2);
        let (ended, lines) = server.encke.finish();
        let lines = lines.join("\n");
        assert_eq!(ended, code, "{lines}");
        let is_said = lines.contains("was told to serve and has ended");
        assert_eq!(is_said, last.is_empty(), "{lines}");
        assert!(!lines.contains("serves on"), "{lines}");
        if let Ok(pid) = fs::read_to_string(server.directory.path("pid")) {
            let is_there = Path::new("/proc").join(&pid).exists();
            assert!(!(last.is_empty() && is_there), "{pid} is there");
        }
    }
}
