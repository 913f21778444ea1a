//! Writes of which a socket takes a part.

use super::support::Server;
use crate::config::{Config, History};
use crate::engine::Access;

#[test]
fn each_message_is_counted_once_however_often_it_is_tried() {
    let config = Config {
        history: History {
            max_messages: 2,
            ..History::default()
        },
        ..Config::default()
    };
    let mut server = Server::new(&config);
    let request = "GET /ndjson/a HTTP/1.1\r\nHost: h\r\n\r\n";
    let (id, _) = server.ask(Access::Trusted, request);
    for round in 1..=5 {
        for number in 0..2 {
            server.publish("a", &number.to_string());
        }
        // Of the first message a part is taken, of the second nothing.
        server.limit_next_write(id, 10);
        server.pass(0);
        assert_eq!(server.engine.stats().delivered, 2 * round - 1);
        server.writable(id);
        server.pass(0);
        assert_eq!(server.take(id).matches("\"data\"").count(), 2);
        assert_eq!(server.engine.stats().delivered, 2 * round);
    }
    // Two are evicted. The gap counts when it is written, not when it is tried behind a message.
    server.limit_next_write(id, 10);
    for number in 0..2 {
        server.publish("a", &number.to_string());
    }
    server.pass(0);
    for number in 0..3 {
        server.publish("a", &number.to_string());
    }
    server.writable(id);
    server.pass(0);
    assert_eq!(server.engine.stats().gaps, 1);
    assert_eq!(server.engine.stats().delivered, 13);
}
