//! The speed of products for Python.

use std::time::Duration;

use pyo3::prelude::*;

use super::exceptions::raise;
use crate::error::EmbeddingError;
use crate::linears::{self, LinearShape};

/// Multiply-adds a second of so many one-thread sessions together.
#[pyfunction]
#[pyo3(signature = (inputs, outputs, *, rows, threads, seconds))]
pub fn products_per_second(
    py: Python<'_>,
    inputs: usize,
    outputs: usize,
    rows: usize,
    threads: usize,
    seconds: f64,
) -> PyResult<f64> {
    let measured = py.detach(|| {
        let time = Duration::try_from_secs_f64(seconds)
            .map_err(|error| EmbeddingError::invalid_input(format!("seconds={seconds} is no time: {error}")))?;
        linears::products_per_second(None, LinearShape { inputs, outputs, layers: 1 }, rows, threads, time)
    });
    measured.map_err(|error| raise(py, &error))
}
