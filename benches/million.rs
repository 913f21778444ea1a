//! A million long polls parked in the engine alone: their memory, and the cost of keeping them.
//!
//! No criterion: it prints its figures once, times of the processor. They hold for the engine; a
//! socket's memory in the kernel comes on top. Without `--bench` (as under `cargo test --benches`)
//! it does the same with ten thousand, as a check that it works.

#[allow(dead_code, reason = "each bench uses a part of it")]
mod support;

use std::fs;
use std::time::Duration;

use encke_core::engine::ConnId;
use support::{CHANNEL, ProcessorTime, World, get, text};

/// The default hold of a long poll, in which each client comes back once.
const HOLD_MS: u64 = 30_000;

/// How often the reactor looks at what is due.
const TICK_MS: u64 = 16;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut names = arguments
        .iter()
        .filter(|argument| !argument.starts_with('-'));
    if names.clone().count() > 0 && !names.any(|name| "million".contains(name.as_str())) {
        return;
    }
    if arguments.iter().any(|argument| argument == "--list") {
        return println!("million: benchmark");
    }
    let connections = match arguments.iter().any(|argument| argument == "--bench") {
        true => 1_000_000,
        false => 10_000,
    };
    let (mut world, ids) = park(connections, "one channel", |_| CHANNEL.to_owned());
    keep(&mut world, &ids);
    broadcast(&mut world, &ids);
    drop(world);
    // Channels of their own come last: the allocator keeps what their names leave behind.
    streams(connections);
    park(connections, "a channel each", |index| {
        format!("private-{index}")
    });
}

/// Parks so many, evenly over the length of a hold, and says what memory each takes.
fn park(connections: usize, what: &str, channel: impl Fn(usize) -> String) -> (World, Vec<ConnId>) {
    let mut world = World::new(connections);
    let mut ids = Vec::with_capacity(connections);
    // The ids are the bench's: their pages are taken before memory is first looked at.
    ids.resize(
        connections,
        ConnId {
            index: 0,
            generation: 1,
        },
    );
    let before = resident_bytes();
    let mut spent = Duration::ZERO;
    for (index, id) in ids.iter_mut().enumerate() {
        // No hold ends before all clients are parked: each lasts for 27 seconds at least.
        if (index as u64 * 20_000 / connections as u64)
            != ((index as u64 + 1) * 20_000 / connections as u64)
        {
            world.pass(1);
        }
        let request = get(&format!("/long-poll/{}", channel(index)));
        let start = now();
        *id = world.connect(&request);
        spent += now() - start;
    }
    let bytes = resident_bytes().saturating_sub(before);
    println!(
        "million/park, {what}: {connections} parked, {} bytes each, {} each to park",
        bytes / connections,
        each(spent, connections as u64),
    );
    (world, ids)
}

/// Lets two holds pass: each client asks again at once when its poll is answered.
fn keep(world: &mut World, ids: &[ConnId]) {
    let request = get(&format!("/long-poll/{CHANNEL}?since=now"));
    world.sink.answered = Some(Vec::new());
    let (mut answers, mut longest, mut busy) = (0, Duration::ZERO, Duration::ZERO);
    let ticks = 2 * HOLD_MS / TICK_MS;
    for _ in 0..ticks {
        let start = now();
        world.pass(TICK_MS);
        world.expire();
        let answered = world.sink.answered.take().unwrap_or_default();
        answers += answered.len() as u64;
        for &index in &answered {
            world.ask(ids[index as usize], &request);
        }
        world.sink.answered = Some(Vec::new());
        let spent = now() - start;
        longest = longest.max(spent);
        busy += spent;
    }
    world.sink.answered = None;
    let seconds = ticks * TICK_MS / 1_000;
    println!(
        "million/keep: {} holds expire and are parked anew a second: {:.2} % of a core, {} each, \
         the longest tick {longest:.1?}",
        answers / seconds,
        100.0 * busy.as_secs_f64() / seconds as f64,
        each(busy, answers),
    );
}

/// One message is delivered to all clients, and all of them ask again.
fn broadcast(world: &mut World, ids: &[ConnId]) {
    let writes = world.sink.writes;
    let start = now();
    world.publish(CHANNEL, text(100));
    let published = now() - start;
    world.deliver();
    let delivered = (now() - start) - published;
    let request = world.next_request("long-poll");
    let start = now();
    ids.iter().for_each(|&id| world.ask(id, &request));
    let parked = now() - start;
    let deliveries = world.sink.writes - writes;
    println!(
        "million/broadcast: {published:.1?} to publish, {deliveries} delivered in {delivered:.1?}, \
         {} each, {} each to park anew",
        each(delivered, deliveries),
        each(parked, deliveries),
    );
}

/// The same for streams, which stay.
fn streams(connections: usize) {
    let before = resident_bytes();
    let (mut world, _ids) = World::with_parked(connections, &get("/sse/news"));
    let bytes = resident_bytes().saturating_sub(before);
    let start = now();
    world.publish(CHANNEL, text(100));
    world.deliver();
    let delivered = now() - start;
    println!(
        "million/streams: {connections} parked, {} bytes each (ids of the bench included), \
         a broadcast takes {delivered:.1?}, {} each",
        bytes / connections,
        each(delivered, connections as u64),
    );
}

fn now() -> Duration {
    ProcessorTime::OfThread.now()
}

fn each(spent: Duration, count: u64) -> String {
    format!("{:.0} ns", spent.as_nanos() as f64 / count.max(1) as f64)
}

/// The memory that this process holds now.
fn resident_bytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("a Linux system");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<usize>().ok());
    kilobytes.expect("the kernel says") << 10
}
