//! Calibration texts on their way through a model, layer by layer.

use std::sync::Arc;

use crate::batch::{Batch, Layout, TokenRow};
use crate::error::Result;
use crate::graph::{Author, Part, Target};
use crate::runtime::execution::Execution;
use crate::runtime::initializers::Initializers;
use crate::runtime::library::Library;
use crate::runtime::part::PartSession;
use crate::runtime::session::{Graph, SessionFactory};
use crate::schedule::{Limits, TOKEN_BUDGET, plan};
use crate::source::packed_sites;
use crate::tokenization::TokenizedTexts;
use crate::weights::Weights;

/// What runs parts of one model.
pub struct Parts {
    /// Writes them.
    pub author: Arc<dyn Author>,
    /// What they are written for; quantized layers are those of the weights that are given with each part.
    pub target: Target,
    /// ONNX Runtime.
    pub library: Arc<Library>,
    /// Threads that compute.
    pub threads: usize,
}

impl Parts {
    /// A session over one part.
    ///
    /// # Errors
    /// `InvalidModel` where a weight is missing or of another shape, `InferenceFailed` where ONNX Runtime refuses it.
    pub fn session(&self, weights: &Weights, part: Part) -> Result<PartSession> {
        let written = self.author.write_part(weights, &self.target, part)?;
        let graph = Graph::Written {
            initializers: Arc::new(Initializers::new(written.initializers, self.threads)?),
            sites: Arc::new(packed_sites(weights, &written.sites)?),
            model: written.model,
            long: None,
        };
        let execution = Execution::cpu_beside_others()?;
        let factory = Arc::new(SessionFactory::new(Arc::clone(&self.library), graph, execution));
        PartSession::new(&factory, self.threads)
    }
}

/// Batches of texts, and the hidden states between two parts for each.
#[derive(Debug, Clone)]
pub struct Stream {
    batches: Vec<Batch>,
    hidden: Vec<Vec<f32>>,
}

impl Stream {
    /// Texts in batches, before the first part.
    pub fn new(texts: &TokenizedTexts, layout: &Layout) -> Self {
        let rows: Vec<TokenRow<'_>> = (0..texts.len()).map(|index| texts.row(index)).collect();
        let lengths: Vec<usize> = rows.iter().map(|row| row.ids.len()).collect();
        let plan = plan(&lengths, Limits { token_budget: TOKEN_BUDGET, workers: 1 });
        let batch = |texts: &[usize]| {
            let rows: Vec<TokenRow<'_>> = texts.iter().filter_map(|text| rows.get(*text).copied()).collect();
            Batch::pad(&rows, layout)
        };
        let batches: Vec<Batch> = plan.batches().map(batch).collect();
        Self { hidden: vec![Vec::new(); batches.len()], batches }
    }

    /// Sends every batch through a part: its output is the next part's input.
    ///
    /// # Errors
    /// `InferenceFailed` where the part fails.
    pub fn advance(&mut self, session: &mut PartSession) -> Result<()> {
        for (batch, hidden) in self.batches.iter().zip(&mut self.hidden) {
            *hidden = session.run(batch, hidden)?;
        }
        Ok(())
    }

    /// What a part gives for every batch, without padding, in turn.
    ///
    /// # Errors
    /// As [`advance`](Self::advance), and what `see` says.
    pub fn observe(&self, session: &mut PartSession, mut see: impl FnMut(Vec<f32>) -> Result<()>) -> Result<()> {
        for (batch, hidden) in self.batches.iter().zip(&self.hidden) {
            let output = session.run(batch, hidden)?;
            see(without_padding(batch, &output))?;
        }
        Ok(())
    }

    /// How far the hidden states of another stream of the same texts are from these: the root of the sum of squared
    /// differences over that of squares, padding left out.
    pub fn distance(&self, other: &Self) -> f64 {
        let (mut difference, mut square) = (0.0, 0.0);
        for ((batch, mine), others) in self.batches.iter().zip(&self.hidden).zip(&other.hidden) {
            for (mine, other) in without_padding(batch, mine).iter().zip(without_padding(batch, others)) {
                let (mine, other) = (f64::from(*mine), f64::from(other));
                difference += (mine - other).powi(2);
                square += mine.powi(2);
            }
        }
        (difference / square.max(f64::MIN_POSITIVE)).sqrt()
    }

    /// Tokens of all texts, padding left out.
    pub fn tokens(&self) -> usize {
        self.batches.iter().flat_map(Batch::spans).map(std::ops::Range::len).sum()
    }
}

/// The rows of tokens alone.
fn without_padding(batch: &Batch, rows: &[f32]) -> Vec<f32> {
    let width = rows.len() / (batch.rows * batch.sequence).max(1);
    let spans = batch.spans().iter().enumerate();
    let spans = spans.filter_map(|(text, span)| {
        let start = text * batch.sequence;
        rows.get((start + span.start) * width..(start + span.end) * width)
    });
    spans.flatten().copied().collect()
}
