//! Publishers that send much, slowly, together.

use std::time::Duration;

use crate::adversary::attack::{Attack, Keeps, Size};
use crate::adversary::script::{How, Script, When};

/// A body at the limit.
const BODY: usize = 1 << 20;

/// A piece of one.
const PIECE: usize = 16 << 10;

/// 150 at once: ten times what the limit on buffers has room for.
const CONNECTIONS: fn(&Size) -> u32 = |size| size.part(100);

/// So that a body takes half of the time that it may.
fn pace(size: &Size) -> Duration {
    Duration::from_secs_f64(size.patience() / 2.0 / (BODY / PIECE) as f64)
}

pub(super) const SLOW: Attack = Attack {
    name: "slow-uploads",
    about: "many bodies at the limit at once, each sent in pieces over half of the time allowed",
    connections: CONNECTIONS,
    script: |size, _, _| {
        let head =
            format!("POST /publish/big HTTP/1.1\r\nHost: a\r\nContent-Length: {BODY}\r\n\r\n");
        Script::new(head)
            .drips(vec![b'x'; BODY], PIECE, pace(size))
            .leaves(When::Heard, Duration::ZERO, How::Close)
            .returns()
    },
    keeps: Keeps::Messages,
    judge: |size, _, moved| {
        let mut faults = Vec::from_iter(moved.must("messages_published_total", ""));
        if CONNECTIONS(size) > 100 {
            faults.extend(moved.must_answer(503));
        }
        faults
    },
    ..Attack::PLAIN
};

pub(super) const TRICKLE: Attack = Attack {
    name: "chunked-trickle",
    about: "bodies in chunks of a byte that never end, and bodies said to be a gigabyte",
    connections: |size| size.part(15),
    script: |size, number, _| match number % 2 {
        0 => Script::new(
            "POST /publish/big HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        )
        .drips("1\r\nx\r\n".repeat(2_000), 6 * 2_000, pace(size) / 8)
        .returns(),
        _ => Script::new(
            "POST /publish/big HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n",
        )
        .drips(vec![b'x'; PIECE], PIECE, pace(size))
        .returns(),
    },
    keeps: Keeps::Messages,
    judge: |_, _, moved| Vec::from_iter(moved.must_answer(413)),
    ..Attack::PLAIN
};
