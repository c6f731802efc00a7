//! Token embeddings to one vector, as sentence-transformers' `Pooling` does it.
//!
//! It sees the real tokens of one text only. sentence-transformers sees a padded batch and masks: the result is the
//! same on either padding side, because its position weights start at the first real token (6.2).

/// Smallest divisor, as in sentence-transformers: a text without tokens gives zeros.
const EPSILON: f32 = 1e-9;

/// One way to make a vector out of token embeddings; the names are those of sentence-transformers' `pooling_mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PoolingMode {
    /// `cls`: the first token.
    Cls,
    /// `max`: the largest value of each dimension.
    Max,
    /// `mean`: the sum divided by the number of tokens.
    Mean,
    /// `mean_sqrt_len_tokens`: the sum divided by the square root of the number of tokens.
    MeanSqrtLenTokens,
    /// `weightedmean`: the mean weighted with the position, 1 for the first token.
    WeightedMean,
    /// `lasttoken`: the last token.
    LastToken,
}

impl PoolingMode {
    /// The name in `pooling_mode`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cls => "cls",
            Self::Max => "max",
            Self::Mean => "mean",
            Self::MeanSqrtLenTokens => "mean_sqrt_len_tokens",
            Self::WeightedMean => "weightedmean",
            Self::LastToken => "lasttoken",
        }
    }
}

/// Pools one text.
///
/// `tokens` are its real tokens, `hidden` values each; the first `prompt_tokens` of them take no part. `out` gets one
/// vector of `hidden` values a mode, side by side.
///
/// Where no token is left, sentence-transformers gives zeros, but for two modes: `cls` is the first token of the prompt
/// then, and `max` is minus infinity. So does this.
///
/// ```
/// use oxembed::postprocess::{PoolingMode, pool};
///
/// let tokens = [1.0, 2.0, /* second token */ 3.0, 6.0];
/// let mut vector = [0.0; 4];
/// pool(&[PoolingMode::Mean, PoolingMode::LastToken], &tokens, 2, 0, &mut vector);
/// assert_eq!(vector, [2.0, 4.0, 3.0, 6.0]);
/// ```
pub fn pool(modes: &[PoolingMode], tokens: &[f32], hidden: usize, prompt_tokens: usize, out: &mut [f32]) {
    debug_assert_eq!(out.len(), modes.len() * hidden);
    if hidden == 0 {
        return;
    }
    let text = tokens.get(prompt_tokens.saturating_mul(hidden)..).unwrap_or_default();
    for (mode, out) in modes.iter().zip(out.chunks_exact_mut(hidden)) {
        match mode {
            PoolingMode::Cls => copy_or_zero(text.get(..hidden).or_else(|| tokens.get(..hidden)), out),
            PoolingMode::LastToken => copy_or_zero(text.chunks_exact(hidden).next_back(), out),
            PoolingMode::Max => max(text, out),
            PoolingMode::Mean => {
                let count = sum(text, out);
                divide(out, count);
            }
            PoolingMode::MeanSqrtLenTokens => {
                let count = sum(text, out);
                divide(out, count.max(EPSILON).sqrt());
            }
            // A prompt that is left out keeps its places: the first token behind it has a weight above 1.
            PoolingMode::WeightedMean => {
                let weights = weighted_sum(text, prompt_tokens, out);
                divide(out, weights);
            }
        }
    }
}

fn copy_or_zero(token: Option<&[f32]>, out: &mut [f32]) {
    match token {
        Some(token) => out.copy_from_slice(token),
        None => out.fill(0.0),
    }
}

fn max(tokens: &[f32], out: &mut [f32]) {
    out.fill(f32::NEG_INFINITY);
    for token in tokens.chunks_exact(out.len()) {
        for (largest, value) in out.iter_mut().zip(token) {
            // As torch: a NaN is the largest.
            *largest = if *value > *largest || value.is_nan() { *value } else { *largest };
        }
    }
}

/// Adds the tokens into `out`; gives their number.
fn sum(tokens: &[f32], out: &mut [f32]) -> f32 {
    out.fill(0.0);
    for token in tokens.chunks_exact(out.len()) {
        for (sum, value) in out.iter_mut().zip(token) {
            *sum += value;
        }
    }
    (tokens.len() / out.len()) as f32
}

/// Adds the tokens times their position into `out`; gives the sum of the positions.
fn weighted_sum(tokens: &[f32], first_position: usize, out: &mut [f32]) -> f32 {
    out.fill(0.0);
    let mut weights = 0.0;
    for (position, token) in tokens.chunks_exact(out.len()).enumerate() {
        let weight = (first_position + position + 1) as f32;
        weights += weight;
        for (sum, value) in out.iter_mut().zip(token) {
            *sum += value * weight;
        }
    }
    weights
}

fn divide(out: &mut [f32], divisor: f32) {
    let divisor = divisor.max(EPSILON);
    for value in out {
        *value /= divisor;
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [PoolingMode; 6] = [
        PoolingMode::Cls,
        PoolingMode::Max,
        PoolingMode::Mean,
        PoolingMode::MeanSqrtLenTokens,
        PoolingMode::WeightedMean,
        PoolingMode::LastToken,
    ];

    /// Column by column in f64, the way the definition reads.
    fn brute_force(mode: PoolingMode, tokens: &[Vec<f32>], prompt: usize, column: usize) -> f64 {
        let values: Vec<(f64, f64)> = tokens
            .iter()
            .enumerate()
            .filter(|(position, _)| *position >= prompt)
            .map(|(position, token)| (position as f64 + 1.0, f64::from(token[column])))
            .collect();
        let count = values.len() as f64;
        let total: f64 = values.iter().map(|(_, value)| value).sum();
        let weighted: f64 = values.iter().map(|(weight, value)| weight * value).sum();
        let weights: f64 = values.iter().map(|(weight, _)| weight).sum();
        let first = tokens.first().map_or(0.0, |token| f64::from(token[column]));
        match mode {
            PoolingMode::Cls => values.first().map_or(first, |(_, value)| *value),
            PoolingMode::LastToken => values.last().map_or(0.0, |(_, value)| *value),
            PoolingMode::Max => values.iter().map(|(_, value)| *value).fold(f64::NEG_INFINITY, f64::max),
            _ if values.is_empty() => 0.0,
            PoolingMode::Mean => total / count,
            PoolingMode::MeanSqrtLenTokens => total / count.sqrt(),
            PoolingMode::WeightedMean => weighted / weights,
        }
    }

    proptest! {
        #[test]
        fn every_mode_matches_its_definition(
            (hidden, tokens) in (1_usize..20).prop_flat_map(|hidden| (
                Just(hidden),
                prop::collection::vec(prop::collection::vec(-5.0_f32..5.0, hidden), 0..30),
            )),
            prompt in 0_usize..35,
            modes in prop::collection::vec(prop::sample::select(ALL.to_vec()), 1..7),
        ) {
            let mut out = vec![f32::NAN; modes.len() * hidden];
            pool(&modes, &tokens.concat(), hidden, prompt, &mut out);
            for (position, value) in out.iter().enumerate() {
                let exact = brute_force(modes[position / hidden], &tokens, prompt, position % hidden);
                let is_near = f64::from(*value) == exact || (f64::from(*value) - exact).abs() < 1e-4;
                prop_assert!(is_near, "{:?}: {value} instead of {exact}", modes[position / hidden]);
            }
        }
    }

    #[test]
    fn modes_stand_side_by_side_in_the_given_order() {
        let tokens = [1.0, 10.0, 2.0, 20.0, 6.0, 60.0];
        let mut out = [0.0; 12];
        pool(&ALL, &tokens, 2, 0, &mut out);
        let root = 9.0 / 3.0_f32.sqrt();
        let weighted = (1.0 + 4.0 + 18.0) / 6.0;
        let expected = [1.0, 10.0, 6.0, 60.0, 3.0, 30.0, root, 10.0 * root, weighted, 10.0 * weighted, 6.0, 60.0];
        for (value, expected) in out.iter().zip(expected) {
            assert!((value - expected).abs() < 1e-5, "{out:?}");
        }
    }

    #[test]
    fn a_text_that_is_all_prompt_gives_what_sentence_transformers_gives() {
        let mut out = [f32::NAN; 6];
        pool(&ALL, &[7.0, 8.0], 1, 2, &mut out);
        assert_eq!(out, [7.0, f32::NEG_INFINITY, 0.0, 0.0, 0.0, 0.0]);
    }

    /// Values of sentence-transformers 6.2 for a left-padded batch with `include_prompt=False`; the right-padded one
    /// gives the same. With the prompt as long as the text, its `cls` is a padding token on the left side and the first
    /// token on the right: the second is taken.
    #[test]
    fn vectors_are_those_of_sentence_transformers() {
        let tokens = [0.5, -1.25, 2.0, 0.75, -0.375, 3.5, 1.125, -2.0];
        let none = f32::NEG_INFINITY;
        let expected: [(usize, [f32; 12]); 3] = [
            (0, [0.5, -1.25, 2.0, 3.5, 0.8125, 0.25, 1.625, 0.5, 0.7875, 0.275, 1.125, -2.0]),
            (2, [-0.375, 3.5, 1.125, 3.5, 0.375, 0.75, 0.53033, 1.060_66, 0.482_143, 0.357_143, 1.125, -2.0]),
            (4, [0.5, -1.25, none, none, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
        ];
        for (prompt, vector) in expected {
            let mut out = [f32::NAN; 12];
            pool(&ALL, &tokens, 2, prompt, &mut out);
            for (value, expected) in out.iter().zip(vector) {
                assert!(*value == expected || (value - expected).abs() < 1e-6, "{prompt}: {out:?}");
            }
        }
    }

    /// `POOLING_MODES` of sentence-transformers 6.2.
    #[test]
    fn names_are_those_of_sentence_transformers() {
        let names = ["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"];
        assert_eq!(ALL.map(PoolingMode::name), names);
    }

    #[test]
    fn a_nan_is_not_hidden_by_max() {
        let mut out = [0.0];
        pool(&[PoolingMode::Max], &[1.0, f32::NAN, 2.0], 1, 0, &mut out);
        assert!(out.iter().all(|value| value.is_nan()));
    }
}
