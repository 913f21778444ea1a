//! A server's settings, by chance: mostly tiny, so that every limit is met.

use encke_core::config::{Config, History};

use crate::chance::Chance;
use crate::policy;
use crate::rights::{self, Part};

/// The settings of one world.
pub(crate) struct Setup {
    pub(crate) config: Config,
    pub(crate) max_connections: usize,
    pub(crate) names: Vec<String>,
    /// Sockets of this run never block and never break.
    pub(crate) smooth: bool,
    /// Producers use one in this many of their turns.
    pub(crate) publish_one_in: u8,
    /// Most clients poll long, and have seen all there is.
    pub(crate) polls: bool,
    /// Half of the followers begin with the earliest there is.
    pub(crate) earliest: bool,
    /// The run has few followers for many steps of the clock.
    pub(crate) slow_clock: bool,
    /// Whether count and age alone bound history.
    pub(crate) exact_history: bool,
    /// Whether channels have policies, and the server gets others from time to time.
    pub(crate) reloads: bool,
    /// Whether not everybody may receive everything.
    pub(crate) has_rights: bool,
    /// Whether the log is saved.
    pub(crate) is_saved: bool,
    /// The numbers of the keys for tokens.
    pub(crate) keys: Vec<usize>,
}

impl Setup {
    pub(crate) fn by_chance(chance: &mut Chance) -> Setup {
        let exact_history = chance.bool();
        let max_hold = chance.ms(&[60, 400, 3_000, 120_000]);
        let max_body_bytes = chance.pick(&[200, 1_000, 5_000, 100_000]);
        let large = chance.bool();
        let total = if large {
            256 << 20
        } else {
            chance.pick(&[6_000, 20_000, 150_000])
        };
        let buffers = if chance.bool() {
            64 << 20
        } else {
            chance.pick(&[1_500, 3_000, 10_000, 120_000])
        };
        let max_body_bytes = max_body_bytes.min(buffers - 1).min(total - 1);
        let mut config = Config {
            publish_key: chance.bool().then(|| "secret".to_owned()),
            hold: chance.ms(&[40, 300, 2_000, 30_000]).min(max_hold),
            max_hold,
            heartbeat: chance.ms(&[50, 500, 15_000]),
            max_batch: chance.pick(&[1, 2, 7, 1_000]),
            max_batch_bytes: chance.pick(&[1, 100, 2_000, 1 << 20]).min(buffers - 1),
            stream_max_bytes: chance.pick(&[1, 500, 5_000, 64 << 20]),
            stream_max_age: chance.ms(&[200, 5_000, 3_600_000]),
            history: History {
                max_messages: chance.pick(&[0, 1, 3, 50, 1_000]),
                max_age: chance.ms(&[30, 1_000, 20_000, 600_000]),
                max_bytes: if exact_history {
                    4 << 20
                } else {
                    chance.pick(&[0, 600, 3_000])
                },
                max_total_bytes: if exact_history { 256 << 20 } else { total },
            },
            max_channels: chance.pick(&[2, 4, 1_000, 1_000]),
            max_head_bytes: chance.pick(&[700, 16 << 10]).min(buffers - 1),
            max_body_bytes,
            max_buffer_bytes: buffers,
            head_timeout: chance.ms(&[200, 10_000]),
            body_timeout: chance.ms(&[200, 30_000]),
            idle_timeout: chance.ms(&[100, 5_000, 75_000]),
            write_timeout: chance.ms(&[100, 2_000, 30_000]),
            drain: chance.ms(&[0, 200, 10_000]),
            drain_delay: chance.ms(&[0, 0, 500]),
            ..Config::default()
        };
        config.check().expect("settings within their ranges");
        const NAMES: [&str; 6] = ["a", "news", "x/y", "grüße", "sp ace", "q\"<&>'"];
        let count = chance.usize(1..=NAMES.len());
        let names = NAMES[..count].iter().map(|name| (*name).to_owned());
        let names: Vec<String> = names.collect();
        let reloads = chance.bool();
        if reloads {
            policy::change(&mut config, chance, &names, exact_history);
        }
        let is_saved = chance.u8(..4) == 0;
        // Rights are judged when a request is answered, which the log delays.
        let has_rights = !is_saved && chance.u8(..3) == 0;
        let mut keys = Vec::new();
        if has_rights {
            rights::change(&mut config, chance, &names, Part::All, &mut keys);
        }
        Setup {
            config,
            max_connections: chance.pick(&[1, 3, 8, 20, 40]),
            names,
            smooth: chance.u8(..4) == 0,
            publish_one_in: chance.pick(&[1, 1, 4, 30]),
            polls: chance.u8(..3) == 0,
            earliest: chance.u8(..4) == 0,
            slow_clock: chance.bool(),
            exact_history,
            reloads,
            has_rights,
            is_saved,
            keys,
        }
    }
}
