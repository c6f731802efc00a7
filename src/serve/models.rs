//! The models of a service, by name: loaded at the start, and later too, while requests are answered.
//!
//! One is loaded, swapped or unloaded at a time (`changes`): each load uses all cores, and what one takes of the memory is known
//! before the next begins. Requests look a name up and hold on to the model that they found, so another can take its
//! place meanwhile. With a limit of memory, models that were not asked for longest go, and come back when they are.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use axum::http::StatusCode;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::cache::EmbeddingCache;
use super::failure::{Failure, Kind, ServeError};
use super::family::single;
use super::loading::least_bytes;
use super::room::Room;
use super::served::Served;
use super::settings::Settings;
use super::slot::{Description, Slot};
use crate::error::{EmbeddingError, Result};

/// What is served.
#[derive(Debug)]
pub(crate) struct ModelSet {
    pub(super) settings: Arc<Settings>,
    pub(super) cache: Option<Arc<EmbeddingCache>>,
    names: RwLock<Names>,
    /// Held by who loads, swaps or unloads.
    pub(super) changing: Mutex<()>,
    pub(super) room: Arc<Room>,
    /// Goes on with each request, to tell which came last.
    clock: AtomicU64,
    pub(super) loads: AtomicU64,
    pub(super) failed_loads: AtomicU64,
    pub(super) evictions: AtomicU64,
}

/// The first model is the default where a request names none.
#[derive(Debug, Default)]
struct Names {
    slots: Vec<Arc<Slot>>,
    by_name: BTreeMap<String, Arc<Slot>>,
}

impl ModelSet {
    /// Loads the models, one after the other; with a limit of memory, as many as it has room for.
    ///
    /// # Errors
    /// The first that does not load, or that is larger than the limit alone.
    pub async fn load(settings: &Arc<Settings>, cache: Option<Arc<EmbeddingCache>>) -> Result<Self, ServeError> {
        let set = Self {
            settings: Arc::clone(settings),
            cache,
            names: RwLock::default(),
            changing: Mutex::default(),
            room: Arc::default(),
            clock: AtomicU64::new(1),
            loads: AtomicU64::new(0),
            failed_loads: AtomicU64::new(0),
            evictions: AtomicU64::new(0),
        };
        for model in &settings.models {
            let failed = |source| ServeError::Model { name: model.name.clone(), source: Box::new(source) };
            let bytes = match settings.memory_limit_bytes {
                None => 0,
                Some(_) => least_bytes(model.path.clone()).await.map_err(failed)?,
            };
            let slot = Arc::new(Slot::new(model, bytes));
            set.list(&slot, Some(model.aliases.clone()));
            if let Some(limit) = settings.memory_limit_bytes {
                if bytes > limit {
                    let message =
                        format!("model {:?} takes {bytes} bytes or more, and the limit is {limit}", model.name);
                    return Err(ServeError::Setting { setting: "--memory-limit-bytes".to_owned(), message });
                }
                if set.room.held().saturating_add(bytes) > limit {
                    tracing::info!(
                        model = model.name,
                        "there is no room for it yet: it is loaded when it is asked for"
                    );
                    continue;
                }
            }
            set.load_into(&slot, model.path.clone()).await.map_err(failed)?;
            set.settle(&slot).await;
        }
        Ok(set)
    }

    /// The model of a request; the first where it names none. It goes on answering the request when another has taken its
    /// place meanwhile. One that is not loaded is waited for, as long as a request may take.
    ///
    /// # Errors
    /// An unknown name; a model that does not load again, or not in time.
    pub async fn get(self: &Arc<Self>, name: Option<&str>) -> Result<Arc<Served>, Failure> {
        let slot = self.slot(name)?;
        slot.ask(self.clock.fetch_add(1, Ordering::Relaxed));
        if let Some(served) = slot.served() {
            return Ok(served);
        }
        let limit = self.settings.timeout;
        let loaded = timeout(limit, self.loaded_again(&slot)).await.map_err(|_| Failure::timed_out(limit))?;
        loaded.map_err(|error| {
            let message = format!("model {:?} had been unloaded and does not load again: {error}", slot.name);
            Failure::new(StatusCode::SERVICE_UNAVAILABLE, Kind::Backend, Some("model"), message)
        })
    }

    /// The first model, where it is loaded: requests that name none get it.
    pub fn default_if_loaded(&self) -> Option<Arc<Served>> {
        self.slots().first()?.served()
    }

    /// Those that are loaded, in the order in which their names came.
    pub fn all(&self) -> Vec<Arc<Served>> {
        self.slots().iter().filter_map(|slot| slot.served()).collect()
    }

    /// What is to be told of each, loaded or not.
    pub fn describe(&self) -> Vec<Description> {
        self.slots().iter().map(|slot| slot.describe()).collect()
    }

    /// What is to be told of the one of this name.
    ///
    /// # Errors
    /// An unknown name.
    pub fn described(&self, name: &str) -> Result<Description, Failure> {
        Ok(self.slot(Some(name))?.describe())
    }

    /// The cache in front of them.
    pub fn cache(&self) -> Option<&Arc<EmbeddingCache>> {
        self.cache.as_ref()
    }

    /// Memory that they take, as far as it is counted.
    pub fn memory_bytes(&self) -> u64 {
        self.room.held()
    }

    pub(super) fn slots(&self) -> Vec<Arc<Slot>> {
        self.names.read().unwrap_or_else(PoisonError::into_inner).slots.clone()
    }

    pub(super) fn slot(&self, name: Option<&str>) -> Result<Arc<Slot>, Failure> {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        let found = match name {
            None => names.slots.first(),
            Some(name) => names.by_name.get(name),
        };
        found.cloned().ok_or_else(|| {
            let known: Vec<&str> = names.by_name.keys().map(String::as_str).collect();
            let message =
                format!("there is no model {:?} here; there is {}", name.unwrap_or_default(), known.join(", "));
            Failure::new(StatusCode::NOT_FOUND, Kind::UnknownModel, Some("model"), message)
        })
    }

    /// All names by which requests can name them, aliases too.
    pub fn names(&self) -> Vec<String> {
        self.names.read().unwrap_or_else(PoisonError::into_inner).by_name.keys().cloned().collect()
    }

    /// Gives a slot its name, and these other names in place of those that it had.
    pub(super) fn list(&self, slot: &Arc<Slot>, aliases: Option<Vec<String>>) {
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        if !names.slots.iter().any(|other| Arc::ptr_eq(other, slot)) {
            names.slots.push(Arc::clone(slot));
        }
        names.by_name.insert(slot.name.clone(), Arc::clone(slot));
        if let Some(aliases) = aliases {
            names.by_name.retain(|name, other| !Arc::ptr_eq(other, slot) || *name == slot.name);
            for alias in &aliases {
                names.by_name.insert(alias.clone(), Arc::clone(slot));
            }
            slot.set_aliases(aliases);
        }
    }

    /// Takes a slot and all its names out; false where it is the last one, which stays.
    pub(super) fn unlist(&self, slot: &Arc<Slot>) -> bool {
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        if names.slots.len() == 1 {
            return false;
        }
        names.slots.retain(|other| !Arc::ptr_eq(other, slot));
        names.by_name.retain(|_, other| !Arc::ptr_eq(other, slot));
        true
    }

    /// Waits for the model to be loaded: one load, however many wait, which goes on when they have left.
    async fn loaded_again(self: &Arc<Self>, slot: &Arc<Slot>) -> Result<Arc<Served>> {
        let mut outcome = slot.loading(|sender| {
            let (set, slot) = (Arc::clone(self), Arc::clone(slot));
            tokio::spawn(async move {
                let outcome = set.load_unloaded(&slot).await;
                slot.loaded();
                sender.send_replace(Some(outcome));
            });
        });
        let lost = |_| EmbeddingError::internal("the loading of a model was lost");
        let outcome = outcome.wait_for(Option::is_some).await.map_err(lost)?.clone();
        outcome.unwrap_or_else(|| Err(EmbeddingError::internal("a model was loaded without an outcome")))
    }
}

impl Collector for ModelSet {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let loaded = ConstGauge::new(self.all().len());
        single(&mut encoder, "models_loaded", "Models in memory", &loaded)?;
        for (name, help, count) in [
            ("model_loads", "Models loaded, the ones at the start among them", &self.loads),
            ("model_load_failures", "Models that did not load", &self.failed_loads),
            ("model_evictions", "Models unloaded to make room for others", &self.evictions),
        ] {
            single(&mut encoder, name, help, &ConstCounter::new(count.load(Ordering::Relaxed)))?;
        }
        if self.settings.wants_memory() {
            let help = "Memory that the models take, as it is counted against the limit";
            single(&mut encoder, "model_memory_bytes", help, &ConstGauge::new(self.room.held()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "models_tests.rs"]
mod tests;
