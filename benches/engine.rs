//! The whole server but its sockets: requests in, bytes out to a sink that takes everything.
//! Times are for one delivery, request or connection, as the group's comment says.

#[allow(dead_code, reason = "each bench uses a part of it")]
mod support;

use criterion::{BenchmarkId, Throughput};
use support::{Bencher, CHANNEL, World, get, text};

fn main() {
    support::run(|criterion| {
        deliver(criterion);
        long_poll_cycle(criterion);
        burst(criterion);
        spread(criterion);
        many_channels(criterion);
        poll(criterion);
        resume(criterion);
        publish(criterion);
        churn(criterion);
    });
}

/// A message of 100 bytes goes to a thousand streams, and to many: time for each.
fn deliver(criterion: &mut Bencher) {
    let mut group = criterion.benchmark_group("engine/deliver");
    for (transport, target) in [
        ("sse", "/sse/news"),
        ("sse envelope", "/sse/news?envelope=1"),
        ("ndjson", "/ndjson/news"),
        ("frame", "/frame/news"),
    ] {
        for streams in [1_000, 100_000] {
            if streams > 1_000 && transport != "sse" {
                continue;
            }
            group.throughput(Throughput::Elements(streams as u64));
            group.bench_function(BenchmarkId::new(transport, streams), |bencher| {
                let (mut world, _) = World::with_parked(streams, &get(target));
                bencher.iter(|| {
                    world.publish(CHANNEL, text(100));
                    world.deliver();
                });
            });
        }
    }
}

/// A message goes to so many long polls, and each of them asks again and is parked.
fn long_poll_cycle(criterion: &mut Bencher) {
    let mut group = criterion.benchmark_group("engine/long-poll cycle");
    for (name, suffix) in [
        ("plain", ""),
        ("early", "&early=1"),
        ("linger", "&linger=1"),
    ] {
        for polls in [1_000, 100_000] {
            if polls > 1_000 && name != "plain" {
                continue;
            }
            group.throughput(Throughput::Elements(polls as u64));
            group.bench_function(BenchmarkId::new(name, polls), |bencher| {
                let target = format!("/long-poll/{CHANNEL}?since=now{suffix}");
                let (mut world, ids) = World::with_parked(polls, &get(&target));
                let request = get(&target);
                bencher.iter(|| {
                    world.publish(CHANNEL, text(100));
                    world.deliver();
                    if name == "linger" {
                        world.pass(32);
                        world.expire();
                    }
                    ids.iter().for_each(|&id| world.ask(id, &request));
                });
            });
        }
    }
}

/// Eight messages come at once to a thousand streams, which get them in one write: time for each
/// message and stream.
fn burst(criterion: &mut Bencher) {
    const STREAMS: usize = 1_000;
    const MESSAGES: usize = 8;
    let mut group = criterion.benchmark_group("engine/burst of 8");
    group.throughput(Throughput::Elements((STREAMS * MESSAGES) as u64));
    group.bench_function("sse", |bencher| {
        let (mut world, _) = World::with_parked(STREAMS, &get("/sse/news"));
        bencher.iter(|| {
            (0..MESSAGES).for_each(|_| world.publish(CHANNEL, text(100)));
            world.deliver();
        });
    });
}

/// Ten thousand streams over a thousand channels, a message to each channel: time for each stream.
fn spread(criterion: &mut Bencher) {
    const STREAMS: usize = 10_000;
    const CHANNELS: usize = 1_000;
    let mut group = criterion.benchmark_group("engine/spread over 1,000");
    group.throughput(Throughput::Elements(STREAMS as u64));
    group.bench_function("sse", |bencher| {
        let mut world = World::new(STREAMS);
        let names: Vec<String> = (0..CHANNELS).map(|name| name.to_string()).collect();
        for index in 0..STREAMS {
            world.connect(&get(&format!("/sse/{}", names[index % CHANNELS])));
        }
        bencher.iter(|| {
            names.iter().for_each(|name| world.publish(name, text(100)));
            world.deliver();
        });
    });
}

/// A hundred streams follow several channels, a message comes to one of them: time for each.
fn many_channels(criterion: &mut Bencher) {
    const STREAMS: usize = 100;
    let mut group = criterion.benchmark_group("engine/many channels");
    group.throughput(Throughput::Elements(STREAMS as u64));
    for count in [1, 8, 64] {
        let names: Vec<String> = (0..count).map(|name| name.to_string()).collect();
        group.bench_function(
            BenchmarkId::new("deliver to a stream of", count),
            |bencher| {
                let request = get(&format!("/sse/{}", names.join(",")));
                let (mut world, _) = World::with_parked(STREAMS, &request);
                bencher.iter(|| {
                    world.publish(&names[count / 2], text(100));
                    world.deliver();
                });
            },
        );
        group.bench_function(BenchmarkId::new("long-poll cycle of", count), |bencher| {
            let request = get(&format!("/long-poll/{}", names.join(",")));
            let (mut world, ids) = World::with_parked(STREAMS, &request);
            bencher.iter(|| {
                world.publish(&names[count / 2], text(100));
                world.deliver();
                ids.iter().for_each(|&id| world.ask(id, &request));
            });
        });
    }
}

/// A poll that finds nothing new, and one that finds a message, by a program and by a browser.
fn poll(criterion: &mut Bencher) {
    let mut group = criterion.benchmark_group("engine/poll");
    let mut world = World::new(1);
    world.publish(CHANNEL, text(100));
    let idle = world.next_request("poll");
    let id = world.connect(&idle);
    let some = get("/poll/news");
    let browser = support::browser_get("/poll/news");
    for (name, request) in [("idle", idle), ("a message", some), ("a browser", browser)] {
        group.bench_function(name, |bencher| bencher.iter(|| world.ask(id, &request)));
    }
}

/// A client comes back with a cursor of ten or a thousand messages ago: time for a message.
fn resume(criterion: &mut Bencher) {
    let mut group = criterion.benchmark_group("engine/resume");
    for missed in [10, 1_000] {
        let mut world = World::new(1);
        let request = world.next_request("long-poll");
        let id = world.connect(&get("/healthz"));
        (0..missed).for_each(|_| world.publish(CHANNEL, text(100)));
        group.throughput(Throughput::Elements(missed));
        group.bench_function(BenchmarkId::new("missed", missed), |bencher| {
            bencher.iter(|| world.ask(id, &request));
        });
    }
}

/// A message is published over HTTP to a channel without readers; also 16 in one packet.
fn publish(criterion: &mut Bencher) {
    let mut group = criterion.benchmark_group("engine/publish");
    let body = "x".repeat(100);
    for (kind, body) in [
        ("text/plain", body.clone()),
        ("application/json", format!("\"{body}\"")),
    ] {
        let request = format!(
            "POST /publish/{CHANNEL} HTTP/1.1\r\nHost: localhost:7711\r\nContent-Type: {kind}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        for depth in [1, 16] {
            let requests = request.repeat(depth).into_bytes();
            let mut world = World::new(1);
            let id = world.connect(&requests);
            group.throughput(Throughput::Elements(depth as u64));
            group.bench_function(BenchmarkId::new(kind, depth), |bencher| {
                bencher.iter(|| world.ask(id, &requests));
            });
        }
    }
}

/// A client connects, subscribes, gets one message and leaves, beside a thousand that stay.
fn churn(criterion: &mut Bencher) {
    let mut group = criterion.benchmark_group("engine/churn");
    for (name, target) in [("sse", "/sse/other"), ("long-poll", "/long-poll/other")] {
        let request = get(target);
        let mut world = World::new(1_001);
        for _ in 0..1_000 {
            world.connect(&get("/sse/news"));
        }
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let id = world.connect(&request);
                world.publish("other", text(100));
                world.deliver();
                world.leave(id);
            });
        });
    }
}
