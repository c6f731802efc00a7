//! The compiled module `oxembed._core`: a table of contents. Its types are in `python/oxembed/_core.pyi`.

mod cancellation;
mod diagnosis;
mod embedder;
mod exceptions;
mod export;
mod inspect;
mod linears;
mod quantization;
mod results;
#[cfg(feature = "serve")]
mod serve;
mod texts;

use std::path::PathBuf;

use pyo3::prelude::*;

/// Loads ONNX Runtime and returns its version.
#[pyfunction]
#[pyo3(signature = (library))]
#[allow(clippy::needless_pass_by_value)] // The interpreter hands arguments over.
fn initialize(py: Python<'_>, library: Option<PathBuf>) -> PyResult<String> {
    let loaded = py.detach(|| crate::runtime::library::library(library.as_deref()));
    Ok(loaded.map_err(|error| exceptions::raise(py, &error))?.version.clone())
}

/// Waits until nothing is under way that a forked child would wait for in vain, and lets nothing of that begin.
#[pyfunction]
fn hold_for_fork(py: Python<'_>) {
    // Who is under way may have something to log.
    py.detach(crate::runtime::forking::hold);
}

/// Lets go of what `hold_for_fork` holds, in the parent and in the child.
#[pyfunction]
fn release_after_fork() {
    crate::runtime::forking::release();
}

/// The `model_type` values of config.json whose graph is written from the weights.
#[pyfunction]
fn known_model_types() -> Vec<&'static str> {
    crate::graph::known_model_types()
}

/// Text embeddings on ONNX Runtime; see the package `oxembed`.
#[pymodule(gil_used = false)]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("FULL_BATCH", crate::schedule::TOKEN_BUDGET)?;
    module.add_class::<embedder::PyEmbedder>()?;
    module.add_class::<cancellation::CancellationToken>()?;
    module.add_class::<results::Usage>()?;
    module.add_function(wrap_pyfunction!(known_model_types, module)?)?;
    module.add_function(wrap_pyfunction!(export::export, module)?)?;
    module.add_function(wrap_pyfunction!(inspect::inspect, module)?)?;
    module.add_function(wrap_pyfunction!(quantization::quantize, module)?)?;
    module.add_function(wrap_pyfunction!(quantization::read_calibration, module)?)?;
    module.add_function(wrap_pyfunction!(diagnosis::diagnose, module)?)?;
    module.add_function(wrap_pyfunction!(linears::products_per_second, module)?)?;
    module.add_function(wrap_pyfunction!(diagnosis::provider_table, module)?)?;
    module.add_function(wrap_pyfunction!(diagnosis::int8_support, module)?)?;
    #[cfg(feature = "serve")]
    module.add_function(wrap_pyfunction!(serve::serve, module)?)?;
    module.add_function(wrap_pyfunction!(hold_for_fork, module)?)?;
    module.add_function(wrap_pyfunction!(release_after_fork, module)?)?;
    module.add_function(wrap_pyfunction!(initialize, module)?)
}
