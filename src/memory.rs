//! Whether there is room for what comes, where the address space of the process is limited (`ulimit -v`); and what is done
//! with the room that a model leaves.
//!
//! Rust ends the process where a small allocation fails, and so does the C library where a thread's own data does not
//! fit. So where there is a limit, a call makes sure of room before each step that takes some, and fails with an error in
//! time. Without a limit this costs one question to the system.

use memmap2::MmapMut;

use crate::error::{EmbeddingError, Result};

/// Room that every step has to have: stacks and heaps of threads that start, and the small things that are not counted.
const MARGIN: usize = 24 << 20;

/// Refuses `what` where there is no room for `bytes` and some more.
///
/// # Errors
/// `InferenceFailed`, which says how much was needed.
pub fn ensure(bytes: usize, what: &str) -> Result<()> {
    if !is_limited() {
        return Ok(());
    }
    let wanted = bytes.saturating_add(MARGIN);
    // Given back at once: no page of it is ever there.
    MmapMut::map_anon(wanted).map_or_else(|error| Err(too_little(wanted, what).caused_by(error)), |_| Ok(()))
}

/// `length` zeros.
///
/// # Errors
/// `InferenceFailed` where there is no memory for them.
pub fn zeros(length: usize, what: &str) -> Result<Vec<f32>> {
    let bytes = length.saturating_mul(size_of::<f32>());
    // Asked for and given back: the system gives zeros faster than they are written, but ends the process where it cannot.
    let mut vector = Vec::<f32>::new();
    vector.try_reserve_exact(length).map_err(|error| too_little(bytes, what).caused_by(error))?;
    drop(vector);
    Ok(vec![0.0; length])
}

fn too_little(bytes: usize, what: &str) -> EmbeddingError {
    EmbeddingError::inference_failed(format!(
        "there is not enough memory for {what}, which takes {bytes} bytes; embed fewer or shorter texts at a time, or \
         raise the limit of memory of the process"
    ))
}

/// True where the process may not take as much memory as there is.
#[cfg(unix)]
pub fn is_limited() -> bool {
    use rustix::process::{Resource, getrlimit};
    [Resource::As, Resource::Data].into_iter().any(|resource| getrlimit(resource).current.is_some())
}

/// Other systems have no such limit for a process by itself.
#[cfg(not(unix))]
pub fn is_limited() -> bool {
    false
}

/// The last field of what owns a model: dropped behind all others, it gives what they freed back to the system.
///
/// The GNU C library keeps freed memory for later in an arena for each thread, and does not find in one what is free in
/// another: a dozen models that came and went under load, one at a time, left 3 times the memory of one. Other C libraries give
/// large blocks back by themselves.
#[derive(Debug)]
pub struct GivesBack;

impl Drop for GivesBack {
    fn drop(&mut self) {
        #[cfg(all(target_os = "linux", target_env = "gnu"))]
        // SAFETY: takes a number, and may be called by any thread at any time (malloc_trim(3): MT-Safe).
        unsafe {
            libc::malloc_trim(0);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{ensure, zeros};
    use crate::error::EmbeddingError;

    #[test]
    fn rows_that_no_memory_holds_are_an_error() {
        for length in [usize::MAX, usize::MAX / 8, isize::MAX as usize / 8] {
            let error = zeros(length, "the rows").unwrap_err();
            assert!(matches!(error, EmbeddingError::InferenceFailed { .. }), "{error}");
            assert!(error.to_string().contains("the rows"), "{error}");
        }
        assert_eq!(zeros(3, "the rows").unwrap(), [0.0; 3]);
    }

    #[test]
    fn without_a_limit_nothing_is_refused() {
        ensure(0, "nothing").unwrap();
    }
}
