//! Policies of channels, in the engine alone: a million channels that get other policies while the
//! server serves, and a slow reader of a channel that keeps only its newest message.
//!
//! No criterion: it prints its figures once, times of the processor. Without `--bench` (as under
//! `cargo test --benches`) it does the same with ten thousand channels and for a second, as a check
//! that it works.

#[allow(dead_code, reason = "each bench uses a part of it")]
mod support;

use std::io::IoSlice;
use std::time::Duration;

use encke::{Config, Data};
use encke_core::base::time::Time;
use encke_core::config::Policy;
use encke_core::engine::{Access, Engine, Sent, Wire};
use encke_core::message::Draft;
use support::{CHANNEL, ProcessorTime, World, get, name, text};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut names = arguments
        .iter()
        .filter(|argument| !argument.starts_with('-'));
    if names.clone().count() > 0 && !names.any(|name| "policies".contains(name.as_str())) {
        return;
    }
    if arguments.iter().any(|argument| argument == "--list") {
        return println!("policies: benchmark");
    }
    let (channels, seconds) = match arguments.iter().any(|argument| argument == "--bench") {
        true => (1_000_000, 60),
        false => (10_000, 1),
    };
    latest(seconds);
    reloads(channels);
}

/// A socket that takes a few bytes at a time, as one does whose client reads slowly.
#[derive(Default)]
struct SlowSocket {
    room: usize,
    /// The newest message that was published.
    newest: u64,
    /// The bytes of the last write that the socket has not taken yet.
    rest: usize,
    /// Writes that began with the newest message, and those that began with an older one.
    new_writes: u64,
    old_writes: u64,
    gaps: u64,
}

impl Wire for SlowSocket {
    fn send(&mut self, _: u32, slices: &[IoSlice<'_>]) -> Sent {
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
        let text = String::from_utf8_lossy(&bytes);
        self.gaps += u64::from(text.contains("\"gap\""));
        if self.rest == 0 && text.contains("\"data\"") {
            let is_newest = text.contains(&format!("\"data\":\"{}\"", self.newest));
            self.new_writes += u64::from(is_newest);
            self.old_writes += u64::from(!is_newest);
        }
        let taken = bytes.len().min(self.room);
        self.room -= taken;
        self.rest = bytes.len() - taken;
        match self.rest {
            0 => Sent::All,
            _ => Sent::Some(taken),
        }
    }

    fn shutdown(&mut self, _: u32) {}

    fn has_unread(&mut self, _: u32) -> bool {
        false
    }
}

/// Ten thousand messages a second to a reader whose socket takes some ten of them.
fn latest(seconds: u64) {
    let config = Config {
        policies: vec![Policy {
            latest: true,
            ..policy(CHANNEL)
        }],
        ..World::config()
    };
    let mut engine = Engine::new(&config, 1, 1);
    let mut socket = SlowSocket {
        room: 10_000,
        ..SlowSocket::default()
    };
    let id = engine.accept(Access::Trusted).expect("room for one");
    let request = get(&format!("/ndjson/{CHANNEL}"));
    engine.input(id, &request, &mut socket);
    socket.room = 0;
    let (mut most_bytes, start) = (0, now());
    for ms in 1..=seconds * 1_000 {
        engine.set_now(Time(ms), 0);
        for _ in 0..10 {
            socket.newest += 1;
            let data = Data::Text(socket.newest.to_string().into());
            let published = engine.submit(Draft::new(name(CHANNEL), data));
            assert!(published.is_ok(), "there is room for one message");
            let hub = engine.hub();
            most_bytes = most_bytes.max(hub.meter().used() + hub.frame_meter().used());
            engine.deliver(256, &mut socket);
        }
        if ms % 100 == 0 {
            // A little more than a message takes.
            socket.room = 100;
            engine.writable(id, &mut socket);
            engine.deliver(256, &mut socket);
        }
        engine.serve_deadlines(256, &mut socket);
    }
    let SlowSocket {
        newest,
        new_writes,
        old_writes,
        gaps,
        ..
    } = socket;
    println!(
        "policies/latest: {newest} messages in {seconds} s, {new_writes} writes of the newest and \
         {old_writes} of another, {gaps} gaps, at most {most_bytes} bytes of messages and frames; \
         {} each",
        each(now() - start, newest),
    );
}

/// As many channels, each with a message, and one more with many, are given other policies.
fn reloads(channels: usize) {
    let mut world = World::new(1);
    for index in 0..channels {
        world.publish(&format!("user/{index}/state"), text(10));
    }
    let mut config = World::config();
    config.history.max_messages = channels;
    config.history.max_bytes = 1 << 30;
    // Those that match no name come first: each name is compared with all of them.
    let mut reload = |what: &str, others: usize, change: fn(&mut Policy)| {
        let other = |index: usize| policy(&format!("user/*/other-{index}"));
        config.policies = (0..others).map(other).collect();
        let mut last = policy("user/**");
        change(&mut last);
        config.policies.push(last);
        measure_reload(&mut world, &config, what);
    };
    reload("10 policies", 9, |_| ());
    reload("255 policies", 254, |_| ());
    reload("an age each", 9, |policy| {
        policy.history_age = Some(Duration::from_secs(3_600));
    });
    reload("no message is kept", 9, |policy| {
        policy.history_messages = Some(0)
    });

    for _ in 0..channels {
        world.publish("many", text(10));
    }
    config.policies = vec![Policy {
        history_messages: Some(1),
        ..policy("many")
    }];
    measure_reload(&mut world, &config, "one channel keeps one message of all");
    (0..channels / 2).for_each(|index| world.publish(&format!("user/{index}/state"), text(10)));
    config.policies.clear();
    config.history.max_total_bytes = 2 << 20;
    measure_reload(&mut world, &config, "less memory for all");
}

fn policy(pattern: &str) -> Policy {
    Policy::of(pattern.parse().expect("a pattern"))
}

/// Gives a world another configuration, and serves until all is as that says.
fn measure_reload(world: &mut World, config: &Config, what: &str) {
    let start = now();
    world.engine.reconfigure(config);
    let mut spent = now() - start;
    let (mut ticks, mut longest) = (1_u64, spent);
    let is_due = |world: &World| {
        let due = world.engine.next_due();
        world.engine.has_work() || due.is_some_and(|due| due <= world.now())
    };
    while is_due(world) {
        let start = now();
        world.engine.serve_deadlines(256, &mut world.sink);
        let tick = now() - start;
        (ticks, longest, spent) = (ticks + 1, longest.max(tick), spent + tick);
    }
    let (channels, messages) = {
        let hub = world.engine.hub();
        (hub.channel_count(), hub.message_count())
    };
    println!(
        "policies/reload, {what}: {spent:.1?} in {ticks} ticks, the longest {longest:.1?}; \
         {channels} channels, {messages} messages left"
    );
}

fn now() -> Duration {
    ProcessorTime::OfThread.now()
}

fn each(spent: Duration, count: u64) -> String {
    format!("{:.0} ns", spent.as_nanos() as f64 / count.max(1) as f64)
}
