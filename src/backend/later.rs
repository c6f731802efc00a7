//! A backend that is made when it is first needed.

use std::sync::{Mutex, OnceLock, PoisonError};

use super::Backend;
use crate::error::{EmbeddingError, Result};

/// Makes a backend when it is needed.
pub type Prepare = Box<dyn Fn() -> Result<Backend> + Send + Sync>;

/// A backend that is made when it is first needed.
pub struct LaterBackend {
    /// The name of its provider.
    pub name: String,
    /// Texts of fewer tokens are not for it.
    pub least_tokens: usize,
    prepare: Prepare,
    ready: OnceLock<Backend>,
    preparing: Mutex<()>,
}

impl LaterBackend {
    /// One that `prepare` makes.
    pub fn new(name: String, least_tokens: usize, prepare: Prepare) -> Self {
        Self { name, least_tokens, prepare, ready: OnceLock::new(), preparing: Mutex::new(()) }
    }

    /// One that is there.
    pub fn ready(backend: Backend) -> Self {
        let name = backend.execution.name.clone();
        let prepare: Prepare = Box::new(|| Err(EmbeddingError::internal("a backend that was there is made again")));
        let later = Self::new(name, 0, prepare);
        // Just made, so nothing is there yet.
        drop(later.ready.set(backend));
        later
    }

    /// The backend, made now if it was not.
    ///
    /// # Errors
    /// Whatever keeps it from being made; the next call tries again.
    pub fn get(&self) -> Result<&Backend> {
        if let Some(backend) = self.ready.get() {
            return Ok(backend);
        }
        let _preparing = self.preparing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(backend) = self.ready.get() {
            return Ok(backend);
        }
        let backend = (self.prepare)()?;
        Ok(self.ready.get_or_init(|| backend))
    }

    /// The backend itself.
    ///
    /// # Errors
    /// Whatever keeps it from being made.
    pub fn into_ready(self) -> Result<Backend> {
        self.get()?;
        self.ready.into_inner().ok_or_else(|| EmbeddingError::internal("a backend that was made is not there"))
    }

    /// The backend, if it was made.
    pub fn if_ready(&self) -> Option<&Backend> {
        self.ready.get()
    }

    /// Whether texts, the longest and the shortest of these lengths in tokens, are for it.
    pub fn takes(&self, longest: usize, shortest: usize) -> bool {
        shortest >= self.least_tokens && self.if_ready().is_none_or(|backend| longest <= backend.longest())
    }
}

impl std::fmt::Debug for LaterBackend {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("LaterBackend").field("name", &self.name).finish_non_exhaustive()
    }
}
