//! Settings for loading a model.

use std::path::{Path, PathBuf};

use crate::config::ModelFolder;
use crate::embedder::Embedder;
use crate::error::{EmbeddingError, Result};
use crate::model::{LoadSettings, Model};
use crate::runtime::library::library;

/// More threads than any machine has cores.
const MAX_THREADS: usize = 1024;
/// The name under which a user asks for the CPU, and ONNX Runtime's own name for it.
const CPU: &[&str] = &["cpu", "CPUExecutionProvider"];
const AUTO: &str = "auto";

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
    providers: Vec<String>,
    threads: Option<usize>,
    max_seq_length: Option<usize>,
    truncate_dim: Option<usize>,
    dtype: String,
    onnx_file: Option<PathBuf>,
    library: Option<PathBuf>,
}

impl EmbedderBuilder {
    pub(crate) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            providers: vec![AUTO.to_owned()],
            threads: None,
            max_seq_length: None,
            truncate_dim: None,
            dtype: "float32".to_owned(),
            onnx_file: None,
            library: None,
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

    /// The one execution provider to use, or `auto`.
    pub fn provider(self, provider: impl Into<String>) -> Self {
        self.providers([provider.into()])
    }

    /// Execution providers in order of preference; each step down is logged.
    pub fn providers(mut self, providers: impl IntoIterator<Item = String>) -> Self {
        self.providers = providers.into_iter().collect();
        self
    }

    /// The type of the arithmetic, `float32` unless set; one that the provider does not compute in is an error.
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
        let (provider, stepped_down) = choose_provider(&self.providers)?;
        check_dtype(&self.dtype, &provider)?;
        let threads = threads(self.threads)?;
        if self.truncate_dim == Some(0) {
            return Err(EmbeddingError::invalid_input("truncate_dim is 0; it has to be at least 1"));
        }
        // The folder first: what is wrong with it can be said without ONNX Runtime.
        let folder = ModelFolder::read(&self.path)?;
        let library = library(self.library.as_deref())?;
        let settings = LoadSettings {
            threads,
            max_seq_length: self.max_seq_length,
            truncate_dim: self.truncate_dim,
            onnx_file: self.onnx_file,
            provider,
            stepped_down,
        };
        let (model, forward, session) = Model::load(folder, library, &settings)?;
        Embedder::new(model, forward, session)
    }
}

/// Types of arithmetic by name, as torch has them.
const DTYPES: &[&str] = &["float32", "float16", "bfloat16"];

/// A provider computes in what it has kernels for; to convert to and fro would be slower and no more exact.
fn check_dtype(dtype: &str, provider: &str) -> Result<()> {
    if dtype == "float32" {
        return Ok(());
    }
    Err(EmbeddingError::invalid_input(if DTYPES.contains(&dtype) {
        format!(
            "dtype={dtype:?}: {provider} does not compute in it, but in float32; weights that are stored in {dtype} are \
             read as they are and need no setting"
        )
    } else {
        format!("dtype={dtype:?} is not known; known are {}", DTYPES.join(", "))
    }))
}

fn threads(asked: Option<usize>) -> Result<usize> {
    match asked {
        None => Ok(std::thread::available_parallelism().map_or(1, std::num::NonZero::get)),
        Some(threads) if (1..=MAX_THREADS).contains(&threads) => Ok(threads),
        Some(threads) => {
            Err(EmbeddingError::invalid_input(format!("threads={threads}: from 1 to {MAX_THREADS} are possible")))
        }
    }
}

/// The provider to use and a sentence for each preferred one that cannot be.
fn choose_provider(providers: &[String]) -> Result<(String, Vec<String>)> {
    let mut stepped_down = Vec::new();
    for provider in providers {
        if provider == AUTO || CPU.contains(&provider.as_str()) {
            return Ok((CPU.first().copied().unwrap_or(AUTO).to_owned(), stepped_down));
        }
        stepped_down.push(format!(
            "execution provider {provider:?} cannot be used by this version, which computes on the CPU; the next of the \
             list was taken"
        ));
    }
    Err(EmbeddingError::ProviderUnavailable {
        provider: providers.join(", "),
        message: "this version computes on the CPU; \"cpu\", \"auto\" and lists that contain one of them work"
            .to_owned(),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{MAX_THREADS, check_dtype, choose_provider, threads};

    fn list(providers: &[&str]) -> Vec<String> {
        providers.iter().map(|provider| (*provider).to_owned()).collect()
    }

    #[test]
    fn a_list_steps_down_and_says_so() {
        let (provider, stepped_down) = choose_provider(&list(&["coreml", "cuda", "cpu"])).unwrap();
        assert_eq!((provider.as_str(), stepped_down.len()), ("cpu", 2));
        assert!(stepped_down[0].contains("coreml"));
        assert_eq!(choose_provider(&list(&["auto"])).unwrap(), ("cpu".to_owned(), Vec::new()));
    }

    #[test]
    fn one_name_is_that_or_an_error() {
        for providers in [&["cuda"][..], &["coreml", "mlx"], &["CPU"], &[]] {
            let error = choose_provider(&list(providers)).unwrap_err().to_string();
            assert!(error.contains("\"cpu\""), "{error}");
        }
    }

    #[test]
    fn a_type_that_the_cpu_does_not_compute_in_is_refused() {
        assert!(check_dtype("float32", "cpu").is_ok());
        for (dtype, reason) in
            [("float16", "does not compute"), ("bfloat16", "does not compute"), ("int3", "not known")]
        {
            let error = check_dtype(dtype, "cpu").unwrap_err().to_string();
            assert!(error.contains(dtype) && error.contains(reason) && error.contains("float32"), "{error}");
        }
    }

    #[test]
    fn thread_counts_are_bounded() {
        assert!(threads(None).unwrap() >= 1);
        assert_eq!(threads(Some(3)).unwrap(), 3);
        assert!(threads(Some(0)).is_err() && threads(Some(MAX_THREADS + 1)).is_err());
    }
}
