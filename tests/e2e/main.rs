//! End to end: real servers on ports of their own, real sockets, every documented behaviour.
//!
//! One binary, so that it is linked once. Modules by subject; `server`, `child`, `client`,
//! `stream` and `socket` are their helpers. No test sleeps to wait for an event: a read has a
//! deadline, and a state that no response announces is polled.

mod child;
mod client;
mod server;
mod socket;
mod stream;

mod channels;
mod clients;
mod control;
mod corpus;
mod cors;
mod cursor;
mod drain;
mod ends;
mod errors;
mod fanout;
mod frames;
mod gaps;
mod http;
mod limits;
mod lines;
mod listeners;
mod long_poll;
mod policies;
mod poll;
mod producers;
mod publish;
mod resources;
mod saved;
mod stdin;
mod streams;
mod vanished;
mod websocket;
mod websocket_ends;
mod websocket_rights;

use std::time::{Duration, Instant};

/// The time limit for anything that must happen at once.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Polls a condition until it is true.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < until, "never came: {what}");
        std::thread::yield_now();
    }
}
