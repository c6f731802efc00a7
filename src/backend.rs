//! A model on one execution provider: its graphs, its sessions, the shapes of its batches.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use ort::session::RunOptions;

use crate::batch::{Batch, Layout, TokenRow};
use crate::error::{EmbeddingError, Result};
use crate::graph::StaticShape;
use crate::ladder::Ladder;
use crate::runtime::execution::{Execution, Surroundings};
use crate::runtime::initializers::Initializers;
use crate::runtime::placement::{Placement, record};
use crate::runtime::ports::{OutputKind, discover};
use crate::runtime::providers::Shapes;
use crate::runtime::session::{Feed, LoadedSession, OutputType, Port, Ports, SessionFactory};
use crate::schedule::{Limits, TOKEN_BUDGET, plan};
use crate::source::{Origin, ReadyGraph, Source};

/// What every backend of a model is made from.
#[derive(Clone)]
pub struct Blueprint {
    /// The graph or how to write it.
    pub source: Arc<Source>,
    /// ONNX Runtime and where providers come from.
    pub surroundings: Surroundings,
    /// The most tokens of a text.
    pub max_tokens: usize,
    /// What config.json says of a token's vector, for ONNX files that do not.
    pub token_dimension: Option<usize>,
}

/// What a graph takes and gives.
#[derive(Debug, Clone)]
pub struct Interface {
    /// Inputs and the output.
    pub ports: Ports,
    /// What the output holds.
    pub kind: OutputKind,
    /// Width of what is read.
    pub width: usize,
}

/// A model on a provider.
pub struct Backend {
    /// The provider.
    pub execution: Execution,
    /// What its graphs take and give.
    pub interface: Interface,
    blueprint: Blueprint,
    sessions: Sessions,
    /// The placement of the first session, which is what the provider was judged by.
    first_placement: Placement,
}

enum Sessions {
    /// Each worker has its own, all over one set of weights.
    OfWorkers(Arc<SessionFactory>),
    /// All workers share them, one run at a time: the device has its own parallelism.
    Shared { ladder: Option<Ladder>, shelf: Mutex<Shelf> },
}

/// Sessions by shape, the last used at the end.
struct Shelf {
    sessions: Vec<(Option<StaticShape>, LoadedSession, Placement)>,
    most: usize,
    weights: Option<Arc<Initializers>>,
}

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

    fn session(&mut self, number: usize, factory: &Arc<SessionFactory>) -> Result<&mut LoadedSession> {
        let index = match self.sessions.iter().position(|(known, _)| *known == number) {
            Some(index) => index,
            None => {
                self.sessions.push((number, factory.create(self.threads)?));
                self.sessions.len() - 1
            }
        };
        let session = self.sessions.get_mut(index).map(|(_, session)| session);
        session.ok_or_else(|| EmbeddingError::internal("a worker lost its session"))
    }
}

impl Interface {
    /// Of the graph in `session`; `written` is the width of one that we wrote, `said` what config.json says of others.
    ///
    /// # Errors
    /// `InvalidModel` where an ONNX `file` has inputs or outputs that are not understood.
    pub fn of(file: &Path, written: Option<usize>, session: &LoadedSession, said: Option<usize>) -> Result<Self> {
        if let Some(width) = written {
            let feed = |port: Port| {
                let feed = match port.name.as_str() {
                    "attention_mask" => Feed::AttentionMask,
                    "position_ids" => Feed::PositionIds,
                    "token_type_ids" => Feed::TokenTypeIds,
                    _ => Feed::InputIds,
                };
                (port.name, feed, false)
            };
            let feeds = session.inputs().into_iter().map(feed).collect();
            let ports = Ports { feeds, output: "last_hidden_state".to_owned(), output_type: OutputType::Float32 };
            return Ok(Self { ports, kind: OutputKind::Tokens, width });
        }
        let found = discover(file, &session.inputs(), &session.outputs())?;
        let width = match found.kind {
            OutputKind::Tokens => found.width.or(said),
            OutputKind::Sentence => found.width,
        };
        let width = width.ok_or_else(|| {
            let output = &found.ports.output;
            let problem = format!("the output {output:?} does not say how wide it is, and neither does config.json");
            EmbeddingError::invalid_model(file, problem)
        })?;
        Ok(Self { ports: found.ports, kind: found.kind, width })
    }
}

impl Blueprint {
    /// The model on `execution`, with its first session, and for the CPU that session.
    ///
    /// # Errors
    /// `ProviderUnavailable` where the provider refuses the model or takes too little of it; for the CPU as loading.
    pub fn backend(&self, execution: Execution) -> Result<(Backend, Option<LoadedSession>)> {
        let is_written = matches!(self.source.origin, Origin::Weights(..));
        if execution.is_cpu() {
            let ReadyGraph { graph, work, .. } = self.graph(&execution, None, None)?;
            let library = Arc::clone(&self.surroundings.library);
            let factory = Arc::new(SessionFactory::new(library, graph, execution.clone()));
            let session = factory.create(self.surroundings.threads)?;
            let interface = self.interface(&session)?;
            let recorded = record(session.session())?;
            let first_placement = Placement {
                session: "one batch, all threads".to_owned(),
                provider: execution.name.clone(),
                device: execution.device(),
                threads: session.threads,
                providers: recorded.counts(),
                work: recorded.shares(&work),
            };
            let sessions = Sessions::OfWorkers(factory);
            return Ok((
                Backend { execution, interface, blueprint: self.clone(), sessions, first_placement },
                Some(session),
            ));
        }
        let ladder = match execution.provider.shapes {
            Shapes::Ladder { token_budget } if is_written => Some(Ladder::new(self.max_tokens, token_budget)),
            _ => None,
        };
        let most = execution.chosen.count("max_sessions").unwrap_or(1);
        let mut shelf = Shelf { sessions: Vec::new(), most, weights: None };
        // A text of usual length, which is what the provider is judged by.
        let first = ladder.as_ref().and_then(|ladder| ladder.shape(1, USUAL_TOKENS.min(ladder.longest())));
        shelf.session(self, &execution, first)?;
        let (_, session, placement) = shelf.last()?;
        let interface = self.interface(session)?;
        let first_placement = placement.clone();
        check_share(&execution, &first_placement)?;
        let sessions = Sessions::Shared { ladder, shelf: Mutex::new(shelf) };
        Ok((Backend { execution, interface, blueprint: self.clone(), sessions, first_placement }, None))
    }

    fn graph(
        &self,
        execution: &Execution,
        shape: Option<StaticShape>,
        known: Option<&Arc<Initializers>>,
    ) -> Result<ReadyGraph> {
        let mut target = execution.target().with_max_tokens(self.max_tokens);
        if let Some(shape) = shape {
            target = target.with_shape(shape.batch, shape.sequence);
        }
        self.source.origin.graph(&target, self.surroundings.threads, known)
    }

    fn interface(&self, session: &LoadedSession) -> Result<Interface> {
        let path: &Path = self.source.origin.path();
        let written = match &self.source.origin {
            Origin::Weights(author, _) => Some(author.architecture().hidden_size),
            Origin::File(_) => None,
        };
        Interface::of(path, written, session, self.token_dimension)
    }
}

/// Tokens of a short text.
const USUAL_TOKENS: usize = 16;

fn check_share(execution: &Execution, placement: &Placement) -> Result<()> {
    let (share, least) = (placement.share(&execution.runtime_name), execution.chosen.minimum_share());
    if share >= least && placement.providers.contains_key(&execution.runtime_name) {
        return Ok(());
    }
    let nodes = placement.providers.get(&execution.runtime_name).copied().unwrap_or(0);
    Err(execution.unavailable(format!(
        "it takes {nodes} of the model's {} nodes, {:.1}% of the multiply-adds, and leaves the others to the CPU; at least \
         {:.1}% are asked for (minimum_share={least})",
        placement.nodes(),
        share * 100.0,
        least * 100.0,
    )))
}

impl Shelf {
    /// The session for a shape, compiled where there is none.
    fn session(
        &mut self,
        blueprint: &Blueprint,
        execution: &Execution,
        shape: Option<StaticShape>,
    ) -> Result<&mut LoadedSession> {
        match self.sessions.iter().position(|(known, ..)| *known == shape) {
            Some(index) => {
                let used = self.sessions.remove(index);
                self.sessions.push(used);
            }
            None => {
                // Room first: a compiled model may be as large as the weights.
                while self.sessions.len() >= self.most {
                    drop(self.sessions.remove(0));
                }
                let made = self.make(blueprint, execution, shape)?;
                self.sessions.push(made);
            }
        }
        let last = self.sessions.last_mut().map(|(_, session, _)| session);
        last.ok_or_else(|| EmbeddingError::internal("a session that was made is not there"))
    }

    fn make(
        &mut self,
        blueprint: &Blueprint,
        execution: &Execution,
        shape: Option<StaticShape>,
    ) -> Result<(Option<StaticShape>, LoadedSession, Placement)> {
        let ReadyGraph { graph, weights, work } = blueprint.graph(execution, shape, self.weights.as_ref())?;
        if self.weights.is_none() {
            self.weights = weights;
        }
        let library = Arc::clone(&blueprint.surroundings.library);
        let factory = Arc::new(SessionFactory::new(library, graph, execution.clone()));
        let session = factory.create(blueprint.surroundings.threads)?;
        let recorded = record(session.session())?;
        let placement = Placement {
            session: shape.map_or_else(
                || "any shape".to_owned(),
                |shape| format!("{} texts of {} tokens", shape.batch, shape.sequence),
            ),
            provider: execution.name.clone(),
            device: execution.device(),
            threads: session.threads,
            providers: recorded.counts(),
            work: recorded.shares(&work),
        };
        Ok((shape, session, placement))
    }

    fn last(&self) -> Result<&(Option<StaticShape>, LoadedSession, Placement)> {
        self.sessions.last().ok_or_else(|| EmbeddingError::internal("a session that was made is not there"))
    }

    /// Forgets the session for a shape, which failed.
    fn forget(&mut self, shape: Option<StaticShape>) {
        self.sessions.retain(|(known, ..)| *known != shape);
    }
}

impl Backend {
    /// The longest text that it takes, in tokens.
    pub fn longest(&self) -> usize {
        match &self.sessions {
            Sessions::Shared { ladder: Some(ladder), .. } => ladder.longest(),
            _ => usize::MAX,
        }
    }

    /// Batches over texts of these lengths, of which it takes every one.
    pub fn plan(&self, lengths: &[usize], workers: usize) -> Vec<Vec<usize>> {
        match &self.sessions {
            Sessions::Shared { ladder: Some(ladder), .. } => ladder.plan(lengths),
            sessions => {
                let workers = if matches!(sessions, Sessions::OfWorkers(_)) { workers } else { 1 };
                let plan = plan(lengths, Limits { token_budget: TOKEN_BUDGET, workers });
                plan.batches().map(<[usize]>::to_vec).collect()
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

    /// Runs `tokens` as one batch and gives the output to `read`.
    ///
    /// # Errors
    /// As [`LoadedSession::run`]; `ProviderUnavailable` where a session cannot be made.
    pub fn run<T>(
        &self,
        number: usize,
        worker: &mut Worker,
        tokens: &[TokenRow<'_>],
        layout: &Layout,
        options: &RunOptions,
        read: impl FnOnce(&Batch, &[f32], &[i64]) -> Result<T>,
    ) -> Result<T> {
        let ports = &self.interface.ports;
        let (ladder, shelf) = match &self.sessions {
            Sessions::OfWorkers(factory) => {
                let batch = Batch::pad(tokens, layout);
                let session = worker.session(number, factory)?;
                return session.run(ports, &batch, options, |output, shape| read(&batch, output, shape));
            }
            Sessions::Shared { ladder, shelf } => (ladder, shelf),
        };
        let (shape, batch) = match ladder {
            None => (None, Batch::pad(tokens, layout)),
            Some(ladder) => {
                let longest = tokens.iter().map(|row| row.ids.len()).max().unwrap_or(0).max(layout.shortest);
                let shape = ladder.shape(tokens.len(), longest).ok_or_else(|| {
                    let rows = tokens.len();
                    EmbeddingError::internal(format!("{rows} texts of {longest} tokens have no shape on the ladder"))
                })?;
                (Some(shape), Batch::pad_to(shape, tokens, layout))
            }
        };
        let mut shelf = lock(shelf);
        let session = shelf.session(&self.blueprint, &self.execution, shape)?;
        // Its output is the device's until it is read, so the others wait for that too.
        let outcome = session.run(ports, &batch, options, |output, shape| read(&batch, output, shape));
        if matches!(outcome, Err(EmbeddingError::InferenceFailed { .. })) {
            shelf.forget(shape);
        }
        outcome
    }

    /// Makes the sessions for texts of up to `tokens` tokens in batches of `rows`, as many as are kept; returns how many
    /// are there.
    ///
    /// # Errors
    /// `ProviderUnavailable` where one cannot be made.
    pub fn warm_up(&self, tokens: usize, rows: Option<&[usize]>) -> Result<usize> {
        let Sessions::Shared { ladder, shelf } = &self.sessions else { return Ok(1) };
        let shapes = ladder.as_ref().map_or_else(
            || vec![None],
            |ladder| {
                let asked = |shape: &StaticShape| rows.is_none_or(|rows| rows.contains(&shape.batch));
                ladder.shapes(tokens.min(ladder.longest())).into_iter().filter(asked).map(Some).collect()
            },
        );
        let mut shelf = lock(shelf);
        let most = shelf.most;
        for shape in shapes.into_iter().take(most) {
            shelf.session(&self.blueprint, &self.execution, shape)?;
        }
        Ok(shelf.sessions.len())
    }

    /// Where the nodes of its sessions are.
    pub fn placements(&self) -> Vec<Placement> {
        match &self.sessions {
            Sessions::OfWorkers(_) => vec![self.first_placement.clone()],
            Sessions::Shared { shelf, .. } => {
                let placements: Vec<Placement> =
                    lock(shelf).sessions.iter().map(|(.., placement)| placement.clone()).collect();
                if placements.is_empty() { vec![self.first_placement.clone()] } else { placements }
            }
        }
    }
}

fn lock(shelf: &Mutex<Shelf>) -> MutexGuard<'_, Shelf> {
    // A panic in a run leaves sessions that were whole before it.
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}

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
