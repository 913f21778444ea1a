//! What Redis keeps for many channels with one message each.

use super::Plan;
use super::figure::{Bound, Compared, Figure};
use super::load::Load;
use super::node::{request, start_ready};
use super::redis::Redis;
use super::rival::Rival;

/// Bytes of a message.
const DATA_BYTES: usize = 100;

/// Lines of a batch.
const BATCH: u32 = 100;

/// Channels by which Centrifugo's script is measured: as many as all would take too much memory.
const CHANNELS_OF_RIVAL: u64 = 50_000;

/// Bytes for a million channels.
pub(super) fn measure(plan: &Plan) -> Result<Vec<Figure>, String> {
    let mut redis = Redis::start(None)?;
    let mut figure = Figure::new(
        "memory of Redis for a million channels with a message",
        "GB",
        Compared::Itself,
    )
    .with_mark(Bound::AtMost(0.15));
    let mut of_node = Figure::new("  resident memory of a node", "GB", Compared::Itself);
    let before = redis.memory()?;
    {
        let options = ["--history-total-bytes", "2G", "--max-channels", "2000000"];
        let node = start_ready("a", Some(&redis), None, &options)?;
        let mut load = Load::new()?;
        load.publishers(node.address, 4)?;
        let data = "x".repeat(DATA_BYTES);
        let mut next = 0;
        load.answer_by_answer(|| {
            let lines = (next..(next + BATCH).min(plan.channels))
                .map(|channel| format!("{{\"channel\":\"c{channel}\",\"data\":\"{data}\"}}\n"));
            let body: String = lines.collect();
            next += BATCH;
            (!body.is_empty()).then(|| request("POST", "/publish", &body))
        })?;
        let of_million = |bytes: u64| bytes as f64 / f64::from(plan.channels) / 1e3;
        figure.nodes.push(of_million(redis.memory()? - before));
        let resident = crate::measure::Memory::read(&node.processes()).rss;
        of_node.nodes.push(of_million(resident));
    }
    if let Some(path) = &plan.script {
        redis.flush()?;
        let before = redis.memory()?;
        let mut rival = Rival::new(&mut redis, path)?;
        rival.one_each(&mut redis, CHANNELS_OF_RIVAL)?;
        let each = (redis.memory()? - before) as f64 / CHANNELS_OF_RIVAL as f64;
        figure.beside.push(each / 1e3);
        figure.beside_of = "Centrifugo's script, of 50,000 channels".into();
    }
    Ok(vec![figure, of_node])
}
