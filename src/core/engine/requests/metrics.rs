//! `/metrics`: the engine's counters in the Prometheus text format.
//!
//! Owns the names and the help of metrics. The counters themselves are plain numbers, counted
//! where things happen and copied here for each scrape.

mod cluster;
mod disk;
mod reconnects;
mod upgrades;
mod values;

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode_registry;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::base::histogram::Histogram;
use crate::engine::connections::{State, States};
use crate::engine::delivery::Delivery;
use crate::engine::gauges::ProcessGauges;
use crate::engine::stats::{CloseReason, ConnectionLimit, Reloads, Stats};
use crate::hub::{Counts, ReaderCounts};
use crate::log::{Log, Refused};
use crate::tokens::{self, Invalid};
use crate::transport::Transport;
use cluster::NodeMetrics;
use values::{count, encode_histogram};

/// A copy of everything that is shown.
#[derive(Debug)]
struct Snapshot {
    stats: Stats,
    counts: Counts,
    fan_out_ms: Histogram,
    readers: ReaderCounts,
    states: States,
    process: ProcessGauges,
    tokens: tokens::Counts,
    log_refused: Refused,
    /// Of a node of a cluster.
    node: Option<NodeMetrics>,
    gauges: Vec<(&'static str, &'static str, f64)>,
}

/// The text of `/metrics`.
pub(super) fn text(delivery: &Delivery, tokens: tokens::Counts, log: &Log) -> String {
    let Delivery {
        connections, hub, ..
    } = delivery;
    let snapshot = Snapshot {
        stats: connections.stats.clone(),
        counts: hub.counts(),
        fan_out_ms: hub.fan_out_ms().clone(),
        readers: *hub.readers(),
        states: connections.states(),
        process: delivery.gauges.clone(),
        tokens,
        log_refused: log.refused(),
        node: match log {
            Log::Clustered(log) => Some(NodeMetrics::of(log, &delivery.hub)),
            Log::Memory(_) | Log::Saved(_) => None,
        },
        gauges: gauges(delivery, &tokens),
    };
    let mut registry = Registry::with_prefix("encke");
    registry.register_collector(Box::new(snapshot));
    let mut text = String::new();
    encode_registry(&mut text, &registry).expect("writing to a string does not fail");
    text
}

fn gauges(delivery: &Delivery, tokens: &tokens::Counts) -> Vec<(&'static str, &'static str, f64)> {
    let Delivery {
        connections, hub, ..
    } = delivery;
    let (history, buffers, process) = (hub.meter(), &connections.buffers, &delivery.gauges);
    let draining = u8::from(delivery.drain.is_some());
    vec![
        ("connections", "Open connections", connections.len() as f64),
        (
            "connections_limit",
            "Limit on open connections (--max-connections)",
            connections.limit() as f64,
        ),
        ("channels", "Channels", hub.channel_count() as f64),
        (
            "messages",
            "Messages in history",
            hub.message_count() as f64,
        ),
        (
            "history_bytes",
            "Bytes of messages in history",
            history.used() as f64,
        ),
        (
            "history_limit_bytes",
            "Limit on history bytes (--history-total-bytes)",
            history.limit() as f64,
        ),
        (
            "channel_bytes",
            "Bytes of channels, not counting their messages",
            hub.channel_bytes() as f64,
        ),
        (
            "frame_bytes",
            "Bytes of messages encoded for a transport, cached or being sent",
            hub.frame_meter().used() as f64,
        ),
        (
            "frame_limit_bytes",
            "Limit on frame bytes: a quarter of --history-total-bytes or four times --max-body-bytes, \
             whichever is larger",
            hub.frame_meter().limit() as f64,
        ),
        (
            "buffer_bytes",
            "Bytes of unfinished requests and unsent responses",
            buffers.used() as f64,
        ),
        (
            "buffer_limit_bytes",
            "Limit on buffered bytes (--max-buffer-bytes)",
            buffers.limit() as f64,
        ),
        (
            "line_requests",
            "Open requests that publish by lines as they come",
            connections.line_requests.used() as f64,
        ),
        (
            "subjects",
            "Distinct pairs of subject and key among the tokens of parked connections",
            connections.holders.len() as f64,
        ),
        (
            "subjects_blocked",
            "Subjects whose tokens are refused for a time",
            tokens.blocked as f64,
        ),
        (
            "token_cache_entries",
            "Verified tokens in the cache",
            tokens.cache_entries as f64,
        ),
        (
            "token_cache_bytes",
            "Bytes of the cache of verified tokens",
            tokens.cache_bytes as f64,
        ),
        (
            "queue_messages",
            "Messages in the producers' queue",
            process.queued as f64,
        ),
        (
            "busy_ratio",
            "Fraction of time the reactor thread is busy, averaged over about 1 s",
            f64::from(process.load_permille) / 1_000.0,
        ),
        (
            "open_files",
            "Open descriptors of the process",
            process.open_files as f64,
        ),
        (
            "open_files_limit",
            "Limit on open descriptors of the process",
            process.max_open_files as f64,
        ),
        (
            "resident_memory_bytes",
            "Resident memory of the process",
            process.resident_bytes as f64,
        ),
        ("draining", "1 while the server drains", f64::from(draining)),
        (
            "config_reload_failed",
            "1 if the last reload of the settings failed, so that the old ones are in force",
            f64::from(u8::from(connections.stats.reloads.last_failed)),
        ),
    ]
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.counters(&mut encoder)?;
        for &(name, help, value) in &self.gauges {
            let family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(family)?;
        }
        self.by_label(&mut encoder)?;
        self.histograms(&mut encoder)?;
        upgrades::encode(&self.process.upgrades, &mut encoder)?;
        if let Some(reconnects) = &self.process.reconnects {
            reconnects::encode(reconnects, &mut encoder)?;
        }
        if let Some(node) = &self.node {
            node.encode(&mut encoder)?;
        }
        match &self.process.disk {
            Some(disk) => disk::encode(disk, &mut encoder),
            None => Ok(()),
        }
    }
}

impl Snapshot {
    fn counters(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (stats, counts) = (&self.stats, &self.counts);
        for (name, help, value) in [
            (
                "connections_accepted_total",
                "Connections accepted",
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
            (
                "messages_replaced_total",
                "Messages replaced by a newer one, in channels that keep only the newest",
                counts.replaced,
            ),
            ("gaps_total", "Gaps reported to receivers", stats.gaps),
            (
                "channels_ended_total",
                "Channels that publishers ended",
                counts.ended,
            ),
            (
                "lines_published_total",
                "Messages published by lines as they came",
                stats.lines,
            ),
            (
                "readers_done_total",
                "Responses and streams that told of the end of all their channels",
                stats.completed,
            ),
            (
                "holds_expired_total",
                "Holds whose time ran out without a message",
                stats.holds_expired,
            ),
            (
                "streams_recycled_total",
                "Streams ended at their limit of bytes or age, or by a drain",
                stats.recycled,
            ),
            (
                "rights_ended_total",
                "Holds and streams that ended with their right to receive",
                stats.expired,
            ),
            (
                "writes_blocked_total",
                "Partial writes: the socket buffer was full",
                stats.blocked,
            ),
            (
                "publishes_busy_total",
                "Publishes refused because message memory was full of undelivered messages",
                counts.busy,
            ),
            (
                "channels_refused_total",
                "Requests and messages refused because a limit on channels was reached \
                 (--max-channels, or half of --history-total-bytes)",
                counts.too_many_channels,
            ),
        ] {
            let family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            count(value).encode(family)?;
        }
        Ok(())
    }

    fn by_label(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Publishers answered 503 because of the saved log or the engine, by reason";
        let name = "publishes_unsaved_total";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (reason, answered) in [
            ("late", self.stats.late_answers),
            ("busy", self.log_refused.busy),
            ("failing", self.log_refused.failing),
        ] {
            count(answered).encode(family.encode_family(&[("reason", reason)])?)?;
        }
        let help = "Open connections, by state";
        let name = "connections_by_state";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for state in State::ALL {
            let gauge = ConstGauge::new(self.states.of(state) as i64);
            gauge.encode(family.encode_family(&[("state", state.name())])?)?;
        }
        let help = "Parked connections, by transport";
        let name = "connections_parked";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for transport in Transport::ALL {
            let gauge = ConstGauge::new(i64::from(self.readers.of(transport.number())));
            gauge.encode(family.encode_family(&[("transport", transport.name())])?)?;
        }
        let help = "Connections refused, by the limit that was reached";
        let name = "connections_refused_total";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for limit in ConnectionLimit::ALL {
            let refused = count(self.stats.refused[limit as usize]);
            refused.encode(family.encode_family(&[("cause", limit.name())])?)?;
        }
        let help = "Requests and messages refused by the policy of a channel, by its key";
        let name = "policy_refusals_total";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (key, refused) in [
            ("create", self.counts.missing),
            ("max-subscribers", self.counts.too_many_subscribers),
            ("max-message-bytes", self.counts.messages_too_large),
        ] {
            count(refused).encode(family.encode_family(&[("key", key)])?)?;
        }
        let help = "Connections ended, by cause";
        let name = "connections_ended_total";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for why in CloseReason::ALL {
            let ends = count(self.stats.ends(why));
            ends.encode(family.encode_family(&[("cause", why.name())])?)?;
        }
        let help = "Tokens accepted, by their signature or as known from before";
        let name = "tokens_accepted_total";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        let accepted = [
            ("signature", self.tokens.verified),
            ("cache", self.tokens.cached),
        ];
        for (by, accepted) in accepted {
            count(accepted).encode(family.encode_family(&[("by", by)])?)?;
        }
        let help = "Tokens refused, by cause";
        let name = "tokens_refused_total";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (cause, refused) in Invalid::NAMES.into_iter().zip(self.tokens.refused) {
            count(refused).encode(family.encode_family(&[("cause", cause)])?)?;
        }
        let help = "Reloads of the settings, by result";
        let name = "config_reloads_total";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        let Reloads { done, failed, .. } = self.stats.reloads;
        for (result, reloads) in [("done", done), ("failed", failed)] {
            count(reloads).encode(family.encode_family(&[("result", result)])?)?;
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
                "Time from a publish until its delivery to a parked reader",
                &self.stats.delay_ms,
                1e3,
            ),
            (
                "fan_out_seconds",
                "Time from a publish until all subscribers of the channel have been served",
                &self.fan_out_ms,
                1e3,
            ),
            (
                "tick_seconds",
                "Duration of ticks of the reactor",
                &self.process.tick_us,
                1e6,
            ),
        ] {
            encode_histogram(encoder, (name, help), histogram, units_in_a_second)?;
        }
        Ok(())
    }
}
