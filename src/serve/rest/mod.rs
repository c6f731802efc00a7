//! The routes.

mod admin;
pub(super) mod authorization;
mod body;
mod document;
mod fields;
mod health;
mod json;
pub(super) mod limits;
mod openai;
mod pages;
mod samples;
mod status;
mod tei;

use std::sync::Arc;
use std::time::Duration;

use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde_json::Value;

use super::draining::Draining;
use super::failure::{Failure, Kind, whole_seconds};
use super::limits::RateLimits;
use super::metrics::Metrics;
use super::models::ModelSet;
use super::observation::Observer;
use super::settings::Settings;
use super::traces::Traces;

/// What every route can see.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    pub settings: Arc<Settings>,
    pub models: Arc<ModelSet>,
    pub observer: Arc<Observer>,
    pub draining: Draining,
    pub limits: Arc<RateLimits>,
}

impl Service {
    pub fn new(settings: Arc<Settings>, models: Arc<ModelSet>, traces: Option<Traces>) -> Self {
        let limits = Arc::new(RateLimits::new(&settings));
        let observer = Arc::new(Observer { metrics: Arc::new(Metrics::new(&models)), traces });
        Self { settings, models, observer, draining: Draining::new(), limits }
    }

    /// What is counted of all requests.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.observer.metrics
    }
}

/// All routes: those that need a key where there are keys, and the public ones. Each is in `openapi/paths.json` too.
pub(crate) fn router(service: Service) -> Router {
    let guarded = Router::new()
        .route("/v1/embeddings", post(openai::embeddings))
        .route("/v1/models", get(openai::models))
        // Names of the hub have a slash, which not every client writes as %2F.
        .route("/v1/models/{*name}", get(openai::model))
        .route("/embed", post(tei::embed))
        .route("/", post(tei::embed))
        .route("/tokenize", post(tei::tokenize))
        .route("/info", get(tei::info))
        .route("/metrics", get(health::metrics))
        .route("/status.json", get(status::status))
        .layer(middleware::from_fn_with_state(service.clone(), limits::check))
        .layer(middleware::from_fn_with_state(service.clone(), authorization::check));
    let public = Router::new()
        .route("/", get(pages::status))
        .route("/docs", get(pages::docs))
        .route("/openapi.json", get(document::document))
        .route("/health", get(health::health))
        .route("/live", get(health::live))
        .route("/ready", get(health::ready));
    guarded
        .merge(public)
        .merge(admin_routes(&service))
        .method_not_allowed_fallback(health::wrong_method)
        .fallback(health::no_such_route)
        .with_state(service)
}

/// None at all where nobody has a key for them.
fn admin_routes(service: &Service) -> Router<Service> {
    if service.settings.admin_keys.is_empty() {
        return Router::new();
    }
    Router::new()
        .route("/admin/models", get(admin::models).post(admin::change))
        .route("/admin/models/{*name}", delete(admin::unload))
        .layer(middleware::from_fn_with_state(service.clone(), authorization::check_admin))
}

/// A failure in the words of an API, with what the log, the metrics and patient clients read.
fn failed(status: StatusCode, kind: Kind, retry_after: Option<Duration>, words: Value) -> Response {
    let mut response = (status, Json(words)).into_response();
    response.extensions_mut().insert(kind);
    if let Some(after) = retry_after {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(whole_seconds(after)));
    }
    response
}

/// A failure in the words of the API that `path` belongs to.
fn worded(path: &str, failure: Failure) -> Response {
    match path {
        "/" | "/embed" | "/tokenize" | "/info" => tei::TeiFailure::from(failure).into_response(),
        _ => openai::OpenAiFailure(failure).into_response(),
    }
}
