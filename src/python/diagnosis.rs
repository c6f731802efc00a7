//! `doctor` for Python: the diagnosis as JSON, which `oxembed.diagnosis` gives its types.

use std::path::PathBuf;

use pyo3::prelude::*;
use serde::Serialize;

use super::exceptions::raise;
use crate::diagnosis;
use crate::error::{EmbeddingError, Result};
use crate::runtime::devices::PlugIn;

/// Path of a library, and ONNX Runtime's names of the providers that it brings.
pub type PlugInArgument = (PathBuf, Vec<String>);

pub fn plug_ins(arguments: Vec<PlugInArgument>) -> Vec<PlugIn> {
    arguments.into_iter().map(|(path, providers)| PlugIn { path, providers }).collect()
}

/// Looks at the loaded ONNX Runtime, its plug-ins and devices, and tries every provider.
#[pyfunction]
#[pyo3(signature = (*, plug_ins))]
pub fn diagnose(py: Python<'_>, plug_ins: Vec<PlugInArgument>) -> PyResult<String> {
    let plug_ins = self::plug_ins(plug_ins);
    let found = py.detach(|| json(&diagnosis::diagnose(None, &plug_ins)?));
    found.map_err(|error| raise(py, &error))
}

/// The table of execution providers and their settings.
#[pyfunction]
pub fn provider_table(py: Python<'_>) -> PyResult<String> {
    json(&diagnosis::provider_table()).map_err(|error| raise(py, &error))
}

/// What the processor has for 8-bit integers.
#[pyfunction]
pub fn int8_support(py: Python<'_>) -> PyResult<String> {
    json(&diagnosis::int8_support()).map_err(|error| raise(py, &error))
}

/// What Python reads back.
pub fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|error| EmbeddingError::internal(format!("a result cannot be written as JSON: {error}")))
}
