//! Whether a provider gives the CPU's vectors, and how fast.

use std::sync::Arc;
use std::time::Instant;

use crate::backend::{Backend, LaterBackend, Worker};
use crate::batch::Layout;
use crate::cosine::cosine;
use crate::error::{EmbeddingError, Result};
use crate::failover::Failover;
use crate::forward::{BatchWork, Forward, RowOptions};
use crate::postprocess::Postprocess;
use crate::runtime::pool::{Engine, StopSignal};
use crate::runtime::session::LoadedSession;
use crate::stages::StageCounters;
use crate::tokenization::Tokenization;

/// The least cosine to the CPU's vector of a text.
pub const LEAST_COSINE: f64 = 0.999;
/// How much faster than the CPU a provider has to be to be chosen: less is noise.
pub const WORTHWHILE: f64 = 1.1;
/// Runs, the fastest of which counts, after one that does not.
const RUNS: usize = 2;

/// So many times the CPU's time, and no further run is needed to see who is faster.
const HOPELESS: f64 = 5.0;

/// One batch, of different lengths. Some errors are of larger batches only: a graphics processor of Apple's computes
/// attention wrongly from ten texts on.
const TEXTS: &[&str] = &[
    "rain",
    "blue paint",
    "a red bicycle",
    "How do I restart the service?",
    "The committee meets on Thursday at four.",
    "Water boils earlier in the mountains.",
    "Sort the list by length, then by name.",
    "invoice number 4711",
    "He sold the boat last spring.",
    "error: connection refused",
    "Is the museum open on Mondays?",
    "two cups of flour and a little salt",
    "The train to the coast was late again.",
    "winter tyres",
    "Light travels faster than sound, as everybody knows.",
    "def area(width, height):",
];

/// Runs a few texts through backends of one model.
pub struct Probe<'a> {
    /// The tokenizer.
    pub tokenization: &'a Tokenization,
    /// How rows are padded.
    pub layout: Layout,
    /// What follows the graph.
    pub postprocess: Arc<Postprocess>,
    /// Threads to tokenize with, and to compute with on the CPU.
    pub threads: usize,
    /// What rows are made like.
    pub options: RowOptions,
}

/// What came of the texts.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// One row a text.
    pub rows: Vec<f32>,
    /// Seconds for all of them.
    pub seconds: f64,
    /// The smallest cosine to the reference; 1 for the reference itself.
    pub cosine: f64,
}

impl Probe<'_> {
    /// The CPU's rows, and its session back.
    pub fn reference(
        &self,
        cpu: &Arc<LaterBackend>,
        session: Option<LoadedSession>,
        work: &BatchWork,
    ) -> Result<(Measured, Option<LoadedSession>)> {
        let mut worker = Worker::new(self.threads);
        if let Some(session) = session {
            worker.give(0, session);
        }
        let measured = self.measure(Arc::clone(cpu), &mut worker, work, f64::INFINITY)?;
        Ok((measured, worker.take(0)))
    }

    /// A candidate's rows, compared with the CPU's.
    ///
    /// # Errors
    /// `ProviderUnavailable` where it fails, or its vectors are not the CPU's.
    pub fn candidate(&self, backend: Backend, work: &BatchWork, reference: &Measured) -> Result<(Backend, Measured)> {
        let execution = backend.execution.clone();
        let backend = Arc::new(LaterBackend::ready(backend));
        let enough = HOPELESS * reference.seconds;
        let measured = self.measure(Arc::clone(&backend), &mut Worker::new(self.threads), work, enough);
        let measured = measured.map_err(|error| execution.unavailable(format!("it fails in a trial: {error}")))?;
        let cosine = smallest_cosine(&reference.rows, &measured.rows, self.options.dimension);
        // Not a number is no agreement either.
        if cosine.is_nan() || cosine < LEAST_COSINE {
            return Err(execution.unavailable(format!(
                "its vectors are not the model's: in a trial the smallest cosine to the CPU's was {cosine:.4}, and \
                 {LEAST_COSINE} is the least"
            )));
        }
        let backend = Arc::into_inner(backend).ok_or_else(|| EmbeddingError::internal("a trial has not ended"))?;
        Ok((backend.into_ready()?, Measured { cosine, ..measured }))
    }

    /// Runs the texts several times, or once where that took more than `enough` seconds.
    fn measure(
        &self,
        backend: Arc<LaterBackend>,
        worker: &mut Worker,
        work: &BatchWork,
        enough: f64,
    ) -> Result<Measured> {
        let name = backend.name.clone();
        let forward = Forward {
            backends: vec![backend],
            failover: Failover::new(vec![name]),
            layout: self.layout,
            postprocess: Arc::clone(&self.postprocess),
            // A trial is nobody's work.
            stages: StageCounters::default(),
        };
        let mut seconds = Vec::new();
        let mut rows = Vec::new();
        for run in 0..=RUNS {
            let start = Instant::now();
            let outputs = forward.run(worker, &[work], &StopSignal::default())?;
            rows = outputs.into_iter().flat_map(|output| output.values).collect();
            // In the first run a provider may still make what it keeps.
            if run > 0 {
                seconds.push(start.elapsed().as_secs_f64());
            }
            if seconds.last().is_some_and(|last| *last > enough) {
                break;
            }
        }
        let seconds = seconds.into_iter().fold(f64::INFINITY, f64::min);
        Ok(Measured { rows, seconds, cosine: 1.0 })
    }

    /// The texts, as one batch.
    pub fn work(&self) -> Result<BatchWork> {
        let mut never = || std::ops::ControlFlow::Continue(());
        let texts = self.tokenization.encode_all(None, TEXTS, self.threads, &mut never)?;
        let (rows, sequence) = ((0..TEXTS.len()).collect(), 0);
        Ok(BatchWork { texts: Arc::new(texts), rows, sequence, options: self.options })
    }
}

/// The smallest cosine between rows of the same number.
fn smallest_cosine(reference: &[f32], candidate: &[f32], dimension: usize) -> f64 {
    if reference.len() != candidate.len() {
        return f64::NAN;
    }
    let dimension = dimension.max(1);
    let rows = reference.chunks_exact(dimension).zip(candidate.chunks_exact(dimension));
    // A comparison with NaN is false, so `f64::min` would pass over it.
    rows.map(|(a, b)| cosine(a, b))
        .fold(f64::INFINITY, |least, next| if next.is_nan() || next < least { next } else { least })
}

#[cfg(test)]
mod tests {
    use super::{LEAST_COSINE, smallest_cosine};

    #[test]
    fn the_worst_row_counts() {
        let reference = [1.0, 0.0, 0.0, 1.0];
        assert!((smallest_cosine(&reference, &[2.0, 0.0, 0.0, 3.0], 2) - 1.0).abs() < 1e-12);
        let turned = smallest_cosine(&reference, &[1.0, 0.0, 0.1, 1.0], 2);
        assert!((turned - 1.0 / 1.01_f64.sqrt()).abs() < 1e-7, "{turned}");
        assert!(turned < LEAST_COSINE);
    }

    #[test]
    fn what_is_no_number_is_no_agreement() {
        let reference = [1.0, 0.0, 0.0, 1.0];
        assert!(smallest_cosine(&reference, &[f32::NAN, 0.0, 0.0, 1.0], 2).is_nan());
        assert!(smallest_cosine(&reference, &[1.0, 0.0, f32::NAN, 1.0], 2).is_nan());
        assert!(smallest_cosine(&reference, &[1.0, 0.0], 2).is_nan());
        assert!(smallest_cosine(&reference, &[0.0, 0.0, 0.0, 1.0], 2).abs() < 1e-12);
        assert!((smallest_cosine(&[0.0, 0.0], &[0.0, 0.0], 2) - 1.0).abs() < 1e-12);
    }
}
