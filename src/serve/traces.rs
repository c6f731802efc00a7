//! Traces: a span for each request and one for each stage of it, sent to a collector by OTLP over HTTP.
//!
//! A client's own trace goes on here, by the header `traceparent` of W3C. OpenTelemetry's variables hold for what has no
//! setting: how many requests are traced (OTEL_TRACES_SAMPLER), headers for the collector (OTEL_EXPORTER_OTLP_HEADERS).

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use axum::body::Bytes;
use axum::http::{HeaderMap, Request, Response};
use http_body_util::Full;
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{Span as _, SpanKind, Status, TraceContextExt as _, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{HeaderExtractor, HttpClient, HttpError};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tokio::runtime::Handle;

use super::failure::ServeError;
use super::http_client;
use super::settings::Settings;

/// How long the collector may take for what it is sent.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where spans go.
#[derive(Debug, Clone)]
pub(crate) struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

/// A request as its span tells of it.
#[derive(Debug)]
pub(crate) struct TracedRequest {
    pub name: String,
    pub parent: Context,
    pub started: SystemTime,
    pub attributes: Vec<KeyValue>,
    /// What it is called that went wrong on our side.
    pub failure: Option<&'static str>,
    pub stages: Vec<TracedStage>,
}

/// A stage of a request.
#[derive(Debug, Clone)]
pub(crate) struct TracedStage {
    pub name: &'static str,
    pub started: SystemTime,
    pub duration: Duration,
}

impl Traces {
    /// Begins to send where the settings say where to. It has to be called inside the service's runtime.
    ///
    /// # Errors
    /// [`ServeError::Setting`] where OpenTelemetry does not take what it is told.
    pub fn start(settings: &Settings) -> Result<Option<Self>, ServeError> {
        let Some(endpoint) = &settings.otlp_endpoint else { return Ok(None) };
        let endpoint = format!("{}/v1/traces", endpoint.trim_end_matches('/'));
        let collector = Collector { runtime: Handle::current(), is_away: AtomicBool::new(false) };
        let exporter = SpanExporter::builder().with_http().with_http_client(collector).with_endpoint(endpoint);
        let exporter = exporter.with_timeout(PATIENCE).build().map_err(|error| ServeError::Setting {
            setting: "--otlp-endpoint".to_owned(),
            message: error.to_string(),
        })?;
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let resource = Resource::builder().with_service_name(settings.service_name.clone()).with_attribute(version);
        let provider =
            SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource.build()).build();
        let tracer = provider.tracer("oxembed");
        Ok(Some(Self { provider, tracer }))
    }

    /// The trace that a client has begun; an empty one where it has not.
    pub fn parent(headers: &HeaderMap) -> Context {
        TraceContextPropagator::new().extract_with_context(&Context::new(), &HeaderExtractor(headers))
    }

    /// A request is over.
    pub fn request(&self, request: TracedRequest) {
        let TracedRequest { name, parent, started, attributes, failure, stages } = request;
        let builder = self.tracer.span_builder(name).with_kind(SpanKind::Server).with_start_time(started);
        let mut span = builder.with_attributes(attributes).start_with_context(&self.tracer, &parent);
        if let Some(failure) = failure {
            span.set_status(Status::error(failure));
        }
        let inside = parent.with_remote_span_context(span.span_context().clone());
        for stage in stages {
            let builder = self.tracer.span_builder(stage.name).with_start_time(stage.started);
            builder.start_with_context(&self.tracer, &inside).end_with_timestamp(stage.started + stage.duration);
        }
        span.end();
    }

    /// Sends what is left and ends.
    pub async fn stop(self) {
        let stopping = tokio::task::spawn_blocking(move || self.provider.shutdown_with_timeout(PATIENCE));
        match stopping.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the last traces were not sent"),
            Err(error) => tracing::warn!(%error, "the last traces were lost"),
        }
    }
}

/// The way to the collector. OpenTelemetry sends from a thread of its own, and sockets live in the service's runtime.
#[derive(Debug)]
struct Collector {
    runtime: Handle,
    /// It was away the last time, which was logged.
    is_away: AtomicBool,
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let url = request.uri().clone();
        let answer = self.runtime.spawn(http_client::send(request.map(Full::new), PATIENCE)).await;
        let answer = answer.map_err(HttpError::from).and_then(|answer| answer);
        let problem = match &answer {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(format!("the answer is {}", answer.status())),
            Err(error) => Some(error.to_string()),
        };
        let was_away = self.is_away.swap(problem.is_some(), Ordering::AcqRel);
        match problem {
            Some(problem) if !was_away => {
                tracing::warn!(%url, problem, "the collector takes no traces; they are dropped until it does");
            }
            None if was_away => tracing::info!(%url, "the collector takes traces again"),
            _ => {}
        }
        answer
    }
}
