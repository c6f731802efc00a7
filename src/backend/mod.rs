//! A model on one execution provider: its graphs, its sessions, the shapes of its batches.

mod blueprint;
mod interface;
mod later;
mod shelf;
mod worker;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ort::session::RunOptions;

pub use self::blueprint::{Blueprint, SHORT_TEXT};
pub use self::interface::Interface;
pub use self::later::LaterBackend;
use self::shelf::Shelf;
pub use self::worker::Worker;
use crate::batch::{Batch, Layout, TokenRow};
use crate::error::{EmbeddingError, Result};
use crate::ladder::{Ladder, PlannedBatch};
use crate::runtime::execution::Execution;
use crate::runtime::placement::Placement;
use crate::runtime::session::SessionFactory;
use crate::schedule::{Limits, TOKEN_BUDGET, plan};
use crate::stages::{Stage, Stopwatch};

/// A model on a provider.
pub struct Backend {
    /// The provider.
    pub execution: Execution,
    /// What its graphs take and give.
    pub interface: Interface,
    /// What its other sessions are made from.
    blueprint: Blueprint,
    sessions: Sessions,
    /// The placement of the first session, which is what the provider was judged by.
    first_placement: Placement,
}

enum Sessions {
    /// Each worker has its own, all over one set of weights.
    OfWorkers(Arc<SessionFactory>),
    /// All workers share them, one run at a time: the device has its own parallelism.
    Shared { ladder: Option<Ladder>, longest: usize, most: usize, kept: Mutex<Shelf> },
}

impl Backend {
    /// The longest text that it takes, in tokens.
    pub fn longest(&self) -> usize {
        match &self.sessions {
            Sessions::Shared { longest, .. } => *longest,
            Sessions::OfWorkers(_) => usize::MAX,
        }
    }

    /// Batches over texts of these lengths, of which it takes every one.
    pub fn plan(&self, lengths: &[usize], workers: usize) -> Vec<PlannedBatch> {
        match &self.sessions {
            Sessions::Shared { ladder: Some(ladder), most, .. } => ladder.plan(lengths, *most),
            sessions => {
                let workers = if matches!(sessions, Sessions::OfWorkers(_)) { workers } else { 1 };
                let plan = plan(lengths, Limits { token_budget: TOKEN_BUDGET, workers });
                plan.batches().map(|texts| PlannedBatch { texts: texts.to_vec(), sequence: 0 }).collect()
            }
        }
    }

    /// Whether texts, the longest and the shortest of these lengths, are one batch.
    pub fn is_batch(&self, rows: usize, longest: usize) -> bool {
        match &self.sessions {
            Sessions::Shared { ladder: Some(ladder), .. } => ladder.shape(rows, longest).is_some(),
            _ => rows == 1 || rows * longest <= TOKEN_BUDGET,
        }
    }

    /// Runs `tokens` as one batch, padded to at least `sequence` tokens where shapes are fixed, and gives the output to
    /// `read`. What each step takes goes to `clock`, waiting for a shared session left out.
    ///
    /// # Errors
    /// As [`LoadedSession::run`]; `ProviderUnavailable` where a session cannot be made.
    pub fn run<T>(
        &self,
        number: usize,
        worker: &mut Worker,
        (tokens, sequence): (&[TokenRow<'_>], usize),
        layout: &Layout,
        (options, clock): (&RunOptions, &mut Stopwatch<'_>),
        read: impl FnOnce(&Batch, &[f32], &[i64]) -> Result<T>,
    ) -> Result<T> {
        let ports = &self.interface.ports;
        let (ladder, kept) = match &self.sessions {
            Sessions::OfWorkers(factory) => {
                let batch = Batch::pad(tokens, layout);
                clock.lap(Stage::Copy);
                let session = worker.session(number, factory)?;
                clock.skip();
                return session.run(ports, &batch, options, clock, |output, shape| read(&batch, output, shape));
            }
            Sessions::Shared { ladder, kept, .. } => (ladder, kept),
        };
        let (shape, batch) = match ladder {
            None => (None, Batch::pad(tokens, layout)),
            Some(ladder) => {
                let longest =
                    tokens.iter().map(|row| row.ids.len()).max().unwrap_or(0).max(layout.shortest).max(sequence);
                let shape = ladder.shape(tokens.len(), longest).ok_or_else(|| {
                    let rows = tokens.len();
                    EmbeddingError::internal(format!("{rows} texts of {longest} tokens have no shape on the ladder"))
                })?;
                (Some(shape), Batch::pad_to(shape, tokens, layout))
            }
        };
        clock.lap(Stage::Copy);
        let mut kept = lock(kept);
        let session = kept.session(&self.blueprint, &self.execution, shape)?;
        clock.skip();
        // Its output is the device's until it is read, so the others wait for that too.
        let outcome = session.run(ports, &batch, options, clock, |output, shape| read(&batch, output, shape));
        if matches!(outcome, Err(EmbeddingError::InferenceFailed { .. })) {
            kept.forget(shape);
        }
        outcome
    }

    /// Makes the sessions for texts of up to `tokens` tokens in calls of so many texts as `rows` says, as many as are
    /// kept; returns how many are there.
    ///
    /// # Errors
    /// `ProviderUnavailable` where one cannot be made.
    pub fn warm_up(&self, tokens: usize, rows: Option<&[usize]>) -> Result<usize> {
        let Sessions::Shared { ladder, most, kept, .. } = &self.sessions else { return Ok(1) };
        let shapes = ladder
            .as_ref()
            .map_or_else(|| vec![None], |ladder| ladder.shapes(tokens, rows).into_iter().map(Some).collect());
        let mut kept = lock(kept);
        for shape in shapes.into_iter().take(*most) {
            kept.session(&self.blueprint, &self.execution, shape)?;
        }
        Ok(kept.len())
    }

    /// What makes the sessions of workers, where each has its own.
    pub fn factory_of_workers(&self) -> Option<&Arc<SessionFactory>> {
        match &self.sessions {
            Sessions::OfWorkers(factory) => Some(factory),
            Sessions::Shared { .. } => None,
        }
    }

    /// Where the nodes of its sessions are.
    pub fn placements(&self) -> Vec<Placement> {
        match &self.sessions {
            Sessions::OfWorkers(_) => vec![self.first_placement.clone()],
            Sessions::Shared { kept, .. } => {
                let placements: Vec<Placement> = lock(kept).placements();
                if placements.is_empty() { vec![self.first_placement.clone()] } else { placements }
            }
        }
    }
}

fn lock(kept: &Mutex<Shelf>) -> MutexGuard<'_, Shelf> {
    // A panic in a run leaves sessions that were whole before it.
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}
