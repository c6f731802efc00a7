//! The sessions that all workers share, by the shape of their batches.

use std::sync::Arc;

use super::Blueprint;
use crate::error::{EmbeddingError, Result};
use crate::graph::StaticShape;
use crate::runtime::execution::Execution;
use crate::runtime::initializers::Initializers;
use crate::runtime::placement::Placement;
use crate::runtime::session::{LoadedSession, SessionFactory};
use crate::source::ReadyGraph;

/// Sessions by shape, the last used at the end.
pub struct Shelf {
    sessions: Vec<Shelved>,
    most: usize,
    weights: Option<Arc<Initializers>>,
}

struct Shelved {
    /// `None` for any.
    shape: Option<StaticShape>,
    session: LoadedSession,
    placement: Placement,
}

impl Shelf {
    /// Room for `most` sessions.
    pub fn new(most: usize) -> Self {
        Self { sessions: Vec::new(), most, weights: None }
    }

    /// The session for a shape, compiled where there is none.
    ///
    /// # Errors
    /// `ProviderUnavailable` where the provider refuses it.
    pub fn session(
        &mut self,
        blueprint: &Blueprint,
        execution: &Execution,
        shape: Option<StaticShape>,
    ) -> Result<&mut LoadedSession> {
        if let Some(index) = self.sessions.iter().position(|shelved| shelved.shape == shape) {
            let used = self.sessions.remove(index);
            self.sessions.push(used);
        } else {
            // Room first: a compiled model may be as large as the weights.
            while self.sessions.len() >= self.most {
                drop(self.sessions.remove(0));
            }
            let made = self.make(blueprint, execution, shape)?;
            self.sessions.push(made);
        }
        let last = self.sessions.last_mut();
        last.map(|shelved| &mut shelved.session)
            .ok_or_else(|| EmbeddingError::internal("a session that was made is not there"))
    }

    fn make(&mut self, blueprint: &Blueprint, execution: &Execution, shape: Option<StaticShape>) -> Result<Shelved> {
        let ReadyGraph { graph, weights, work } = blueprint.graph(execution, shape, self.weights.as_ref())?;
        if self.weights.is_none() {
            self.weights = weights;
        }
        let library = Arc::clone(&blueprint.surroundings.library);
        let factory = Arc::new(SessionFactory::new(library, graph, execution.clone()));
        let session = factory.create(blueprint.surroundings.threads)?;
        let what = match shape {
            None => "any shape".to_owned(),
            Some(StaticShape { batch: 1, sequence }) => format!("1 text of {sequence} tokens"),
            Some(StaticShape { batch, sequence }) => format!("{batch} texts of {sequence} tokens"),
        };
        let placement = execution.placement(what, &session, &work)?;
        Ok(Shelved { shape, session, placement })
    }

    /// Where the nodes of the last used session are.
    ///
    /// # Errors
    /// `Internal` where there is none.
    pub fn last_placement(&self) -> Result<Placement> {
        let last = self.sessions.last().map(|shelved| shelved.placement.clone());
        last.ok_or_else(|| EmbeddingError::internal("a session that was made is not there"))
    }

    /// Where the nodes of all sessions are.
    pub fn placements(&self) -> Vec<Placement> {
        self.sessions.iter().map(|shelved| shelved.placement.clone()).collect()
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Forgets the session for a shape, which failed.
    pub fn forget(&mut self, shape: Option<StaticShape>) {
        self.sessions.retain(|shelved| shelved.shape != shape);
    }
}
