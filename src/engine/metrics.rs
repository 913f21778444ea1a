//! `/metrics`: the engine's counters in the Prometheus text format.
//!
//! Owns the names and the help of metrics. The counters themselves are plain numbers, counted
//! where things happen and copied here when somebody asks.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::Engine;
use super::stats::{End, Stats};
use crate::hub::Counts;

/// A copy of everything that is shown.
#[derive(Debug)]
struct Snapshot {
    stats: Stats,
    counts: Counts,
    connections: usize,
    parked: usize,
    channels: usize,
    messages: usize,
    history_bytes: usize,
    history_limit_bytes: usize,
    buffer_bytes: usize,
    buffer_limit_bytes: usize,
    load_permille: u32,
}

impl Engine {
    pub(super) fn metrics(&self) -> String {
        let snapshot = Snapshot {
            stats: self.stats.clone(),
            counts: self.hub.counts(),
            connections: self.conns.len(),
            parked: self.hub.reader_count(),
            channels: self.hub.channel_count(),
            messages: self.hub.message_count(),
            history_bytes: self.hub.meter().used(),
            history_limit_bytes: self.hub.meter().limit(),
            buffer_bytes: self.buffers.used(),
            buffer_limit_bytes: self.buffers.limit(),
            load_permille: self.load_permille,
        };
        let mut registry = Registry::with_prefix("encke");
        registry.register_collector(Box::new(snapshot));
        let mut text = String::new();
        encode(&mut text, &registry).expect("writing to a string does not fail");
        text
    }
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.counters(&mut encoder)?;
        self.gauges(&mut encoder)?;
        self.by_cause(&mut encoder)
    }
}

impl Snapshot {
    fn counters(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        for (name, help, value) in [
            (
                "connections_accepted",
                "Connections taken on",
                self.stats.accepted,
            ),
            (
                "requests",
                "Requests whose head was whole and sound",
                self.stats.requests,
            ),
            (
                "messages_published",
                "Messages accepted",
                self.counts.published,
            ),
            (
                "messages_delivered",
                "Messages sent, one for each receiver",
                self.stats.delivered,
            ),
            (
                "messages_evicted",
                "Messages dropped from history",
                self.counts.evicted,
            ),
            ("gaps", "Gaps told to receivers", self.stats.gaps),
            (
                "holds_expired",
                "Holds that ended without a message",
                self.stats.holds_expired,
            ),
            (
                "streams_recycled",
                "Streams ended at their size or age",
                self.stats.recycled,
            ),
            (
                "writes_blocked",
                "Writes that a socket took in part",
                self.stats.blocked,
            ),
            (
                "publishes_busy",
                "Publishes refused for want of memory",
                self.counts.busy,
            ),
            (
                "channels_refused",
                "Uses refused for too many channels",
                self.counts.too_many_channels,
            ),
        ] {
            let counter = ConstCounter::new(value);
            let kind = prometheus_client::metrics::MetricType::Counter;
            counter.encode(encoder.encode_descriptor(name, help, None, kind)?)?;
        }
        Ok(())
    }

    fn gauges(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        for (name, help, value) in [
            ("connections", "Open connections", self.connections),
            (
                "connections_parked",
                "Connections that wait for an event",
                self.parked,
            ),
            ("channels", "Channels", self.channels),
            ("messages", "Messages in history", self.messages),
            (
                "history_bytes",
                "Bytes of channels and messages",
                self.history_bytes,
            ),
            (
                "history_limit_bytes",
                "Limit of the above",
                self.history_limit_bytes,
            ),
            (
                "buffer_bytes",
                "Bytes of unfinished requests and unsent answers",
                self.buffer_bytes,
            ),
            (
                "buffer_limit_bytes",
                "Limit of the above",
                self.buffer_limit_bytes,
            ),
            (
                "load_permille",
                "Part of its time that the thread was busy of late, in thousandths",
                self.load_permille as usize,
            ),
        ] {
            let gauge = ConstGauge::new(value as i64);
            let kind = prometheus_client::metrics::MetricType::Gauge;
            gauge.encode(encoder.encode_descriptor(name, help, None, kind)?)?;
        }
        Ok(())
    }

    fn by_cause(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let kind = prometheus_client::metrics::MetricType::Counter;
        let help = "Connections that ended, by cause";
        let mut family = encoder.encode_descriptor("connections_ended", help, None, kind)?;
        for why in End::ALL {
            let labels = [("cause", why.name())];
            let counter = ConstCounter::new(self.stats.ends(why));
            counter.encode(family.encode_family(&labels)?)?;
        }
        let help = "Requests refused, by status";
        let mut family = encoder.encode_descriptor("requests_refused", help, None, kind)?;
        for (status, count) in &self.stats.refusals {
            let labels = [("status", u32::from(*status))];
            let counter = ConstCounter::new(*count);
            counter.encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
