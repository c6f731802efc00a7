//! The routes.

mod admin;
mod authorization;
mod body;
mod fields;
mod health;
mod limits;
mod openai;
mod tei;

use std::sync::Arc;

use axum::Router;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};

use super::failure::Failure;
use super::limits::RateLimits;
use super::metrics::Metrics;
use super::models::ModelSet;
use super::settings::Settings;

/// What every route can see.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    pub settings: Arc<Settings>,
    pub models: Arc<ModelSet>,
    pub metrics: Arc<Metrics>,
    pub limits: Arc<RateLimits>,
}

/// All routes, the public ones of health among them.
pub(crate) fn router(settings: Arc<Settings>, models: Arc<ModelSet>) -> Router {
    let limits = Arc::new(RateLimits::new(&settings));
    let metrics = Arc::new(Metrics::new(&models));
    let service = Service { settings, models, metrics, limits };
    let guarded = Router::new()
        .route("/v1/embeddings", post(openai::embeddings))
        .route("/v1/models", get(openai::models))
        .route("/v1/models/{name}", get(openai::model))
        .route("/embed", post(tei::embed))
        .route("/", post(tei::embed))
        .route("/tokenize", post(tei::tokenize))
        .route("/info", get(tei::info))
        .route("/metrics", get(health::metrics))
        .method_not_allowed_fallback(health::wrong_method)
        .layer(middleware::from_fn_with_state(service.clone(), limits::check))
        .layer(middleware::from_fn_with_state(service.clone(), authorization::check));
    let public = Router::new()
        .route("/health", get(health::health))
        .route("/live", get(health::live))
        .route("/ready", get(health::ready));
    let routes = guarded.merge(public).merge(admin_routes(&service));
    routes.fallback(health::no_such_route).with_state(service)
}

/// None at all where nobody has a key for them.
fn admin_routes(service: &Service) -> Router<Service> {
    if service.settings.admin_keys.is_empty() {
        return Router::new();
    }
    Router::new()
        .route("/admin/models", get(admin::models).post(admin::change))
        .route("/admin/models/{name}", delete(admin::unload))
        .method_not_allowed_fallback(health::wrong_method)
        .layer(middleware::from_fn_with_state(service.clone(), authorization::check_admin))
}

/// A failure in the words of the API that the path belongs to.
fn refusal(path: &str, failure: Failure) -> Response {
    if path.starts_with("/v1/") {
        openai::OpenAiFailure::from(failure).into_response()
    } else {
        tei::TeiFailure::from(failure).into_response()
    }
}
