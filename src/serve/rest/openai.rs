//! OpenAI's routes: `/v1/embeddings` and `/v1/models`, with its bodies for answers and errors.
//!
//! <https://platform.openai.com/docs/api-reference/embeddings>

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::json::{list, numbers};
use super::{Service, body, failed, limits};
use crate::embedder::Embeddings;
use crate::options::EncodeOptions;
use crate::serve::failure::{Failure, Kind};
use crate::serve::slot::Description;
use crate::tokenization::Truncation;

/// How vectors are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    /// A list of numbers.
    Float,
    /// The bytes of little-endian single-precision numbers.
    Base64,
}

/// A failure as OpenAI writes it.
pub(super) struct OpenAiFailure(pub Failure);

impl From<Failure> for OpenAiFailure {
    fn from(failure: Failure) -> Self {
        Self(failure)
    }
}

impl IntoResponse for OpenAiFailure {
    fn into_response(self) -> Response {
        let Failure { status, kind: about, message, key, retry_after } = self.0;
        let (kind, code) = match about {
            Kind::Invalid => ("invalid_request_error", None),
            Kind::UnknownModel => ("invalid_request_error", Some("model_not_found")),
            Kind::Unauthorized => ("invalid_request_error", Some("invalid_api_key")),
            Kind::Overloaded => ("rate_limit_error", Some("rate_limit_exceeded")),
            Kind::TimedOut => ("timeout_error", None),
            Kind::Backend => ("server_error", None),
        };
        let body = json!({"error": {"message": message, "type": kind, "param": key, "code": code}});
        failed(status, about, retry_after, body)
    }
}

/// `POST /v1/embeddings`.
pub(super) async fn embeddings(State(service): State<Service>, request: Request) -> Result<Response, OpenAiFailure> {
    let client = limits::client(request.extensions());
    let mut fields = body::read(&service, request).await?;
    let (inputs, _) = fields.inputs("input")?;
    let model = fields.string("model")?;
    let encoding = match fields.one_of("encoding_format", &["float", "base64"])? {
        Some("base64") => Encoding::Base64,
        _ => Encoding::Float,
    };
    let dimensions = fields.count("dimensions")?;
    // Whom the caller works for: nothing is kept of it.
    fields.string("user")?;
    fields.finish()?;
    service.limits.take_inputs(client, inputs.len())?;
    let served = service.models.get(model.as_deref()).await?;
    served.check_dimensions(dimensions)?;
    let options = EncodeOptions {
        truncate_dim: dimensions,
        // OpenAI's vectors have a length of one at any number of dimensions.
        normalize: dimensions.map(|_| true),
        truncation: if service.settings.auto_truncate { Truncation::Truncate } else { Truncation::Error },
        ..EncodeOptions::default()
    };
    let embeddings = served.embed(inputs, options).await?;
    service.metrics().answered(&served.name, &embeddings.usage);
    Ok(([(CONTENT_TYPE, "application/json")], written(&served.name, &embeddings, encoding)).into_response())
}

/// The answer.
fn written(model: &str, embeddings: &Embeddings, encoding: Encoding) -> Vec<u8> {
    use std::io::Write as _;
    let mut out = Vec::with_capacity(256 + embeddings.vectors.len() * 12);
    out.extend_from_slice(br#"{"object":"list","data":"#);
    list(&mut out, embeddings.vectors.rows().into_iter().enumerate(), |out, (index, row)| {
        // Writing to memory does not fail, here and below.
        let _ = write!(out, r#"{{"object":"embedding","index":{index},"embedding":"#);
        match encoding {
            Encoding::Float => numbers(out, row),
            Encoding::Base64 => {
                let bytes: Vec<u8> = row.iter().flat_map(|value| value.to_le_bytes()).collect();
                let _ = write!(out, r#""{}""#, STANDARD.encode(bytes));
            }
        }
        out.push(b'}');
    });
    let tokens = embeddings.usage.total_tokens;
    let model = Value::from(model);
    let _ = write!(out, r#","model":{model},"usage":{{"prompt_tokens":{tokens},"total_tokens":{tokens}}}}}"#);
    out
}

/// `GET /v1/models`.
pub(super) async fn models(State(service): State<Service>) -> Json<Value> {
    let models: Vec<Value> = service.models.describe().iter().map(described).collect();
    Json(json!({"object": "list", "data": models}))
}

/// `GET /v1/models/{name}`.
pub(super) async fn model(
    State(service): State<Service>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, OpenAiFailure> {
    let Path(name) = name
        .map_err(|error| Failure::invalid(None, format!("the model's name cannot be read: {}", error.body_text())))?;
    Ok(Json(described(&service.models.described(&name)?)))
}

fn described(model: &Description) -> Value {
    json!({"id": model.name, "object": "model", "created": model.since, "owned_by": "oxembed"})
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::options::Usage;

    #[test]
    fn both_encodings_hold_the_same_numbers() {
        let vectors = array![[0.1_f32, -2.5e-8, 1.0], [3.0, f32::MIN_POSITIVE, 0.0]];
        let usage = Usage { inputs: 2, total_tokens: 7, ..Usage::default() };
        let embeddings = Embeddings { vectors: vectors.clone(), usage };
        let parse = |encoding| serde_json::from_slice::<Value>(&written("a \"model\"", &embeddings, encoding)).unwrap();
        let (floats, coded) = (parse(Encoding::Float), parse(Encoding::Base64));
        assert_eq!((&floats["model"], &floats["usage"]["total_tokens"]), (&json!("a \"model\""), &json!(7)));
        for (index, row) in vectors.rows().into_iter().enumerate() {
            let numbers: Vec<f32> = serde_json::from_value(floats["data"][index]["embedding"].clone()).unwrap();
            assert_eq!(numbers, row.to_vec());
            let bytes = STANDARD.decode(coded["data"][index]["embedding"].as_str().unwrap()).unwrap();
            let numbers: Vec<f32> =
                bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
            assert_eq!(numbers, row.to_vec());
            assert_eq!(floats["data"][index]["index"], json!(index));
        }
    }
}
