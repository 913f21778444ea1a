//! Many clients come to another node with their cursors, and receive what they have missed.

use std::thread;
use std::time::{Duration, Instant};

use super::Plan;
use super::figure::{Bound, Compared, Figure};
use super::load::Load;
use super::node::{PATIENCE, ask, publish, start_ready};
use super::publishing::{cpu_ns, order};
use super::redis::Redis;
use crate::net::now_ns;
use crate::server::Server;

/// Channels over which they are spread.
const CHANNELS: u32 = 100;

/// Commands by which two times of the same length may differ, since beats are a second apart.
const BEATS: f64 = 8.0;

/// Connections that may be open when nobody is there: this one, and a publisher's.
const FEW: f64 = 2.0;

/// How many return a second, what each costs the node, and what Redis is asked for it.
pub(super) fn measure(plan: &Plan) -> Result<Vec<Figure>, String> {
    let mut redis = Redis::start(None)?;
    let alone = start_ready("alone", None, None, &[])?;
    let a = start_ready("a", Some(&redis), None, &[])?;
    let b = start_ready("b", Some(&redis), None, &[])?;
    let name = format!(
        "{} clients return to another node, clients a second",
        plan.clients
    );
    let mut rate = Figure::new(&name, "1/s", Compared::Ratio).with_mark(Bound::AtLeast(0.97));
    let mut cpu = Figure::new("  processor time of the node each", "µs", Compared::Ratio);
    let mut commands = Figure::new("  commands to Redis meanwhile", "in all", Compared::More)
        .with_mark(Bound::AtMost(BEATS));
    commands.beside_of = "in that time when nobody returns".into();
    let (asked, begun) = (redis.commands()?, Instant::now());
    thread::sleep(Duration::from_secs(5));
    let idle = (redis.commands()? - asked) as f64 / begun.elapsed().as_secs_f64();
    for round in 0..plan.repeats {
        for place in order(round) {
            let [to, at] = [[&alone, &alone], [&a, &b]][place];
            let cursor = publish(to.address, "other", "before")?;
            let mut load = Load::new()?;
            load.publishers(to.address, 1)?;
            for channel in 0..CHANNELS {
                load.publish(channel, 100)?;
            }
            load.settle()?;
            let (busy, asked, begun) = (cpu_ns(at), redis.commands()?, now_ns());
            load.subscribe(at.address, plan.clients, CHANNELS, Some(&cursor))?;
            load.until_received(u64::from(plan.clients))?;
            let seconds = (now_ns() - begun) as f64 / 1e9;
            let value = f64::from(plan.clients) / seconds;
            let each = (cpu_ns(at) - busy) as f64 / f64::from(plan.clients) / 1e3;
            match place {
                0 => {
                    rate.beside.push(value);
                    cpu.beside.push(each);
                }
                _ => {
                    rate.nodes.push(value);
                    cpu.nodes.push(each);
                    commands.nodes.push((redis.commands()? - asked) as f64);
                    commands.beside.push(idle * seconds);
                }
            }
            drop(load);
            until_gone(at)?;
        }
    }
    Ok(vec![rate, cpu, commands])
}

/// Waits until a node has found that its clients are gone: it has no room for as many again.
fn until_gone(server: &Server) -> Result<(), String> {
    let begun = Instant::now();
    loop {
        let (_, metrics) = ask(server.address, "GET", "/metrics", "")?;
        let open = metrics
            .lines()
            .find_map(|line| line.strip_prefix("encke_connections "));
        let open = open.and_then(|count| count.trim().parse::<f64>().ok());
        if open.ok_or("a node does not say its connections")? <= FEW {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            return Err("a node keeps clients that are gone".into());
        }
        thread::sleep(Duration::from_millis(20));
    }
}
