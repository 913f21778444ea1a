//! The metrics of saved history, which are there if `--data-dir` is given.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use super::values::{count, encode_histogram};
use crate::engine::gauges::DiskGauges;

/// Appends them.
pub(super) fn encode(disk: &DiskGauges, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    for (name, help, value, kind) in [
        (
            "disk_failing",
            "1 while the directory of saved history cannot be written, or is not used any more",
            u64::from(disk.is_failing),
            MetricType::Gauge,
        ),
        (
            "disk_bytes",
            "Bytes of the segments of saved history",
            disk.bytes,
            MetricType::Gauge,
        ),
        (
            "disk_segments",
            "Segments of saved history",
            disk.segments as u64,
            MetricType::Gauge,
        ),
        (
            "disk_errors_total",
            "Operations on the directory of saved history that failed",
            disk.errors,
            MetricType::Counter,
        ),
        (
            "disk_records_replayed",
            "Records of saved history that were read at the start",
            disk.replayed,
            MetricType::Gauge,
        ),
        (
            "disk_cut_bytes",
            "Bytes of saved history that were cut off at the start: damaged records, and what follows \
             them in their segments",
            disk.cut_bytes,
            MetricType::Gauge,
        ),
    ] {
        let family = encoder.encode_descriptor(name, help, None, kind)?;
        match kind {
            MetricType::Counter => count(value).encode(family)?,
            _ => ConstGauge::new(value as f64).encode(family)?,
        }
    }
    let texts = (
        "disk_write_seconds",
        "Duration of writes to the directory of saved history",
    );
    encode_histogram(encoder, texts, &disk.write_us, 1e6)
}
