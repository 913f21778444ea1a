//! The script by which Centrifugo publishes with history, called as its nodes call it.
//!
//! Owns the calls. The script itself is the one of Centrifugo's source, which is read from a file.
//! Nobody is subscribed, so what Redis does for its nodes that follow is not in what it costs.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use ::redis::{Pipeline, cmd};

use super::redis::Redis;
use super::text_of;

/// Channels over which messages are spread.
const CHANNELS: u64 = 1_000;

/// Messages that a channel keeps, and for how many seconds.
const SIZE: u32 = 1_000;
const AGE_S: u32 = 600;

/// Calls that are sent together where it goes as fast as it can.
const AT_ONCE: u64 = 64;

/// The calls of a script.
pub(super) struct Rival {
    name: String,
    data: String,
    next: u64,
}

impl Rival {
    /// Has Redis learn the script.
    pub(super) fn new(redis: &mut Redis, path: &Path) -> Result<Rival, String> {
        let script = std::fs::read_to_string(path);
        let script = script.map_err(|error| format!("{}: {error}", path.display()))?;
        let mut load = cmd("SCRIPT").take();
        load.arg("LOAD").arg(script);
        Ok(Rival {
            name: load.query(redis.connection()).map_err(text_of)?,
            data: "x".repeat(100),
            next: 0,
        })
    }

    /// Adds the publish of a message to this channel to what is sent.
    fn publish(&self, pipeline: &mut Pipeline, channel: u64) {
        let call = pipeline.cmd("EVALSHA").arg(&self.name).arg(3);
        let key = |kind: &str| format!("centrifugo.{kind}.c{channel}");
        call.arg(key("stream")).arg(key("meta")).arg("");
        call.arg(&self.data).arg(SIZE).arg(AGE_S);
        call.arg(key("client")).arg(0).arg("eeee").arg("publish");
        // No idempotency key, and no deltas.
        call.arg("").arg("0");
        call.ignore();
    }

    /// Publishes so many in one go.
    fn send(&mut self, redis: &mut Redis, count: u64) -> Result<(), String> {
        let mut pipeline = Pipeline::new();
        for _ in 0..count {
            self.publish(&mut pipeline, self.next % CHANNELS);
            self.next += 1;
        }
        pipeline.exec(redis.connection()).map_err(text_of)
    }

    /// At a rate, `burst` at a time; those that are due meanwhile are sent together. How many.
    pub(super) fn paced(
        &mut self,
        redis: &mut Redis,
        rate: f64,
        burst: u64,
        length: Duration,
    ) -> Result<u64, String> {
        let step = Duration::from_secs_f64(burst as f64 / rate);
        let begun = Instant::now();
        let bursts = (length.as_secs_f64() / step.as_secs_f64()) as u64;
        let mut sent = 0;
        while sent < bursts {
            let due = (begun.elapsed().as_secs_f64() / step.as_secs_f64()) as u64;
            let due = due.min(bursts);
            if due == sent {
                let next = begun + step.mul_f64((sent + 1) as f64);
                thread::sleep(next.saturating_duration_since(Instant::now()));
                continue;
            }
            self.send(redis, (due - sent) * burst)?;
            sent = due;
        }
        Ok(bursts * burst)
    }

    /// As fast as it goes. How many.
    pub(super) fn at_once(&mut self, redis: &mut Redis, length: Duration) -> Result<u64, String> {
        let begun = Instant::now();
        let mut count = 0;
        while begun.elapsed() < length {
            self.send(redis, AT_ONCE)?;
            count += AT_ONCE;
        }
        Ok(count)
    }

    /// One message to each of so many channels that have none.
    pub(super) fn one_each(&mut self, redis: &mut Redis, channels: u64) -> Result<(), String> {
        for first in (0..channels).step_by(AT_ONCE as usize) {
            let mut pipeline = Pipeline::new();
            for channel in first..(first + AT_ONCE).min(channels) {
                self.publish(&mut pipeline, channel);
            }
            pipeline.exec(redis.connection()).map_err(text_of)?;
        }
        Ok(())
    }
}
