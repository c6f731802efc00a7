//! `inspect` for Python: the result as JSON, which `oxembed.inspection` gives its types.

use std::path::PathBuf;

use pyo3::prelude::*;

use super::exceptions::raise;
use crate::error::EmbeddingError;
use crate::inspect::inspect_with;
use crate::runtime::library::library;

/// Inspects a model folder or an ONNX file. `runtime_problem` says why there is no ONNX Runtime, where there is none.
#[pyfunction]
#[pyo3(signature = (path, *, runtime_problem))]
#[allow(clippy::needless_pass_by_value)] // The interpreter hands arguments over.
pub fn inspect(py: Python<'_>, path: PathBuf, runtime_problem: Option<String>) -> PyResult<String> {
    let inspection = py.detach(|| {
        let runtime = match runtime_problem {
            Some(problem) => Err(problem),
            None => library(None).map_err(|error| error.to_string()),
        };
        let inspection = inspect_with(&path, &runtime)?;
        serde_json::to_string(&inspection)
            .map_err(|error| EmbeddingError::internal(format!("the inspection cannot be written as JSON: {error}")))
    });
    inspection.map_err(|error| raise(py, &error))
}
