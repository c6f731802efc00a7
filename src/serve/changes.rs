//! Models that come and go while requests are answered: loads, swaps, and room made for them.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::http::StatusCode;

use super::admission::Admission;
use super::failure::{Failure, Kind};
use super::loading::{LoadedModel, least_bytes, load, on_a_thread};
use super::models::ModelSet;
use super::served::Served;
use super::settings::ModelSetting;
use super::slot::{Description, Slot, now};
use crate::error::{EmbeddingError, Result};

/// A model that is to be served by a name, in place of the one that has it.
#[derive(Debug, Clone)]
pub(crate) struct ModelChange {
    pub name: String,
    /// None: the folder that it was loaded from.
    pub path: Option<PathBuf>,
    /// None: those that it has.
    pub aliases: Option<Vec<String>>,
}

impl ModelSet {
    /// Loads a model, sees that it embeds, and gives it its name: in place of the one that had it, which answers the
    /// requests that it was asked and is gone then.
    ///
    /// # Errors
    /// A name that is another model's or no room (409), a model that does not load (422); what was served before still is.
    pub async fn change(&self, change: ModelChange) -> Result<Description, Failure> {
        let _changing = self.changing.lock().await;
        let slot = self.slot_for(&change)?;
        let path = change.path.unwrap_or_else(|| slot.path());
        let broken = |error: EmbeddingError| {
            let message = format!("model {:?} does not load, and what was served before still is: {error}", slot.name);
            Failure::new(StatusCode::UNPROCESSABLE_ENTITY, Kind::Invalid, Some("path"), message)
        };
        if let Some(limit) = self.settings.memory_limit_bytes {
            let bytes = least_bytes(path.clone()).await.map_err(broken)?;
            if bytes > limit || !self.make_room(bytes, &slot).await {
                let message = format!(
                    "model {:?} takes {bytes} bytes or more, for which there is no room beside the version that is served; \
                     the limit is {limit}: raise --memory-limit-bytes",
                    slot.name
                );
                return Err(Failure::new(StatusCode::CONFLICT, Kind::Invalid, None, message));
            }
        }
        self.load_into(&slot, path).await.map_err(broken)?;
        self.list(&slot, change.aliases);
        self.settle(&slot).await;
        Ok(slot.describe())
    }

    /// Takes a model and its names out. Requests that it was asked are answered.
    ///
    /// # Errors
    /// An unknown name; the last model, without which there is no service.
    pub async fn unload(&self, name: &str) -> Result<(), Failure> {
        let _changing = self.changing.lock().await;
        let slot = self.slot(Some(name))?;
        if slot.name != name {
            return Err(is_an_alias(name, &slot));
        }
        if !self.unlist(&slot) {
            let message = format!("{name:?} is the only model; load another one first, or stop the service");
            return Err(Failure::new(StatusCode::CONFLICT, Kind::Invalid, None, message));
        }
        tracing::info!(model = name, "unloaded");
        release(slot.take()).await;
        Ok(())
    }

    /// The slot of the name, a new one where it is new.
    fn slot_for(&self, change: &ModelChange) -> Result<Arc<Slot>, Failure> {
        let slot = match (self.slot(Some(&change.name)), &change.path) {
            (Ok(slot), _) if slot.name != change.name => return Err(is_an_alias(&change.name, &slot)),
            (Ok(slot), _) => slot,
            (Err(_), Some(path)) => {
                let model = ModelSetting { name: change.name.clone(), aliases: Vec::new(), path: path.clone() };
                Arc::new(Slot::new(&model, 0))
            }
            (Err(unknown), None) => {
                let message = format!("{}; to load a new one, send its path", unknown.message);
                return Err(Failure { message, ..unknown });
            }
        };
        for alias in change.aliases.iter().flatten() {
            if let Ok(other) = self.slot(Some(alias))
                && !Arc::ptr_eq(&other, &slot)
            {
                let message = format!("{alias:?} is a name of model {:?}", other.name);
                return Err(Failure::new(StatusCode::CONFLICT, Kind::Invalid, Some("aliases"), message));
            }
        }
        Ok(slot)
    }

    /// Loads a model that had to go, unless that was done meanwhile.
    pub(super) async fn load_unloaded(&self, slot: &Arc<Slot>) -> Result<Arc<Served>> {
        let _changing = self.changing.lock().await;
        if let Some(served) = slot.served() {
            return Ok(served);
        }
        if !self.slots().iter().any(|other| Arc::ptr_eq(other, slot)) {
            return Err(EmbeddingError::invalid_input("it was taken out of the service meanwhile"));
        }
        self.make_room(slot.bytes(), slot).await;
        let served = self.load_into(slot, slot.path()).await?;
        self.settle(slot).await;
        Ok(served)
    }

    /// Loads the model in the folder `path` into a slot. The caller has seen that nobody else changes anything.
    pub(super) async fn load_into(&self, slot: &Arc<Slot>, path: PathBuf) -> Result<Arc<Served>> {
        let loaded = load(&self.settings, path.clone()).await;
        let loaded = loaded.inspect_err(|error| {
            self.failed_loads.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(model = slot.name, %error, "a model does not load");
        })?;
        self.loads.fetch_add(1, Ordering::Relaxed);
        let served = Arc::new(self.served(slot, loaded));
        let info = served.embedder.model().info();
        tracing::info!(
            model = slot.name,
            dimension = info.dimension,
            provider = info.provider,
            dtype = info.dtype,
            bytes = self.settings.wants_memory().then_some(served.share.bytes),
            hash = served.hash,
            "loaded"
        );
        release(slot.put(Arc::clone(&served), path)).await;
        Ok(served)
    }

    /// Unloads what there is no room for any more: the model in this slot, just loaded, may take more than was known before.
    pub(super) async fn settle(&self, slot: &Arc<Slot>) {
        if let Some(limit) = self.settings.memory_limit_bytes
            && !self.unload_down_to(limit, slot).await
        {
            let bytes = slot.bytes();
            tracing::warn!(model = slot.name, bytes, limit, "it takes more memory than the limit, all alone");
        }
    }

    fn served(&self, slot: &Slot, loaded: LoadedModel) -> Served {
        Served {
            name: slot.name.clone(),
            embedder: loaded.embedder,
            since: now(),
            admission: Arc::new(Admission::new(self.settings.max_queued_inputs)),
            tokenizing: Arc::new(Admission::new(self.settings.max_queued_inputs)),
            max_inputs: self.settings.max_inputs,
            timeout: self.settings.timeout,
            hash: loaded.hash,
            requests: Arc::clone(&slot.requests),
            cache: self.cache.clone(),
            share: self.room.take(loaded.bytes),
        }
    }

    /// Sees that so many bytes fit in, by unloading others than the spared one, and by waiting for those that still answer.
    /// False where the spared one is in the way.
    async fn make_room(&self, bytes: u64, spared: &Arc<Slot>) -> bool {
        let Some(limit) = self.settings.memory_limit_bytes else { return true };
        let most = limit.saturating_sub(bytes);
        if !self.unload_down_to(most, spared).await {
            return false;
        }
        // What is no longer served but still answers; a request holds one model, so each of them comes to its end.
        self.room.at_most(most).await;
        true
    }

    /// Unloads models that were not asked for longest until the others take no more than `most`. False where the spared one
    /// alone takes more.
    async fn unload_down_to(&self, most: u64, spared: &Arc<Slot>) -> bool {
        loop {
            let slots = self.slots();
            let loaded = slots.iter().filter_map(|slot| Some((slot, slot.served()?.share.bytes)));
            let loaded: Vec<(&Arc<Slot>, u64)> = loaded.collect();
            if loaded.iter().map(|(_, bytes)| bytes).sum::<u64>() <= most {
                return true;
            }
            let others = loaded.iter().map(|(slot, _)| *slot).filter(|slot| !Arc::ptr_eq(slot, spared));
            let Some(oldest) = others.min_by_key(|slot| slot.last_asked()) else { return false };
            tracing::info!(model = oldest.name, "unloaded to make room; it is loaded again when it is asked for");
            self.evictions.fetch_add(1, Ordering::Relaxed);
            release(oldest.take()).await;
        }
    }
}

/// Lets go of a model on a thread that may take its time: where nobody else has it, its memory is given back there.
async fn release(served: Option<Arc<Served>>) {
    if let Some(served) = served
        && let Err(error) = on_a_thread(move || {
            drop(served);
            Ok(())
        })
        .await
    {
        tracing::error!(%error, "a model was not let go of");
    }
}

fn is_an_alias(name: &str, slot: &Slot) -> Failure {
    let message = format!("{name:?} is another name of model {:?}; use that", slot.name);
    Failure::new(StatusCode::CONFLICT, Kind::Invalid, Some("name"), message)
}
