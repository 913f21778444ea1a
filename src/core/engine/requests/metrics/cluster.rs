//! The metrics of a node of a cluster, which are there if `--engine` is given.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use super::values::{count, encode_histogram};
use crate::base::histogram::Histogram;
use crate::hub::Hub;
use crate::log::Clustered;
use crate::log::cluster::{Counts, Gauges};

/// A copy of what is shown of a node.
#[derive(Debug)]
pub(super) struct NodeMetrics {
    counts: Counts,
    gauges: Gauges,
    beat_ms: Histogram,
    publish_ms: Histogram,
    channels_elsewhere: usize,
    uncounted_elsewhere: u64,
}

impl NodeMetrics {
    pub(super) fn of(log: &Clustered, hub: &Hub) -> NodeMetrics {
        NodeMetrics {
            counts: *log.node().counts(),
            gauges: log.node().gauges(),
            beat_ms: log.node().beat_ms().clone(),
            publish_ms: log.publish_ms().clone(),
            channels_elsewhere: hub.channels_elsewhere(),
            uncounted_elsewhere: hub.uncounted_elsewhere(),
        }
    }

    /// Appends them.
    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Gauges { applied, tip, .. } = self.gauges;
        let lag = match applied.term == tip.term {
            true => tip.number.saturating_sub(applied.number),
            false => tip.number + 1,
        };
        let gauges = &self.gauges;
        for (name, help, value) in [
            (
                "engine_up",
                "1 while this node is connected to the engine and follows the log",
                f64::from(u8::from(gauges.is_up)),
            ),
            (
                "engine_term",
                "The term of the log: when it was opened, in milliseconds since 1970",
                gauges.term as f64,
            ),
            (
                "engine_applied",
                "Number of the entry of the log that this node applied last, in its term",
                applied.number as f64,
            ),
            (
                "engine_tip",
                "Number of the newest entry that is known to exist, in its term",
                tip.number as f64,
            ),
            (
                "engine_lag_entries",
                "Entries of the log that this node has not applied yet",
                lag as f64,
            ),
            (
                "engine_publishes_waiting",
                "Publishes that wait for the engine",
                gauges.waiting as f64,
            ),
            (
                "engine_log_bytes",
                "Bytes of entries in the log",
                gauges.log_bytes as f64,
            ),
            (
                "engine_oldest_seconds",
                "Age of the oldest entry in the log",
                gauges.oldest_ms as f64 / 1e3,
            ),
            (
                "engine_nodes",
                "Nodes of the cluster, this one included",
                gauges.nodes as f64,
            ),
            (
                "engine_config_differs",
                "Nodes whose limits on history differ from those of this one",
                gauges.differing as f64,
            ),
            (
                "engine_channels_elsewhere",
                "Channels of the other nodes whose subscribers there are known",
                self.channels_elsewhere as f64,
            ),
        ] {
            let family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(family)?;
        }
        self.encode_counts(encoder)?;
        let texts = (
            "engine_beat_seconds",
            "Time that the beats of this node took through the engine, there and back",
        );
        encode_histogram(encoder, texts, &self.beat_ms, 1e3)?;
        let texts = (
            "engine_publish_seconds",
            "Time from a publish until it was read back and applied, or refused",
        );
        encode_histogram(encoder, texts, &self.publish_ms, 1e3)
    }

    fn encode_counts(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let counts = &self.counts;
        for (name, help, value) in [
            (
                "engine_terms_total",
                "Terms of the log that began while this node followed it",
                counts.terms,
            ),
            (
                "engine_terms_opened_total",
                "Terms that this node opened",
                counts.opened,
            ),
            (
                "engine_retold_total",
                "Entries that the engine had forgotten and this node told again",
                counts.retold,
            ),
            (
                "engine_holes_total",
                "Places where entries of the log were missing, told as a gap",
                counts.holes,
            ),
            (
                "engine_groups_total",
                "Entries with messages that this node appended",
                counts.groups,
            ),
            (
                "engine_messages_total",
                "Messages in the entries that this node appended",
                counts.messages,
            ),
            (
                "engine_resent_total",
                "Entries that this node sent again in a later term",
                counts.resent,
            ),
            (
                "engine_undecided_total",
                "Publishes of which it is not known whether the engine has taken them",
                counts.unknown,
            ),
            (
                "engine_deaf_total",
                "Times that this node did not hear itself and connected anew",
                counts.deaf,
            ),
            (
                "engine_skipped_total",
                "Entries that this version does not know and skipped",
                counts.skipped,
            ),
            (
                "engine_uncounted_total",
                "Channels of other nodes whose subscribers are not counted, for lack of room",
                self.uncounted_elsewhere,
            ),
            (
                "engine_foreign_total",
                "Entries of the log that no node has written, and that were skipped",
                counts.foreign,
            ),
            (
                "engine_rollbacks_total",
                "Times that the engine had an older log in place of the one that was read",
                counts.rolled,
            ),
        ] {
            let family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            count(value).encode(family)?;
        }
        let help = "Losses of messages that readers were told as a gap, by scope";
        let name = "engine_losses_total";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (scope, losses) in [("all", counts.losses_all), ("channels", counts.losses_some)] {
            count(losses).encode(family.encode_family(&[("scope", scope)])?)?;
        }
        Ok(())
    }
}
