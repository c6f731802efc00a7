//! `export` for Python.

use std::path::PathBuf;

use pyo3::prelude::*;

use super::embedder::Attention;
use crate::export::{ExportOptions, export_watched};
use crate::graph::Target;

/// Path, path of the weights, nodes, bytes of weights, inputs and output of a written file.
type Exported = (PathBuf, Option<PathBuf>, usize, usize, Vec<String>, String);

/// Writes a model's graph as an ONNX file.
#[pyfunction]
#[pyo3(signature = (folder, output, *, target, shape, pooling_inside, max_seq_length))]
#[allow(clippy::needless_pass_by_value)] // The interpreter hands arguments over.
pub fn export(
    py: Python<'_>,
    folder: PathBuf,
    output: PathBuf,
    target: &str,
    shape: Option<(usize, usize)>,
    pooling_inside: bool,
    max_seq_length: Option<usize>,
) -> PyResult<Exported> {
    let mut attention = Attention::new(None, None);
    let outcome = py.detach(|| {
        let mut target = Target::named(target)?;
        if let Some((batch, sequence)) = shape {
            target = target.with_shape(batch, sequence);
        }
        let options = ExportOptions { target, pooling_inside, max_seq_length };
        export_watched(&folder, &output, &options, &mut || attention.look_up(0))
    });
    let exported = attention.outcome(py, outcome)?;
    let sizes = (exported.nodes, exported.weight_bytes);
    Ok((exported.path, exported.data_path, sizes.0, sizes.1, exported.inputs, exported.output))
}
