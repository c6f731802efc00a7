//! What an operator watches, in the text format of Prometheus.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::label::Label;
use super::model_metrics::ModelMetrics;
use super::models::ModelSet;
use super::observation;
use super::process::Process;
use crate::options::Usage;

/// Upper ends of the buckets that times are counted in: from a short text on an idle machine to the longest that a request
/// may take unless set otherwise.
const SECONDS: [f64; 17] =
    [0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfModel {
    model: Label<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfStage {
    model: Label<String>,
    stage: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfAnswer {
    method: &'static str,
    route: String,
    /// 0 where the client had left.
    status: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRoute {
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfFailure {
    route: String,
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfReason {
    reason: &'static str,
}

/// A request that is over.
#[derive(Debug)]
pub(crate) struct Outcome<'a> {
    pub method: &'static str,
    pub route: &'a str,
    /// None where the client had left.
    pub status: Option<u16>,
    pub failure: Option<&'static str>,
    pub elapsed: Duration,
}

/// Makes the histogram of a label.
#[derive(Debug, Clone)]
struct Times;

impl MetricConstructor<Histogram> for Times {
    fn new_metric(&self) -> Histogram {
        Histogram::new(SECONDS)
    }
}

/// All of them.
pub(crate) struct Metrics {
    own: Registry,
    process: Registry,
    requests: Family<OfModel, Counter>,
    inputs: Family<OfModel, Counter>,
    tokens: Family<OfModel, Counter>,
    truncated: Family<OfModel, Counter>,
    seconds: Family<OfModel, Histogram, Times>,
    stages: Family<OfStage, Histogram, Times>,
    answers: Family<OfAnswer, Counter>,
    answer_seconds: Family<OfRoute, Histogram, Times>,
    errors: Family<OfFailure, Counter>,
    rejected: Family<OfReason, Counter>,
    /// Requests that are being answered.
    pub in_flight: Gauge<i64, AtomicI64>,
    /// Connections that are open.
    pub connections: Gauge<i64, AtomicI64>,
    /// Connections that ever were.
    pub accepted: Counter,
    closed: Family<OfReason, Counter>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// None counted yet; `models` count for themselves.
    pub fn new(models: &Arc<ModelSet>) -> Self {
        let mut own = Registry::with_prefix("oxembed");
        own.register("build", "What runs", Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]));
        own.register_collector(Box::new(ModelMetrics(Arc::clone(models))));
        own.register_collector(Box::new(Arc::clone(models)));
        if let Some(cache) = models.cache() {
            own.register_collector(Box::new(Arc::clone(cache)));
        }
        let mut process = Registry::default();
        process.register_collector(Box::new(Process::default()));
        let metrics = Self {
            own,
            process,
            requests: Family::default(),
            inputs: Family::default(),
            tokens: Family::default(),
            truncated: Family::default(),
            seconds: Family::new_with_constructor(Times),
            stages: Family::new_with_constructor(Times),
            answers: Family::default(),
            answer_seconds: Family::new_with_constructor(Times),
            errors: Family::default(),
            rejected: Family::default(),
            in_flight: Gauge::default(),
            connections: Gauge::default(),
            accepted: Counter::default(),
            closed: Family::default(),
        };
        metrics.registered()
    }

    fn registered(mut self) -> Self {
        let own = &mut self.own;
        own.register("requests", "Calls of a model that gave vectors", self.requests.clone());
        own.register("inputs", "Texts embedded", self.inputs.clone());
        own.register("tokens", "Tokens embedded, padding not counted", self.tokens.clone());
        own.register("truncated_inputs", "Texts that were cut to the model's limit", self.truncated.clone());
        own.register_with_unit("request", "Time of a call of a model", Unit::Seconds, self.seconds.clone());
        let help = "Time of a call of a model, by what it went into: tokenize, queue, run";
        own.register_with_unit("request_stage", help, Unit::Seconds, self.stages.clone());
        let help = "Requests answered, by route, method and status; status 0: the client had left";
        own.register("http_requests", help, self.answers.clone());
        let help = "Time from the head of a request to the head of its answer";
        own.register_with_unit("http_request", help, Unit::Seconds, self.answer_seconds.clone());
        own.register("errors", "Requests without what they asked for, by kind", self.errors.clone());
        let help = "Requests that were not let in: overloaded (no room, or too many), unauthorized";
        own.register("rejected_requests", help, self.rejected.clone());
        own.register("requests_in_flight", "Requests that are being answered", self.in_flight.clone());
        own.register("connections", "Connections that are open", self.connections.clone());
        own.register("accepted_connections", "Connections that there ever were", self.accepted.clone());
        let help = "Connections that were closed on clients, by why: slow head, idle, not reading, malformed";
        own.register("closed_connections", help, self.closed.clone());
        self
    }

    /// A model gave the vectors of a request.
    pub fn answered(&self, model: &str, usage: &Usage) {
        let label = OfModel { model: Label(model.to_owned()) };
        self.requests.get_or_create(&label).inc();
        self.inputs.get_or_create(&label).inc_by(usage.inputs as u64);
        self.tokens.get_or_create(&label).inc_by(usage.total_tokens as u64);
        self.truncated.get_or_create(&label).inc_by(usage.truncated_inputs as u64);
        self.seconds.get_or_create(&label).observe(usage.duration.as_secs_f64());
        for (stage, time) in observation::stages(usage) {
            let label = OfStage { model: Label(model.to_owned()), stage };
            self.stages.get_or_create(&label).observe(time.as_secs_f64());
        }
    }

    /// A request is over, whatever became of it.
    pub fn request(&self, outcome: &Outcome<'_>) {
        let Outcome { method, route, status, failure, elapsed } = outcome;
        let label = OfAnswer { method, route: (*route).to_owned(), status: status.map_or(0, u32::from) };
        self.answers.get_or_create(&label).inc();
        let label = OfRoute { route: (*route).to_owned() };
        self.answer_seconds.get_or_create(&label).observe(elapsed.as_secs_f64());
        if let Some(kind) = *failure {
            self.errors.get_or_create(&OfFailure { route: (*route).to_owned(), kind }).inc();
            if matches!(kind, "overloaded" | "unauthorized") {
                self.rejected.get_or_create(&OfReason { reason: kind }).inc();
            }
        }
    }

    /// A connection was closed on its client.
    pub fn closed(&self, reason: &'static str) {
        self.closed.get_or_create(&OfReason { reason }).inc();
    }

    /// All of them as text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode_registry(&mut text, &self.own);
        let _ = encode_registry(&mut text, &self.process);
        let _ = encode_eof(&mut text);
        text
    }
}
