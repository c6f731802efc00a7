//! One batch through the model: padded, run, pooled, and its rows ready to be placed.

use std::sync::Arc;

use ort::session::RunOptions;

use crate::backend::{Backend, Interface, LaterBackend, Worker};
use crate::batch::{Batch, Layout, TokenRow};
use crate::error::{EmbeddingError, Result};
use crate::failover::Failover;
use crate::ladder::PlannedBatch;
use crate::memory;
use crate::postprocess::{Postprocess, PostprocessOptions, Scratch};
use crate::runtime::pool::{Engine, StopSignal};
use crate::runtime::ports::OutputKind;
use crate::schedule::{self, Piece};
use crate::stages::{Stage, StageCounters, Stopwatch};
use crate::tokenization::TokenizedTexts;

/// A loaded model's way from tokens to rows.
#[derive(Debug)]
pub struct Forward {
    /// The providers that do the work, the preferred first.
    pub backends: Vec<Arc<LaterBackend>>,
    /// How they have been doing.
    pub failover: Failover,
    /// How rows are padded.
    pub layout: Layout,
    /// What follows the graph.
    pub postprocess: Arc<Postprocess>,
    /// What its time goes into.
    pub stages: StageCounters,
}

/// What one call asks of its rows.
#[derive(Debug, Clone, Copy)]
pub struct RowOptions {
    /// Leading tokens that pooling leaves out.
    pub prompt_tokens: usize,
    /// Truncation and normalization.
    pub postprocess: PostprocessOptions,
    /// Numbers in a row.
    pub dimension: usize,
}

/// A batch of a call.
#[derive(Debug, Clone)]
pub struct BatchWork {
    /// The tokens of the whole call.
    pub texts: Arc<TokenizedTexts>,
    /// The texts of this batch.
    pub rows: Vec<usize>,
    /// Tokens that they are padded to at least, where shapes are fixed.
    pub sequence: usize,
    /// What the call asks of its rows.
    pub options: RowOptions,
}

/// The rows of a batch, row-major.
#[derive(Debug)]
pub struct BatchRows {
    /// The texts they belong to.
    pub rows: Vec<usize>,
    /// `rows.len()` times the dimension.
    pub values: Vec<f32>,
}

impl BatchWork {
    fn tokens(&self) -> impl Iterator<Item = TokenRow<'_>> {
        self.rows.iter().map(|row| self.texts.row(*row))
    }

    fn extent(&self) -> Extent {
        Extent::of(self.tokens())
    }

    /// How many texts, and the tokens of the longest.
    pub fn shape(&self) -> (usize, usize) {
        let Extent { rows, longest, .. } = self.extent();
        (rows, longest)
    }
}

/// How many texts, and their longest and shortest in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Extent {
    rows: usize,
    longest: usize,
    shortest: usize,
}

impl Extent {
    fn of<'a>(tokens: impl Iterator<Item = TokenRow<'a>>) -> Self {
        let none = Self { rows: 0, longest: 1, shortest: usize::MAX };
        tokens.fold(none, |extent, row| extent.with(Self { rows: 1, longest: row.ids.len(), shortest: row.ids.len() }))
    }

    /// As what waits to be run with others, padded to at least so many tokens.
    fn piece(self, sequence: usize) -> Piece {
        Piece { rows: self.rows, longest: self.longest.max(sequence) }
    }

    fn with(self, other: Self) -> Self {
        Self {
            rows: self.rows + other.rows,
            longest: self.longest.max(other.longest),
            shortest: self.shortest.min(other.shortest),
        }
    }
}

/// The rows of a run in one buffer, in the order of its tokens.
struct Rows {
    values: Vec<f32>,
    /// Where each row starts, and where the last ends.
    starts: Vec<usize>,
}

impl Rows {
    fn of(tokens: &[(&BatchWork, TokenRow<'_>)]) -> Self {
        let mut end = 0;
        let mut starts = vec![0];
        starts.extend(tokens.iter().map(|(work, _)| {
            end += work.options.dimension;
            end
        }));
        Self { values: vec![0.0; end], starts }
    }

    fn row(&mut self, index: usize) -> Option<&mut [f32]> {
        self.values.get_mut(*self.starts.get(index)?..*self.starts.get(index + 1)?)
    }

    /// Each work its rows.
    fn into_works(mut self, works: &[&BatchWork]) -> Vec<BatchRows> {
        let mut outputs: Vec<BatchRows> = Vec::with_capacity(works.len());
        // From behind, so that the first takes the buffer as it is.
        for work in works.iter().rev() {
            let start = self.values.len().saturating_sub(work.rows.len() * work.options.dimension);
            let values = if outputs.len() + 1 == works.len() {
                std::mem::take(&mut self.values)
            } else {
                self.values.split_off(start)
            };
            outputs.push(BatchRows { rows: work.rows.clone(), values });
        }
        outputs.reverse();
        outputs
    }
}

impl Engine for Forward {
    type Worker = Worker;
    type Work = BatchWork;
    type Output = BatchRows;

    fn worker(&self) -> Result<Worker> {
        Ok(Worker::new(1))
    }

    fn run(&self, worker: &mut Worker, works: &[&BatchWork], stop: &StopSignal) -> Result<Vec<BatchRows>> {
        memory::ensure(0, "a batch")?;
        let mut clock = Stopwatch::start(&self.stages);
        let tokens: Vec<(&BatchWork, TokenRow<'_>)> =
            works.iter().flat_map(|work| work.tokens().map(|row| (*work, row))).collect();
        let extent = Extent::of(tokens.iter().map(|(_, row)| *row));
        let rows = self.failover.attempt(
            tokens.len(),
            |number| self.takes(number, extent),
            |number| self.run_on(number, worker, &tokens, extent, stop, &mut clock),
        )?;
        let rows = rows.into_works(works);
        clock.lap(Stage::Pool);
        Ok(rows)
    }

    fn company(&self, work: &BatchWork, others: &[&BatchWork]) -> Vec<usize> {
        let provider = |extent: Extent| self.failover.current(|number| self.takes(number, extent));
        let extent = work.extent();
        let Some(number) = provider(extent) else { return Vec::new() };
        let Some(backend) = self.backends.get(number).and_then(|backend| backend.if_ready()) else { return Vec::new() };
        let (mut places, mut pieces) = (Vec::with_capacity(others.len()), Vec::with_capacity(others.len()));
        for (place, other) in others.iter().enumerate() {
            let extent = other.extent();
            if provider(extent) == Some(number) {
                places.push(place);
                pieces.push(extent.piece(other.sequence));
            }
        }
        let company =
            schedule::company(extent.piece(work.sequence), &pieces, |rows, longest| backend.is_batch(rows, longest));
        company.into_iter().filter_map(|index| places.get(index).copied()).collect()
    }
}

impl Forward {
    fn takes(&self, number: usize, extent: Extent) -> bool {
        self.backends.get(number).is_some_and(|backend| backend.takes(extent.longest, extent.shortest))
    }

    /// Batches over texts of these lengths, as the providers that do the work at present want them.
    pub fn plan(&self, lengths: &[usize], workers: usize) -> Result<Vec<PlannedBatch>> {
        let mut rest: Vec<usize> = (0..lengths.len()).collect();
        let mut batches = Vec::new();
        let length = |text: usize| lengths.get(text).copied().unwrap_or(0);
        while let Some(first) = rest.first() {
            let able = |text: usize| {
                let extent = Extent { rows: 1, longest: length(text), shortest: length(text) };
                self.failover.current(|number| self.takes(number, extent))
            };
            let number = able(*first);
            let backend = number.and_then(|number| self.backends.get(number));
            let backend = backend.ok_or_else(|| EmbeddingError::internal("no provider takes a text"))?;
            // A provider may fail in another call meanwhile, so the first is not asked again: it would belong to nobody.
            let (mine, others): (Vec<usize>, Vec<usize>) = if self.backends.len() == 1 {
                (rest, Vec::new())
            } else {
                let first = *first;
                rest.into_iter().partition(|text| *text == first || able(*text) == number)
            };
            let my_lengths: Vec<usize> = mine.iter().map(|text| length(*text)).collect();
            let planned = match backend.get() {
                Ok(backend) => backend.plan(&my_lengths, workers),
                // It fails as a batch does, so that the next provider gets its chance.
                Err(_) => vec![PlannedBatch { texts: (0..mine.len()).collect(), sequence: 0 }],
            };
            let of_call = |PlannedBatch { texts, sequence }| {
                let texts = texts.into_iter().filter_map(|index: usize| mine.get(index).copied()).collect();
                PlannedBatch { texts, sequence }
            };
            batches.extend(planned.into_iter().map(of_call));
            rest = others;
        }
        Ok(batches)
    }

    /// The rows of `tokens` in their order, computed by one provider.
    fn run_on(
        &self,
        number: usize,
        worker: &mut Worker,
        tokens: &[(&BatchWork, TokenRow<'_>)],
        extent: Extent,
        stop: &StopSignal,
        clock: &mut Stopwatch<'_>,
    ) -> Result<Rows> {
        let backend = self.backends.get(number).ok_or_else(|| EmbeddingError::internal("a provider is missing"))?;
        let run = Run { forward: self, backend: backend.get()?, number, tokens };
        let mut rows = Rows::of(tokens);
        let sequence = tokens.iter().map(|(work, _)| work.sequence).max().unwrap_or(0);
        if run.backend.is_batch(extent.rows, extent.longest.max(sequence)) {
            let all = PlannedBatch { texts: (0..tokens.len()).collect(), sequence };
            run.batch(worker, &all, &mut rows, stop, clock)?;
            return Ok(rows);
        }
        // Planned for another provider.
        let lengths: Vec<usize> = tokens.iter().map(|(_, row)| row.ids.len()).collect();
        for part in run.backend.plan(&lengths, 1) {
            run.batch(worker, &part, &mut rows, stop, clock)?;
        }
        Ok(rows)
    }
}

/// Tokens on their way through one provider.
struct Run<'a> {
    forward: &'a Forward,
    backend: &'a Backend,
    number: usize,
    tokens: &'a [(&'a BatchWork, TokenRow<'a>)],
}

impl Run<'_> {
    /// Runs the tokens of a part and puts their rows into `rows`.
    fn batch(
        &self,
        worker: &mut Worker,
        part: &PlannedBatch,
        rows: &mut Rows,
        stop: &StopSignal,
        clock: &mut Stopwatch<'_>,
    ) -> Result<()> {
        let options = RunOptions::new()
            .map_err(|error| EmbeddingError::inference_failed("a run could not be prepared").caused_by(error))?;
        let options = Arc::new(options);
        let terminate = Arc::clone(&options);
        stop.on_stop(move || {
            if let Err(error) = terminate.terminate() {
                tracing::debug!(%error, "a run could not be stopped and goes on to its end");
            }
        });
        let tokens: Vec<TokenRow<'_>> =
            part.texts.iter().filter_map(|index| self.tokens.get(*index)).map(|(_, row)| *row).collect();
        let layout = &self.forward.layout;
        let texts = (tokens.as_slice(), part.sequence);
        self.backend.run(self.number, worker, texts, layout, (&options, clock), |batch, output, shape| {
            self.check(batch, shape)?;
            let mut scratch = Scratch::default();
            for (row, index) in part.texts.iter().enumerate() {
                let options = self.tokens.get(*index).map(|(work, _)| &work.options);
                let (Some(options), Some(out)) = (options, rows.row(*index)) else {
                    return Err(EmbeddingError::internal("a row has no place"));
                };
                self.row(row, batch, output, options, &mut scratch, out)?;
            }
            let useful = batch.spans().iter().map(ExactSizeIterator::len).sum();
            self.forward.stages.batch(useful, batch.rows * batch.sequence);
            Ok(())
        })
    }

    fn check(&self, batch: &Batch, shape: &[i64]) -> Result<()> {
        let interface = &self.backend.interface;
        let sizes: Vec<usize> = shape.iter().map(|size| usize::try_from(*size).unwrap_or(0)).collect();
        let expected = match interface.kind {
            OutputKind::Tokens => vec![batch.rows, batch.sequence, interface.width],
            OutputKind::Sentence => vec![batch.rows, interface.width],
        };
        if sizes == expected {
            return Ok(());
        }
        let name = &interface.ports.output;
        let message = format!("the output {name:?} has the shape {sizes:?} where {expected:?} is needed");
        Err(EmbeddingError::inference_failed(message))
    }

    fn row(
        &self,
        row: usize,
        batch: &Batch,
        output: &[f32],
        options: &RowOptions,
        scratch: &mut Scratch,
        out: &mut [f32],
    ) -> Result<()> {
        let Interface { kind, width, .. } = self.backend.interface;
        let postprocess = &self.forward.postprocess;
        match kind {
            OutputKind::Tokens => {
                let span = batch.spans().get(row).cloned().unwrap_or_default();
                let start = row * batch.sequence;
                let tokens = output.get((start + span.start) * width..(start + span.end) * width);
                let tokens = tokens.ok_or_else(|| EmbeddingError::internal("a row lies outside of its batch"))?;
                postprocess.apply(tokens, options.prompt_tokens, options.postprocess, scratch, out)?;
            }
            OutputKind::Sentence => {
                let pooled = output.get(row * width..(row + 1) * width);
                let pooled = pooled.ok_or_else(|| EmbeddingError::internal("a row lies outside of its batch"))?;
                postprocess.apply(pooled, 0, options.postprocess, scratch, out)?;
            }
        }
        if out.iter().all(|value| value.is_finite()) {
            return Ok(());
        }
        Err(EmbeddingError::inference_failed(
            "the model gave numbers that are not finite (NaN or infinity): its weights are damaged, or overflow in \
             the arithmetic it is run in",
        ))
    }
}
