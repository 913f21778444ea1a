//! Clients that take their time, or say nothing.

use std::time::Duration;

use crate::adversary::attack::{Attack, Keeps};
use crate::adversary::script::Script;

/// A byte a second or, in a short trial, several bytes before the time is up.
fn pace(seconds: f64) -> Duration {
    Duration::from_secs_f64((seconds / 12.0).min(1.0))
}

pub(super) const HEADS: Attack = Attack {
    name: "slow-heads",
    about: "every connection sends its head a byte at a time, and comes back when it is closed",
    script: |size, _, _| {
        let field = "X-Slow: 1\r\n";
        Script::new("GET /poll/a HTTP/1.1\r\n")
            .drips(field, 1, pace(size.seconds))
            .returns()
    },
    keeps: Keeps::Buffers,
    judge: |_, _, moved| Vec::from_iter(moved.must_answer(408)),
    ..Attack::PLAIN
};

pub(super) const BODIES: Attack = Attack {
    name: "slow-bodies",
    about: "every connection sends a publish's body a byte at a time, and comes back when it is closed",
    script: |size, _, _| {
        let head = "POST /publish/slow HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n";
        Script::new(head)
            .drips("x", 1, pace(size.seconds))
            .returns()
    },
    ..HEADS
};

pub(super) const SILENT: Attack = Attack {
    name: "silent",
    about: "every connection sends nothing, and comes back when it is closed",
    script: |_, _, _| Script::new("").returns(),
    judge: |_, _, moved| Vec::from_iter(moved.must("connections_ended_total", "cause=\"idle\"")),
    ..Attack::PLAIN
};
