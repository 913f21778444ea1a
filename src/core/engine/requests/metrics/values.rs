//! The values of metrics, as the format has them.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::base::histogram::Histogram;

/// Appends a histogram.
pub(super) fn encode_histogram(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    histogram: &Histogram,
    units_in_a_second: f64,
) -> fmt::Result {
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
    family.encode_histogram::<NoLabelSet>(sum, histogram.count(), &buckets, None)
}

/// A counter's value. The text format has `_total` in the counter's own name, so the value is
/// encoded as a plain number: as a counter it would get the suffix of OpenMetrics a second time.
pub(super) fn count(value: u64) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX))
}
