//! Publishing over HTTP: how many a second, what one costs Redis and a node that only follows, and
//! how long it is until a reader on another node has it.

use std::time::{Duration, Instant};

use super::Plan;
use super::figure::{Bound, Compared, Figure};
use super::load::Load;
use super::node::{reactor_ns, request, start_ready};
use super::redis::Redis;
use super::rival::Rival;
use crate::measure;
use crate::server::Server;

/// Channels over which messages are spread.
const CHANNELS: u32 = 1_000;

/// Kept connections of publishers.
const CONNECTIONS: u32 = 64;

/// Messages a second at which Redis is measured, how many come at a time, and how that is called.
/// The first is what there is a mark for.
const PACES: [(f64, u64, &str); 3] = [
    (10_000.0, 1, "10,000/s one by one"),
    (10_000.0, 10, "10,000/s ten at a time"),
    (30_000.0, 1, "30,000/s one by one"),
];

/// Messages a second at which delays are measured.
const DELAY_RATE: f64 = 1_000.0;

/// Lines of a batch.
const BATCH: usize = 100;

/// As many as there can be.
pub(super) fn at_once(plan: &Plan) -> Result<Vec<Figure>, String> {
    let mut redis = Redis::start(None)?;
    let alone = start_ready("alone", None, None, &[])?;
    let node = start_ready("a", Some(&redis), None, &[])?;
    let mut figures = Vec::new();
    for connections in [CONNECTIONS, 1] {
        let name = format!("publishes a second, {connections} kept connections");
        let mut rate = Figure::new(&name, "1/s", Compared::Ratio);
        if connections == CONNECTIONS {
            rate = rate.with_mark(Bound::AtLeast(0.8));
        }
        let mut cpu = Figure::new("  processor time of the node each", "µs", Compared::Ratio);
        let mut of_redis = Figure::new("  of Redis each", "µs", Compared::Itself);
        let mut groups = Vec::new();
        let mut loads = [Load::new()?, Load::new()?];
        loads[0].publishers(alone.address, connections)?;
        loads[1].publishers(node.address, connections)?;
        let length = Duration::from_secs_f64(plan.seconds);
        for load in &mut loads {
            load.publish_at_once(CHANNELS, length / 4)?;
        }
        for round in 0..plan.repeats {
            for place in order(round) {
                let server = [&alone, &node][place];
                let entries = redis.calls("xadd")?;
                let (busy, redis_busy) = (cpu_ns(server), redis.cpu_ns());
                let begun = loads[place].answered();
                let value = loads[place].publish_at_once(CHANNELS, length)?;
                let count = (loads[place].answered() - begun) as f64;
                let each = (cpu_ns(server) - busy) as f64 / count / 1e3;
                let redis_each = (redis.cpu_ns() - redis_busy) as f64 / count / 1e3;
                if place == 0 {
                    rate.beside.push(value);
                    cpu.beside.push(each);
                } else {
                    rate.nodes.push(value);
                    cpu.nodes.push(each);
                    of_redis.nodes.push(redis_each);
                    groups.push(count / (redis.calls("xadd")? - entries).max(1) as f64);
                }
            }
        }
        of_redis.note = messages_an_entry(groups);
        figures.extend([rate, cpu, of_redis]);
    }
    Ok(figures)
}

/// At set rates, on one node of two.
pub(super) fn paced(plan: &Plan) -> Result<Vec<Figure>, String> {
    let mut redis = Redis::start(None)?;
    let alone = start_ready("alone", None, None, &[])?;
    let a = start_ready("a", Some(&redis), None, &[])?;
    let b = start_ready("b", Some(&redis), None, &[])?;
    let mut figures = delays(plan, &alone, &a, &b)?;
    figures.extend(costs(plan, &mut redis, &a, &b)?);
    Ok(figures)
}

fn delays(plan: &Plan, alone: &Server, a: &Server, b: &Server) -> Result<Vec<Figure>, String> {
    let name = "delay of a publish to SSE on the other node, 1,000/s";
    let figure = |part: &str, most| {
        let name = format!("{name}, {part}");
        Figure::new(&name, "ms", Compared::More).with_mark(Bound::AtMost(most))
    };
    let mut p50 = figure("p50", 0.4);
    let mut p99 = figure("p99", 2.0);
    let mut loads = [Load::new()?, Load::new()?];
    for (load, [to, at]) in loads.iter_mut().zip([[alone, alone], [a, b]]) {
        load.publishers(to.address, 1)?;
        load.subscribe(at.address, 1, 1, None)?;
        load.publish_paced(DELAY_RATE, 1, 1, Duration::from_millis(200))?;
    }
    let length = Duration::from_secs_f64(plan.seconds);
    for round in 0..plan.repeats {
        for place in order(round) {
            let load = &mut loads[place];
            load.reset();
            let count = load.publish_paced(DELAY_RATE, 1, 1, length)?;
            load.until_received(count)?;
            let ms = |part| load.delays().value_at_quantile(part) as f64 / 1e6;
            for (figure, part) in [(&mut p50, 0.5), (&mut p99, 0.99)] {
                let values = match place {
                    0 => &mut figure.beside,
                    _ => &mut figure.nodes,
                };
                values.push(ms(part));
            }
        }
    }
    Ok(vec![p50, p99])
}

/// What a message costs Redis, and the reactor of a node without readers.
fn costs(plan: &Plan, redis: &mut Redis, a: &Server, b: &Server) -> Result<Vec<Figure>, String> {
    let length = Duration::from_secs_f64(plan.seconds);
    let mut load = Load::new()?;
    load.publishers(a.address, CONNECTIONS)?;
    load.publish_paced(PACES[0].0, 1, CHANNELS, length / 4)?;
    let mut rival = match &plan.script {
        Some(path) => Some(Rival::new(redis, path)?),
        None => None,
    };
    let mut figures = Vec::new();
    for (place, (rate, burst, how)) in PACES.into_iter().enumerate() {
        let name = format!("Redis a message, {how}, two nodes");
        let mut of_redis = Figure::new(&name, "µs", Compared::Itself);
        of_redis.beside_of = "Centrifugo's script, nobody subscribed".into();
        if place == 0 {
            of_redis = of_redis.with_mark(Bound::AtMost(3.0));
        }
        let mut applying = Figure::new(
            "  reactor of the other node, where nobody reads",
            "µs",
            Compared::Itself,
        );
        let mut wire = Figure::new("  bytes to and from Redis", "B", Compared::Itself);
        let mut groups = Vec::new();
        for _ in 0..plan.repeats {
            let (entries, bytes) = (redis.calls("xadd")?, redis.network_bytes()?);
            let (busy, reactor) = (redis.cpu_ns(), reactor_ns(b));
            let count = load.publish_paced(rate, burst, CHANNELS, length)? as f64;
            of_redis
                .nodes
                .push((redis.cpu_ns() - busy) as f64 / count / 1e3);
            applying
                .nodes
                .push((reactor_ns(b) - reactor) as f64 / count / 1e3);
            wire.nodes
                .push((redis.network_bytes()? - bytes) as f64 / count);
            groups.push(count / (redis.calls("xadd")? - entries).max(1) as f64);
            if let Some(rival) = &mut rival {
                let busy = redis.cpu_ns();
                let count = rival.paced(redis, rate, burst, length)? as f64;
                of_redis
                    .beside
                    .push((redis.cpu_ns() - busy) as f64 / count / 1e3);
            }
        }
        of_redis.note = messages_an_entry(groups);
        figures.extend([of_redis, applying, wire]);
    }
    let name = "Redis a message, as fast as it goes, batches of 100";
    let mut of_redis = Figure::new(name, "µs", Compared::Itself);
    of_redis.beside_of = "Centrifugo's script, 64 at once".into();
    let name = "  reactor of the other node, where nobody reads";
    let mut applying = Figure::new(name, "µs", Compared::Itself).with_mark(Bound::AtMost(1.0));
    let mut threads = Figure::new("  all its threads", "µs", Compared::Itself);
    let mut wire = Figure::new("  bytes to and from Redis", "B", Compared::Itself);
    let mut rate = Figure::new("  messages a second", "1/s", Compared::Itself);
    load.subscribe(b.address, 1, 1, None)?;
    batches(&mut load, length / 4)?;
    for _ in 0..plan.repeats {
        let bytes = redis.network_bytes()?;
        let (busy, reactor, all) = (redis.cpu_ns(), reactor_ns(b), cpu_ns(b));
        let begun = Instant::now();
        let count = batches(&mut load, length)?;
        rate.nodes
            .push(count as f64 / begun.elapsed().as_secs_f64());
        let applied = |from: u64, to: u64| (to - from) as f64 / count as f64 / 1e3;
        of_redis.nodes.push(applied(busy, redis.cpu_ns()));
        applying.nodes.push(applied(reactor, reactor_ns(b)));
        threads.nodes.push(applied(all, cpu_ns(b)));
        wire.nodes
            .push((redis.network_bytes()? - bytes) as f64 / count as f64);
        if let Some(rival) = &mut rival {
            let busy = redis.cpu_ns();
            let count = rival.at_once(redis, length)? as f64;
            of_redis
                .beside
                .push((redis.cpu_ns() - busy) as f64 / count / 1e3);
            rate.beside.push(count / length.as_secs_f64());
        }
    }
    figures.extend([of_redis, applying, threads, wire, rate]);
    Ok(figures)
}

/// How many messages an entry had, of these rounds.
fn messages_an_entry(rounds: Vec<f64>) -> String {
    let median = crate::comparison::median(rounds).unwrap_or(0.0);
    format!("{median:.1} messages an entry")
}

/// Batches of messages to many channels, as fast as it goes, until the one reader has the message
/// that comes last, so that all are applied; how many messages.
fn batches(load: &mut Load, length: Duration) -> Result<u64, String> {
    let data = "x".repeat(100);
    let bodies = (0..10).map(|number| {
        let lines = (0..BATCH).map(|line| {
            let channel = number * BATCH + line;
            format!("{{\"channel\":\"d{channel}\",\"data\":\"{data}\"}}\n")
        });
        request("POST", "/publish", &lines.collect::<String>())
    });
    let bodies: Vec<String> = bodies.collect();
    let begun = Instant::now();
    let mut count = 0;
    load.answer_by_answer(|| {
        let next = (begun.elapsed() < length).then(|| bodies[count % bodies.len()].clone())?;
        count += 1;
        Some(next)
    })?;
    load.reset();
    load.publish(0, 100)?;
    load.until_received(1)?;
    load.settle()?;
    Ok((count * BATCH) as u64)
}

/// Which of two is first in a round.
pub(super) fn order(round: u32) -> [usize; 2] {
    if round.is_multiple_of(2) {
        [0, 1]
    } else {
        [1, 0]
    }
}

/// Nanoseconds for which the threads of a server ran.
pub(super) fn cpu_ns(server: &Server) -> u64 {
    measure::cpu_ns(&server.processes())
}
