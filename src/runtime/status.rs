//! What ONNX Runtime's C functions answer.

use crate::error::{EmbeddingError, Result};

/// `Ok` where a call went well; else an error that says `what` could not be done.
pub fn check(status: ort::sys::OrtStatusPtr, what: &str) -> Result<()> {
    // SAFETY: the status comes from the call that the caller just made, and is consumed once, here.
    unsafe { ort::Error::result_from_status(status) }
        .map_err(|error| EmbeddingError::inference_failed(what).caused_by(error))
}
