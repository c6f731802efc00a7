//! `export` for Python.

use std::path::PathBuf;

use pyo3::prelude::*;

use super::exceptions::raise;
use crate::export::{ExportOptions, export as export_graph};
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
    let exported = py.detach(|| {
        let mut target = Target::named(target)?;
        if let Some((batch, sequence)) = shape {
            target = target.with_shape(batch, sequence);
        }
        export_graph(&folder, &output, &ExportOptions { target, pooling_inside, max_seq_length })
    });
    let exported = exported.map_err(|error| raise(py, &error))?;
    let sizes = (exported.nodes, exported.weight_bytes);
    Ok((exported.path, exported.data_path, sizes.0, sizes.1, exported.inputs, exported.output))
}
