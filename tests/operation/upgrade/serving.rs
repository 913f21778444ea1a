//! What goes along beside connections.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use encke_test_rig::Directory;
use rustix::process::Signal;

use super::{Kept, Server};
use crate::run;

#[test]
fn half_a_line_of_standard_input_goes_along() {
    let mut server = Server::start_in(Directory::new(), &["--stdin=clock"], |command| {
        command.stdin(Stdio::piped());
    });
    let mut input = server.encke.stdin().take().unwrap();
    for number in 0..4 {
        let mut stream = server.address.open("/ndjson/clock?raw=1");
        write!(input, "li").unwrap();
        server.upgrade();
        // Opened by the one that serves.
        drop(stream);
        stream = server.address.open("/ndjson/clock?raw=1");
        writeln!(input, "ne {number}").unwrap();
        stream.read_to(&format!("line {number}"));
    }
    let mut stream = server.address.open("/ndjson/clock");
    write!(input, "without an end").unwrap();
    drop(input);
    stream.read_to("without an end");
    // It has ended, and stays so.
    server.upgrade();
    assert_eq!(server.address.status("GET", "/healthz", b""), 200);
}

/// One more than are made.
const UPGRADES: u32 = 52;

#[test]
fn counts_go_on_and_descriptors_do_not_grow() {
    let mut server = Server::start(&[]);
    let mut kept = Kept::open(&server.address);
    server.upgrade();
    let descriptors = |server: &Server| {
        let path = format!("/proc/{}/fd", server.pid.as_raw_nonzero());
        fs::read_dir(path).unwrap().count()
    };
    // The one in which the list is read.
    let before = descriptors(&server);
    for upgrades in 2..UPGRADES {
        server.upgrade();
        kept.ask();
        assert_eq!(server.upgrades("done"), f64::from(upgrades));
        assert_eq!(
            server.metric("encke_upgrade_seconds_count"),
            f64::from(upgrades)
        );
        super::wait_until(|| descriptors(&server) <= before);
    }
    assert!(server.metric("encke_connections_handed_over_total") >= f64::from(UPGRADES - 1) * 20.0);
}

/// A new process that has opened its settings, and waits for what they are.
struct Waiting {
    settings: fs::File,
    pid: u32,
}

impl Waiting {
    /// Begins an upgrade of a server to it.
    fn start(server: &Server) -> Waiting {
        let [file, pid] = ["settings", "pid"].map(|name| server.directory.path(name));
        run("mkfifo", &[file.to_str().unwrap()]);
        let script = format!(
            "#!/bin/sh\necho $$ > '{}'\nexec '{}' \"$@\" --config='{}'\n",
            pid.display(),
            crate::ENCKE,
            file.display()
        );
        server.install(server.executable("waiting", &script));
        server.signal(Signal::USR2);
        // It waits for its reader.
        let settings = fs::OpenOptions::new().write(true).open(file).unwrap();
        let pid = fs::read_to_string(pid).unwrap().trim().parse().unwrap();
        Waiting { settings, pid }
    }
}

/// Where memory does not suffice, the kernel is to end the new process, as long as the old one
/// serves.
#[test]
fn new_process_is_the_first_to_be_ended_until_it_serves() {
    let score = |pid: u32| fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
    let mut server = Server::start(&[]);
    let before = score(server.encke.id());
    let Waiting { settings, pid } = Waiting::start(&server);
    assert_eq!(score(pid), "1000\n");
    drop(settings);
    server.become_other();
    assert_eq!(score(pid), before);
}

/// It must not serve by itself, and leaves what is saved as it is.
#[test]
fn new_process_ends_where_the_old_one_was_killed() {
    let data = Directory::new();
    let option = format!("--data-dir={}", data.path("data").display());
    let mut server = Server::start(&[&option]);
    let publish = |server: &Server| server.address.status("POST", "/publish/news", b"kept");
    assert_eq!(publish(&server), 200);
    let Waiting { settings, .. } = Waiting::start(&server);
    server.signal(Signal::KILL);
    drop(settings);
    // The log ends with the last process that has it.
    let (code, lines) = server.encke.finish();
    assert_eq!(code, None);
    let lines = lines.join("\n");
    assert!(lines.contains("nothing is handed over"), "{lines}");
    assert!(!lines.contains("took"), "{lines}");
    drop(server);

    let server = Server::start(&[&option]);
    let mut reader = server.address.open("/ndjson/news?since=-10");
    reader.read_to("kept");
}
