//! A node starts, and reads a log of many MB until it is ready.

use std::time::{Duration, Instant};

use super::Plan;
use super::figure::{Bound, Compared, Figure};
use super::load::Load;
use super::node::{request, start, start_ready, until_ready};
use super::publishing::cpu_ns;
use super::redis::Redis;
use crate::measure::Memory;

/// Channels over which the messages are spread, and bytes of each.
const CHANNELS: u64 = 1_000;
const DATA_BYTES: usize = 100;

/// Lines of a batch.
const BATCH: u64 = 100;

/// The time from its start until a node is ready.
pub(super) fn measure(plan: &Plan) -> Result<Vec<Figure>, String> {
    let mb = plan.log_mb;
    let (log, history) = (format!("{mb}M"), format!("{}M", 3 * mb));
    let options = [
        "--engine-log-bytes",
        &log,
        "--history-total-bytes",
        &history,
        "--history-bytes",
        &history,
        "--history-messages",
        "1000000",
        "--history-age",
        "1h",
    ];
    let mut redis = Redis::start(None)?;
    let a = start_ready("a", Some(&redis), None, &options)?;
    let empty = redis.memory()?;
    let mut load = Load::new()?;
    load.publishers(a.address, 4)?;
    let data = "x".repeat(DATA_BYTES);
    let bytes = (mb << 20) as f64;
    let mut messages = 0;
    loop {
        let grown = redis.memory()?.saturating_sub(empty) as f64;
        if grown >= 0.97 * bytes || messages as f64 * DATA_BYTES as f64 > 1.5 * bytes {
            break;
        }
        let mut left = 500;
        load.answer_by_answer(|| {
            let lines = (messages..messages + BATCH).map(|number| {
                let channel = number % CHANNELS;
                format!("{{\"channel\":\"c{channel}\",\"data\":\"{data}\"}}\n")
            });
            let body: String = lines.collect();
            left -= 1;
            (left >= 0).then(|| {
                messages += BATCH;
                request("POST", "/publish", &body)
            })
        })?;
    }
    let grown = redis.memory()?.saturating_sub(empty) >> 20;
    let name = format!("a node starts with a log of {grown} MB: ready after");
    let mut took = Figure::new(&name, "s", Compared::Itself).with_mark(Bound::AtMost(3.0));
    let mut cpu = Figure::new("  processor time of the node", "s", Compared::Itself);
    let mut memory = Figure::new("  its resident memory", "MB", Compared::Itself);
    for _ in 0..plan.repeats {
        let begun = Instant::now();
        let node = start("c", Some(&redis), None, &options)?;
        until_ready(&node)?;
        took.nodes.push(begun.elapsed().as_secs_f64());
        cpu.nodes.push(cpu_ns(&node) as f64 / 1e9);
        let resident = Memory::read(&node.processes()).rss;
        memory.nodes.push((resident >> 20) as f64);
        drop(node);
        std::thread::sleep(Duration::from_millis(100));
    }
    took.note = format!("{messages} messages were published");
    Ok(vec![took, cpu, memory])
}
