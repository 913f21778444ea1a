//! `/metrics`: the engine's counters in the Prometheus text format.
//!
//! Owns the names and the help of metrics. The counters themselves are plain numbers, counted
//! where things happen and copied here when somebody asks.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode_registry;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::base::histogram::Histogram;
use crate::engine::Engine;
use crate::engine::connections::conn::{State, States};
use crate::engine::gauges::Outside;
use crate::engine::requests::reject::Crowd;
use crate::engine::stats::{End, Stats};
use crate::hub::{Audience, Counts, Transport};

/// A copy of everything that is shown.
#[derive(Debug)]
struct Snapshot {
    stats: Stats,
    counts: Counts,
    fan_out_ms: Histogram,
    readers: Audience,
    states: States,
    outside: Outside,
    gauges: Vec<(&'static str, &'static str, f64)>,
}

impl Engine {
    pub(in crate::engine) fn metrics(&self) -> String {
        let snapshot = Snapshot {
            stats: self.stats.clone(),
            counts: self.hub.counts(),
            fan_out_ms: self.hub.fan_out_ms().clone(),
            readers: *self.hub.readers(),
            states: self.states,
            outside: self.outside.clone(),
            gauges: self.gauges(),
        };
        let mut registry = Registry::with_prefix("encke");
        registry.register_collector(Box::new(snapshot));
        let mut text = String::new();
        encode_registry(&mut text, &registry).expect("writing to a string does not fail");
        text
    }

    fn gauges(&self) -> Vec<(&'static str, &'static str, f64)> {
        let (history, buffers, outside) = (self.hub.meter(), &self.buffers, &self.outside);
        let draining = u8::from(self.drain.is_some());
        vec![
            ("connections", "Open connections", self.conns.len() as f64),
            (
                "connections_limit",
                "Most connections at once",
                self.settings.max_connections as f64,
            ),
            ("channels", "Channels", self.hub.channel_count() as f64),
            (
                "messages",
                "Messages in history",
                self.hub.message_count() as f64,
            ),
            ("history_bytes", "Bytes of messages", history.used() as f64),
            (
                "history_limit_bytes",
                "Most bytes of those",
                history.limit() as f64,
            ),
            (
                "channel_bytes",
                "Bytes of channels, their messages aside",
                self.hub.channel_bytes() as f64,
            ),
            (
                "frame_bytes",
                "Bytes of messages in the shapes of transports, kept or being sent",
                self.hub.frame_meter().used() as f64,
            ),
            (
                "frame_limit_bytes",
                "Most bytes of those",
                self.hub.frame_meter().limit() as f64,
            ),
            (
                "buffer_bytes",
                "Bytes of unfinished requests and unsent answers",
                buffers.used() as f64,
            ),
            (
                "buffer_limit_bytes",
                "Most bytes of those",
                buffers.limit() as f64,
            ),
            (
                "queue_messages",
                "Messages in the producers' queue",
                outside.queued as f64,
            ),
            (
                "busy_ratio",
                "Part of its time that the thread was busy of late, 0 to 1",
                f64::from(outside.load_permille) / 1_000.0,
            ),
            (
                "open_files",
                "Open descriptors of the process",
                outside.open_files as f64,
            ),
            (
                "open_files_limit",
                "Most of those",
                outside.max_open_files as f64,
            ),
            (
                "resident_memory_bytes",
                "Resident memory of the process",
                outside.resident_bytes as f64,
            ),
            ("draining", "1 while the server drains", f64::from(draining)),
        ]
    }
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.counters(&mut encoder)?;
        for &(name, help, value) in &self.gauges {
            let family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(family)?;
        }
        self.by_label(&mut encoder)?;
        self.histograms(&mut encoder)
    }
}

impl Snapshot {
    fn counters(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (stats, counts) = (&self.stats, &self.counts);
        for (name, help, value) in [
            (
                "connections_accepted_total",
                "Connections taken on",
                stats.accepted,
            ),
            (
                "messages_published_total",
                "Messages accepted",
                counts.published,
            ),
            (
                "messages_delivered_total",
                "Messages sent, one for each receiver",
                stats.delivered,
            ),
            (
                "messages_evicted_total",
                "Messages dropped from history",
                counts.evicted,
            ),
            ("gaps_total", "Gaps told to receivers", stats.gaps),
            (
                "holds_expired_total",
                "Holds that ended without a message",
                stats.holds_expired,
            ),
            (
                "streams_recycled_total",
                "Streams ended at their size or age",
                stats.recycled,
            ),
            (
                "writes_blocked_total",
                "Writes that a socket took in part",
                stats.blocked,
            ),
            (
                "publishes_busy_total",
                "Publishes refused for want of memory",
                counts.busy,
            ),
            (
                "channels_refused_total",
                "Uses refused for too many channels",
                counts.too_many_channels,
            ),
        ] {
            let family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            count(value).encode(family)?;
        }
        Ok(())
    }

    fn by_label(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Open connections, by what they are at";
        let name = "connections_by_state";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for state in State::ALL {
            let gauge = ConstGauge::new(self.states.of(state) as i64);
            gauge.encode(family.encode_family(&[("state", state.name())])?)?;
        }
        let help = "Connections that wait for an event, by transport";
        let name = "connections_parked";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for transport in Transport::ALL {
            let gauge = ConstGauge::new(i64::from(self.readers.of(transport)));
            gauge.encode(family.encode_family(&[("transport", transport.name())])?)?;
        }
        let help = "Connections without a place, by what there was too little of";
        let name = "connections_refused_total";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for crowd in Crowd::ALL {
            let refused = count(self.stats.turned_away[crowd as usize]);
            refused.encode(family.encode_family(&[("cause", crowd.name())])?)?;
        }
        let help = "Connections that ended, by cause";
        let name = "connections_ended_total";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for why in End::ALL {
            let ends = count(self.stats.ends(why));
            ends.encode(family.encode_family(&[("cause", why.name())])?)?;
        }
        let help = "Requests answered or parked, by endpoint and status";
        let mut family =
            encoder.encode_descriptor("requests_total", help, None, MetricType::Counter)?;
        for (endpoint, status, requests) in self.stats.requests.iter() {
            let labels = [
                ("endpoint", endpoint.name().to_owned()),
                ("status", status.to_string()),
            ];
            count(requests).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn histograms(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        for (name, help, histogram, units_in_a_second) in [
            (
                "hold_seconds",
                "How long polls were held",
                &self.stats.hold_ms,
                1e3,
            ),
            (
                "delivery_delay_seconds",
                "From a message's publication to its delivery to a parked receiver",
                &self.stats.delay_ms,
                1e3,
            ),
            (
                "fan_out_seconds",
                "From a message until nobody of its channel was owed anything",
                &self.fan_out_ms,
                1e3,
            ),
            (
                "tick_seconds",
                "How long ticks of the loop took",
                &self.outside.tick_us,
                1e6,
            ),
        ] {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
            let buckets: Vec<(f64, u64)> = histogram
                .buckets()
                .map(|(bound, count)| {
                    (
                        bound.map_or(f64::INFINITY, |bound| bound as f64 / units_in_a_second),
                        count,
                    )
                })
                .collect();
            let sum = histogram.sum() as f64 / units_in_a_second;
            family.encode_histogram::<NoLabelSet>(sum, histogram.count(), &buckets, None)?;
        }
        Ok(())
    }
}

/// A counter's value. In this format a counter bears `_total` in its own name, so it is written as
/// a plain number and not in the way of OpenMetrics, which adds it.
fn count(value: u64) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX))
}
