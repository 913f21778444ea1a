//! The state of delivery: connections, the hub, the response under way, and random numbers.
//!
//! Owns these, and the small steps that every other file of the module takes with them.

use std::sync::Arc;

use super::drain::Drain;
use super::review::Review;
use super::waiting::Publishing;
use crate::base::meter::SharedBytes;
use crate::base::time::{Time, millis};
use crate::config::Config;
use crate::engine::connections::{Connections, Wire, write, write_behind};
use crate::engine::gauges::ProcessGauges;
use crate::engine::response::{Framing, Heads, ResponseWriter};
use crate::engine::stats::CloseReason;
use crate::hub::{Hub, Item, Take};
use crate::message::Seq;
use crate::transport::Transport;

/// The settings of delivery.
pub(in crate::engine) struct Settings {
    pub(super) hold_ms: u64,
    pub(super) max_hold_ms: u64,
    /// The largest batch.
    pub(super) max_batch: Take,
    pub(super) stream_max_bytes: u32,
    pub(super) stream_max_age_ms: u64,
    pub(super) drain_ms: u64,
    drain_delay_ms: u64,
}

impl Settings {
    fn of(config: &Config) -> Settings {
        Settings {
            hold_ms: millis(config.hold),
            max_hold_ms: millis(config.max_hold),
            max_batch: Take {
                messages: config.max_batch,
                bytes: config.max_batch_bytes,
            },
            stream_max_bytes: config.stream_max_bytes,
            stream_max_age_ms: millis(config.stream_max_age),
            drain_ms: millis(config.drain),
            drain_delay_ms: millis(config.drain_delay),
        }
    }
}

/// Responses that many connections share, as long as nothing newer is published.
#[derive(Default)]
pub(super) struct SharedResponses {
    /// The newest response to an expired hold, with the head of the sequence and the second it is
    /// for.
    pub(super) empty: Option<(Seq, u64, Arc<SharedBytes>)>,
    /// The newest response with several messages, with those, whether there are more, and the
    /// second.
    pub(super) batch: Option<(Vec<Item>, bool, u64, Arc<SharedBytes>)>,
}

/// Connections, channels, and all that is needed to bring messages from one to the other.
pub(in crate::engine) struct Delivery {
    pub(in crate::engine) connections: Connections,
    pub(in crate::engine) hub: Hub,
    pub(in crate::engine) response: ResponseWriter,
    pub(in crate::engine) random: fastrand::Rng,
    pub(in crate::engine) drain: Option<Drain>,
    /// Parked connections whose right is in doubt.
    pub(in crate::engine) review: Review,
    pub(in crate::engine) gauges: ProcessGauges,
    /// The Unix time, in milliseconds.
    pub(in crate::engine) unix_ms: u64,
    /// Responses that wait for the log.
    pub(in crate::engine) publishing: Publishing,
    pub(super) settings: Settings,
    pub(super) shared: SharedResponses,
    /// Buffers that are reused from tick to tick.
    pub(super) items: Vec<Item>,
    pub(super) frames: Vec<Arc<SharedBytes>>,
}

impl Delivery {
    pub(in crate::engine) fn new(
        config: &Config,
        connections: Connections,
        hub: Hub,
        random: fastrand::Rng,
    ) -> Delivery {
        Delivery {
            publishing: Publishing::new(&connections.buffers),
            connections,
            hub,
            response: ResponseWriter::new(Heads::new(config)),
            random,
            drain: None,
            review: Review::default(),
            gauges: ProcessGauges::default(),
            unix_ms: 0,
            settings: Settings::of(config),
            shared: SharedResponses::default(),
            items: Vec::new(),
            frames: Vec::new(),
        }
    }

    /// Takes new settings: what begins from now on is by them. Deadlines that are set already stay.
    pub(in crate::engine) fn reconfigure(&mut self, config: &Config) {
        self.connections.reconfigure(config);
        self.hub.reconfigure(config);
        self.response.heads.reconfigure(config);
        self.settings = Settings::of(config);
        // Their heads are by the earlier settings.
        self.shared = SharedResponses::default();
    }

    /// The time of the present tick.
    pub(in crate::engine) fn now(&self) -> Time {
        self.connections.now()
    }

    /// Sets the time: since the start, and of day in milliseconds since 1970.
    pub(in crate::engine) fn set_now(&mut self, now: Time, unix_ms: u64) {
        let now = now.max(self.now());
        self.connections.set_now(now);
        self.hub.set_now(now);
        self.unix_ms = unix_ms;
        self.response.heads.set_date(unix_ms / 1_000);
    }

    /// Starts a drain, unless one is under way.
    pub(in crate::engine) fn begin_drain(&mut self) {
        if self.drain.is_none() {
            let closes_at = self.now().after_ms(self.settings.drain_delay_ms);
            self.drain = Some(Drain::new(closes_at, self.settings.drain_ms));
        }
    }

    /// Schedules the release of at most `budget` connections, if a drain has come to that.
    pub(in crate::engine) fn release_drained(&mut self, budget: usize) {
        if let Some(drain) = &mut self.drain {
            drain.release(&mut self.connections, &mut self.random, budget);
        }
    }

    /// Ends a connection; see [`Connections::close`].
    pub(in crate::engine) fn close(&mut self, index: u32, why: CloseReason) {
        self.connections.close(index, why, &mut self.hub);
    }

    /// Sends what was written for a connection.
    pub(in crate::engine) fn flush(&mut self, index: u32, wire: &mut impl Wire) {
        let out = &self.response.out;
        write(&mut self.connections, index, out, &mut self.hub, wire);
        self.response.clear();
    }

    /// Sends what was written for a connection, behind what is unsent.
    pub(super) fn flush_behind(&mut self, index: u32, wire: &mut impl Wire) {
        let out = &self.response.out;
        write_behind(&mut self.connections, index, out, &mut self.hub, wire);
        self.response.clear();
    }

    /// How the events of a transport are delimited on a connection.
    pub(super) fn framing(&self, index: u32, transport: Transport) -> Framing {
        Framing::of(transport, self.connections[index].flags)
    }

    /// A random number of 80 to 100 % of `max`.
    pub(super) fn jitter_down(&mut self, max: u64) -> u64 {
        self.random.u64(max / 5 * 4..=max.max(1))
    }
}
