//! The models of a service, by name: loaded at the start, and later too, while requests are answered.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::UNIX_EPOCH;

use axum::http::StatusCode;

use super::admission::Admission;
use super::failure::{Failure, Kind, ServeError};
use super::served::Served;
use super::settings::{ModelSetting, Settings};
use crate::embedder::Embedder;
use crate::error::{EmbeddingError, Result};
use crate::options::EncodeOptions;

/// What is served.
#[derive(Debug)]
pub(crate) struct ModelSet {
    settings: Arc<Settings>,
    state: RwLock<State>,
}

/// The first model is the default where a request names none.
#[derive(Debug, Default)]
struct State {
    models: Vec<Arc<Served>>,
    by_name: BTreeMap<String, Arc<Served>>,
}

impl ModelSet {
    /// Loads all models, one after the other: each uses all cores for that.
    ///
    /// # Errors
    /// The first that does not load.
    pub async fn load(settings: &Arc<Settings>) -> Result<Self, ServeError> {
        let set = Self { settings: Arc::clone(settings), state: RwLock::default() };
        for model in &settings.models {
            let loaded = set.loaded(model.clone()).await;
            let served = loaded.map_err(|source| ServeError::Model { name: model.name.clone(), source })?;
            set.put(&model.aliases, served);
        }
        Ok(set)
    }

    /// The model of a request; the first where it names none. It goes on answering the request when another has taken its
    /// place meanwhile.
    ///
    /// # Errors
    /// An unknown name.
    pub fn get(&self, name: Option<&str>) -> Result<Arc<Served>, Failure> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let found = match name {
            None => state.models.first(),
            Some(name) => state.by_name.get(name),
        };
        found.cloned().ok_or_else(|| {
            let names: Vec<&str> = state.by_name.keys().map(String::as_str).collect();
            let message =
                format!("there is no model {:?} here; there is {}", name.unwrap_or_default(), names.join(", "));
            Failure::new(StatusCode::NOT_FOUND, Kind::UnknownModel, Some("model"), message)
        })
    }

    /// All names by which requests can name them, aliases too.
    pub fn names(&self) -> Vec<String> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).by_name.keys().cloned().collect()
    }

    /// All of them, in the order in which they came.
    pub fn all(&self) -> Vec<Arc<Served>> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).models.clone()
    }

    /// Loads a model, sees that it embeds, and gives it its name: in place of the one that had it, which answers the
    /// requests that it was asked and is gone then.
    ///
    /// # Errors
    /// Whatever keeps it from loading; what was served before still is.
    pub async fn swap(&self, model: ModelSetting) -> Result<Arc<Served>> {
        let aliases = model.aliases.clone();
        let served = self.loaded(model).await?;
        Ok(self.put(&aliases, served))
    }

    /// Takes a model out.
    ///
    /// # Errors
    /// An unknown name; the last model, without which there is no service.
    pub fn unload(&self, name: &str) -> Result<(), Failure> {
        let served = self.get(Some(name))?;
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if state.models.len() == 1 {
            let message = format!("{name:?} is the only model; load another one first, or stop the service");
            return Err(Failure::new(StatusCode::CONFLICT, Kind::Invalid, None, message));
        }
        state.models.retain(|other| !Arc::ptr_eq(other, &served));
        state.by_name.retain(|_, other| !Arc::ptr_eq(other, &served));
        Ok(())
    }

    fn put(&self, aliases: &[String], served: Served) -> Arc<Served> {
        let served = Arc::new(served);
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let before = state.by_name.get(&served.name).cloned();
        let place = before.as_ref().and_then(|old| state.models.iter().position(|other| Arc::ptr_eq(other, old)));
        match place.and_then(|place| state.models.get_mut(place)) {
            Some(slot) => *slot = Arc::clone(&served),
            None => state.models.push(Arc::clone(&served)),
        }
        if let Some(before) = before {
            for other in state.by_name.values_mut().filter(|other| Arc::ptr_eq(other, &before)) {
                *other = Arc::clone(&served);
            }
        }
        for name in std::iter::once(&served.name).chain(aliases) {
            state.by_name.insert(name.clone(), Arc::clone(&served));
        }
        served
    }

    async fn loaded(&self, model: ModelSetting) -> Result<Served> {
        let settings = Arc::clone(&self.settings);
        let loading = tokio::task::spawn_blocking(move || {
            let mut builder =
                Embedder::builder(&model.path).dtype(settings.dtype.clone()).provider(settings.provider.as_str());
            if let Some(threads) = settings.threads {
                builder = builder.threads(threads);
            }
            let embedder = builder.load()?;
            embedder.encode(&["a text, to see that it works"], &EncodeOptions::default())?;
            Ok::<_, EmbeddingError>((model.name, embedder))
        });
        let loaded = loading.await.map_err(|error| EmbeddingError::internal(format!("loading was lost: {error}")))?;
        let (name, embedder) = loaded?;
        let info = embedder.model().info();
        tracing::info!(
            model = name,
            dimension = info.dimension,
            provider = info.provider,
            dtype = info.dtype,
            "loaded"
        );
        Ok(Served {
            name,
            embedder,
            since: UNIX_EPOCH.elapsed().map_or(0, |elapsed| elapsed.as_secs()),
            admission: Arc::new(Admission::new(self.settings.max_queued_inputs)),
            max_inputs: self.settings.max_inputs,
            timeout: self.settings.timeout,
        })
    }
}
