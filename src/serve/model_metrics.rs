//! What the models of a service count themselves, read when it is asked for: a model that is gone has none.

use std::collections::BTreeMap;
use std::fmt::Error;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder};
use prometheus_client::metrics::MetricType;

use super::label::Label;
use super::models::ModelSet;
use super::served::Served;
use crate::stages::Stages;

/// The counts of all models.
#[derive(Debug)]
pub(super) struct ModelMetrics(pub Arc<ModelSet>);

/// No labels of an exemplar, of which there are none.
type NoLabels = [(&'static str, &'static str); 0];

fn counter(encoder: &mut MetricEncoder<'_>, value: f64) -> Result<(), Error> {
    encoder.encode_counter::<NoLabels, f64, f64>(&value, None)
}

impl Collector for ModelMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let all = self.0.all();
        let counts: Vec<(&Arc<Served>, Stages)> = all.iter().map(|served| (served, served.embedder.stages())).collect();
        let gauge = |served: &Served| served.admission.inside() as f64;
        each(&mut encoder, "queued_inputs", "Texts that wait or run", MetricType::Gauge, &counts, |served, _| {
            gauge(served)
        })?;
        let help = "Share of the batches' tokens that are not padding";
        let fill = |stages: &Stages| stages.tokens as f64 / stages.padded_tokens.max(1) as f64;
        each(&mut encoder, "batch_fill", help, MetricType::Gauge, &counts, |_, stages| fill(stages))?;
        each(&mut encoder, "batches", "Batches computed", MetricType::Counter, &counts, |_, stages| {
            stages.batches as f64
        })?;
        let help = "Tokens in batches, padding not counted; equal texts of a call once";
        each(&mut encoder, "batch_tokens", help, MetricType::Counter, &counts, |_, stages| stages.tokens as f64)?;
        let help = "Tokens in batches with their padding";
        each(&mut encoder, "batch_padded_tokens", help, MetricType::Counter, &counts, |_, stages| {
            stages.padded_tokens as f64
        })?;
        let help = "Failures of providers in use, after which the next took over";
        each(&mut encoder, "provider_failures", help, MetricType::Counter, &counts, |served, _| {
            served.embedder.placement().failures as f64
        })?;
        stages(&mut encoder, &counts)?;
        placement(&mut encoder, &all)
    }
}

/// A number of each model.
fn each(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    kind: MetricType,
    counts: &[(&Arc<Served>, Stages)],
    value: impl Fn(&Served, &Stages) -> f64,
) -> Result<(), Error> {
    let is_counter = matches!(kind, MetricType::Counter);
    let mut family = encoder.encode_descriptor(name, help, None, kind)?;
    for (served, stages) in counts {
        let label = [("model", Label(&*served.name))];
        let mut metric = family.encode_family(&label)?;
        let value = value(served, stages);
        if is_counter { counter(&mut metric, value)? } else { metric.encode_gauge(&value)? }
    }
    Ok(())
}

/// What the time of the threads went into.
fn stages(encoder: &mut DescriptorEncoder<'_>, counts: &[(&Arc<Served>, Stages)]) -> Result<(), Error> {
    let help = "What the time of all threads went into; wait: that calls had no thread";
    let mut family = encoder.encode_descriptor("stage_seconds", help, None, MetricType::Counter)?;
    for (served, stages) in counts {
        for (stage, time) in [
            ("tokenize", stages.tokenize),
            ("plan", stages.plan),
            ("copy", stages.copy),
            ("run", stages.run),
            ("pool", stages.pool),
            ("wait", stages.wait),
        ] {
            let label = [("model", Label(&*served.name)), ("stage", Label(stage))];
            counter(&mut family.encode_family(&label)?, time.as_secs_f64())?;
        }
    }
    Ok(())
}

/// Which provider was chosen, and which does how much of the work, as ONNX Runtime recorded it.
fn placement(encoder: &mut DescriptorEncoder<'_>, all: &[Arc<Served>]) -> Result<(), Error> {
    let help = "The execution provider and the arithmetic that were chosen";
    let mut family = encoder.encode_descriptor("model_info", help, None, MetricType::Gauge)?;
    for served in all {
        let info = served.embedder.model().info();
        let label = [
            ("model", Label(&*served.name)),
            ("provider", Label(&*info.provider)),
            ("dtype", Label(info.dtype.as_str())),
        ];
        family.encode_family(&label)?.encode_gauge(&1_i64)?;
    }
    let help = "Share of a model's work that a provider of ONNX Runtime does, of all its sessions";
    let mut family = encoder.encode_descriptor("placement_share", help, None, MetricType::Gauge)?;
    for served in all {
        let sessions = served.embedder.placement().sessions;
        let mut shares: BTreeMap<&str, f64> = BTreeMap::new();
        for session in &sessions {
            for provider in session.providers.keys() {
                *shares.entry(provider).or_default() += session.share(provider) / sessions.len() as f64;
            }
        }
        for (provider, share) in shares {
            let label = [("model", Label(&*served.name)), ("provider", Label(provider))];
            family.encode_family(&label)?.encode_gauge(&share)?;
        }
    }
    Ok(())
}
