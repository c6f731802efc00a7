//! gRPC, on the port of the REST routes: the service of `proto/oxembed.proto`, health, and reflection.
//!
//! A request walks through `guard` (its type, its key, its deadline), tonic's decoder, and `embedding` or `stream`, which ask
//! the same models as the REST routes.

mod deadline;
mod embedding;
mod guard;
mod health;
mod protocol;
mod status;
mod stream;
#[cfg(test)]
mod tests;

use std::io;

use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use axum::{Router, middleware};
use tonic::Status;
use tonic::service::Routes;
use tonic_health::pb::health_server::HealthServer;

use super::failure::ServeError;
use super::rest::Service;
use embedding::EmbeddingService;
use health::HealthService;
use protocol::embedding_server::EmbeddingServer;

/// All services, as routes that have no fallback.
///
/// # Errors
/// [`ServeError::Runtime`] where reflection cannot read the descriptors that are built in.
pub(crate) fn router(service: &Service) -> Result<Router, ServeError> {
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(protocol::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let unreadable = |error| ServeError::Runtime { source: io::Error::other(error) };
    let embedding = EmbeddingServer::new(EmbeddingService(service.clone()));
    let guarded = middleware::from_fn_with_state(service.clone(), guard::with_key);
    let guarded = Routes::from(Router::new())
        .add_service(embedding.max_decoding_message_size(service.settings.max_body_bytes))
        .add_service(reflection().build_v1().map_err(unreadable)?)
        // What Python's client of reflection and older ones speak.
        .add_service(reflection().build_v1alpha().map_err(unreadable)?)
        .into_axum_router()
        .layer(guarded);
    // An orchestrator that asks for health has no key.
    let public = Routes::from(Router::new())
        .add_service(HealthServer::new(HealthService::new(service.draining.clone())))
        .into_axum_router();
    Ok(guarded.merge(public).layer(middleware::from_fn_with_state(service.clone(), guard::in_time)))
}

/// Whether these are the headers of a gRPC request. That of a browser (`application/grpc-web`) is another protocol.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.as_bytes().strip_prefix(b"application/grpc"));
    kind.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// The answer to a method that there is not.
pub(crate) fn no_such_method(path: &str) -> Response {
    let message = format!(
        "there is no {path} here; there are the services {}, grpc.health.v1.Health and grpc.reflection.v1.ServerReflection",
        protocol::embedding_server::SERVICE_NAME
    );
    Status::unimplemented(status::shortened(message)).into_http()
}
