//! Metrics that are read when they are asked for: each writes its name, its kind and its numbers.

use std::fmt::Error;

use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::TypedMetric;

/// One name with a number for each set of labels.
pub(super) fn family<Labels: EncodeLabelSet, Metric: EncodeMetric + TypedMetric>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    metrics: impl IntoIterator<Item = (Labels, Metric)>,
) -> Result<(), Error> {
    let mut family = encoder.encode_descriptor(name, help, None, Metric::TYPE)?;
    for (labels, metric) in metrics {
        metric.encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

/// One name with one number.
pub(super) fn single<Metric: EncodeMetric + TypedMetric>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    metric: &Metric,
) -> Result<(), Error> {
    metric.encode(encoder.encode_descriptor(name, help, None, Metric::TYPE)?)
}
