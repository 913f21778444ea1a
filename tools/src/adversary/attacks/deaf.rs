//! Readers that do not read, or a byte at a time.
//!
//! One connection of each attack publishes; the others are owed what it publishes.

use std::time::Duration;

use crate::adversary::attack::{Attack, Keeps};
use crate::adversary::script::{Script, get, publish};

/// The first connection publishes 256 KB a hundred times a second: the kernel takes some 10 MB for a
/// reader before encke cannot write.
fn publisher() -> Script {
    let message = publish("deaf", &[b'x'; 256 << 10]);
    let length = message.len();
    Script::new(message.clone()).drips(message, length, Duration::from_millis(10))
}

fn stream(number: u32) -> Script {
    let transport = ["sse", "ndjson", "frame"][number as usize % 3];
    Script::new(get(&format!("/{transport}/deaf")))
}

/// Sixteen polls of everything, of a mebibyte each once there is as much, and again and again.
fn polls() -> Script {
    let polls = get("/poll/deaf").repeat(16);
    let length = polls.len();
    Script::new(polls.clone()).drips(polls, length, Duration::from_millis(500))
}

fn sip() -> Duration {
    Duration::from_secs(1)
}

pub(super) const STREAMS: Attack = Attack {
    name: "deaf-streams",
    about: "streams that are never read, on a channel with much to say",
    connections: |size| size.part(15),
    script: |_, number, _| match number {
        0 => publisher(),
        _ => stream(number).deaf().returns(),
    },
    keeps: Keeps::Messages,
    judge: |_, _, moved| {
        let stalled = moved.must("connections_ended_total", "cause=\"stalled\"");
        stalled
            .into_iter()
            .chain(moved.must("writes_blocked_total", ""))
            .collect()
    },
    ..Attack::PLAIN
};

pub(super) const POLLS: Attack = Attack {
    name: "deaf-polls",
    about: "polls with responses of a mebibyte each, which are never read",
    script: |_, number, _| match number {
        0 => publisher(),
        _ => polls().deaf().returns(),
    },
    judge: |_, _, moved| Vec::from_iter(moved.must("writes_blocked_total", "")),
    ..STREAMS
};

pub(super) const SIPPING_STREAMS: Attack = Attack {
    name: "sipping-streams",
    about: "streams of which a byte a second is read",
    script: |_, number, _| match number {
        0 => publisher(),
        _ => stream(number).sips(sip()).returns(),
    },
    ..POLLS
};

pub(super) const SIPPING_POLLS: Attack = Attack {
    name: "sipping-polls",
    about: "polls of which a byte a second of the response is read",
    script: |_, number, _| match number {
        0 => publisher(),
        _ => polls().sips(sip()).returns(),
    },
    ..POLLS
};
