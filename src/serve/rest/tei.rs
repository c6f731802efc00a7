//! The routes of text-embeddings-inference, so that its clients work: `/embed`, `/tokenize`, `/info`.
//!
//! <https://huggingface.github.io/text-embeddings-inference/>

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::json::{list, numbers};
use super::{Service, body, failed, limits};
use crate::options::EncodeOptions;
use crate::serve::failure::{Failure, Kind};
use crate::serve::served::Inputs;
use crate::tokenization::Truncation;

/// A failure as text-embeddings-inference writes it.
pub(super) struct TeiFailure(Failure);

impl From<Failure> for TeiFailure {
    fn from(failure: Failure) -> Self {
        Self(failure)
    }
}

impl IntoResponse for TeiFailure {
    fn into_response(self) -> Response {
        let Failure { status, kind: about, message, retry_after, .. } = self.0;
        let (status, kind) = match about {
            Kind::Invalid if status == StatusCode::BAD_REQUEST => (StatusCode::UNPROCESSABLE_ENTITY, "validation"),
            Kind::Invalid => (status, "validation"),
            Kind::UnknownModel => (status, "model_not_found"),
            Kind::Unauthorized => (status, "unauthorized"),
            Kind::Overloaded => (status, "overloaded"),
            Kind::TimedOut => (status, "timeout"),
            Kind::Backend => (status, "backend"),
        };
        failed(status, about, retry_after, json!({"error": message, "error_type": kind}))
    }
}

/// `POST /embed`: a list of vectors.
pub(super) async fn embed(State(service): State<Service>, request: Request) -> Result<Response, TeiFailure> {
    let client = limits::client(request.extensions());
    let mut fields = body::read(&service, request).await?;
    let (inputs, _) = fields.inputs("inputs")?;
    let truncate = fields.boolean("truncate")?.unwrap_or(service.settings.auto_truncate);
    // The model's own side is the only one here.
    fields.one_of("truncation_direction", &["right", "Right"])?;
    let normalize = fields.boolean("normalize")?;
    let prompt_name = fields.string("prompt_name")?;
    let dimensions = fields.count("dimensions")?;
    // Sent by huggingface_hub, where it is asked for.
    fields.one_of("encoding_format", &["float"])?;
    fields.finish()?;
    service.limits.take_inputs(client, inputs.len())?;
    let served = service.models.get(None).await?;
    served.check_dimensions(dimensions)?;
    let options = EncodeOptions {
        prompt_name,
        normalize: Some(normalize.unwrap_or(true)),
        truncate_dim: dimensions,
        truncation: if truncate { Truncation::Truncate } else { Truncation::Error },
        ..EncodeOptions::default()
    };
    let embeddings = served.embed(inputs, options).await?;
    service.metrics().answered(&served.name, &embeddings.usage);
    let mut out = Vec::with_capacity(2 + embeddings.vectors.len() * 12);
    list(&mut out, embeddings.vectors.rows(), numbers);
    Ok(([(CONTENT_TYPE, "application/json")], out).into_response())
}

/// `POST /tokenize`: the tokens of each input.
pub(super) async fn tokenize(State(service): State<Service>, request: Request) -> Result<Json<Value>, TeiFailure> {
    let client = limits::client(request.extensions());
    let mut fields = body::read(&service, request).await?;
    let (inputs, _) = fields.inputs("inputs")?;
    let special = fields.boolean("add_special_tokens")?.unwrap_or(true);
    let prompt_name = fields.string("prompt_name")?;
    fields.finish()?;
    let Inputs::Texts(texts) = inputs else {
        return Err(Failure::invalid(Some("inputs"), "inputs are token ids already; send texts").into());
    };
    service.limits.take_inputs(client, texts.len())?;
    let tokens = service.models.get(None).await?.tokenize(texts, prompt_name, special).await?;
    let rows: Vec<Vec<Value>> = tokens
        .into_iter()
        .map(|row| {
            let token = |token: crate::tokenization::DescribedToken| {
                json!({"id": token.id, "text": token.text, "special": token.special,
                       "start": token.span.map(|span| span.0), "stop": token.span.map(|span| span.1)})
            };
            row.into_iter().map(token).collect()
        })
        .collect();
    Ok(Json(json!(rows)))
}

/// `GET /info`.
pub(super) async fn info(State(service): State<Service>) -> Result<Json<Value>, TeiFailure> {
    let (served, settings) = (service.models.get(None).await?, &service.settings);
    let info = served.embedder.model().info();
    Ok(Json(json!({
        "model_id": served.name,
        "model_sha": null,
        "model_dtype": info.dtype,
        "model_type": {"embedding": {"pooling": info.pooling.join("+")}},
        "max_concurrent_requests": settings.max_queued_inputs,
        "max_input_length": info.max_seq_length,
        "max_batch_tokens": crate::schedule::TOKEN_BUDGET,
        "max_batch_requests": null,
        "max_client_batch_size": settings.max_inputs,
        "auto_truncate": settings.auto_truncate,
        "tokenization_workers": info.threads,
        "version": env!("CARGO_PKG_VERSION"),
        "sha": null,
        "docker_label": null,
        "dimension": info.dimension,
        "provider": info.provider,
    })))
}
