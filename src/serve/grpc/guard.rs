//! What every gRPC request goes through before its message is read, and every answer before it is sent.

use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::timeout;
use tonic::Status;

use super::deadline::Deadline;
use super::{is_grpc, status};
use crate::serve::failure::Failure;
use crate::serve::rest::{Service, authorization, limits};

/// Lets a request through that has one of the keys, or where there are none, and whose client has not asked too often.
pub(super) async fn with_key(State(service): State<Service>, mut request: Request, next: Next) -> Response {
    if !authorization::note_client(&service.settings.api_keys, &mut request) {
        return Status::from(Failure::unauthorized("send the metadata `authorization: Bearer KEY`")).into_http();
    }
    match service.limits.enter(limits::client(request.extensions())) {
        Ok(()) => next.run(request).await,
        Err(failure) => Status::from(failure).into_http(),
    }
}

/// Answers what is gRPC, by the deadline of the client and in the time that a request may take. A stream of answers has its
/// own limits: here it counts until it begins.
pub(super) async fn in_time(State(service): State<Service>, mut request: Request, next: Next) -> Response {
    if !is_grpc(request.headers()) || request.method() != Method::POST {
        let message = "this is a gRPC method: use a gRPC client, or the REST routes\n";
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, message).into_response();
    }
    let deadline = match Deadline::read(request.headers()) {
        Ok(deadline) => deadline,
        Err(failure) => return Status::from(failure).into_http(),
    };
    let longest = service.settings.timeout;
    let limit = deadline.map_or(longest, |deadline| deadline.limit.min(longest));
    if let Some(deadline) = deadline {
        request.extensions_mut().insert(deadline);
    }
    match timeout(limit, next.run(request)).await {
        Ok(response) => with_right_status(response, service.settings.max_body_bytes),
        Err(_) => Status::from(Failure::timed_out(limit)).into_http(),
    }
}

/// Where tonic could not read the request, the status that says so.
fn with_right_status(response: Response, limit: usize) -> Response {
    match response.extensions().get::<Status>() {
        Some(said) if !status::is_ours(said) => status::unreadable(said.clone(), limit).into_http(),
        _ => response,
    }
}
