//! The routes.

mod admin;
pub(super) mod authorization;
mod body;
mod document;
mod fields;
mod health;
pub(super) mod limits;
mod openai;
mod pages;
mod samples;
mod status;
mod tei;

use std::sync::Arc;

use axum::Router;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};

use super::draining::Draining;
use super::failure::Failure;
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
    pub metrics: Arc<Metrics>,
    pub observer: Arc<Observer>,
    pub draining: Draining,
    pub limits: Arc<RateLimits>,
}

impl Service {
    pub fn new(settings: Arc<Settings>, models: Arc<ModelSet>, traces: Option<Traces>) -> Self {
        let limits = Arc::new(RateLimits::new(&settings));
        let metrics = Arc::new(Metrics::new(&models));
        let observer = Arc::new(Observer { metrics: Arc::clone(&metrics), traces });
        Self { settings, models, metrics, observer, draining: Draining::new(), limits }
    }
}

/// All routes: those that need a key where there are keys, and the public ones. Each is in `openapi/paths.json` too.
pub(crate) fn router(service: Service) -> Router {
    let guarded = Router::new()
        .route("/v1/embeddings", post(openai::embeddings))
        .route("/v1/models", get(openai::models))
        .route("/v1/models/{name}", get(openai::model))
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
        .route("/admin/models/{name}", delete(admin::unload))
        .layer(middleware::from_fn_with_state(service.clone(), authorization::check_admin))
}

/// A failure in the words of the API that `path` belongs to.
fn worded(path: &str, failure: Failure) -> Response {
    match path {
        "/" | "/embed" | "/tokenize" | "/info" => tei::TeiFailure::from(failure).into_response(),
        _ => openai::OpenAiFailure(failure).into_response(),
    }
}
