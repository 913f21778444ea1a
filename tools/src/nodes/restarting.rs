//! Redis is killed and comes back empty, while one publishes on one node and one reads on another.

use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::figure::{Bound, Compared, Figure};
use super::load::Load;
use super::node::{PATIENCE, start_ready};
use super::redis::Redis;
use super::{Plan, text_of};
use crate::net::now_ns;

/// Publishers, each with a channel of its own and a reader of it.
const PUBLISHERS: u32 = 8;

/// How long a publish waits until the next.
const STEP: Duration = Duration::from_millis(5);

/// The time from when Redis can be reached to the first message that is received. A message that
/// is lost or comes twice is an error.
pub(super) fn measure(plan: &Plan) -> Result<Vec<Figure>, String> {
    let mut redis = Redis::start(None)?;
    let a = start_ready("a", Some(&redis), None, &[])?;
    let b = start_ready("b", Some(&redis), None, &[])?;
    let mut load = Load::new()?;
    load.publishers(a.address, PUBLISHERS)?;
    load.subscribe(b.address, PUBLISHERS, PUBLISHERS, None)?;
    let name = format!(
        "Redis was away for {} s and comes back empty: first delivery",
        plan.away
    );
    let mut figure = Figure::new(&name, "s", Compared::Itself).with_mark(Bound::AtMost(1.0));
    for _ in 0..plan.repeats {
        load.reset();
        let mut sent = 0;
        publish(&mut load, &mut sent, Duration::from_millis(500))?;
        redis.server.signal(Signal::KILL).map_err(text_of)?;
        while redis.server.ended().map_err(text_of)?.is_none() {
            thread::sleep(Duration::from_millis(1));
        }
        // What had been under way comes now, or not before Redis does.
        publish(&mut load, &mut sent, Duration::from_secs_f64(plan.away))?;
        let before = load.received();
        redis.server.start_again()?;
        let reachable = now_ns();
        let begun = Instant::now();
        load.reset();
        while load.first_at().is_none() {
            publish(&mut load, &mut sent, STEP)?;
            if begun.elapsed() > PATIENCE {
                return Err("nothing is received after Redis came back".into());
            }
        }
        let first = load.first_at().unwrap_or(reachable);
        figure
            .nodes
            .push(first.saturating_sub(reachable) as f64 / 1e9);
        load.settle()?;
        load.until_received(sent - before)?;
        redis.reconnect()?;
    }
    Ok(vec![figure])
}

/// Publishes one message after another for so long, without waiting for their answers.
fn publish(load: &mut Load, sent: &mut u64, length: Duration) -> Result<(), String> {
    let begun = Instant::now();
    while begun.elapsed() < length {
        load.publish((*sent % u64::from(PUBLISHERS)) as u32, 100)?;
        *sent += 1;
        let next = Instant::now() + STEP;
        loop {
            let left = next.saturating_duration_since(Instant::now());
            load.turn(left)?;
            if left.is_zero() {
                break;
            }
        }
    }
    Ok(())
}
