//! Listening sockets of each kind pass on.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};

use encke_test_rig::Directory;
use rustix::process::Signal;

use super::{Kept, Server};
use crate::http::Address;

fn status(address: &Address) -> u16 {
    address.status("GET", "/healthz", b"")
}

#[test]
fn sockets_pass_on_and_their_files_are_removed_by_the_last() {
    let directory = Directory::new();
    let path = directory.path("public");
    let proxied = directory.path("proxied");
    let unix = format!("--listen=unix:{}", path.display());
    let behind = format!("--listen=proxy:unix:{}", proxied.display());
    let mut server = Server::start(&[&unix, &behind, "--unix-mode=666", "--publish-key=k"]);
    let address = Address::Unix(path.clone());
    let mut kept = Kept::open(&address);
    // One whose header has not come, and one whose header is cut.
    let early = Address::Unix(proxied.clone()).connect();
    let mut cut = Address::Unix(proxied.clone()).connect();
    std::io::Write::write_all(&mut cut.socket, b"PROXY TCP4 10.0.0").unwrap();
    for _ in 0..3 {
        server.upgrade();
        assert!(fs::metadata(&path).unwrap().file_type().is_socket());
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o666
        );
        assert_eq!((status(&address), status(&server.address)), (200, 200));
        kept.ask();
    }
    for (mut connection, header) in [
        (early, "PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n"),
        (cut, ".1 10.0.0.2 1 2\r\n"),
    ] {
        std::io::Write::write_all(&mut connection.socket, header.as_bytes()).unwrap();
        connection.send("GET", "/healthz", b"");
        connection.finish();
        assert_eq!(connection.status, 200);
    }
    server.signal(Signal::TERM);
    server.line_with("drained");
    super::wait_until(|| !path.exists() && !proxied.exists());
}

/// By the new settings, where they have changed.
#[test]
fn addresses_that_have_changed_are_closed_and_bound() {
    let directory = Directory::new();
    let [before, after] = ["before", "after"].map(|name| directory.path(name));
    let file = directory.path("encke.toml");
    let control = |path: &std::path::Path| format!("control = 'unix:{}'", path.display());
    fs::write(&file, control(&before)).unwrap();
    let option = format!("--config={}", file.display());
    let mut server = Server::start(&[&option]);
    let mut kept = Kept::open(&Address::Unix(before.clone()));
    fs::write(&file, control(&after)).unwrap();
    server.signal(Signal::USR2);
    let lines = server.become_other().join("\n");
    assert!(lines.contains("] listening on unix:"), "{lines}");
    assert!(lines.contains("not listening on unix:"), "{lines}");
    assert_eq!(status(&Address::Unix(after)), 200);
    assert_eq!(status(&server.address), 200);
    let client = std::os::unix::net::UnixStream::connect(&before);
    assert!(client.is_err(), "nobody listens there any more");
    assert!(!before.exists(), "its file is still there");
    kept.ask();
}
