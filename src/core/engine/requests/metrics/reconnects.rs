//! The metric of connections to the engine of a cluster, which is there if `--engine` is given.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;

use super::values::count;
use crate::engine::gauges::{ReconnectCause, Reconnects};

/// Appends it.
pub(super) fn encode(reconnects: &Reconnects, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help = "Connections to the engine that broke or were not established, by cause";
    let name = "engine_reconnects_total";
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for cause in ReconnectCause::ALL {
        let connections = count(reconnects[cause as usize]);
        connections.encode(family.encode_family(&[("cause", cause.name())])?)?;
    }
    Ok(())
}
