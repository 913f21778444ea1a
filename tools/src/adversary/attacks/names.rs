//! Channel names without end, and names made to collide.

use std::fmt::Write;
use std::hash::{DefaultHasher, Hasher};

use crate::adversary::attack::{Attack, Keeps, Size};
use crate::adversary::script::{Script, get, publish};

/// Names in a request at most.
const NAMES: u32 = 64;

/// Names that one client makes up: 100,000 in a full trial.
fn count(size: &Size) -> u32 {
    size.connections.saturating_mul(100_000) / 15_000
}

/// Half of them are too many.
fn allowed(size: &Size) -> Vec<(&'static str, String)> {
    vec![("--max-channels", (count(size) / 2).to_string())]
}

fn judge(moved: &crate::adversary::finding::Moved) -> Vec<String> {
    let refused = moved.must("channels_refused_total", "");
    refused.into_iter().chain(moved.must_answer(503)).collect()
}

pub(super) const SUBSCRIBED: Attack = Attack {
    name: "names-subscribed",
    about: "100,000 names, 64 in each of many long polls, where half as many channels are allowed",
    connections: |size| count(size).div_ceil(NAMES),
    script: |_, number, _| {
        let names = (0..NAMES).map(|place| format!("made-up-{}", number * NAMES + place));
        Script::new(get(&format!(
            "/long-poll/{}",
            Vec::from_iter(names).join(",")
        )))
    },
    options: allowed,
    keeps: Keeps::Channels,
    judge: |_, _, moved| judge(moved),
    ..Attack::PLAIN
};

/// Connections over which publishes are spread.
const PUBLISHERS: u32 = 10;

/// A connection's publishes, a name each.
fn publishes(names: impl Iterator<Item = String>) -> Script {
    let mut requests = Vec::new();
    for name in names {
        requests.extend_from_slice(&publish(&name, b"x"));
    }
    Script::new(requests)
}

pub(super) const PUBLISHED: Attack = Attack {
    name: "names-published",
    about: "100,000 names published to, where half as many channels are allowed",
    connections: |_| PUBLISHERS,
    script: |size, number, _| {
        let share = count(size) / PUBLISHERS;
        publishes((0..share).map(|place| format!("made-up-{}", number * share + place)))
    },
    options: allowed,
    keeps: Keeps::Channels,
    judge: |_, _, moved| judge(moved),
    ..Attack::PLAIN
};

/// Names that hashes without a key put together.
///
/// Two thirds are equal under every hash that multiplies by 31 or by 33 and adds. The rest share
/// the bits that choose a table, and four of those that choose a place in it, under SipHash-1-3
/// with the key 0, which a table has if its key was forgotten.
fn colliding(number: u32, count: u32) -> Vec<String> {
    match number % 3 {
        0 => (0..count)
            .map(|bits| doubled(number * count + bits, ["Aa", "BB"]))
            .collect(),
        1 => (0..count)
            .map(|bits| doubled(number * count + bits, ["Ez", "FY"]))
            .collect(),
        _ => {
            let names = (0..).map(|guess| format!("c{number}-{guess}"));
            let is_together = |name: &String| {
                let mut hasher = DefaultHasher::new();
                hasher.write(name.as_bytes());
                let hash = hasher.finish();
                (hash >> 32).is_multiple_of(256) && hash.is_multiple_of(16)
            };
            names.filter(is_together).take(count as usize).collect()
        }
    }
}

/// A name for each number, all of the same polynomial hash.
fn doubled(bits: u32, pair: [&str; 2]) -> String {
    let mut name = String::new();
    for place in 0..20 {
        // Writing to a string does not fail.
        let _ = name.write_str(pair[(bits >> place & 1) as usize]);
    }
    name
}

/// Names that each connection publishes to: 1,000 in a full trial.
fn few(size: &Size) -> u32 {
    count(size) / 100
}

pub(super) const ORDINARY: Attack = Attack {
    name: "names-ordinary",
    about: "as many names as in the next, that do not collide: what that is to be compared with",
    connections: |_| PUBLISHERS,
    script: |size, number, _| {
        // As long as those that collide.
        publishes((0..few(size)).map(|place| format!("{number:>020}{place:>020}")))
    },
    keeps: Keeps::Channels,
    judge: |size, tally, _| {
        let (wanted, right) = (u64::from(few(size) * PUBLISHERS), tally.status(200));
        Vec::from_iter((right != wanted).then(|| format!("{right} of {wanted} were accepted")))
    },
    ..Attack::PLAIN
};

pub(super) const COLLIDING: Attack = Attack {
    name: "names-colliding",
    about: "names that collide under hashes without a key",
    script: |size, number, _| publishes(colliding(number, few(size)).into_iter()),
    ..ORDINARY
};

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn polynomial(name: &str, factor: u64) -> u64 {
        name.bytes()
            .fold(0, |hash, byte| hash * factor % (1 << 32) + u64::from(byte))
            % (1 << 32)
    }

    #[test]
    fn they_collide_and_differ() {
        for (number, factor) in [(0, 31), (1, 33)] {
            let names = colliding(number, 100);
            let hashes: HashSet<_> = names.iter().map(|name| polynomial(name, factor)).collect();
            assert_eq!(
                (names.iter().collect::<HashSet<_>>().len(), hashes.len()),
                (100, 1)
            );
        }
        assert_eq!(colliding(2, 3).len(), 3);
    }
}
