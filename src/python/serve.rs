//! The service, run from Python.

use std::ffi::OsString;

use pyo3::prelude::*;

/// Runs the embedding service by the command line `arguments`, the program's name first, until the process is told to
/// stop; returns its exit status.
#[pyfunction]
pub fn serve(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
    py.detach(|| crate::serve::run(arguments))
}
