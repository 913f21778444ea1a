//! A server's settings, by chance: mostly tiny, so that every limit is met.

use std::time::Duration;

use encke::{Config, History};
use fastrand::Rng;

/// What one run is made of.
pub(crate) struct Setup {
    pub(crate) config: Config,
    pub(crate) max_connections: usize,
    pub(crate) names: Vec<String>,
    /// Sockets of this run never block and never break.
    pub(crate) smooth: bool,
    /// The run has few followers for many steps of the clock.
    pub(crate) slow_clock: bool,
    /// Whether count and age alone bound history.
    pub(crate) exact_history: bool,
}

pub(crate) fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.usize(..from.len())]
}

fn ms(rng: &mut Rng, from: &[u64]) -> Duration {
    Duration::from_millis(pick(rng, from))
}

impl Setup {
    pub(crate) fn by_chance(rng: &mut Rng) -> Setup {
        let exact_history = rng.bool();
        let max_hold = ms(rng, &[60, 400, 3_000, 120_000]);
        let max_body_bytes = pick(rng, &[200, 1_000, 5_000, 100_000]);
        let large = rng.bool();
        let total = if large {
            256 << 20
        } else {
            pick(rng, &[6_000, 20_000, 150_000])
        };
        let buffers = if rng.bool() {
            64 << 20
        } else {
            pick(rng, &[1_500, 3_000, 10_000, 120_000])
        };
        let max_body_bytes = max_body_bytes.min(buffers - 1).min(total - 1);
        let config = Config {
            publish_key: rng.bool().then(|| "secret".to_owned()),
            hold: ms(rng, &[40, 300, 2_000, 30_000]).min(max_hold),
            max_hold,
            heartbeat: ms(rng, &[50, 500, 15_000]),
            max_batch: pick(rng, &[1, 2, 7, 1_000]),
            max_batch_bytes: pick(rng, &[1, 100, 2_000, 1 << 20]).min(buffers - 1),
            stream_max_bytes: pick(rng, &[1, 500, 5_000, 64 << 20]),
            stream_max_age: ms(rng, &[200, 5_000, 3_600_000]),
            history: History {
                max_messages: pick(rng, &[0, 1, 3, 50, 1_000]),
                max_age: ms(rng, &[30, 1_000, 20_000, 600_000]),
                max_bytes: if exact_history {
                    4 << 20
                } else {
                    pick(rng, &[0, 600, 3_000])
                },
                max_total_bytes: if exact_history { 256 << 20 } else { total },
            },
            max_channels: pick(rng, &[2, 4, 1_000, 1_000]),
            max_head_bytes: pick(rng, &[700, 16 << 10]).min(buffers - 1),
            max_body_bytes,
            max_buffer_bytes: buffers,
            head_timeout: ms(rng, &[200, 10_000]),
            body_timeout: ms(rng, &[200, 30_000]),
            idle_timeout: ms(rng, &[100, 5_000, 75_000]),
            write_timeout: ms(rng, &[100, 2_000, 30_000]),
            drain: ms(rng, &[0, 200, 10_000]),
            drain_delay: ms(rng, &[0, 0, 500]),
            ..Config::default()
        };
        config.check().expect("settings within their ranges");
        const NAMES: [&str; 6] = ["a", "news", "x/y", "grüße", "sp ace", "q\"<&>'"];
        let count = rng.usize(1..=NAMES.len());
        Setup {
            config,
            max_connections: pick(rng, &[1, 3, 8, 20, 40]),
            names: NAMES[..count]
                .iter()
                .map(|name| (*name).to_owned())
                .collect(),
            smooth: rng.u8(..4) == 0,
            slow_clock: rng.bool(),
            exact_history,
        }
    }
}
