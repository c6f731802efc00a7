//! The body of a request, as JSON.

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use serde_json::Value;

use super::Service;
use super::fields::Fields;
use crate::serve::failure::{Failure, Kind};

/// Reads the whole body, in time, and a JSON object in it.
///
/// # Errors
/// A body that is too large, too slow, of another type, not JSON, or no object.
pub(super) async fn read(service: &Service, request: Request) -> Result<Fields, Failure> {
    if let Some(kind) = request.headers().get(CONTENT_TYPE)
        && !is_json(kind.as_bytes())
    {
        let message = "the body has to be JSON: send the header `Content-Type: application/json`";
        return Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Kind::Invalid, None, message));
    }
    let bytes = collect(service, request.into_body()).await?;
    let value: Value = serde_json::from_slice(&bytes)
        .map_err(|error| Failure::invalid(None, format!("the body is not valid JSON: {error}")))?;
    match value {
        Value::Object(map) => Ok(Fields::new(map)),
        _ => Err(Failure::invalid(None, "the body has to be a JSON object, {…}")),
    }
}

async fn collect(service: &Service, body: Body) -> Result<axum::body::Bytes, Failure> {
    let settings = &service.settings;
    let limit = settings.max_body_bytes;
    match tokio::time::timeout(settings.timeout, to_bytes(body, limit)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => {
            let is_too_large = std::error::Error::source(&error)
                .is_some_and(<dyn std::error::Error>::is::<http_body_util::LengthLimitError>);
            if is_too_large {
                let message = format!("the body is larger than {limit} bytes; send the inputs in several requests");
                return Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, Kind::Invalid, None, message));
            }
            Err(Failure::invalid(None, format!("the body broke off: {error}")))
        }
        Err(_) => {
            let message = format!("the body did not arrive within {} s", settings.timeout.as_secs_f64());
            Err(Failure::new(StatusCode::REQUEST_TIMEOUT, Kind::TimedOut, None, message))
        }
    }
}

fn is_json(kind: &[u8]) -> bool {
    let kind = String::from_utf8_lossy(kind);
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json") || kind.to_ascii_lowercase().ends_with("+json")
}
