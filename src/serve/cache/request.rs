//! A request of which some rows are known: which are to be computed, and all of them together again.

use std::sync::Arc;
use std::time::Duration;

use ndarray::Array2;

use super::row::CachedRow;
use crate::call::TextUsage;
use crate::embedder::Embeddings;
use crate::error::{EmbeddingError, Result};
use crate::memory;
use crate::options::Usage;

/// What is known of the rows of a request, in its order.
#[derive(Debug)]
pub(crate) struct PartlyKnown {
    rows: Vec<Option<Arc<CachedRow>>>,
}

/// The rows that were not known, in the order of [`PartlyKnown::missing`].
#[derive(Debug)]
pub(crate) struct Computed {
    /// The rows.
    pub embeddings: Embeddings,
    /// What each took.
    pub each: Vec<TextUsage>,
}

impl Computed {
    /// The rows as they are kept.
    pub fn rows(&self) -> impl Iterator<Item = CachedRow> {
        self.embeddings.vectors.rows().into_iter().zip(&self.each).map(|(row, usage)| CachedRow {
            values: row.iter().copied().collect(),
            // A text of more tokens than that would not fit into memory.
            tokens: u32::try_from(usage.tokens).unwrap_or(u32::MAX),
            is_truncated: usage.is_truncated,
        })
    }
}

impl PartlyKnown {
    /// With the rows that were found.
    pub fn new(rows: Vec<Option<Arc<CachedRow>>>) -> Self {
        Self { rows }
    }

    /// Places of the rows that are to be computed.
    pub fn missing(&self) -> Vec<usize> {
        self.rows.iter().enumerate().filter(|(_, row)| row.is_none()).map(|(place, _)| place).collect()
    }

    /// All rows of `dimension` numbers in order, with the usage that they would have had without a cache.
    ///
    /// # Errors
    /// `Internal` where the rows do not fit together; `InferenceFailed` where there is no memory for them.
    pub fn complete(self, computed: Option<&Computed>, dimension: usize, duration: Duration) -> Result<Embeddings> {
        let misfit = |what: &str| EmbeddingError::internal(format!("{what} of a request with a cache"));
        let mut values = memory::zeros(self.rows.len().saturating_mul(dimension), "the rows")?;
        let mut usage = Usage { inputs: self.rows.len(), duration, ..Usage::default() };
        let mut new = computed
            .into_iter()
            .flat_map(|computed| computed.embeddings.vectors.rows().into_iter().zip(&computed.each));
        for (known, place) in self.rows.iter().zip(values.chunks_exact_mut(dimension.max(1))) {
            let each = if let Some(row) = known {
                if row.values.len() != dimension {
                    return Err(misfit("a kept row has another dimension than the others"));
                }
                place.copy_from_slice(&row.values);
                TextUsage { tokens: row.tokens as usize, is_truncated: row.is_truncated }
            } else {
                let (row, each) = new.next().ok_or_else(|| misfit("a row is missing"))?;
                if row.len() != dimension {
                    return Err(misfit("a computed row has another dimension than the others"));
                }
                place.iter_mut().zip(row).for_each(|(to, from)| *to = *from);
                *each
            };
            usage.total_tokens += each.tokens;
            usage.truncated_inputs += usize::from(each.is_truncated);
        }
        if new.next().is_some() {
            return Err(misfit("a row is left over"));
        }
        let vectors = Array2::from_shape_vec((self.rows.len(), dimension), values)
            .map_err(|error| misfit(&format!("rows do not fill their buffer ({error})")))?;
        Ok(Embeddings { vectors, usage })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    const DIMENSION: usize = 3;

    /// A model that is nothing but a rule: the numbers of a text, and what it takes.
    fn row(text: u8) -> ([f32; DIMENSION], TextUsage) {
        let number = f32::from(text);
        (
            [number, -number / 3.0, number.sqrt()],
            TextUsage { tokens: 2 + usize::from(text % 5), is_truncated: text.is_multiple_of(7) },
        )
    }

    fn compute(texts: &[u8]) -> Computed {
        let vectors = Array2::from_shape_fn((texts.len(), DIMENSION), |(index, place)| row(texts[index]).0[place]);
        let each: Vec<TextUsage> = texts.iter().map(|text| row(*text).1).collect();
        // The usage of the call itself has no part in it.
        Computed { embeddings: Embeddings { vectors, usage: Usage::default() }, each }
    }

    proptest! {
        /// However requests follow each other and whatever is forgotten between them: the rows and the usage are those of
        /// a model without a cache, and nothing that is known is computed again.
        #[test]
        fn with_a_cache_as_without(requests in prop::collection::vec((prop::collection::vec(0..30_u8, 0..20), any::<u32>()), 1..10)) {
            let mut kept: HashMap<u8, Arc<CachedRow>> = HashMap::new();
            for (texts, forgotten) in requests {
                kept.retain(|text, _| (forgotten >> (text % 32)) & 1 == 0);
                let known = PartlyKnown::new(texts.iter().map(|text| kept.get(text).cloned()).collect());
                let missing: Vec<u8> = known.missing().into_iter().map(|place| texts[place]).collect();
                prop_assert!(missing.iter().all(|text| !kept.contains_key(text)));
                prop_assert_eq!(missing.len(), texts.iter().filter(|text| !kept.contains_key(text)).count());
                let computed = (!missing.is_empty()).then(|| compute(&missing));
                for (text, row) in missing.iter().zip(computed.iter().flat_map(Computed::rows)) {
                    kept.insert(*text, Arc::new(row));
                }
                let duration = Duration::from_millis(5);
                let found = known.complete(computed.as_ref(), DIMENSION, duration).unwrap();
                let bits: Vec<u32> = found.vectors.iter().map(|value| value.to_bits()).collect();
                let expected: Vec<([f32; DIMENSION], TextUsage)> = texts.iter().map(|text| row(*text)).collect();
                let expected_bits: Vec<u32> = expected.iter().flat_map(|(row, _)| row.map(f32::to_bits)).collect();
                prop_assert_eq!(bits, expected_bits);
                let usage = Usage {
                    inputs: texts.len(),
                    total_tokens: expected.iter().map(|(_, text)| text.tokens).sum(),
                    truncated_inputs: expected.iter().filter(|(_, text)| text.is_truncated).count(),
                    duration,
                    ..Usage::default()
                };
                prop_assert_eq!(found.usage, usage);
            }
        }
    }

    #[test]
    fn rows_that_do_not_fit_are_an_error() {
        let one_missing = || PartlyKnown::new(vec![None]);
        let (one, two) = (compute(&[1]), compute(&[1, 2]));
        let complete = |known: PartlyKnown, computed| known.complete(computed, DIMENSION, Duration::ZERO);
        assert!(complete(one_missing(), None).is_err());
        assert!(complete(one_missing(), Some(&two)).is_err());
        assert!(complete(one_missing(), Some(&one)).is_ok());
        let other = CachedRow { values: [1.0].into(), tokens: 1, is_truncated: false };
        assert!(complete(PartlyKnown::new(vec![Some(Arc::new(other))]), None).is_err());
    }
}
