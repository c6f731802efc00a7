//! The one error type of the crate.
//!
//! Every message says what was tried, what was found and what would work. Python exceptions are made from it in one
//! place, `src/python/exceptions.rs`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The cause beneath an [`EmbeddingError`], kept for `std::error::Error::source`.
pub type Source = Arc<dyn std::error::Error + Send + Sync + 'static>;

/// `Result` with [`EmbeddingError`].
pub type Result<T, E = EmbeddingError> = std::result::Result<T, E>;

/// Everything that can go wrong between a text and its vector.
///
/// It is `Clone`, because one failed batch may belong to several callers and each of them is told.
///
/// ```
/// use oxembed::{Embedder, EmbeddingError};
///
/// let error = Embedder::load("no/such/folder").unwrap_err();
/// assert!(matches!(error, EmbeddingError::ModelNotFound { .. }));
/// assert!(error.to_string().contains("no/such/folder"));
/// ```
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddingError {
    /// A text or an option that cannot be honoured; `index` is the position of the text where one is to blame.
    #[error("{message}")]
    InvalidInput {
        /// What is wrong and what would be accepted.
        message: String,
        /// Position of the text in the call.
        index: Option<usize>,
    },

    /// No model under that name or path.
    #[error("model {model:?} was not found: {message}")]
    ModelNotFound {
        /// The name or path as given.
        model: String,
        /// Where it was looked for and what would work.
        message: String,
    },

    /// A model folder that is broken or that says something this version does not understand.
    #[error("{}{}: {problem}", file.display(), key_and_value(key.as_deref(), value.as_deref()))]
    InvalidModel {
        /// The file at fault.
        file: PathBuf,
        /// The key inside it (a JSON key, a tensor name), where one is to blame.
        key: Option<String>,
        /// The value found under the key.
        value: Option<String>,
        /// What is wrong and which values are understood.
        problem: String,
        /// The parser's or the system's own error.
        #[source]
        source: Option<Source>,
    },

    /// An execution provider that was asked for and cannot do the work.
    #[error("execution provider {provider:?} is not available: {message}")]
    ProviderUnavailable {
        /// The provider as the caller named it.
        provider: String,
        /// Why, and what would work.
        message: String,
    },

    /// ONNX Runtime failed while running a model that had loaded.
    #[error("inference failed: {message}")]
    InferenceFailed {
        /// What was being run.
        message: String,
        /// ONNX Runtime's own error.
        #[source]
        source: Option<Source>,
    },

    /// ONNX Runtime itself is absent, too old or broken.
    #[error("{message}")]
    ServiceUnavailable {
        /// What was looked for, what was found and the command that mends it.
        message: String,
        /// The loader's own error.
        #[source]
        source: Option<Source>,
    },

    /// The caller cancelled the call; no rows were returned.
    #[error("the call was cancelled before all texts were embedded")]
    Cancelled,

    /// A bug in oxembed.
    #[error("internal error, please report it: {message}")]
    Internal {
        /// What was found to be impossible.
        message: String,
    },
}

fn key_and_value(key: Option<&str>, value: Option<&str>) -> String {
    match (key, value) {
        (Some(key), Some(value)) => format!(": {key} = {value}"),
        (Some(key), None) => format!(": {key}"),
        (None, Some(value)) => format!(": {value}"),
        (None, None) => String::new(),
    }
}

impl EmbeddingError {
    /// A bad option or a call that is wrong as a whole.
    pub(crate) fn invalid_input(message: impl Into<String>) -> Self {
        Self::InvalidInput { message: message.into(), index: None }
    }

    /// A bad text at `index`.
    pub(crate) fn invalid_text(index: usize, message: impl Into<String>) -> Self {
        Self::InvalidInput { message: message.into(), index: Some(index) }
    }

    /// A file of the model folder that is wrong as a whole.
    pub(crate) fn invalid_model(file: &Path, problem: impl Into<String>) -> Self {
        Self::InvalidModel { file: file.to_owned(), key: None, value: None, problem: problem.into(), source: None }
    }

    /// A key of a file of the model folder; `value` as it stands there, shortened for display.
    pub(crate) fn invalid_key(file: &Path, key: &str, value: Option<String>, problem: impl Into<String>) -> Self {
        Self::InvalidModel {
            file: file.to_owned(),
            key: Some(key.to_owned()),
            value: value.map(shortened),
            problem: problem.into(),
            source: None,
        }
    }

    pub(crate) fn inference_failed(message: impl Into<String>) -> Self {
        Self::InferenceFailed { message: message.into(), source: None }
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::Internal { message: message.into() }
    }

    /// Attaches the error beneath; kinds that have no place for one are returned as they are.
    #[must_use]
    pub(crate) fn caused_by(mut self, cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        if let Self::InvalidModel { source, .. }
        | Self::InferenceFailed { source, .. }
        | Self::ServiceUnavailable { source, .. } = &mut self
        {
            *source = Some(Arc::new(cause));
        }
        self
    }
}

/// A hostile file may hold a megabyte under one key; an error message shows the start of it.
fn shortened(value: String) -> String {
    const LIMIT: usize = 200;
    if value.chars().count() <= LIMIT {
        return value;
    }
    let start: String = value.chars().take(LIMIT).collect();
    format!("{start}…")
}
