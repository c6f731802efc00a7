//! Settings for loading a model.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::ModelFolder;
use crate::embedder::Embedder;
use crate::error::{EmbeddingError, Result};
use crate::model::{LoadSettings, Model};
use crate::precision::AUTO_DTYPE;
use crate::quantize::QuantizedModel;
use crate::runtime::devices::PlugIn;
use crate::runtime::execution::Surroundings;
use crate::runtime::library::library;
use crate::runtime::providers::{AUTO, PLUG_IN, Provider, ProviderRequest};

/// More threads than any machine has cores.
const MAX_THREADS: usize = 1024;
/// Loads an [`Embedder`]; made by [`Embedder::builder`].
///
/// ```
/// use oxembed::Embedder;
///
/// # fn main() -> oxembed::Result<()> {
/// let embedder = Embedder::builder("models/all-MiniLM-L6-v2").truncate_dim(64).provider("cpu").load()?;
/// assert_eq!(embedder.model().info().dimension, 64);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `load`"]
pub struct EmbedderBuilder {
    path: PathBuf,
    providers: Vec<ProviderRequest>,
    plug_ins: Vec<PlugIn>,
    cache: Option<PathBuf>,
    threads: Option<usize>,
    max_seq_length: Option<usize>,
    truncate_dim: Option<usize>,
    dtype: String,
    onnx_file: Option<PathBuf>,
    library: Option<PathBuf>,
    quantized: Option<Arc<QuantizedModel>>,
}

impl EmbedderBuilder {
    pub(crate) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            providers: vec![AUTO.into()],
            plug_ins: Vec::new(),
            cache: None,
            threads: None,
            max_seq_length: None,
            truncate_dim: None,
            dtype: "float32".to_owned(),
            onnx_file: None,
            library: None,
            quantized: None,
        }
    }

    /// Threads to compute with; by default as many as the process may use (affinity and cgroup quota counted).
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads);
        self
    }

    /// A shorter limit than the folder's, in tokens.
    pub fn max_seq_length(mut self, tokens: usize) -> Self {
        self.max_seq_length = Some(tokens);
        self
    }

    /// Keep the first numbers of each vector only (Matryoshka models).
    pub fn truncate_dim(mut self, dimension: usize) -> Self {
        self.truncate_dim = Some(dimension);
        self
    }

    /// The one execution provider to use, or `auto`: the fastest whose vectors are the CPU's, found out in a trial where
    /// several are installed.
    pub fn provider(self, provider: impl Into<ProviderRequest>) -> Self {
        self.providers([provider])
    }

    /// Execution providers in order of preference; each step down is logged, at load and in use.
    pub fn providers<P: Into<ProviderRequest>>(mut self, providers: impl IntoIterator<Item = P>) -> Self {
        self.providers = providers.into_iter().map(Into::into).collect();
        self
    }

    /// A library that brings execution providers; it is loaded where one of them is needed.
    pub fn plug_in(mut self, plug_in: PlugIn) -> Self {
        self.plug_ins.push(plug_in);
        self
    }

    /// A folder for what providers compile and what trials found out; without one both are done again by every process.
    pub fn cache(mut self, folder: impl Into<PathBuf>) -> Self {
        self.cache = Some(folder.into());
        self
    }

    /// Quantized layers that are in no file yet, for `dtype("int8")`.
    pub(crate) fn quantized(mut self, model: Arc<QuantizedModel>) -> Self {
        self.quantized = Some(model);
        self
    }

    /// The type of the arithmetic, `float32` unless set; one that the provider does not compute in is an error. `int8`
    /// takes the quantized layers that lie beside the weights; `auto` takes them where they passed their check and the
    /// processor is fast at them, and is `float32` elsewhere.
    pub fn dtype(mut self, dtype: impl Into<String>) -> Self {
        self.dtype = dtype.into();
        self
    }

    /// Run this ONNX file of the folder instead of a graph written from the weights.
    pub fn onnx_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.onnx_file = Some(file.into());
        self
    }

    /// ONNX Runtime's shared library, where `ORT_DYLIB_PATH` does not name it; the first load of a process decides.
    pub fn library(mut self, file: impl Into<PathBuf>) -> Self {
        self.library = Some(file.into());
        self
    }

    /// Reads the folder and makes it ready to run.
    ///
    /// # Errors
    /// `ModelNotFound`, `InvalidModel`, `InvalidInput` for a setting that cannot be honoured, `ProviderUnavailable`,
    /// `ServiceUnavailable` where ONNX Runtime is missing.
    pub fn load(self) -> Result<Embedder> {
        let threads = threads(self.threads)?;
        if self.truncate_dim == Some(0) {
            return Err(EmbeddingError::invalid_input("truncate_dim is 0; it has to be at least 1"));
        }
        check(&self.providers, &self.dtype)?;
        // The folder first: what is wrong with it can be said without ONNX Runtime.
        let folder = ModelFolder::read(&self.path)?;
        let surroundings = Surroundings {
            library: library(self.library.as_deref())?,
            plug_ins: self.plug_ins,
            dtype: self.dtype,
            threads,
            cache: self.cache,
            model: None,
        };
        let settings = LoadSettings {
            max_seq_length: self.max_seq_length,
            truncate_dim: self.truncate_dim,
            onnx_file: self.onnx_file,
            providers: self.providers,
            quantized: self.quantized,
            surroundings,
        };
        Ok(Embedder::new(Model::load(&folder, settings)?))
    }
}

/// What can be said of settings and types without looking for the providers.
fn check(providers: &[ProviderRequest], dtype: &str) -> Result<()> {
    if providers.is_empty() {
        return Err(EmbeddingError::ProviderUnavailable {
            provider: String::new(),
            message: "no provider was named; \"auto\" and \"cpu\" always work".to_owned(),
        });
    }
    let mut refusals = Vec::new();
    for request in providers.iter().filter(|request| request.name() != AUTO) {
        // A name that is in no row may be a plug-in's, which are all alike.
        let provider = Provider::named(request.name()).unwrap_or(PLUG_IN);
        request.chosen(provider)?;
        if dtype != AUTO_DTYPE {
            refusals.extend(provider.dtype(dtype).err());
        }
    }
    // Of a list, one that computes in the type is enough.
    if refusals.len() == providers.len() { refusals.into_iter().next().map_or(Ok(()), Err) } else { Ok(()) }
}

/// Threads to compute with: those asked for, or as many as the process may use.
pub(crate) fn threads(asked: Option<usize>) -> Result<usize> {
    match asked {
        None => Ok(std::thread::available_parallelism().map_or(1, std::num::NonZero::get)),
        Some(threads) if (1..=MAX_THREADS).contains(&threads) => Ok(threads),
        Some(threads) => {
            Err(EmbeddingError::invalid_input(format!("threads={threads}: from 1 to {MAX_THREADS} are possible")))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{MAX_THREADS, check, threads};
    use crate::runtime::providers::ProviderRequest;

    #[test]
    fn settings_and_types_are_refused_before_anything_is_loaded() {
        assert!(check(&["coreml".into(), "cpu".into()], "float32").is_ok());
        assert!(check(&[], "float32").unwrap_err().to_string().contains("\"cpu\""));
        assert!(check(&["cpu".into()], "float16").unwrap_err().to_string().contains("does not compute"));
        assert!(check(&["cuda".into(), "cpu".into()], "float16").is_ok());
        let unknown = ProviderRequest::named("cuda").setting("unit", "all");
        assert!(check(&["cpu".into(), unknown], "float32").unwrap_err().to_string().contains("unit"));
        let of_a_plug_in = ProviderRequest::named("ExampleExecutionProvider").setting("minimum_share", "2");
        assert!(check(&["cpu".into(), of_a_plug_in], "float32").unwrap_err().to_string().contains("from 0 to 1"));
    }

    #[test]
    fn thread_counts_are_bounded() {
        assert!(threads(None).unwrap() >= 1);
        assert_eq!(threads(Some(3)).unwrap(), 3);
        assert!(threads(Some(0)).is_err() && threads(Some(MAX_THREADS + 1)).is_err());
    }
}
