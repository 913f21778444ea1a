//! A million channels that get other policies while the server serves: how long it takes, and the
//! longest tick.
//!
//! No criterion: it prints its figures once, times of the processor, of the engine alone. Without
//! `--bench` (as under `cargo test --benches`) it does the same with ten thousand, as a check that it
//! works.

#[allow(dead_code, reason = "each bench uses a part of it")]
mod support;

use std::time::Duration;

use encke::Config;
use encke_core::config::Policy;
use support::{ProcessorTime, World, text};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut names = arguments
        .iter()
        .filter(|argument| !argument.starts_with('-'));
    if names.clone().count() > 0 && !names.any(|name| "reload".contains(name.as_str())) {
        return;
    }
    if arguments.iter().any(|argument| argument == "--list") {
        return println!("reload: benchmark");
    }
    reloads(
        match arguments.iter().any(|argument| argument == "--bench") {
            true => 1_000_000,
            false => 10_000,
        },
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
        world.engine.expire(256, &mut world.sink);
        let tick = now() - start;
        (ticks, longest, spent) = (ticks + 1, longest.max(tick), spent + tick);
    }
    let (channels, messages) = {
        let hub = world.engine.hub();
        (hub.channel_count(), hub.message_count())
    };
    println!(
        "reload, {what}: {spent:.1?} in {ticks} ticks, the longest {longest:.1?}; \
         {channels} channels, {messages} messages left"
    );
}

fn now() -> Duration {
    ProcessorTime::OfThread.now()
}
