//! What a delivery costs a node that follows, beside a node that is alone.

use std::time::{Duration, Instant};

use super::Plan;
use super::figure::{Bound, Compared, Figure};
use super::load::Load;
use super::node::{reactor_ns, start_ready};
use super::publishing::{cpu_ns, order};
use super::redis::Redis;

/// Readers of one channel.
const READERS: u32 = 1_000;

/// A message to all, the next when all have it.
pub(super) fn measure(plan: &Plan) -> Result<Vec<Figure>, String> {
    // The node that is measured has a processor of its own, as the one that is alone.
    let (own, other) = (Some(0), Some(1));
    let redis = Redis::start(other)?;
    let alone = start_ready("alone", None, own, &[])?;
    let a = start_ready("a", Some(&redis), other, &[])?;
    let b = start_ready("b", Some(&redis), own, &[])?;
    let mut loads = [Load::new()?, Load::new()?];
    for (load, [to, at]) in loads.iter_mut().zip([[&alone, &alone], [&a, &b]]) {
        load.publishers(to.address, 1)?;
        load.subscribe(at.address, READERS, 1, None)?;
        deliver(load, Duration::from_millis(300))?;
    }
    let mut all = Figure::new(
        "processor time a delivery, 1,000 readers of SSE",
        "µs",
        Compared::Ratio,
    )
    .with_mark(Bound::AtMost(1.03));
    let mut reactor = Figure::new("  of the reactor", "µs", Compared::Ratio);
    let length = Duration::from_secs_f64(plan.seconds);
    for round in 0..plan.repeats {
        for place in order(round) {
            let server = [&alone, &b][place];
            let (busy, first) = (cpu_ns(server), reactor_ns(server));
            let count = deliver(&mut loads[place], length)? as f64;
            let each = (cpu_ns(server) - busy) as f64 / count / 1e3;
            let of_reactor = (reactor_ns(server) - first) as f64 / count / 1e3;
            match place {
                0 => {
                    all.beside.push(each);
                    reactor.beside.push(of_reactor);
                }
                _ => {
                    all.nodes.push(each);
                    reactor.nodes.push(of_reactor);
                }
            }
        }
    }
    Ok(vec![all, reactor])
}

/// How many deliveries there were.
fn deliver(load: &mut Load, length: Duration) -> Result<u64, String> {
    load.reset();
    let begun = Instant::now();
    let mut count = 0;
    while begun.elapsed() < length {
        load.publish(0, 100)?;
        count += u64::from(READERS);
        load.until_received(count)?;
    }
    load.settle()?;
    Ok(count)
}
