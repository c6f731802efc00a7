//! Texts in, vectors out: plan, run and place the rows of a call.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::time::{Duration, Instant};

use ndarray::Array2;

use crate::backend::{Backend, Worker};
use crate::builder::EmbedderBuilder;
use crate::call::{CallRows, PreparedCall};
use crate::error::{EmbeddingError, Result};
use crate::failover::{FailureEvent, NotUsed};
use crate::forward::{BatchRows, BatchWork, Forward, RowOptions};
use crate::info::HealthStatus;
use crate::ladder::PlannedBatch;
use crate::memory::GivesBack;
use crate::model::{Loaded, Model};
use crate::options::{EncodeOptions, Usage};
use crate::runtime::placement::Placement;
use crate::runtime::pool::{Engine, LOOK_UP, Pool, StopSignal};
use crate::stages::{Stage, Stages, Stopwatch};
use crate::tokenization::{TokenizedTexts, Truncation};

/// Rows in input order, and what they took.
#[derive(Debug, Clone)]
pub struct Embeddings {
    /// One row a text, `(n, dimension)`, row-major.
    pub vectors: Array2<f32>,
    /// Tokens, truncations, time.
    pub usage: Usage,
}

/// A loaded model. Cheap to clone, safe to share between threads; every clone uses the same sessions.
///
/// ```
/// use oxembed::{Embedder, EncodeOptions};
///
/// # fn main() -> oxembed::Result<()> {
/// let embedder = Embedder::load("models/all-MiniLM-L6-v2")?;
/// let embeddings = embedder.encode(&["one", "two"], &EncodeOptions::default())?;
/// assert_eq!(embeddings.vectors.dim(), (2, 384));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Embedder {
    inner: Arc<Inner>,
}

struct Inner {
    model: Model,
    forward: Arc<Forward>,
    pool: Pool<Forward>,
    /// The worker with all threads, for a call of one batch that has the machine to itself.
    direct: Mutex<Worker>,
    not_used: Vec<NotUsed>,
    _gives_back: GivesBack,
}

/// Where the work is done: read from ONNX Runtime's own record.
#[derive(Debug, Clone, PartialEq)]
pub struct PlacementReport {
    /// The sessions that there are; of the CPU's, which are alike, one.
    pub sessions: Vec<Placement>,
    /// Providers that were asked for and are not used, and why.
    pub not_used: Vec<NotUsed>,
    /// The last failures in use, the oldest first.
    pub events: Vec<FailureEvent>,
    /// The number of all failures in use.
    pub failures: u64,
}

/// Asked now and then, on the calling thread, with the number of texts done; `Break` cancels the call.
pub type Watch<'a> = dyn FnMut(usize) -> ControlFlow<()> + 'a;

impl std::fmt::Debug for Embedder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Embedder").field("model", &self.model().info().name).finish_non_exhaustive()
    }
}

impl Embedder {
    /// Loads the model folder `path` with default settings.
    ///
    /// # Errors
    /// `ModelNotFound` where there is no such folder, `InvalidModel` where it is broken or not understood,
    /// `ServiceUnavailable` where ONNX Runtime is missing.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        Self::builder(path).load()
    }

    /// Settings for loading the model folder `path`.
    ///
    /// ```
    /// # fn main() -> oxembed::Result<()> {
    /// let embedder = oxembed::Embedder::builder("models/all-MiniLM-L6-v2").threads(1).max_seq_length(64).load()?;
    /// assert_eq!(embedder.model().info().max_seq_length, 64);
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder(path: impl AsRef<Path>) -> EmbedderBuilder {
        EmbedderBuilder::new(path.as_ref())
    }

    /// From the parts that [`EmbedderBuilder::load`] made.
    pub(crate) fn new(loaded: Loaded) -> Self {
        let Loaded { model, forward, session, not_used } = loaded;
        let threads = model.info().threads;
        let mut direct = Worker::new(threads);
        if let Some(session) = session {
            direct.give(0, session);
        }
        let pool = Pool::new(Arc::clone(&forward), threads);
        let direct = Mutex::new(direct);
        Self { inner: Arc::new(Inner { model, forward, pool, direct, not_used, _gives_back: GivesBack }) }
    }

    /// What was loaded: settings, prompts, tokenizer.
    pub fn model(&self) -> &Model {
        &self.inner.model
    }

    pub(crate) fn forward(&self) -> &Forward {
        &self.inner.forward
    }

    /// Which provider does the work, by ONNX Runtime's own record, which were asked for and are not used, and what
    /// failed in use.
    ///
    /// ```
    /// # fn main() -> oxembed::Result<()> {
    /// let embedder = oxembed::Embedder::builder("models/all-MiniLM-L6-v2").provider("cpu").load()?;
    /// let report = embedder.placement();
    /// assert!((report.sessions[0].share("CPUExecutionProvider") - 1.0).abs() < 1e-9);
    /// assert!(report.not_used.is_empty() && report.failures == 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn placement(&self) -> PlacementReport {
        let forward = &self.inner.forward;
        let ready = forward.backends.iter().filter_map(|backend| backend.if_ready());
        let (events, failures) = forward.failover.events();
        PlacementReport {
            sessions: ready.flat_map(Backend::placements).collect(),
            not_used: self.inner.not_used.clone(),
            events,
            failures,
        }
    }

    /// What its time went into since it was loaded, and what it did in it. Read as often as you like: it costs nothing
    /// that the work would notice.
    ///
    /// ```
    /// # use oxembed::{Embedder, EncodeOptions};
    /// # fn main() -> oxembed::Result<()> {
    /// let embedder = Embedder::load("models/all-MiniLM-L6-v2")?;
    /// assert_eq!(embedder.stages(), oxembed::Stages::default());
    /// embedder.encode(&["one", "two", "two"], &EncodeOptions::default())?;
    /// assert_eq!((embedder.stages().texts, embedder.stages().tokens), (3, 6)); // `two` is computed once.
    /// # Ok(())
    /// # }
    /// ```
    pub fn stages(&self) -> Stages {
        self.inner.forward.stages.snapshot()
    }

    /// Failures in use that this has not returned before.
    pub fn new_failures(&self) -> Vec<FailureEvent> {
        self.inner.forward.failover.news()
    }

    /// Makes the sessions of a provider that compiles one for each shape, so that no call has to wait for them: those
    /// for texts of up to `max_length` tokens (by default the model's limit) in batches of `rows` texts (by default all
    /// sizes), the shortest first, at most as many as are kept. Returns how many sessions there are.
    ///
    /// # Errors
    /// `ProviderUnavailable` where one cannot be made.
    pub fn warm_up(&self, max_length: Option<usize>, rows: Option<&[usize]>) -> Result<usize> {
        let tokens = max_length.unwrap_or(self.model().info().max_seq_length);
        let first = self.inner.forward.backends.first();
        first.map_or(Ok(0), |backend| backend.get()?.warm_up(tokens, rows))
    }

    /// Embeds `texts`: one row each, in order. Equal texts are computed once.
    ///
    /// # Errors
    /// `InvalidInput` for an option or text that cannot be honoured, `InferenceFailed` where the model fails; then
    /// there are no rows at all.
    pub fn encode<S: AsRef<str>>(&self, texts: &[S], options: &EncodeOptions) -> Result<Embeddings> {
        let texts: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
        self.encode_watched(&texts, options, &mut |_| ControlFlow::Continue(()))
    }

    /// [`Embedder::encode`] for a caller who shows progress or may change their mind: `watch` is called on this
    /// thread at least every 50 milliseconds while work goes on elsewhere.
    ///
    /// # Errors
    /// As [`Embedder::encode`], and `Cancelled` where `watch` breaks.
    pub fn encode_watched(&self, texts: &[&str], options: &EncodeOptions, watch: &mut Watch<'_>) -> Result<Embeddings> {
        let stages = &self.inner.forward.stages;
        let mut clock = Stopwatch::start(stages);
        let PreparedCall { works, mut rows, mut usage } = self.prepare(texts, options, &mut clock, watch)?;
        usage.waiting = self.run(works, &mut rows, &mut clock, watch)?;
        stages.call(usage.inputs, usage.truncated_inputs);
        rows.finish(usage)
    }

    /// Everything before the model: equal texts, tokens, batches.
    pub(crate) fn prepare(
        &self,
        texts: &[&str],
        options: &EncodeOptions,
        clock: &mut Stopwatch<'_>,
        watch: &mut Watch<'_>,
    ) -> Result<PreparedCall> {
        let (model, forward) = (&self.inner.model, &self.inner.forward);
        model.check_unchanged()?;
        let prompt = model.prompt(options)?;
        let row_options = model.row_options(options, prompt)?;
        let (rows, unique) = CallRows::new(texts, row_options.dimension)?;
        clock.lap(Stage::Plan);
        let threads = model.info().threads;
        let tokens = model.tokenization().encode_all(prompt, &unique, threads, &mut || watch(0))?;
        forward.stages.add(Stage::Tokenize, tokens.work());
        clock.skip();
        self.planned(tokens, rows, options, row_options, clock)
    }

    /// As [`prepare`](Self::prepare), of texts whose tokens are there.
    pub(crate) fn prepare_tokens(
        &self,
        texts: &[&[u32]],
        options: &EncodeOptions,
        clock: &mut Stopwatch<'_>,
    ) -> Result<PreparedCall> {
        let model = &self.inner.model;
        model.check_unchanged()?;
        let row_options = model.row_options(options, None)?;
        let (rows, unique) = CallRows::new(texts, row_options.dimension)?;
        let tokens = unique.iter().map(|ids| model.tokenization().of_ids(ids)).collect::<Result<_>>()?;
        self.planned(TokenizedTexts::of_texts(tokens), rows, options, row_options, clock)
    }

    fn planned(
        &self,
        tokens: TokenizedTexts,
        rows: CallRows,
        options: &EncodeOptions,
        row_options: RowOptions,
        clock: &mut Stopwatch<'_>,
    ) -> Result<PreparedCall> {
        let (model, forward) = (&self.inner.model, &self.inner.forward);
        let usage = rows.usage(&tokens);
        if options.truncation == Truncation::Error {
            rows.refuse_truncated(&tokens, model.info().max_seq_length)?;
        }
        let lengths: Vec<usize> = tokens.iter().map(|text| text.ids.len()).collect();
        let plan = forward.plan(&lengths, model.info().threads)?;
        let tokens = Arc::new(tokens);
        let work = |PlannedBatch { texts: rows, sequence }| {
            let texts = Arc::clone(&tokens);
            BatchWork { texts, rows, sequence, options: row_options }
        };
        let works = plan.into_iter().map(work).collect();
        clock.lap(Stage::Plan);
        let usage = Usage { preparation: rows.elapsed(), ..usage };
        Ok(PreparedCall { works, rows, usage })
    }

    /// Embeds a word and says whether that worked.
    pub fn health(&self) -> HealthStatus {
        let start = Instant::now();
        let outcome = self.encode(&["health"], &EncodeOptions::default());
        let (healthy, message) = match outcome {
            Ok(embeddings) => (true, format!("embedded a word into {} numbers", embeddings.vectors.ncols())),
            Err(error) => (false, error.to_string()),
        };
        HealthStatus { healthy, message, latency: start.elapsed() }
    }

    /// Runs the batches and places their rows; returns how long they waited for a thread.
    fn run(
        &self,
        works: Vec<BatchWork>,
        rows: &mut CallRows,
        clock: &mut Stopwatch<'_>,
        watch: &mut Watch<'_>,
    ) -> Result<Duration> {
        let stages = &self.inner.forward.stages;
        if let [work] = works.as_slice()
            && let Some(mut worker) = self.free_worker()
        {
            let stop = StopSignal::default();
            let output = if self.is_long(work) {
                let worker = &mut *worker;
                watched(&stop, watch, || self.run_direct(worker, work, &stop))?
            } else {
                self.run_direct(&mut worker, work, &stop)?
            };
            clock.skip();
            rows.place(&output);
            clock.lap(Stage::Pool);
            return Ok(Duration::ZERO);
        }
        let mut done = 0;
        let waited = self.inner.pool.run(works, &mut |arrived| {
            if let Some((_, output)) = arrived {
                let mut clock = Stopwatch::start(stages);
                done = rows.place(&output);
                clock.lap(Stage::Pool);
            }
            watch(done)
        })?;
        stages.add(Stage::Wait, waited);
        Ok(waited)
    }

    pub(crate) fn pool(&self) -> &Pool<Forward> {
        &self.inner.pool
    }

    /// The worker with all threads, if nobody else is using the machine.
    pub(crate) fn free_worker(&self) -> Option<MutexGuard<'_, Worker>> {
        if !self.inner.pool.is_idle() {
            return None;
        }
        match self.inner.direct.try_lock() {
            Ok(worker) => Some(worker),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// One batch with all threads.
    pub(crate) fn run_direct(&self, worker: &mut Worker, work: &BatchWork, stop: &StopSignal) -> Result<BatchRows> {
        let outputs = self.inner.forward.run(worker, &[work], stop)?;
        outputs.into_iter().next().ok_or_else(|| EmbeddingError::internal("a batch gave no rows"))
    }

    /// True where a batch may keep its thread busy for so long that the caller should be able to cancel it.
    fn is_long(&self, work: &BatchWork) -> bool {
        /// Multiply-adds that a slow core does in a few hundred milliseconds.
        const LONG: usize = 10_000_000_000;
        let tokens: usize = work.rows.iter().map(|row| work.texts.row(*row).ids.len()).sum();
        tokens.saturating_mul(self.inner.model.info().parameters) > LONG
    }
}

/// Runs `work` on another thread, asks `watch` meanwhile and stops the run where it breaks.
fn watched<T: Send>(stop: &StopSignal, watch: &mut Watch<'_>, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let (sender, receiver) = channel();
        let work = move || sender.send(work());
        let started = std::thread::Builder::new().spawn_scoped(scope, work);
        started.map_err(|error| {
            EmbeddingError::inference_failed("no thread could be started for a long text").caused_by(error)
        })?;
        loop {
            match receiver.recv_timeout(LOOK_UP) {
                Ok(outcome) => return outcome,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(EmbeddingError::internal("the thread of a run went away"));
                }
                Err(RecvTimeoutError::Timeout) => {
                    if watch(0).is_break() {
                        stop.stop();
                        return Err(EmbeddingError::Cancelled);
                    }
                }
            }
        }
    })
}
