//! The routes.

mod authorization;
mod body;
mod fields;
mod health;
mod openai;
mod tei;

use std::sync::Arc;

use axum::Router;
use axum::middleware;
use axum::routing::{get, post};

use super::metrics::Metrics;
use super::models::ModelSet;
use super::observation::{Observer, observe};
use super::settings::Settings;

/// What every route can see.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    pub settings: Arc<Settings>,
    pub models: Arc<ModelSet>,
    pub metrics: Arc<Metrics>,
}

/// All routes, the public ones of health among them.
pub(crate) fn router(settings: Arc<Settings>, models: Arc<ModelSet>, observer: Arc<Observer>) -> Router {
    let service = Service { settings, models, metrics: Arc::clone(&observer.metrics) };
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
        .layer(middleware::from_fn_with_state(service.clone(), authorization::check));
    let public = Router::new()
        .route("/health", get(health::health))
        .route("/live", get(health::live))
        .route("/ready", get(health::ready));
    let all = guarded.merge(public).fallback(health::no_such_route).with_state(service);
    all.layer(middleware::from_fn_with_state(observer, observe))
}
