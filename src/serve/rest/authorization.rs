//! API keys, compared in a time that does not depend on them.

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{Service, worded};
use crate::serve::failure::Failure;

/// Lets a request through that has one of the keys, or where there are none.
pub(super) async fn check(State(service): State<Service>, request: Request, next: Next) -> Response {
    if admits(&service.settings.api_keys, request.headers()) {
        return next.run(request).await;
    }
    let failure = Failure::unauthorized("send the header `Authorization: Bearer KEY`");
    let mut response = worded(request.uri().path(), failure);
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

/// Whether a request with these headers may go on.
pub(in crate::serve) fn admits(keys: &[String], headers: &HeaderMap) -> bool {
    keys.is_empty() || headers.get(AUTHORIZATION).is_some_and(|given| opens(keys, given.as_bytes()))
}

fn opens(keys: &[String], header: &[u8]) -> bool {
    let Some(given) = header.strip_prefix(b"Bearer ").or_else(|| header.strip_prefix(b"bearer ")) else { return false };
    // Of the hashes, so that neither the length of a key nor how much of it is right can be told by the time.
    let given = Sha256::digest(given);
    let right = keys.iter().map(|key| Sha256::digest(key.as_bytes()).ct_eq(&given));
    right.fold(subtle::Choice::from(0), |any, one| any | one).into()
}

#[cfg(test)]
mod tests {
    use super::opens;

    #[test]
    fn only_a_whole_key_opens() {
        let keys = ["one".to_owned(), "two".to_owned()];
        assert!(opens(&keys, b"Bearer one") && opens(&keys, b"Bearer two") && opens(&keys, b"bearer two"));
        for wrong in ["", "one", "Bearer", "Bearer ", "Bearer on", "Bearer onee", "Bearer one ", "Basic one"] {
            assert!(!opens(&keys, wrong.as_bytes()), "{wrong}");
        }
    }
}
