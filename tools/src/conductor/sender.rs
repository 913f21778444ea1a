//! When messages are published, and to which channel.

use std::time::Duration;

use super::plan::Plan;
use super::stage::Stage;
use crate::net::now_ns;

/// Publishes at set times.
pub(crate) struct Sender {
    seqs: Vec<u64>,
    /// Publishes in all, or events a second on each channel.
    rate: f64,
    arrivals: Arrivals,
}

/// The times at which messages are published.
enum Arrivals {
    /// At even times, to one channel after another: to this one next.
    Even(u32),
    /// At random times (Poisson), on each channel by itself.
    Random(fastrand::Rng),
}

impl Sender {
    /// Publishes so many messages a second, at even times, to one channel after another.
    pub(crate) fn new(plan: &Plan, rate: f64) -> Sender {
        Sender {
            seqs: vec![0; plan.channels as usize],
            rate,
            arrivals: Arrivals::Even(0),
        }
    }

    pub(super) fn at_random(plan: &Plan, rate: f64) -> Sender {
        Sender {
            arrivals: Arrivals::Random(fastrand::Rng::with_seed(plan.seed)),
            ..Sender::new(plan, rate)
        }
    }

    /// The events of so many seconds, in order: nanoseconds from now, and channels.
    fn events(&mut self, channels: u32, seconds: f64) -> Vec<(u64, u32)> {
        let end = seconds * 1e9;
        match &mut self.arrivals {
            Arrivals::Even(next) => {
                let interval = 1e9 / self.rate;
                let count = (end / interval) as u64;
                let first = *next;
                let channel = |number: u64| (u64::from(first) + number) % u64::from(channels);
                *next = channel(count) as u32;
                let event = |number| ((number as f64 * interval) as u64, channel(number) as u32);
                (0..count).map(event).collect()
            }
            Arrivals::Random(rng) => {
                let mut events = Vec::new();
                for channel in 0..channels {
                    let mut at = 0.0;
                    loop {
                        at += -(1.0 - rng.f64()).ln() * 1e9 / self.rate;
                        if at >= end {
                            break;
                        }
                        events.push((at as u64, channel));
                    }
                }
                events.sort_unstable();
                events
            }
        }
    }

    pub(crate) fn run(
        &mut self,
        stage: &mut Stage,
        plan: &Plan,
        seconds: f64,
    ) -> Result<(), String> {
        let events = self.events(plan.channels, seconds);
        let mut events = events.into_iter().peekable();
        let start = now_ns();
        let end = start + (seconds * 1e9) as u64;
        loop {
            let now = now_ns();
            while let Some((at, channel)) = events.next_if(|(at, _)| start + at <= now) {
                let seq = &mut self.seqs[channel as usize];
                *seq += 1;
                stage.publisher.add(channel, *seq, start + at, plan.size);
            }
            let next = events.peek().map_or(end, |(at, _)| start + at);
            stage.turn(Some(Duration::from_nanos(next.saturating_sub(now_ns()))))?;
            if events.peek().is_none() && now_ns() >= end {
                return Ok(());
            }
        }
    }

    /// The number of receipts that all messages sent should lead to.
    pub(crate) fn deliveries(&self, plan: &Plan) -> u64 {
        let audience = |channel: usize| {
            let channel = channel as u32;
            let rest = u32::from(channel < plan.subscribers % plan.channels);
            u64::from(plan.subscribers / plan.channels + rest)
        };
        let seqs = self.seqs.iter().enumerate();
        seqs.map(|(channel, seq)| seq * audience(channel)).sum()
    }
}
