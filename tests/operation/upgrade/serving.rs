//! What goes along beside connections.

use std::io::Write;
use std::process::Stdio;

use super::{Kept, Server};
use crate::Directory;

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
        std::fs::read_dir(path).unwrap().count()
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
