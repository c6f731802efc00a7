//! Is it there, is it ready, how is it doing; and what answers where there is no such route.

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::openai::OpenAiFailure;
use super::{Service, worded};
use crate::options::EncodeOptions;
use crate::serve::failure::{Failure, Kind};
use crate::serve::grpc;

/// `GET /live`: the process answers.
pub(super) async fn live() -> Json<Value> {
    Json(json!({"live": true}))
}

/// `GET /ready`: models are loaded, or will be when they are asked for; there is no listening without them. Not ready any more
/// once the service is to end.
pub(super) async fn ready(State(service): State<Service>) -> Response {
    let names: Vec<String> = service.models.describe().into_iter().map(|model| model.name).collect();
    let ready = !service.draining.has_begun();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({"ready": ready, "models": names}))).into_response()
}

/// `GET /health`: every model that is loaded embeds a word.
pub(super) async fn health(State(service): State<Service>) -> Response {
    for served in service.models.all() {
        let outcome = served.embedder.encode_async(vec!["health".to_owned()], EncodeOptions::default()).await;
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
    (kind, service.metrics().text()).into_response()
}

pub(super) async fn no_such_route(uri: Uri, headers: HeaderMap) -> Response {
    if grpc::is_grpc(&headers) {
        return grpc::no_such_method(uri.path());
    }
    let message = format!("there is no {} here; /openapi.json lists what there is, and /docs shows it", uri.path());
    OpenAiFailure(Failure::new(StatusCode::NOT_FOUND, Kind::Invalid, None, message)).into_response()
}

pub(super) async fn wrong_method(method: Method, uri: Uri) -> Response {
    let message = format!("{} does not take {method}; the header Allow says what it takes", uri.path());
    worded(uri.path(), Failure::new(StatusCode::METHOD_NOT_ALLOWED, Kind::Invalid, None, message))
}
