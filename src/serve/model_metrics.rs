//! What the models of a service count themselves, read when it is asked for: a model that is gone has none.

use std::collections::BTreeMap;
use std::fmt::Error;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::TypedMetric;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::family::family;
use super::label::Label;
use super::models::ModelSet;
use super::served::Served;
use crate::stages::Stages;

/// The counts of all models.
#[derive(Debug)]
pub(super) struct ModelMetrics(pub Arc<ModelSet>);

type Counted = (Arc<Served>, Stages);

impl Collector for ModelMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let all: Vec<Counted> =
            self.0.all().into_iter().map(|served| (Arc::clone(&served), served.embedder.stages())).collect();
        let encoder = &mut encoder;
        each(encoder, "queued_inputs", "Texts that wait or run", &all, |served, _| {
            ConstGauge::new(served.admission.inside() as f64)
        })?;
        let help = "Share of the batches' tokens that are not padding";
        each(encoder, "batch_fill", help, &all, |_, stages| {
            ConstGauge::new(stages.tokens as f64 / stages.padded_tokens.max(1) as f64)
        })?;
        each(encoder, "batches", "Batches computed", &all, |_, stages| ConstCounter::new(stages.batches))?;
        let help = "Tokens in batches, padding not counted; equal texts of a call once";
        each(encoder, "batch_tokens", help, &all, |_, stages| ConstCounter::new(stages.tokens))?;
        let help = "Tokens in batches with their padding";
        each(encoder, "batch_padded_tokens", help, &all, |_, stages| ConstCounter::new(stages.padded_tokens))?;
        let help = "Failures of providers in use, after which the next took over";
        each(encoder, "provider_failures", help, &all, |served, _| {
            ConstCounter::new(served.embedder.placement().failures)
        })?;
        stage_seconds(encoder, &all)?;
        placement(encoder, &all)
    }
}

/// A number of each model.
fn each<Metric: EncodeMetric + TypedMetric>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    all: &[Counted],
    metric: impl Fn(&Served, &Stages) -> Metric,
) -> Result<(), Error> {
    let metrics = all.iter().map(|(served, stages)| ([("model", Label(&*served.name))], metric(served, stages)));
    family(encoder, name, help, metrics)
}

/// What the time of the threads went into.
fn stage_seconds(encoder: &mut DescriptorEncoder<'_>, all: &[Counted]) -> Result<(), Error> {
    let help = "What the time of all threads went into; wait: that calls had no thread";
    let metrics = all.iter().flat_map(|(served, stages)| {
        let times = [
            ("tokenize", stages.tokenize),
            ("plan", stages.plan),
            ("copy", stages.copy),
            ("run", stages.run),
            ("pool", stages.pool),
            ("wait", stages.wait),
        ];
        times.map(|(stage, time)| {
            ([("model", Label(&*served.name)), ("stage", Label(stage))], ConstCounter::new(time.as_secs_f64()))
        })
    });
    family(encoder, "stage_seconds", help, metrics)
}

/// Which provider was chosen, and which does how much of the work, as ONNX Runtime recorded it.
fn placement(encoder: &mut DescriptorEncoder<'_>, all: &[Counted]) -> Result<(), Error> {
    let help = "The execution provider and the arithmetic that were chosen";
    let chosen = all.iter().map(|(served, _)| {
        let info = served.embedder.model().info();
        let (provider, dtype) = (Label(&*info.provider), Label(info.dtype.as_str()));
        ([("model", Label(&*served.name)), ("provider", provider), ("dtype", dtype)], ConstGauge::new(1_i64))
    });
    family(encoder, "model_info", help, chosen)?;
    let help = "Share of a model's work that a provider of ONNX Runtime does, of all its sessions";
    let shares = all.iter().flat_map(|(served, _)| {
        shares(served).into_iter().map(|(provider, share)| {
            ([("model", Label(served.name.clone())), ("provider", Label(provider))], ConstGauge::new(share))
        })
    });
    family(encoder, "placement_share", help, shares)
}

fn shares(served: &Served) -> BTreeMap<String, f64> {
    let sessions = served.embedder.placement().sessions;
    let mut shares = BTreeMap::new();
    for session in &sessions {
        for provider in session.providers.keys() {
            *shares.entry(provider.clone()).or_default() += session.share(provider) / sessions.len() as f64;
        }
    }
    shares
}
