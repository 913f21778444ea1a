//! Clients of WebSockets.

use super::support::{Server, frame, socket};
use crate::config::Config;

/// The caller reads no more in a tick once the budget is spent. Every client that may receive may
/// send commands, and parsing them takes time.
#[test]
fn commands_count_as_work_of_the_turn() {
    let mut server = Server::new(&Config::default());
    let id = socket(&mut server, "/ws/a");
    let before = server.engine.spent_bytes();
    let spaces = " ".repeat(100_000);
    let answer = server.ask_again(id, frame(&format!("{{\"ref\":7,{spaces}\"channels\":1}}")));
    assert!(
        answer.contains("\"status\":400") && answer.ends_with("\"ref\":7}"),
        "{answer}"
    );
    assert!(server.engine.spent_bytes() - before > 100_000);
}
