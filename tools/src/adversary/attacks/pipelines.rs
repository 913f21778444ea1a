//! Ten thousand requests in one go.

use crate::adversary::attack::{Attack, Keeps, Size};
use crate::adversary::script::{Script, get};

/// Requests in a pipeline.
fn depth(size: &Size) -> usize {
    match size.connections {
        0..1_000 => 1_000,
        _ => 10_000,
    }
}

/// Each connection has one pipeline; a third of the attack's time would do for all.
const CONNECTIONS: fn(&Size) -> u32 = |size| size.part(500);

fn judge(size: &Size, answered: u64) -> Vec<String> {
    let wanted = depth(size) as u64 * u64::from(CONNECTIONS(size));
    let is_all = answered == wanted;
    Vec::from_iter((!is_all).then(|| format!("{answered} of {wanted} requests were answered")))
}

pub(super) const POLLS: Attack = Attack {
    name: "pipelined-polls",
    about: "10,000 polls on each connection in one go",
    connections: CONNECTIONS,
    script: |size, _, _| Script::new(get("/poll/pipeline").repeat(depth(size))),
    keeps: Keeps::Buffers,
    judge: |size, tally, _| judge(size, tally.status(200)),
    ..Attack::PLAIN
};

pub(super) const HOLDS: Attack = Attack {
    name: "pipelined-holds",
    about: "10,000 long polls on each connection in one go, each giving up the one before",
    connections: CONNECTIONS,
    script: |size, _, _| {
        let holds = get("/long-poll/pipeline").repeat(depth(size) - 1);
        Script::new(holds + &get("/poll/pipeline"))
    },
    keeps: Keeps::Buffers,
    judge: |size, tally, _| judge(size, tally.status(200)),
    ..Attack::PLAIN
};
