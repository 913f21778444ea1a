//! SIGHUP: the file of settings and the files of keys are read again, all or nothing.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use encke_test_rig::{Directory, Program};
use rustix::process::Signal;

use crate::ENCKE;
use crate::http::{Address, Connection};

const IN_FORCE: &str = "reload: new settings are in force";
const KEPT: &str = "the old settings stay in force";

/// An encke with a file of settings.
struct Server {
    encke: Program,
    address: Address,
    file: PathBuf,
    _directory: Directory,
}

impl Server {
    fn start(settings: &str) -> Server {
        let directory = Directory::new();
        let file = directory.path("encke.toml");
        fs::write(&file, settings).unwrap();
        let mut command = Command::new(ENCKE);
        command
            .env_clear()
            .args([
                "--listen=127.0.0.1:0",
                "--max-channels=1000",
                "--drain=0",
                "--config",
            ])
            .arg(&file);
        let encke = Program::start(&mut command);
        Server {
            address: Address::Tcp(encke.address()),
            encke,
            file,
            _directory: directory,
        }
    }

    /// Sends SIGHUP, and returns the line of the log that says how it ended.
    fn reload(&self) -> String {
        self.encke.signal(Signal::HUP);
        loop {
            let line = self.encke.line();
            if line.contains(IN_FORCE) || line.contains(KEPT) {
                return line;
            }
        }
    }

    fn change(&self, settings: &str) -> String {
        fs::write(&self.file, settings).unwrap();
        self.reload()
    }

    fn publish(&self, channel: &str, count: usize) {
        for _ in 0..count {
            let target = format!("/publish/{channel}");
            assert_eq!(self.address.status("POST", &target, b"x"), 200);
        }
    }

    /// How many messages a channel keeps.
    fn kept(&self, channel: &str) -> u64 {
        let state = self.address.get_json(&format!("/channels/{channel}"));
        state["messages"].as_u64().unwrap()
    }

    /// The value of a series of the metrics.
    fn metric(&self, series: &str) -> f64 {
        let (_, text) = self.address.answer("GET", "/metrics", b"");
        let text = String::from_utf8(text).unwrap();
        let mut lines = text.lines();
        let value = lines.find_map(|line| line.strip_prefix(&format!("encke_{series} ")));
        value
            .unwrap_or_else(|| panic!("no {series}: {text}"))
            .parse()
            .unwrap()
    }
}

#[test]
fn history_changes_for_channels_that_are_there_and_for_new_ones() {
    let server = Server::start("history-messages = 5");
    let mut stream = server.address.open("/sse/old");
    server.publish("old", 4);
    assert_eq!(server.kept("old"), 4);
    assert!(server.change("history-messages = 2").ends_with(IN_FORCE));
    server.publish("old", 1);
    assert_eq!(server.kept("old"), 2);
    server.publish("new", 3);
    assert_eq!(server.kept("new"), 2);
    // And back to the default, as the file has no such key.
    server.change("");
    server.publish("old", 7);
    assert_eq!(server.kept("old"), 9);
    for _ in 0..12 {
        stream.read_to("data: x\n");
    }
}

#[test]
fn wrong_file_is_reported_with_its_line_and_changes_nothing() {
    let server = Server::start("history-messages = 3");
    assert_eq!(server.metric("config_reload_failed"), 0.0);
    for (failures, (settings, words)) in [
        (
            "history-messages = 1\n\nhol = 3",
            ":3: hol: there is no such key",
        ),
        ("history-messages = 1\nhold = 'soon'", ":2: hold: "),
        (
            "history-messages = 1\nhold = 300",
            ":2: hold: 300s is not allowed",
        ),
        (
            "history-messages = 1\ntoken-key-file = '/nowhere'",
            ":2: token-key-file: /nowhere",
        ),
        ("history-messages = 1\nlog = 'loud'", ":2: log: "),
        ("history-messages =", ":1: history-messages: not TOML"),
    ]
    .into_iter()
    .enumerate()
    {
        let line = server.change(settings);
        let expected = format!("reload: {}{words}", server.file.display());
        assert!(line.contains(&expected) && line.ends_with(KEPT), "{line}");
        assert_eq!(server.metric("config_reload_failed"), 1.0);
        let failed = server.metric("config_reloads_total{result=\"failed\"}");
        assert_eq!(failed, failures as f64 + 1.0);
    }
    fs::remove_file(&server.file).unwrap();
    let line = server.reload();
    assert!(
        line.contains("--config: ") && line.contains("cannot be read"),
        "{line}"
    );
    server.publish("a", 5);
    assert_eq!(server.kept("a"), 3);

    assert!(server.change("history-messages = 1").ends_with(IN_FORCE));
    assert_eq!(server.metric("config_reload_failed"), 0.0);
    assert_eq!(server.metric("config_reloads_total{result=\"done\"}"), 1.0);
    server.publish("a", 5);
    assert_eq!(server.kept("a"), 1);
}

#[test]
fn settings_that_need_a_restart_are_named_and_stay() {
    let server = Server::start("");
    let other = "control = '127.0.0.1:1'\nqueue = 7\nstdin = true\nmax-connections = 1\n\
                 history-messages = 1\nunix-mode = 600";
    let line = server.change(other);
    let expected = "need a restart: --control, --unix-mode, --max-connections, --queue, --stdin";
    assert!(
        line.contains(IN_FORCE) && line.ends_with(expected),
        "{line}"
    );
    // It serves everything at the same address, to more than one connection, and the rest is new.
    let _stream = server.address.open("/sse/a");
    server.publish("a", 3);
    assert_eq!(server.kept("a"), 1);
    // The command line gives these, so the file changes nothing.
    let line = server.change("listen = '127.0.0.1:1'\nmax-channels = 1");
    assert!(line.ends_with(IN_FORCE), "{line}");
}

#[test]
fn key_may_not_be_taken_from_a_listener_that_needs_it() {
    let directory = Directory::new();
    let key = directory.path("key");
    fs::write(&key, "first").unwrap();
    let server = Server::start(&format!(
        "control = '0.0.0.0:0'\npublish-key-file = {:?}",
        key.display()
    ));
    let line = server.change("");
    assert!(
        line.contains("--control: 0.0.0.0:0 would let anyone"),
        "{line}"
    );
}

#[test]
fn parked_connections_survive_every_reload() {
    const STREAMS: usize = 200;
    const HOLDS: usize = 200;
    let settings = |number: usize| {
        format!(
            "heartbeat = {}\nmax-hold = {}\nhold = 20\nmax-buffer-bytes = '{}M'\n\
             cors-origin = ['https://{number}.example']\nno-page = {}\n\
             max-connections-per-address = {}",
            10 + number,
            60 + number,
            20 + number,
            number.is_multiple_of(2),
            1000 + number,
        )
    };
    let server = Server::start(&settings(0));
    let mut streams: Vec<Connection> = (0..STREAMS)
        .map(|_| server.address.open("/sse/news"))
        .collect();
    let mut holds: Vec<Connection> = (0..HOLDS)
        .map(|_| server.address.ask("GET", "/long-poll/news?hold=60", b""))
        .collect();
    let parked = |transport: &str| {
        server.metric(&format!("connections_parked{{transport=\"{transport}\"}}"))
    };
    while parked("long-poll") < HOLDS as f64 {}
    for number in 1..=20 {
        let line = match number % 3 {
            0 => server.change("hold = 'soon'"),
            _ => server.change(&settings(number)),
        };
        assert_eq!(line.ends_with(KEPT), number % 3 == 0, "{line}");
        assert_eq!(parked("sse"), STREAMS as f64);
        assert_eq!(parked("long-poll"), HOLDS as f64);
    }
    server.publish("news", 1);
    for stream in &mut streams {
        stream.read_to("data: x\n");
    }
    for hold in &mut holds {
        assert_eq!(hold.json()["messages"][0]["data"], "x");
    }
}

#[test]
fn last_of_many_signals_is_heeded() {
    let server = Server::start("");
    for number in 2..50 {
        fs::write(&server.file, format!("history-messages = {number}")).unwrap();
        server.encke.signal(Signal::HUP);
    }
    fs::write(&server.file, "history-messages = 1").unwrap();
    server.encke.signal(Signal::HUP);
    // Signals that come together are one, so the number of reloads is not known.
    let mut reloads = 0;
    loop {
        if server.encke.line().contains(IN_FORCE) {
            reloads += 1;
            server.publish("a", 3);
            if server.kept("a") == 1 {
                break;
            }
        }
    }
    assert!((1..=49).contains(&reloads), "{reloads}");
}

#[test]
fn keys_are_read_again_without_a_file_of_settings() {
    let directory = Directory::new();
    let file = directory.path("key");
    fs::write(&file, "first\n").unwrap();
    let mut command = Command::new(ENCKE);
    command
        .env_clear()
        .args(["--listen=127.0.0.1:0", "--max-channels=9"]);
    command.arg(format!("--publish-key-file={}", file.display()));
    let encke = Program::start(&mut command);
    let address = Address::Tcp(encke.address());
    let status = |key: &str| {
        address.status_with(
            "POST",
            "/publish/a",
            &format!("Authorization: Bearer {key}\r\n"),
        )
    };
    assert_eq!((status("first"), status("second")), (200, 401));
    fs::write(&file, "second\n").unwrap();
    encke.signal(Signal::HUP);
    while !encke.line().contains(IN_FORCE) {}
    assert_eq!((status("first"), status("second")), (401, 200));
    fs::write(&file, "two words").unwrap();
    encke.signal(Signal::HUP);
    let line = encke.line();
    assert!(
        line.contains("reload: --publish-key-file: ") && !line.contains("two"),
        "{line}"
    );
    assert_eq!((status("first"), status("second")), (401, 200));

    // Nor is a key where everyone can see it.
    let pid = encke.id();
    let command_line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    let environment = fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
    for secret in ["first", "second"] {
        assert!(!command_line.contains(secret) && !environment.contains(secret));
    }
}

#[test]
fn nothing_to_read_again_is_said() {
    let mut command = Command::new(ENCKE);
    command
        .env_clear()
        .args(["--listen=127.0.0.1:0", "--max-channels=9"]);
    let encke = Program::start(&mut command);
    let address = Address::Tcp(encke.address());
    encke.signal(Signal::HUP);
    while !encke
        .line()
        .contains("SIGHUP: there is nothing to read again")
    {}
    assert_eq!(address.status("GET", "/readyz", b""), 200);
}

#[test]
fn level_of_the_log_changes() {
    let server = Server::start("log = 'info'");
    let line = server.change("log = 'info,encke::access=debug'");
    assert!(line.contains(" INFO "), "{line}");
    server.publish("a", 1);
    assert!(server.encke.line().contains("/publish/a 200"));
    // From the new level on, nothing is said of a reload that succeeds.
    fs::write(&server.file, "log = 'error'").unwrap();
    server.encke.signal(Signal::HUP);
    while server.metric("config_reloads_total{result=\"done\"}") < 2.0 {}
    let line = server.change("hold = 'soon'");
    assert!(line.contains("ERROR") && line.ends_with(KEPT), "{line}");
}
