//! A vector database's service, in small, that embeds with a provider inside its own process: documents go in as text, and
//! come out by meaning.
//!
//! ```text
//! cargo run --release --features serve --example embedding_host -- models/all-MiniLM-L6-v2
//! curl 127.0.0.1:3000/collections/notes/documents -H 'Content-Type: application/json' \
//!     -d '{"documents": [{"id": "a", "text": "the cat sat on the mat"}]}'
//! curl 127.0.0.1:3000/collections/notes/search -H 'Content-Type: application/json' -d '{"text": "a feline", "top": 1}'
//! ```
//!
//! The service knows the trait `EmbeddingProvider` alone, so that another provider, or one made for a test, fits in its place.
//! docs/host.md walks through it.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, PoisonError, RwLock};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use oxembed::{BatchEmbeddingRequest, Embedder, EmbeddingError, EmbeddingProvider, OnnxEmbeddingProvider};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Documents by id, each with its row of length one.
type Collection = BTreeMap<String, Vec<f32>>;

/// The database: what embeds, and what is stored.
#[derive(Clone)]
struct Host {
    provider: Arc<dyn EmbeddingProvider>,
    collections: Arc<RwLock<BTreeMap<String, Collection>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Documents {
    documents: Vec<Document>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    id: String,
    text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    text: String,
    #[serde(default = "ten")]
    top: usize,
}

fn ten() -> usize {
    10
}

#[derive(Serialize)]
struct Hit {
    id: String,
    score: f32,
}

/// A request without what it asked for, in this service's own words.
struct Failure(StatusCode, String);

impl From<EmbeddingError> for Failure {
    /// The kind of an error says whose it is: a request's, or the provider's.
    fn from(error: EmbeddingError) -> Self {
        let status = match &error {
            EmbeddingError::InvalidInput { .. } => StatusCode::BAD_REQUEST,
            EmbeddingError::ProviderUnavailable { .. } | EmbeddingError::ServiceUnavailable { .. } => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self(status, error.to_string())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.0, Json(json!({"error": self.1}))).into_response()
    }
}

impl Host {
    fn new(provider: Arc<dyn EmbeddingProvider>) -> Self {
        Self { provider, collections: Arc::default() }
    }

    /// One row a text, in order: the provider's promise.
    async fn embed(&self, texts: Vec<String>) -> Result<Vec<Vec<f32>>, Failure> {
        let request = BatchEmbeddingRequest::new(self.provider.model_info().name, texts);
        let response = self.provider.embed_batch(request).await?;
        Ok(response.embeddings.rows().into_iter().map(|row| row.to_vec()).collect())
    }

    fn router(self) -> Router {
        Router::new()
            .route("/collections/{name}/documents", post(add))
            .route("/collections/{name}/search", post(search))
            .route("/health", get(health))
            .with_state(self)
    }
}

/// `POST /collections/{name}/documents`: all of them, or none.
async fn add(
    State(host): State<Host>,
    Path(name): Path<String>,
    Json(Documents { documents }): Json<Documents>,
) -> Result<Json<Value>, Failure> {
    let (ids, texts): (Vec<String>, Vec<String>) = documents.into_iter().map(|one| (one.id, one.text)).unzip();
    // Outside the lock: others search meanwhile.
    let rows = host.embed(texts).await?;
    let mut collections = host.collections.write().unwrap_or_else(PoisonError::into_inner);
    let collection = collections.entry(name).or_default();
    collection.extend(ids.into_iter().zip(rows));
    Ok(Json(json!({"documents": collection.len()})))
}

/// `POST /collections/{name}/search`: the nearest documents, the nearest first.
async fn search(
    State(host): State<Host>,
    Path(name): Path<String>,
    Json(Query { text, top }): Json<Query>,
) -> Result<Json<Value>, Failure> {
    let query = host.embed(vec![text]).await?.pop().unwrap_or_default();
    let collections = host.collections.read().unwrap_or_else(PoisonError::into_inner);
    let Some(collection) = collections.get(&name) else {
        return Err(Failure(StatusCode::NOT_FOUND, format!("there is no collection {name:?}")));
    };
    let hit = |(id, row): (&String, &Vec<f32>)| Hit {
        id: id.clone(),
        // Rows of length one: this is the cosine.
        score: row.iter().zip(&query).map(|(one, other)| one * other).sum(),
    };
    let mut hits: Vec<Hit> = collection.iter().map(hit).collect();
    hits.sort_by(|one, other| other.score.total_cmp(&one.score));
    hits.truncate(top);
    Ok(Json(json!({"hits": hits})))
}

/// `GET /health`: does the provider embed?
async fn health(State(host): State<Host>) -> Response {
    let health = host.provider.health_check().await;
    let status = if health.healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({
        "healthy": health.healthy,
        "message": health.message,
        "milliseconds": health.latency.as_secs_f64() * 1e3,
        "model": host.provider.model_info().name,
    });
    (status, Json(body)).into_response()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("name a model folder, such as models/all-MiniLM-L6-v2")?;
    // Loading takes a moment and all cores: before anybody is served, and not on a thread that serves.
    let embedder = tokio::task::spawn_blocking(move || Embedder::load(folder)).await??;
    let host = Host::new(Arc::new(OnnxEmbeddingProvider::new(embedder)));
    let listener = TcpListener::bind(("127.0.0.1", 3000)).await?;
    axum::serve(listener, host.router()).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use async_trait::async_trait;
    use axum::body::Body;
    use axum::http::{Method, Request};
    use hyper::service::Service as _;
    use hyper_util::service::TowerToHyperService;
    use ndarray::Array2;
    use oxembed::{BatchEmbeddingResponse, HealthStatus, ModelInfo};

    use super::*;

    async fn ask(router: &Router, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        let builder = Request::builder().method(method).uri(path).header("content-type", "application/json");
        let request = builder.body(Body::from(body.to_string())).unwrap();
        let response = TowerToHyperService::new(router.clone()).call(request).await.unwrap();
        let status = response.status();
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    #[tokio::test]
    async fn documents_are_found_by_meaning() {
        let embedder = Embedder::load("models/all-MiniLM-L6-v2").unwrap();
        let router = Host::new(Arc::new(OnnxEmbeddingProvider::new(embedder))).router();
        let documents = json!({"documents": [
            {"id": "cat", "text": "The cat sat on the mat."},
            {"id": "bread", "text": "A recipe for sourdough bread."},
            {"id": "sort", "text": "How to sort a list in Python."},
        ]});
        let (status, body) = ask(&router, Method::POST, "/collections/notes/documents", documents).await;
        assert_eq!((status, body), (StatusCode::OK, json!({"documents": 3})));
        for (text, nearest) in [("ordering an array", "sort"), ("a feline", "cat"), ("baking a loaf", "bread")] {
            let (_, found) = ask(&router, Method::POST, "/collections/notes/search", json!({"text": text})).await;
            let hits = found["hits"].as_array().unwrap();
            assert_eq!((hits.len(), hits[0]["id"].as_str()), (3, Some(nearest)));
            let scores: Vec<f64> = hits.iter().map(|hit| hit["score"].as_f64().unwrap()).collect();
            assert!(scores.is_sorted_by(|one, other| one >= other) && scores[0] <= 1.0 + 1e-6, "{scores:?}");
        }
        let (status, health) = ask(&router, Method::GET, "/health", Value::Null).await;
        assert_eq!(
            (status, &health["healthy"], &health["model"]),
            (StatusCode::OK, &json!(true), &json!("all-MiniLM-L6-v2"))
        );
        let (status, error) = ask(&router, Method::POST, "/collections/notes/search", json!({"text": " "})).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(error["error"].as_str().unwrap().contains("input 0 is empty or blank"), "{error}");
        let (status, _) = ask(&router, Method::POST, "/collections/none/search", json!({"text": "a"})).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
    }

    /// Rows by the first letter; it breaks for "break".
    struct Letters;

    #[async_trait]
    impl EmbeddingProvider for Letters {
        async fn embed_batch(&self, request: BatchEmbeddingRequest) -> oxembed::Result<BatchEmbeddingResponse> {
            if request.inputs.iter().any(|input| input == "break") {
                let message = "it broke".to_owned();
                return Err(EmbeddingError::InferenceFailed { message, source: None });
            }
            let mut embeddings = Array2::zeros((request.inputs.len(), 26));
            for (row, input) in request.inputs.iter().enumerate() {
                embeddings[(row, usize::from(input.as_bytes()[0] - b'a'))] = 1.0;
            }
            Ok(BatchEmbeddingResponse { model: request.model, embeddings, usage: oxembed::Usage::default() })
        }

        fn model_info(&self) -> ModelInfo {
            ModelInfo { name: "letters".to_owned(), ..ModelInfo::default() }
        }

        async fn health_check(&self) -> HealthStatus {
            HealthStatus { healthy: false, message: "not today".to_owned(), latency: Duration::ZERO }
        }
    }

    #[tokio::test]
    async fn another_provider_fits_in() {
        let router = Host::new(Arc::new(Letters)).router();
        let documents = json!({"documents": [{"id": "1", "text": "alpha"}, {"id": "2", "text": "beta"}]});
        ask(&router, Method::POST, "/collections/c/documents", documents).await;
        let (_, found) = ask(&router, Method::POST, "/collections/c/search", json!({"text": "bravo", "top": 1})).await;
        assert_eq!(found, json!({"hits": [{"id": "2", "score": 1.0}]}));
        let broken = json!({"documents": [{"id": "3", "text": "c"}, {"id": "4", "text": "break"}]});
        let (status, _) = ask(&router, Method::POST, "/collections/c/documents", broken).await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        let (_, found) = ask(&router, Method::POST, "/collections/c/search", json!({"text": "c"})).await;
        assert_eq!(found["hits"].as_array().unwrap().len(), 2, "all of them, or none");
        let (status, health) = ask(&router, Method::GET, "/health", Value::Null).await;
        assert_eq!((status, &health["message"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("not today")));
    }
}
