//! Making a model ready to be served.

use std::path::PathBuf;
use std::sync::Arc;

use super::model_files::ModelFiles;
use super::room::resident_bytes;
use super::settings::Settings;
use crate::embedder::Embedder;
use crate::error::{EmbeddingError, Result};
use crate::options::EncodeOptions;

/// A model that has embedded a text.
#[derive(Debug)]
pub(super) struct LoadedModel {
    pub embedder: Embedder,
    /// Where somebody wants it: the cache, or who may swap models.
    pub hash: Option<String>,
    /// What it takes, where somebody wants to know: the bytes of its weights' files, and by how much the memory grew that the
    /// process has for itself. What requests took at the same time is in it.
    pub bytes: u64,
}

/// Loads the model in the folder `path`, and sees that it embeds.
///
/// # Errors
/// Whatever keeps it from loading; `InvalidModel` where its folder was written to meanwhile.
pub(super) async fn load(settings: &Arc<Settings>, path: PathBuf) -> Result<LoadedModel> {
    let settings = Arc::clone(settings);
    on_a_thread(move || {
        let is_told = settings.wants_hashes() || settings.wants_memory();
        let files = is_told.then(|| ModelFiles::of(&path)).transpose()?;
        let before = resident_bytes();
        let mut builder = Embedder::builder(&path).dtype(settings.dtype.clone()).provider(settings.provider.as_str());
        if let Some(threads) = settings.threads {
            builder = builder.threads(threads);
        }
        let embedder = builder.load()?;
        embedder.encode(&["a text, to see that it works"], &EncodeOptions::default())?;
        let grown = resident_bytes().saturating_sub(before);
        let bytes = files.as_ref().map_or(0, |files| files.weights.saturating_add(grown));
        let hash = files.filter(|_| settings.wants_hashes()).map(|files| files.hash(&embedder)).transpose()?;
        Ok(LoadedModel { embedder, hash, bytes })
    })
    .await
}

/// What a model in the folder `path` takes at least, known before it is loaded.
///
/// # Errors
/// What is wrong with the folder.
pub(super) async fn least_bytes(path: PathBuf) -> Result<u64> {
    on_a_thread(move || Ok(ModelFiles::of(&path)?.weights)).await
}

/// Where something may take its time.
pub(super) async fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let outcome = tokio::task::spawn_blocking(work).await;
    outcome.unwrap_or_else(|error| Err(EmbeddingError::internal(format!("a model's thread was lost: {error}"))))
}
