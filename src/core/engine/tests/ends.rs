//! The ends of channels.

use std::time::Duration;

use crate::base::time::Time;
use crate::config::Config;
use crate::engine::connections::Sink;
use crate::engine::{Access, Engine, State};

#[test]
fn lingering_poll_ends_with_the_gap_that_stands_for_the_end() {
    let mut config = Config::default();
    config.history.max_age = Duration::from_secs(1);
    let mut engine = Engine::new(&config, 2, 7);
    let mut wire = Sink {
        is_full: true,
        ..Sink::default()
    };
    let poll = engine.accept(Access::Trusted).expect("there is room");
    let request = b"GET /long-poll/a?early=1&linger=5000 HTTP/1.1\r\nHost: h\r\n\r\n";
    engine.input(poll, request, &mut wire);

    // The socket takes nothing until the end of the channel is too old.
    let publisher = engine.accept(Access::Trusted).expect("there is room");
    let request = b"POST /publish/a?end=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n";
    engine.input(publisher, request, &mut wire);
    engine.set_now(Time(2_000), 2_000);
    engine.expire(1_000, &mut wire);
    assert_eq!(engine.state(poll), Some(State::Held));

    wire.is_full = false;
    engine.writable(poll, &mut wire);
    engine.deliver(1_000, &mut wire);
    assert_ne!(engine.state(poll), Some(State::Held));
    let sent = String::from_utf8_lossy(&wire.sent);
    assert!(
        sent.contains(r#""gap":true,"#) && sent.contains(r#""end":true"#),
        "{sent}"
    );
}
