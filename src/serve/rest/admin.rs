//! `/admin/models`: models that come and go while requests are answered. Only for those with an admin key, which opens
//! nothing else; without such a key in the settings these routes are not there.

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::openai::OpenAiFailure;
use super::{Service, body};
use crate::error::EmbeddingError;
use crate::serve::changes::ModelChange;
use crate::serve::failure::Failure;
use crate::serve::model_roots::permitted;
use crate::serve::slot::Description;

/// `GET /admin/models`: what there is of each, loaded or not.
pub(super) async fn models(State(service): State<Service>) -> Json<Value> {
    let models: Vec<Value> = service.models.describe().iter().map(described).collect();
    Json(json!({
        "models": models,
        "memory_bytes": service.models.memory_bytes(),
        "memory_limit_bytes": service.settings.memory_limit_bytes,
    }))
}

/// `POST /admin/models`: loads a model and, once it has embedded a text, gives it its name in place of the one that had it.
/// It goes on where the client leaves.
pub(super) async fn change(State(service): State<Service>, request: Request) -> Result<Json<Value>, OpenAiFailure> {
    let mut fields = body::read(&service, request).await?;
    let name = fields.string("name")?;
    let path = fields.string("path")?;
    let aliases = fields.strings("aliases")?;
    fields.finish()?;
    let name =
        name.ok_or_else(|| Failure::invalid(Some("name"), "name is missing: the name of the model in requests"))?;
    for (key, name) in std::iter::once(("name", &name)).chain(aliases.iter().flatten().map(|alias| ("aliases", alias)))
    {
        if name.trim().is_empty() {
            return Err(Failure::invalid(Some(key), format!("{name:?} is no name")).into());
        }
    }
    let path = path.map(|path| permitted(&service.settings, &path)).transpose()?;
    let models = std::sync::Arc::clone(&service.models);
    let change = ModelChange { name, path, aliases };
    let changing = tokio::spawn(async move { models.change(change).await });
    let lost = |error: tokio::task::JoinError| EmbeddingError::internal(format!("the change was lost: {error}"));
    let description = changing.await.map_err(lost).map_err(Failure::from)??;
    Ok(Json(described(&description)))
}

/// `DELETE /admin/models/{name}`.
pub(super) async fn unload(
    State(service): State<Service>,
    Path(name): Path<String>,
) -> Result<StatusCode, OpenAiFailure> {
    service.models.unload(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn described(model: &Description) -> Value {
    json!({
        "name": model.name,
        "aliases": model.aliases,
        "path": model.path.display().to_string(),
        "loaded": model.is_loaded,
        "memory_bytes": model.bytes,
        "requests": model.requests,
        "since": model.since,
        "hash": model.hash,
    })
}
