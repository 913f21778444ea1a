//! Clients that leave in every state that a connection can be in.

use std::time::Duration;

use crate::adversary::attack::{Attack, Keeps};
use crate::adversary::crowd::Tally;
use crate::adversary::script::{How, Script, When, get, publish};

/// The states that a connection can be left in.
const STATES: u32 = 14;

/// Time enough for encke to have done what it was asked.
const PAUSE: Duration = Duration::from_millis(50);

/// A connection that leaves in the state of this number.
fn script(state: u32, how: How) -> Script {
    let sent = |script: Script| script.leaves(When::Sent, PAUSE, how);
    let heard = |script: Script| script.leaves(When::Heard, Duration::ZERO, how);
    let at_once = |script: Script| script.leaves(When::Sent, Duration::ZERO, how);
    match state % STATES {
        // Nothing sent; half a head; a head and half a body, of both framings.
        0 => sent(Script::new("")),
        1 => sent(Script::new("GET /poll/left HTTP/1.1\r\nHost:")),
        2 => sent(Script::new(
            "POST /publish/left HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf",
        )),
        3 => sent(Script::new(
            "POST /publish/left HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nha",
        )),
        // Held, held with its head sent, lingering, given up by a further request.
        4 => sent(Script::new(get("/long-poll/left"))),
        5 => sent(Script::new(get("/long-poll/left?early=1"))),
        6 => sent(Script::new(get("/long-poll/left?linger=10000&limit=1000"))),
        7 => at_once(Script::new(
            get("/long-poll/left") + &get("/long-poll/left"),
        )),
        // Streaming: before its head, with its head, and blocked.
        8 => at_once(Script::new(get("/sse/left"))),
        9 => heard(Script::new(get("/ndjson/left"))),
        10 => sent(Script::new(get("/frame/left?since=earliest")).deaf()),
        // While answers are on their way: many small, a few large that are not read, a listing.
        11 => at_once(Script::new(get("/poll/left").repeat(40))),
        12 => sent(Script::new(get("/channels").repeat(40)).deaf()),
        // A publish, so that there is something to leave behind.
        _ => heard(Script::new(publish("left", &[b'x'; 8 << 10]))),
    }
}

/// Enough to have been in every state.
fn few(tally: &Tally) -> Option<String> {
    let is_few = tally.left < u64::from(STATES);
    is_few.then(|| format!("only {} connections were left", tally.left))
}

pub(super) const RESETS: Attack = Attack {
    name: "resets",
    about: "connections reset in every state, again and again",
    connections: |size| size.part(15),
    script: |_, number, visit| script(number + visit, How::Reset).returns(),
    keeps: Keeps::Messages,
    judge: |_, tally, moved| {
        let broken = moved.must("connections_ended_total", "cause=\"broken\"");
        broken.into_iter().chain(few(tally)).collect()
    },
    ..Attack::PLAIN
};

pub(super) const HALF_CLOSES: Attack = Attack {
    name: "half-closes",
    about: "connections half-closed by the client in every state, with the socket kept open",
    connections: |size| size.connections,
    script: |_, number, visit| script(number + visit, How::HalfClose),
    judge: |_, tally, moved| {
        let left = moved.must("connections_ended_total", "cause=\"left\"");
        left.into_iter().chain(few(tally)).collect()
    },
    ..RESETS
};
