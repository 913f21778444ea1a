//! Signals while an upgrade is under way.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use encke_test_rig::{Directory, Program};
use rustix::process::Signal;

use super::{Kept, Server, wait_until};
use crate::ENCKE;
use crate::run;

#[test]
fn second_request_is_ignored_with_a_word() {
    let mut server = Server::start(&[]);
    let mut kept = Kept::open(&server.address);
    server.install_fake("hello hang");
    server.signal(Signal::USR2);
    server.line_with("upgrade: starting");
    server.signal(Signal::USR2);
    server.line_with("one is under way already");
    kept.ask();
    assert_eq!(server.upgrades("failed"), 0.0);
    server.signal(Signal::TERM);
    server.line_with("given up, because the server drains");
    assert_eq!(server.encke.exit_code(), Some(0));
}

#[test]
fn drain_ends_an_upgrade_at_any_step() {
    for steps in ["hang", "hello hang", "hello ready state descriptors hang"] {
        let mut server = Server::start(&[]);
        server.install_fake(steps);
        server.signal(Signal::USR2);
        let pid = server.directory.path("pid");
        wait_until(|| fs::read_to_string(&pid).is_ok_and(|text| !text.is_empty()));
        let pid = fs::read_to_string(pid).unwrap();
        server.signal(Signal::TERM);
        let (code, lines) = server.encke.finish();
        assert_eq!(code, Some(0));
        let lines = lines.join("\n");
        assert!(
            lines.contains("given up, because the server drains"),
            "{lines}"
        );
        let process = Path::new("/proc").join(pid);
        assert!(!process.exists(), "the new process is still there");
    }
}

#[test]
fn upgrade_of_a_server_that_drains_is_refused_with_a_word() {
    let server = Server::start(&["--drain-delay=1h"]);
    server.signal(Signal::TERM);
    server.line_with("draining 0 connections");
    server.signal(Signal::USR2);
    server.line_with("not while the server drains");
    assert_eq!(server.address.status("GET", "/readyz", b""), 503);
}

/// The new process has read its settings when the file changes.
#[test]
fn reload_meanwhile_is_carried_out_by_both() {
    let directory = Directory::new();
    let file = directory.path("encke.toml");
    fs::write(&file, "no-page = false").unwrap();
    let option = format!("--config={}", file.display());
    let mut server = Server::start(&[&option]);
    // The new process reads a pipe instead: it waits there for each of its two readings.
    let readings = directory.path("readings");
    run("mkfifo", &[readings.to_str().unwrap()]);
    let start = format!(
        "#!/bin/sh\nexec '{ENCKE}' --listen=127.0.0.1:0 --max-channels=1000 --drain=0 \
         --config='{}'\n",
        readings.display(),
    );
    server.install(server.executable("reads-pipe", &start));
    server.signal(Signal::USR2);
    server.line_with("upgrade: starting");
    fs::write(&file, "no-page = true").unwrap();
    server.signal(Signal::HUP);
    server.line_with("new settings are in force");
    assert_eq!(server.address.status("GET", "/", b""), 404);
    // It starts with the settings as they were, and serves with them as they are.
    write_to_pipe(&readings, "no-page = false");
    server.become_other();
    write_to_pipe(&readings, "no-page = true");
    server.line_with("reload: new settings are in force");
    assert_eq!(server.address.status("GET", "/", b""), 404);
}

/// Waits for a reader, and gives it the text.
fn write_to_pipe(pipe: &Path, text: &str) {
    let mut pipe = fs::OpenOptions::new().write(true).open(pipe).unwrap();
    pipe.write_all(text.as_bytes()).unwrap();
}

/// By default it would end the process.
#[test]
fn request_while_the_process_starts_is_carried_out_later() {
    let directory = Directory::new();
    let file = directory.path("encke.toml");
    run("mkfifo", &[file.to_str().unwrap()]);
    let mut command = Command::new(ENCKE);
    let option = format!("--config={}", file.display());
    let listen = "--listen=127.0.0.1:0";
    let encke = Program::start(command.args([listen, "--upgrade-timeout=100ms", &option]));
    // It waits for its reader, which waits for what is written.
    let mut settings = fs::OpenOptions::new().write(true).open(&file).unwrap();
    encke.signal(Signal::USR2);
    settings.write_all(b"hold = 3").unwrap();
    drop(settings);
    while !encke.line().contains("upgrade: starting") {}
    // The new one waits for its settings for ever.
    while !encke.line().contains("this process serves on") {}
}
