//! The metrics of upgrades.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;

use super::values::{count, encode_histogram};
use crate::engine::gauges::{UpgradeGauges, UpgradeResult};

/// Appends them.
pub(super) fn encode(upgrades: &UpgradeGauges, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help = "Upgrades, by result";
    let name = "upgrades_total";
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for result in UpgradeResult::ALL {
        let ended = count(upgrades.results[result as usize]);
        ended.encode(family.encode_family(&[("result", result.name())])?)?;
    }
    let help = "Connections that a process handed over to the next one";
    let name = "connections_handed_over_total";
    let family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    count(upgrades.connections).encode(family)?;
    let texts = (
        "upgrade_seconds",
        "Time for which an upgrade, successful or not, kept all clients waiting",
    );
    encode_histogram(encoder, texts, &upgrades.pause_us, 1e6)
}
