//! The one place where an [`EmbeddingError`] becomes a Python exception.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::error::EmbeddingError;

/// Name of the class in `oxembed.exceptions`.
fn class_name(error: &EmbeddingError) -> &'static str {
    match error {
        EmbeddingError::InvalidInput { .. } => "InvalidInputError",
        EmbeddingError::ModelNotFound { .. } => "ModelNotFoundError",
        EmbeddingError::InvalidModel { .. } => "InvalidModelError",
        EmbeddingError::ProviderUnavailable { .. } => "ProviderUnavailableError",
        EmbeddingError::InferenceFailed { .. } => "InferenceError",
        EmbeddingError::ServiceUnavailable { .. } => "ServiceUnavailableError",
        EmbeddingError::Cancelled => "OxembedError",
        EmbeddingError::Internal { .. } => "InternalError",
    }
}

/// The Python exception for `error`, causes included in its message.
pub fn raise(py: Python<'_>, error: &EmbeddingError) -> PyErr {
    let mut message = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_message = cause.to_string();
        if !message.contains(&cause_message) {
            message = format!("{message} ({cause_message})");
        }
        source = cause.source();
    }
    let class = py.import("oxembed.exceptions").and_then(|module| module.getattr(class_name(error)));
    match class.and_then(|class| Ok(class.cast_into::<PyType>()?)) {
        Ok(class) => PyErr::from_type(class, message),
        // Only where the package's own Python files are damaged.
        Err(_) => PyRuntimeError::new_err(message),
    }
}
