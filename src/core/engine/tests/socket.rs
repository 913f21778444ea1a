//! Clients of WebSockets.

use super::support::{Server, status};
use crate::config::Config;
use crate::engine::{Access, ConnId};

/// Opens a socket that is sent the objects of NDJSON.
fn open(server: &mut Server) -> ConnId {
    let (id, response) = server.ask(
        Access::Trusted,
        "GET /ws/a HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
    );
    assert_eq!(status(&response), "101");
    id
}

/// A text frame of a client, whose mask changes nothing.
fn text(payload: &str) -> Vec<u8> {
    let mut frame = vec![0x81, 0x80 | 127];
    frame.extend((payload.len() as u64).to_be_bytes());
    frame.extend([0; 4]);
    frame.extend(payload.as_bytes());
    frame
}

/// The caller reads no more in a tick once enough is spent: whoever may receive may send commands,
/// and their parsing takes time.
#[test]
fn commands_count_as_work_of_the_turn() {
    let mut server = Server::new(&Config::default());
    let id = open(&mut server);
    let before = server.engine.spent_bytes();
    let spaces = " ".repeat(100_000);
    let answer = server.ask_again(id, text(&format!("{{\"ref\":7,{spaces}\"channels\":1}}")));
    assert!(
        answer.contains("\"status\":400") && answer.ends_with("\"ref\":7}"),
        "{answer}"
    );
    assert!(server.engine.spent_bytes() - before > 100_000);
}
