//! What ONNX Runtime's C functions answer.

use crate::error::{EmbeddingError, Result};

/// `Ok` where a call went well; else an error that says `what` could not be done.
///
/// # Safety
///
/// The status is what a function of ONNX Runtime just returned, and nobody else looks at it or releases it.
pub unsafe fn check(status: ort::sys::OrtStatusPtr, what: &str) -> Result<()> {
    // SAFETY: the caller says so.
    unsafe { ort::Error::result_from_status(status) }
        .map_err(|error| EmbeddingError::inference_failed(what).caused_by(error))
}
