//! `GET /openapi.json`: the routes, for programs that read such documents and for the page `/docs`.
//!
//! It is written by hand: handlers read their bodies key by key, to say exactly what is wrong with one, and write vectors
//! number by number, so there are no types from which it could be derived. The tests below hold it to the router, and
//! `tests/python/test_serve_openapi.py` holds the answers to it.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::Service;
use super::openai::OpenAiFailure;
use crate::error::{EmbeddingError, Result};
use crate::model::Model;
use crate::serve::failure::Failure;

const ABOUT: &str = include_str!("../openapi/about.json");
const PATHS: &str = include_str!("../openapi/paths.json");
const SCHEMAS: &str = include_str!("../openapi/schemas.json");
const RESPONSES: &str = include_str!("../openapi/responses.json");
/// Of the routes that are there where somebody has a key for them.
const ADMIN: &str = include_str!("../openapi/admin.json");

/// The text whose tokens are an example.
const EXAMPLE: &str = "a text";

/// The document, with this service's own limits.
pub(super) async fn document(State(service): State<Service>) -> std::result::Result<Json<Value>, OpenAiFailure> {
    let has_admin = !service.settings.admin_keys.is_empty();
    let document = written(has_admin).and_then(|mut document| {
        fit(&mut document, &service)?;
        Ok(Json(document))
    });
    document.map_err(|error| Failure::from(error).into())
}

/// What holds for every service, with the routes under `/admin/` or without.
fn written(has_admin: bool) -> Result<Value> {
    let read = |name: &str, text: &str| -> Result<Value> {
        serde_json::from_str(text).map_err(|error| EmbeddingError::internal(format!("openapi/{name}.json: {error}")))
    };
    let mut document = read("about", ABOUT)?;
    document["paths"] = read("paths", PATHS)?;
    document["components"]["schemas"] = read("schemas", SCHEMAS)?;
    document["components"]["responses"] = read("responses", RESPONSES)?;
    if has_admin {
        let admin = read("admin", ADMIN)?;
        add(&mut document["paths"], &admin["paths"]);
        for kind in ["schemas", "responses", "securitySchemes"] {
            add(&mut document["components"][kind], &admin[kind]);
        }
    }
    Ok(document)
}

fn add(to: &mut Value, from: &Value) {
    for (key, value) in from.as_object().into_iter().flatten() {
        to[key] = value.clone();
    }
}

/// Writes in what this service knows: its models, what they take, how much it takes at once, whether it has keys.
fn fit(document: &mut Value, service: &Service) -> Result<()> {
    document["info"]["version"] = json!(env!("CARGO_PKG_VERSION"));
    let first = service.models.describe().into_iter().next().map(|model| model.name);
    document["paths"]["/v1/models/{name}"]["get"]["parameters"][0]["example"] = json!(first);
    let schemas = &mut document["components"]["schemas"];
    schemas["ModelName"]["enum"] = json!(service.models.names());
    schemas["Texts"]["maxItems"] = json!(service.settings.max_inputs);
    schemas["ListsOfTokenIds"]["maxItems"] = json!(service.settings.max_inputs);
    if service.settings.api_keys.is_empty()
        && let Some(document) = document.as_object_mut()
    {
        document.remove("security");
    }
    // Anyone may ask for the document, so no model is loaded for it.
    match service.models.default_if_loaded() {
        Some(served) => fit_model(document, served.embedder.model()),
        None => Ok(()),
    }
}

/// What the first model takes, which answers where a request names none.
fn fit_model(document: &mut Value, model: &Model) -> Result<()> {
    let info = model.info();
    let prompts: Vec<Value> = info.prompts.keys().map(|name| json!(name)).chain(std::iter::once(Value::Null)).collect();
    let tokens = model.tokenization().encode(EXAMPLE)?;
    let body = &mut document["paths"]["/v1/embeddings"]["post"]["requestBody"]["content"]["application/json"];
    body["examples"]["tokens"]["value"]["input"] = json!(tokens.ids);
    let schemas = &mut document["components"]["schemas"];
    schemas["PromptName"]["enum"] = json!(prompts);
    schemas["TokenId"]["maximum"] = json!(info.vocabulary_size.saturating_sub(1));
    schemas["Dimensions"]["maximum"] = json!(info.dimension);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use axum::body::Body;
    use axum::http::{Method, Request, StatusCode};
    use hyper::service::Service as _;
    use hyper_util::service::TowerToHyperService;

    use super::*;
    use crate::serve::models::ModelSet;
    use crate::serve::settings::Settings;

    const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"];

    async fn router(has_admin: bool) -> axum::Router {
        let admin_keys = if has_admin { vec!["a key".to_owned()] } else { Vec::new() };
        let settings = Arc::new(Settings { admin_keys, ..Settings::default() });
        let models = ModelSet::load(&settings, None).await.unwrap();
        crate::serve::rest::router(Service::new(settings, Arc::new(models), None))
    }

    /// `(path, method)` of every operation; where there is GET, HEAD answers too.
    fn documented(path: &Value) -> BTreeSet<&'static str> {
        let has = |method: &&str| {
            let key = if *method == "HEAD" { "get".to_owned() } else { method.to_ascii_lowercase() };
            path.get(key).is_some()
        };
        METHODS.into_iter().filter(has).collect()
    }

    #[tokio::test]
    async fn every_route_takes_the_methods_that_are_documented_and_says_so() {
        let document = written(false).unwrap();
        let service = TowerToHyperService::new(router(false).await);
        for (path, item) in document["paths"].as_object().unwrap() {
            let expected = documented(item);
            let place = path.replace("{name}", "a-model");
            for method in METHODS {
                let request = Request::builder().method(Method::from_bytes(method.as_bytes()).unwrap()).uri(&place);
                let answer = service.call(request.body(Body::empty()).unwrap()).await.unwrap();
                let refused = answer.status() == StatusCode::METHOD_NOT_ALLOWED;
                assert_eq!(refused, !expected.contains(method), "{method} {path}: {}", answer.status());
                if refused {
                    let allow = answer.headers()["allow"].to_str().unwrap();
                    assert_eq!(allow.split(',').map(str::trim).collect::<BTreeSet<_>>(), expected, "{method} {path}");
                }
            }
        }
    }

    #[tokio::test]
    async fn every_route_is_documented() {
        for has_admin in [false, true] {
            // What axum shows of a router lists its paths; nothing else of it does.
            let shown = format!("{:?}", router(has_admin).await);
            let quoted = shown.split('"').skip(1).step_by(2).filter(|text| text.starts_with('/'));
            // Fallbacks are no routes.
            let routes = quoted.filter(|path| !path.contains("__private__axum"));
            // OpenAPI has no sign for a part of a path that may have slashes.
            let routes: BTreeSet<String> = routes.map(|path| path.replace("{*", "{")).collect();
            assert!(routes.contains("/v1/embeddings"), "{routes:?}");
            let document = written(has_admin).unwrap();
            let paths = document["paths"].as_object().unwrap();
            assert_eq!(routes, paths.keys().cloned().collect());
        }
    }

    #[test]
    fn every_reference_leads_somewhere_and_everything_is_referred_to() {
        let document = written(true).unwrap();
        let text = document.to_string();
        let references = text.split("\"$ref\":\"#").skip(1).filter_map(|rest| rest.split('"').next());
        let references: BTreeSet<&str> = references.collect();
        for place in &references {
            assert!(document.pointer(place).is_some(), "{place}");
        }
        for kind in ["schemas", "responses"] {
            for name in document["components"][kind].as_object().unwrap().keys() {
                assert!(references.contains(format!("/components/{kind}/{name}").as_str()), "{kind}/{name}");
            }
        }
    }
}
