//! `quantize` for Python: the report as JSON, which `oxembed.quantization` gives its types.

use std::path::PathBuf;

use pyo3::prelude::*;

use super::diagnosis::json;
use super::embedder::Attention;
use crate::quantize::{CalibrationText, QuantizeOptions, quantize as quantize_model, read_texts};

/// Quantizes the linear layers of a model folder. `calibration` is a list of kind and text.
#[pyfunction]
#[pyo3(signature = (folder, *, calibration, output, force, threads, progress))]
#[allow(clippy::needless_pass_by_value)] // The interpreter hands arguments over.
pub fn quantize(
    py: Python<'_>,
    folder: PathBuf,
    calibration: Option<Vec<(String, String)>>,
    output: Option<PathBuf>,
    force: bool,
    threads: Option<usize>,
    progress: Option<Py<PyAny>>,
) -> PyResult<String> {
    let text = |(kind, text)| CalibrationText { kind, text };
    let calibration = calibration.map(|texts| texts.into_iter().map(text).collect());
    let options = QuantizeOptions { calibration, output, force, threads, library: None };
    let mut attention = Attention::new(progress, None);
    let outcome = py.detach(|| {
        let report = quantize_model(&folder, &options, &mut |progress| {
            let told = (progress.stage.name(), progress.done, progress.total);
            attention.look_up_with(|progress, py| progress.call1(py, told))
        })?;
        json(&report)
    });
    attention.outcome(py, outcome)
}

/// The calibration texts in a file, as kind and text.
#[pyfunction]
#[allow(clippy::needless_pass_by_value)] // The interpreter hands arguments over.
pub fn read_calibration(py: Python<'_>, path: PathBuf) -> PyResult<Vec<(String, String)>> {
    let texts = py.detach(|| read_texts(&path)).map_err(|error| super::exceptions::raise(py, &error))?;
    Ok(texts.into_iter().map(|text| (text.kind, text.text)).collect())
}
