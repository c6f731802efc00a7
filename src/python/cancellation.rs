//! Lets one thread give up a call that another is waiting for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::prelude::*;

/// Cancels the `encode` call it was given to.
#[pyclass(frozen, module = "oxembed._core")]
#[derive(Debug, Default)]
pub struct CancellationToken {
    cancelled: Arc<AtomicBool>,
}

#[pymethods]
impl CancellationToken {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// Asks the call to stop; it raises within a fraction of a second.
    fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
    }

    /// True after `cancel()`.
    #[getter]
    fn cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }
}

impl CancellationToken {
    /// The flag itself, to be read without the interpreter.
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.cancelled)
    }
}
