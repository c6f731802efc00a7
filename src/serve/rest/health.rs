//! Is it there, is it ready, how is it doing; and what answers where there is no such route.

use axum::Json;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::Service;
use super::openai::OpenAiFailure;
use crate::serve::failure::{Failure, Kind};

/// `GET /live`: the process answers.
pub(super) async fn live() -> Json<Value> {
    Json(json!({"live": true}))
}

/// `GET /ready`: models are loaded; there is no listening without them.
pub(super) async fn ready(State(service): State<Service>) -> Json<Value> {
    let names: Vec<String> = service.models.all().iter().map(|served| served.name.clone()).collect();
    Json(json!({"ready": true, "models": names}))
}

/// `GET /health`: every model embeds a word.
pub(super) async fn health(State(service): State<Service>) -> Response {
    for served in service.models.all() {
        let outcome = served.embedder.encode_async(vec!["health".to_owned()], Default::default()).await;
        if let Err(error) = outcome {
            let body = json!({"healthy": false, "model": served.name, "error": error.to_string()});
            return (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response();
        }
    }
    Json(json!({"healthy": true})).into_response()
}

/// `GET /metrics`, in the text format of Prometheus.
pub(super) async fn metrics(State(service): State<Service>) -> Response {
    let kind = [(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
    (kind, service.metrics.text()).into_response()
}

pub(super) async fn no_such_route(uri: Uri) -> OpenAiFailure {
    let message = format!(
        "there is no {} here; there are POST /v1/embeddings, GET /v1/models, POST /embed, POST /tokenize, GET /info, \
         GET /health, GET /live, GET /ready and GET /metrics",
        uri.path()
    );
    OpenAiFailure(Failure::new(StatusCode::NOT_FOUND, Kind::Invalid, None, message))
}

pub(super) async fn wrong_method(method: Method, uri: Uri) -> OpenAiFailure {
    let message = format!("{} does not take {method}", uri.path());
    OpenAiFailure(Failure::new(StatusCode::METHOD_NOT_ALLOWED, Kind::Invalid, None, message))
}
