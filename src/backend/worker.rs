//! What a thread that runs batches owns.

use std::sync::Arc;

use crate::error::{EmbeddingError, Result};
use crate::runtime::session::{LoadedSession, SessionFactory};

/// What a thread that runs batches owns.
pub struct Worker {
    /// Threads of its sessions.
    pub threads: usize,
    /// Its sessions by the backend's number.
    sessions: Vec<(usize, LoadedSession)>,
}

impl Worker {
    /// A worker whose sessions compute with `threads` threads.
    pub fn new(threads: usize) -> Self {
        Self { threads, sessions: Vec::new() }
    }

    /// Its session for the backend `number`, taken away from it.
    pub fn take(&mut self, number: usize) -> Option<LoadedSession> {
        let index = self.sessions.iter().position(|(known, _)| *known == number)?;
        Some(self.sessions.swap_remove(index).1)
    }

    /// Gives it a session for the backend `number`.
    pub fn give(&mut self, number: usize, session: LoadedSession) {
        self.sessions.push((number, session));
    }

    /// Its session for the backend `number`, made where it has none.
    pub(super) fn session(&mut self, number: usize, factory: &Arc<SessionFactory>) -> Result<&mut LoadedSession> {
        let known = self.sessions.iter().position(|(known, _)| *known == number);
        let index = known.unwrap_or(self.sessions.len());
        if known.is_none() {
            self.sessions.push((number, factory.create(self.threads)?));
        }
        let session = self.sessions.get_mut(index).map(|(_, session)| session);
        session.ok_or_else(|| EmbeddingError::internal("a worker lost its session"))
    }
}
