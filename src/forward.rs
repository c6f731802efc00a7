//! One batch through the model: padded, run, pooled, and its rows ready to be placed.

use std::sync::Arc;

use ort::session::RunOptions;

use crate::batch::{Batch, Layout, TokenRow};
use crate::error::{EmbeddingError, Result};
use crate::postprocess::{Postprocess, PostprocessOptions, Scratch};
use crate::runtime::pool::{Engine, StopSignal};
use crate::runtime::ports::OutputKind;
use crate::runtime::session::{LoadedSession, Ports, SessionFactory};
use crate::schedule::TOKEN_BUDGET;
use crate::tokenization::TokenizedTexts;

/// A loaded model's way from tokens to rows.
#[derive(Debug)]
pub struct Forward {
    /// Makes the sessions.
    pub factory: Arc<SessionFactory>,
    /// What the graph wants and gives.
    pub ports: Ports,
    /// What its output holds.
    pub kind: OutputKind,
    /// How rows are padded.
    pub layout: Layout,
    /// What follows the graph.
    pub postprocess: Arc<Postprocess>,
    /// Width of the graph's output.
    pub width: usize,
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

    /// Number of rows and tokens of the longest, the shortest.
    fn extent(&self) -> (usize, usize, usize) {
        let lengths = self.tokens().map(|row| row.ids.len());
        let (longest, shortest) =
            lengths.fold((1, usize::MAX), |(longest, shortest), length| (longest.max(length), shortest.min(length)));
        (self.rows.len(), longest, shortest)
    }
}

impl Engine for Forward {
    type Worker = LoadedSession;
    type Work = BatchWork;
    type Output = BatchRows;

    fn worker(&self) -> Result<LoadedSession> {
        self.factory.create(1)
    }

    fn run(&self, session: &mut LoadedSession, works: &[&BatchWork], stop: &StopSignal) -> Result<Vec<BatchRows>> {
        let tokens: Vec<TokenRow<'_>> = works.iter().flat_map(|work| work.tokens()).collect();
        let batch = Batch::pad(&tokens, &self.layout);
        let options = RunOptions::new()
            .map_err(|error| EmbeddingError::inference_failed("a run could not be prepared").caused_by(error))?;
        let options = Arc::new(options);
        let terminate = Arc::clone(&options);
        stop.on_stop(move || {
            if let Err(error) = terminate.terminate() {
                tracing::debug!(%error, "a run could not be stopped and goes on to its end");
            }
        });
        session.run(&self.ports, &batch, &options, |output, shape| self.rows(works, &batch, output, shape))
    }

    fn may_join(&self, others: &[&BatchWork], work: &BatchWork) -> bool {
        let (mut rows, mut longest, mut shortest) = work.extent();
        for other in others {
            let extent = other.extent();
            rows += extent.0;
            longest = longest.max(extent.1);
            shortest = shortest.min(extent.2);
        }
        // A third of padding is what joining may cost before two runs are the better deal.
        rows * longest <= TOKEN_BUDGET && longest * 2 <= shortest * 3
    }
}

impl Forward {
    fn rows(&self, works: &[&BatchWork], batch: &Batch, output: &[f32], shape: &[i64]) -> Result<Vec<BatchRows>> {
        let sizes: Vec<usize> = shape.iter().map(|size| usize::try_from(*size).unwrap_or(0)).collect();
        let expected = match self.kind {
            OutputKind::Tokens => vec![batch.rows, batch.sequence, self.width],
            OutputKind::Sentence => vec![batch.rows, self.width],
        };
        if sizes != expected {
            let message =
                format!("the output {:?} has the shape {sizes:?} where {expected:?} is needed", self.ports.output);
            return Err(EmbeddingError::inference_failed(message));
        }
        let mut scratch = Scratch::default();
        let mut row = 0;
        let mut finish = |work: &&BatchWork| {
            let mut values = vec![0.0; work.rows.len() * work.options.dimension];
            for out in values.chunks_exact_mut(work.options.dimension.max(1)) {
                self.row(row, batch, output, &work.options, &mut scratch, out)?;
                row += 1;
            }
            Ok(BatchRows { rows: work.rows.clone(), values })
        };
        works.iter().map(&mut finish).collect()
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
        match self.kind {
            OutputKind::Tokens => {
                let span = batch.spans().get(row).cloned().unwrap_or_default();
                let start = row * batch.sequence;
                let tokens = output.get((start + span.start) * self.width..(start + span.end) * self.width);
                let tokens = tokens.ok_or_else(|| EmbeddingError::internal("a row lies outside of its batch"))?;
                self.postprocess.apply(tokens, options.prompt_tokens, options.postprocess, scratch, out)?;
            }
            OutputKind::Sentence => {
                let pooled = output.get(row * self.width..(row + 1) * self.width);
                let pooled = pooled.ok_or_else(|| EmbeddingError::internal("a row lies outside of its batch"))?;
                self.postprocess.apply(pooled, 0, options.postprocess, scratch, out)?;
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
