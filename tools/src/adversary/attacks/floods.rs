//! More connections, and more of a head, than there is room for.

use std::time::Duration;

use crate::adversary::attack::{Attack, Keeps};
use crate::adversary::script::{How, Script, When, get};

/// Descriptors of encke's own, the neighbour's among them.
const OWN_FILES: u64 = 30;

pub(super) const CONNECTIONS: Attack = Attack {
    name: "connect-flood",
    about: "far more connections than allowed, each with a request, that come back at once",
    connections: |size| size.part(5),
    script: |_, number, _| {
        let target = ["/long-poll/flood", "/sse/flood", "/poll/flood"][number as usize % 3];
        Script::new(get(target))
            .leaves(When::Heard, Duration::from_millis(100), How::Close)
            .returns()
    },
    options: |size| vec![("--max-connections", (size.part(50) + 5).to_string())],
    judge: |_, tally, moved| {
        let refused = moved.must("connections_refused_total", "cause=\"server\"");
        let unanswered = tally.status(503) + tally.ended == 0;
        let unanswered = unanswered.then(|| "no connection was refused".to_owned());
        refused.into_iter().chain(unanswered).collect()
    },
    ..Attack::PLAIN
};

pub(super) const DESCRIPTORS: Attack = Attack {
    name: "descriptor-flood",
    about: "the same where descriptors run out before connections do",
    open_files_left: |size| Some(u64::from(size.part(50)) + OWN_FILES),
    options: |_| Vec::new(),
    judge: |_, _, moved| {
        Vec::from_iter(moved.must("connections_refused_total", "cause=\"descriptors\""))
    },
    ..CONNECTIONS
};

pub(super) const HEADERS: Attack = Attack {
    name: "header-flood",
    about: "heads of more fields than are taken, and of as many as fit, again and again",
    connections: |size| size.part(15),
    script: |_, number, _| {
        let field = match number % 2 {
            0 => "X: 1\r\n".repeat(2_000),
            _ => format!("X-Wide: {}\r\n", "w".repeat(140)).repeat(100),
        };
        let request = format!("GET /poll/a HTTP/1.1\r\nHost: a\r\n{field}\r\n");
        Script::new(request)
            .leaves(When::Heard, Duration::ZERO, How::Close)
            .returns()
    },
    keeps: Keeps::Buffers,
    judge: |_, _, moved| Vec::from_iter(moved.must_answer(431)),
    ..Attack::PLAIN
};

pub(super) const HEADS: Attack = Attack {
    name: "big-heads",
    about: "heads of nearly all bytes allowed that never end, together far over the limit on buffers",
    script: |_, _, _| {
        let wide = "w".repeat(15_000);
        Script::new(format!("GET /poll/a HTTP/1.1\r\nX-Wide: {wide}")).returns()
    },
    keeps: Keeps::Buffers,
    judge: |size, _, moved| {
        let mut faults = Vec::from_iter(moved.must_answer(408));
        if size.connections >= 2_000 {
            faults.extend(moved.must("connections_ended_total", "cause=\"no-room\""));
        }
        faults
    },
    ..Attack::PLAIN
};
