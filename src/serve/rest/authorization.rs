//! API keys, compared in a time that does not depend on them, and who it is that asks.

use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::middleware::Next;
use axum::response::Response;
use sha2::{Digest, Sha256};
use subtle::{ConditionallySelectable, ConstantTimeEq};

use super::{Service, worded};
use crate::serve::failure::Failure;
use crate::serve::limits::Client;
use crate::serve::peer::Peer;

/// Lets a request through that has one of the keys, or where there are none, and notes whose it is.
pub(super) async fn check(State(service): State<Service>, mut request: Request, next: Next) -> Response {
    if note_client(&service.settings.api_keys, &mut request) {
        return next.run(request).await;
    }
    refused(&request, Failure::unauthorized("send the header `Authorization: Bearer KEY`"))
}

/// Lets a request through that has one of the admin keys.
pub(super) async fn check_admin(State(service): State<Service>, request: Request, next: Next) -> Response {
    match key_of(&service.settings.admin_keys, &request) {
        Some(_) => next.run(request).await,
        None => refused(&request, Failure::unauthorized("send the header `Authorization: Bearer ADMIN_KEY`")),
    }
}

/// Whether a request may go on: it has one of the keys, or there are none. Who asks is among its extensions then.
pub(in crate::serve) fn note_client(keys: &[String], request: &mut Request) -> bool {
    let client = if keys.is_empty() {
        request.extensions().get::<Peer>().map(|peer| Client::at(peer.0))
    } else {
        match key_of(keys, request) {
            Some(key) => Some(Client::Key(key)),
            None => return false,
        }
    };
    if let Some(client) = client {
        request.extensions_mut().insert(client);
    }
    true
}

fn refused(request: &Request, failure: Failure) -> Response {
    let mut response = worded(request.uri().path(), failure);
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

fn key_of(keys: &[String], request: &Request) -> Option<usize> {
    opens(keys, request.headers().get(AUTHORIZATION)?.as_bytes())
}

/// The place of the key that a header gives.
fn opens(keys: &[String], header: &[u8]) -> Option<usize> {
    let given = header.strip_prefix(b"Bearer ").or_else(|| header.strip_prefix(b"bearer "))?;
    // Of the hashes, so that neither the length of a key nor how much of it is right can be told by the time; and of all of
    // them, so that neither can which one it is.
    let given = Sha256::digest(given);
    let mut place = u32::MAX;
    for (index, key) in (0..).zip(keys) {
        place.conditional_assign(&index, Sha256::digest(key.as_bytes()).ct_eq(&given));
    }
    (place != u32::MAX).then_some(place as usize)
}

#[cfg(test)]
mod tests {
    use super::opens;

    #[test]
    fn only_a_whole_key_opens() {
        let keys = ["one".to_owned(), "two".to_owned()];
        assert_eq!((opens(&keys, b"Bearer one"), opens(&keys, b"Bearer two")), (Some(0), Some(1)));
        assert_eq!(opens(&keys, b"bearer two"), Some(1));
        for wrong in ["", "one", "Bearer", "Bearer ", "Bearer on", "Bearer onee", "Bearer one ", "Basic one"] {
            assert_eq!(opens(&keys, wrong.as_bytes()), None, "{wrong}");
        }
    }
}
