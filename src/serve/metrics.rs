//! What an operator watches, in the text format of Prometheus.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::models::ModelSet;
use crate::options::Usage;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfModel {
    model: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfStage {
    model: String,
    stage: &'static str,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<OfModel, Counter>,
    inputs: Family<OfModel, Counter>,
    tokens: Family<OfModel, Counter>,
    truncated: Family<OfModel, Counter>,
    seconds: Family<OfModel, Histogram, fn() -> Histogram>,
    queued: Family<OfModel, Gauge>,
    stages: Family<OfStage, Gauge<f64, AtomicU64>>,
    fill: Family<OfModel, Gauge<f64, AtomicU64>>,
    /// Held by who writes them: what the models tell is taken out before, so that no model is told of that is gone.
    writing: Mutex<()>,
}

impl Metrics {
    /// None counted yet, but for what the models and the cache count themselves.
    pub fn new(models: &Arc<ModelSet>) -> Self {
        let mut registry = Registry::with_prefix("oxembed");
        let requests = Family::default();
        registry.register("requests", "Requests that were answered with vectors", requests.clone());
        let inputs = Family::default();
        registry.register("inputs", "Texts embedded", inputs.clone());
        let tokens = Family::default();
        registry.register("tokens", "Tokens embedded, padding not counted", tokens.clone());
        let truncated = Family::default();
        registry.register("truncated_inputs", "Texts that were cut to the model's limit", truncated.clone());
        let histogram: fn() -> Histogram = || Histogram::new(exponential_buckets(0.001, 2.0, 16));
        let seconds = Family::new_with_constructor(histogram);
        registry.register_with_unit("request", "Time of a request", Unit::Seconds, seconds.clone());
        let queued = Family::default();
        registry.register("queued_inputs", "Texts that wait or run", queued.clone());
        let stages = Family::default();
        registry.register("stage_seconds", "What the time of all threads went into", stages.clone());
        let fill = Family::default();
        registry.register("batch_fill", "Share of the batches' tokens that are not padding", fill.clone());
        registry.register_collector(Box::new(Arc::clone(models)));
        if let Some(cache) = models.cache() {
            registry.register_collector(Box::new(Arc::clone(cache)));
        }
        let writing = Mutex::default();
        Self { registry, requests, inputs, tokens, truncated, seconds, queued, stages, fill, writing }
    }

    /// A request was answered.
    pub fn answered(&self, model: &str, usage: &Usage) {
        let label = OfModel { model: model.to_owned() };
        self.requests.get_or_create(&label).inc();
        self.inputs.get_or_create(&label).inc_by(usage.inputs as u64);
        self.tokens.get_or_create(&label).inc_by(usage.total_tokens as u64);
        self.truncated.get_or_create(&label).inc_by(usage.truncated_inputs as u64);
        self.seconds.get_or_create(&label).observe(usage.duration.as_secs_f64());
    }

    /// All of them as text, with what the models count themselves.
    pub fn text(&self, models: &ModelSet) -> String {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.queued.clear();
        self.stages.clear();
        self.fill.clear();
        for served in models.all() {
            let label = OfModel { model: served.name.clone() };
            let queued = i64::try_from(served.admission.inside()).unwrap_or(i64::MAX);
            self.queued.get_or_create(&label).set(queued);
            let stages = served.embedder.stages();
            self.fill.get_or_create(&label).set(stages.tokens as f64 / stages.padded_tokens.max(1) as f64);
            for (stage, time) in [
                ("tokenize", stages.tokenize),
                ("plan", stages.plan),
                ("copy", stages.copy),
                ("run", stages.run),
                ("pool", stages.pool),
                ("wait", stages.wait),
            ] {
                let label = OfStage { model: served.name.clone(), stage };
                self.stages.get_or_create(&label).set(time.as_secs_f64());
            }
        }
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
