//! One call: its equal texts found, so that each is computed once, and its rows placed where their texts stand.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use ndarray::Array2;

use crate::embedder::Embeddings;
use crate::error::{EmbeddingError, Result};
use crate::forward::{BatchRows, BatchWork};
use crate::memory;
use crate::options::Usage;
use crate::tokenization::TokenizedTexts;

/// What a call remembers of a text beside its tokens and its row: where it stands, the plan, its batch.
const BYTES_A_TEXT: usize = 400;

/// A call before its batches run.
#[derive(Debug)]
pub(crate) struct PreparedCall {
    pub works: Vec<BatchWork>,
    pub rows: CallRows,
    pub usage: Usage,
}

impl PreparedCall {
    /// What each text takes, in the order of the call.
    #[cfg(feature = "serve")]
    pub fn each(&self) -> Vec<TextUsage> {
        // All batches share the tokens of the whole call; without a batch there is no text.
        self.works.first().map_or_else(Vec::new, |work| self.rows.each(&work.texts))
    }
}

/// What one text of a call takes.
#[cfg(feature = "serve")]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct TextUsage {
    /// Tokens after truncation, special tokens and prompt included.
    pub tokens: usize,
    /// Whether it was cut.
    pub is_truncated: bool,
}

/// The rows of a call, filled as its batches arrive.
#[derive(Debug)]
pub(crate) struct CallRows {
    start: Instant,
    texts: usize,
    dimension: usize,
    /// `(texts, dimension)`, row-major.
    values: Vec<f32>,
    places: Places,
    done: usize,
}

impl CallRows {
    /// Room for `texts`, and those of them that are to be computed.
    ///
    /// # Errors
    /// `InferenceFailed` where there is no memory for them.
    pub fn new<T: Copy + Eq + Hash>(texts: &[T], dimension: usize) -> Result<(Self, Vec<T>)> {
        let start = Instant::now();
        memory::ensure(texts.len().saturating_mul(BYTES_A_TEXT), "the list of texts")?;
        let values = memory::zeros(texts.len().saturating_mul(dimension), "the rows")?;
        let (unique, places) = unique(texts);
        Ok((Self { start, texts: texts.len(), dimension, values, places, done: 0 }, unique))
    }

    /// Copies the rows of a batch to where their texts stand; returns how many texts have theirs by now.
    pub fn place(&mut self, output: &BatchRows) -> usize {
        let dimension = self.dimension;
        for (row, numbers) in output.rows.iter().zip(output.values.chunks_exact(dimension.max(1))) {
            for text in self.places.of(*row) {
                if let Some(slot) = self.values.get_mut(text * dimension..(text + 1) * dimension) {
                    slot.copy_from_slice(numbers);
                }
                self.done += 1;
            }
        }
        self.done
    }

    /// Time since the call began.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// What the texts take, by the tokens of those that are computed.
    pub fn usage(&self, tokens: &TokenizedTexts) -> Usage {
        let mut usage = Usage { inputs: self.texts, ..Usage::default() };
        for (index, text) in tokens.iter().enumerate() {
            let times = self.places.of(index).count();
            usage.total_tokens += times * text.ids.len();
            usage.truncated_inputs += times * usize::from(text.is_truncated());
        }
        usage
    }

    #[cfg(feature = "serve")]
    fn each(&self, tokens: &TokenizedTexts) -> Vec<TextUsage> {
        let mut each = vec![TextUsage::default(); self.texts];
        for (index, text) in tokens.iter().enumerate() {
            for place in self.places.of(index) {
                if let Some(usage) = each.get_mut(place) {
                    *usage = TextUsage { tokens: text.ids.len(), is_truncated: text.is_truncated() };
                }
            }
        }
        each
    }

    /// Refuses texts of more tokens than `limit`.
    ///
    /// # Errors
    /// `InvalidInput` that names the first of them.
    pub fn refuse_truncated(&self, tokens: &TokenizedTexts, limit: usize) -> Result<()> {
        let over_long = tokens.iter().enumerate().filter(|(_, text)| text.is_truncated());
        let first = over_long.filter_map(|(index, text)| Some((self.places.of(index).min()?, text.whole_length)));
        match first.min() {
            None => Ok(()),
            Some((index, length)) => Err(EmbeddingError::invalid_text(
                index,
                format!(
                    "text {index} has {length} tokens and the limit is {limit}; shorten or split it, or allow truncation"
                ),
            )),
        }
    }

    /// The finished rows.
    ///
    /// # Errors
    /// `Internal` where a row is missing.
    pub fn finish(self, usage: Usage) -> Result<Embeddings> {
        if self.done != self.texts {
            let message = format!("{} of {} texts have rows", self.done, self.texts);
            return Err(EmbeddingError::internal(message));
        }
        let vectors = Array2::from_shape_vec((self.texts, self.dimension), self.values)
            .map_err(|error| EmbeddingError::internal(format!("rows do not fill their buffer: {error}")))?;
        Ok(Embeddings { vectors, usage: Usage { duration: self.start.elapsed(), ..usage } })
    }
}

/// Where each unique text stands in the call.
#[derive(Debug)]
enum Places {
    /// Every text is unique.
    Same,
    /// Positions by unique text.
    Listed(Vec<Vec<usize>>),
}

impl Places {
    fn of(&self, unique: usize) -> impl Iterator<Item = usize> {
        let (one, many): (Option<usize>, &[usize]) = match self {
            Self::Same => (Some(unique), &[]),
            Self::Listed(places) => (None, places.get(unique).map_or(&[], Vec::as_slice)),
        };
        one.into_iter().chain(many.iter().copied())
    }
}

fn unique<T: Copy + Eq + Hash>(texts: &[T]) -> (Vec<T>, Places) {
    let mut seen: HashMap<T, usize> = HashMap::with_capacity(texts.len());
    let mut unique = Vec::with_capacity(texts.len());
    let mut places: Vec<Vec<usize>> = Vec::with_capacity(texts.len());
    for (position, text) in texts.iter().enumerate() {
        let index = *seen.entry(*text).or_insert_with(|| {
            unique.push(*text);
            places.push(Vec::with_capacity(1));
            unique.len() - 1
        });
        if let Some(places) = places.get_mut(index) {
            places.push(position);
        }
    }
    if unique.len() == texts.len() { (unique, Places::Same) } else { (unique, Places::Listed(places)) }
}
