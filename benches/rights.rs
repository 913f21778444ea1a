//! Rights of many parked connections: a subject's connections are ended, tokens expire together,
//! and a reload changes what holds for a million channels.
//!
//! No criterion: it prints its figures once, times of the processor. Without `--bench` (as under
//! `cargo test --benches`) it does the same with fewer, as a check that it works.

#[allow(dead_code, reason = "each bench uses a part of it")]
mod support;

use std::time::Duration;

use encke_core::config::{Config, History, Policy};
use encke_core::engine::{Access, State};
use encke_core::tokens::{Key, Rules, Signer, SystemRandom};
use support::{ProcessorTime, World, text};

/// How often the reactor looks at what is due.
const TICK_MS: u64 = 16;

/// The budget of deadlines in a tick of the reactor.
const BUDGET: usize = 256;

const SECRET: &[u8] = b"a secret of more than 32 bytes, and of no use elsewhere";

/// The wall clock at the beginning, in seconds.
const START_S: u64 = 1_800_000_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut names = arguments
        .iter()
        .filter(|argument| !argument.starts_with('-'));
    if names.clone().count() > 0 && !names.any(|name| "rights".contains(name.as_str())) {
        return;
    }
    if arguments.iter().any(|argument| argument == "--list") {
        return println!("rights: benchmark");
    }
    let is_whole = arguments.iter().any(|argument| argument == "--bench");
    let (connections, channels) = match is_whole {
        true => (10_000, 1_000_000),
        false => (500, 5_000),
    };
    kick(connections);
    expiry(connections);
    reload(channels);
}

fn now() -> Duration {
    ProcessorTime::OfThread.now()
}

fn config(connections: usize) -> Config {
    let (keys, _) = Key::parse(SECRET).expect("a secret");
    Config {
        stream_max_bytes: u32::MAX,
        max_channels: connections.max(10_000),
        history: History {
            max_total_bytes: 4 << 30,
            ..History::default()
        },
        tokens: Rules {
            keys,
            ..Rules::default()
        },
        ..Config::default()
    }
}

/// A stream with a token of this subject that expires after so many seconds.
fn stream(signer: &Signer, subject: &str, seconds: u64) -> Vec<u8> {
    let exp = START_S + seconds;
    let claims = format!(r#"{{"sub":"{subject}","exp":{exp},"encke":{{"subscribe":["**"]}}}}"#);
    let token = signer.sign(&claims, None).expect("claims");
    format!("GET /sse/news HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\r\n")
        .into_bytes()
}

/// A tick of the reactor after so long. Returns its time.
fn tick(world: &mut World, ms: u64) -> Duration {
    world.pass(ms);
    let start = now();
    world.engine.serve_deadlines(BUDGET, &mut world.sink);
    while world.engine.next_close().is_some() {}
    now() - start
}

/// One subject in ten is ended: from the request to its answer, and to the last end.
fn kick(connections: usize) {
    let mut world = World::of(&config(connections), connections + 1);
    let signer = Signer::parse(SECRET, SystemRandom::new()).expect("a secret");
    let requests: Vec<Vec<u8>> = (0..10)
        .map(|number| stream(&signer, &format!("user-{number}"), 3_600))
        .collect();
    let ids: Vec<_> = (0..connections)
        .map(|number| {
            let id = world.engine.accept(Access::Public).expect("there is room");
            world.ask(id, &requests[number % 10]);
            id
        })
        .collect();
    let request = b"DELETE /connections?sub=user-7 HTTP/1.1\r\nHost: h\r\n\r\n";
    let writes = world.sink.writes;
    let start = now();
    let operator = world.connect(request);
    while world.sink.writes == writes {
        world.engine.continue_deferred(&mut world.sink);
    }
    let answered = now() - start;
    let parked = |world: &World| {
        let states = ids.iter().map(|&id| world.engine.state(id));
        states
            .filter(|state| *state == Some(State::Streaming))
            .count()
    };
    let (mut ended, mut ticks) = (Duration::ZERO, 0);
    while parked(&world) > connections - connections / 10 {
        ended += tick(&mut world, TICK_MS);
        ticks += 1;
    }
    println!(
        "rights/kick: {} of {connections} streams: the answer after {answered:.1?}, the last end \
         after {ticks} ticks, {ended:.1?} of work",
        connections / 10,
    );
    world.leave(operator);
}

/// The time over which streams end whose tokens expire at one moment.
fn expiry(connections: usize) {
    const SECONDS: u64 = 300;
    let mut world = World::of(&config(connections), connections);
    let signer = Signer::parse(SECRET, SystemRandom::new()).expect("a secret");
    let request = stream(&signer, "user", SECONDS);
    let ids: Vec<_> = (0..connections)
        .map(|_| {
            let id = world.engine.accept(Access::Public).expect("there is room");
            world.ask(id, &request);
            id
        })
        .collect();
    let (mut first, mut last, mut most, mut longest) = (None, 0, 0, Duration::ZERO);
    let mut left = connections;
    for number in 0..(SECONDS * 1_000).div_ceil(TICK_MS) {
        longest = longest.max(tick(&mut world, TICK_MS));
        let is_parked = |id: &&_| world.engine.state(**id) == Some(State::Streaming);
        // Nothing ends in the first nine tenths.
        if number * TICK_MS < SECONDS * 890 {
            continue;
        }
        let still = ids.iter().filter(is_parked).count();
        if still < left {
            first.get_or_insert(number);
            (last, most, left) = (number, most.max(left - still), still);
        }
    }
    let at = |number: u64| number as f64 * TICK_MS as f64 / 1_000.0;
    println!(
        "rights/expiry: {connections} streams with one exp after {SECONDS} s end from {:.1} s to \
         {:.1} s, at most {most} a tick; {left} are left; the longest tick {longest:.1?}",
        at(first.unwrap_or(0)),
        at(last),
    );
}

/// A reload with another policy, for so many channels with a message each.
fn reload(channels: usize) {
    let mut config = config(channels);
    let mut world = World::of(&config, 16);
    for number in 0..channels {
        world.publish(&format!("private/{number}"), text(20));
    }
    config.policies = (0..16)
        .map(|number| {
            let pattern = format!("private/{number}/**");
            Policy::of(pattern.parse().expect("a pattern"))
        })
        .collect();
    config.policies.push(Policy {
        history_messages: Some(7),
        ..Policy::of("private/*".parse().expect("a pattern"))
    });
    let start = now();
    world.engine.reconfigure(&config);
    let taken = now() - start;
    let (mut longest, mut ticks, mut all) = (taken, 0, taken);
    while world.engine.has_work() {
        let spent = tick(&mut world, 0);
        (longest, all, ticks) = (longest.max(spent), all + spent, ticks + 1);
    }
    println!(
        "rights/reload: {channels} channels under {} policies in {ticks} ticks, {all:.1?} in all; \
         the longest tick {longest:.1?}",
        config.policies.len(),
    );
}
