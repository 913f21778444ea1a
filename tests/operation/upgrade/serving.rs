//! What goes along beside connections.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use rustix::process::Signal;

use super::{Kept, Server};
use crate::{Directory, run};

#[test]
fn half_a_line_of_standard_input_goes_along() {
    let mut server = Server::start_in(Directory::new(), &["--stdin=clock"], |command| {
        command.stdin(Stdio::piped());
    });
    let mut input = server.encke.child.stdin.take().unwrap();
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

/// Where memory does not suffice, the kernel is to end the new process, as long as the old one serves.
#[test]
fn new_process_is_the_first_to_be_ended_until_it_serves() {
    let directory = Directory::new();
    let file = directory.path("encke.toml");
    run("mkfifo", &[file.to_str().unwrap()]);
    let mut server = Server::start(&[]);
    let score = |pid: u32| fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
    let before = score(server.pid.as_raw_nonzero().get() as u32);
    let pid = directory.path("pid");
    let script = format!(
        "#!/bin/sh\necho $$ > '{}'\nexec '{}' \"$@\" --config='{}'\n",
        pid.display(),
        crate::child::ENCKE,
        file.display()
    );
    server.install(server.executable("waiting", &script));
    server.signal(Signal::USR2);
    // It has opened its settings, and waits for what they are.
    let settings = fs::OpenOptions::new().write(true).open(&file).unwrap();
    let pid = fs::read_to_string(pid).unwrap().trim().parse().unwrap();
    assert_eq!(score(pid), "1000\n");
    drop(settings);
    server.become_other();
    assert_eq!(score(pid), before);
}
