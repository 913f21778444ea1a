//! End to end: real servers on ports of their own, real sockets, every line of the contract.
//!
//! One binary, so that it is linked once. Modules by subject; `server`, `child`, `client` and
//! `stream` are what they stand on. Nothing here sleeps to wait for something: a read has a
//! deadline, and what no answer announces is asked for until it is so.

mod child;
mod client;
mod server;
mod stream;

mod channels;
mod clients;
mod control;
mod corpus;
mod cors;
mod cursor;
mod drain;
mod errors;
mod fanout;
mod gaps;
mod http;
mod limits;
mod listeners;
mod long_poll;
mod poll;
mod producers;
mod publish;
mod resources;
mod stdin;
mod streams;
mod vanished;

use std::time::{Duration, Instant};

/// How long anything may take that is to happen at once.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Asks until the answer is yes.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < until, "never came: {what}");
        std::thread::yield_now();
    }
}
