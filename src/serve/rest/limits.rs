//! Rate limits, looked at before a body is read.

use axum::extract::{Request, State};
use axum::http::Extensions;
use axum::middleware::Next;
use axum::response::Response;

use super::{Service, worded};
use crate::serve::limits::Client;

/// Lets a request through whose client has not asked too often.
pub(super) async fn check(State(service): State<Service>, request: Request, next: Next) -> Response {
    match service.limits.enter(client(request.extensions())) {
        Ok(()) => next.run(request).await,
        Err(failure) => worded(request.uri().path(), failure),
    }
}

/// Who asks, as the keys or the connection told.
pub(in crate::serve) fn client(extensions: &Extensions) -> Client {
    let known = extensions.get::<Client>().copied();
    // In a program that embeds the routes and tells nothing of where requests come from, all are one.
    known.unwrap_or_else(|| Client::at(std::net::Ipv4Addr::UNSPECIFIED.into()))
}
