//! What ends a start, and what does not.

use std::fs;

use crate::encke::Encke;
use crate::redis;

/// The last line of a process that ends with an error.
fn refusal(args: &[&str]) -> String {
    let (code, mut lines) = Encke::start(args).finish();
    assert_eq!(code, Some(1), "{lines:?}");
    lines.pop().expect("a line")
}

#[test]
fn wrong_password_ends_the_start() {
    let Some(server) = redis(&["--requirepass", "sesame"]) else {
        return;
    };
    let file = server.directory().path("password");
    let file_text = file.display().to_string();
    let url = server.url();
    let args = ["--engine", &url, "--engine-password-file", &file_text];
    assert!(refusal(&args[..2]).contains("the engine wants a password"));
    fs::write(&file, "wrong\n").expect("a file");
    let line = refusal(&args);
    assert!(line.starts_with("encke: --engine: "), "{line}");
    assert!(line.contains("refuses the password or the user"), "{line}");
    assert!(!line.contains("wrong"), "{line}");
}

#[test]
fn missing_right_ends_the_start() {
    let Some(server) = redis(&[]) else { return };
    server.tell("ACL SETUSER default -xadd").expect("OK");
    let line = refusal(&["--engine", &server.url()]);
    assert!(line.contains("ACL SETUSER NAME +xadd ~{encke}:*"), "{line}");
}

#[test]
fn reason_for_which_a_node_is_not_ready_is_logged_where_nobody_publishes() {
    let Some(server) = redis(&[]) else { return };
    let mut encke = Encke::start(&["--engine", &server.url()]);
    encke.until_readyz(200);
    for (set, unset, words) in [
        (
            "min-replicas-to-write 1",
            "min-replicas-to-write 0",
            "NOREPLICAS",
        ),
        ("maxmemory 1", "maxmemory 0", "has no memory for more"),
    ] {
        server.tell(&format!("CONFIG SET {set}")).expect("OK");
        let line = encke.line_with("takes nothing of this node: ");
        assert!(line.contains(words), "{line}");
        server.tell(&format!("CONFIG SET {unset}")).expect("OK");
    }
    encke.until_readyz(200);
}

#[test]
fn engine_that_is_away_is_waited_for() {
    let Some(mut server) = redis(&[]) else { return };
    server.kill().expect("it is ours");
    let mut encke = Encke::start(&["--engine", &server.url()]);
    encke.line_with("this node is not ready until it answers");
    assert_eq!(encke.until_readyz(503).lines().count(), 1);
    assert_eq!(encke.ask("GET", "/healthz", "").0, 200);
    server.start_again().expect("it starts");
    encke.until_readyz(200);
}
