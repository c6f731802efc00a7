//! The steps behind the transformer, in the model's own order, for one text.

use super::dense::DenseLayer;
use super::normalize::normalize;
use super::pooling::{PoolingMode, pool};
use crate::error::{EmbeddingError, Result};

/// A step on the pooled vector.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// A linear layer with an activation.
    Dense(DenseLayer),
    /// To unit length.
    Normalize,
}

/// What a call may ask for beyond the model's own steps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PostprocessOptions {
    /// Keeps the first values only. At least 1; more than there are keeps all, as in sentence-transformers.
    pub truncate_dim: Option<usize>,
    /// `Some(true)` brings the result to unit length, after truncation. `None` and `Some(false)` add nothing: as in
    /// sentence-transformers, a model that has its own `Normalize` stays normalized, and a vector truncated behind it
    /// is shorter than 1.
    pub normalize: Option<bool>,
}

/// Memory that is kept between texts, so that none is asked for on the way.
#[derive(Debug, Clone, Default)]
pub struct Scratch {
    current: Vec<f32>,
    next: Vec<f32>,
}

/// Pooling and the steps after it.
///
/// ```
/// use oxembed::postprocess::{PoolingMode, Postprocess, PostprocessOptions, Scratch, Step};
///
/// let steps = Postprocess::new(2, vec![PoolingMode::Mean], true, vec![Step::Normalize])?;
/// let options = PostprocessOptions::default();
/// let mut vector = vec![0.0; steps.dimension(options)?];
/// steps.apply(&[1.0, 2.0, 5.0, 6.0], 0, options, &mut Scratch::default(), &mut vector)?;
/// assert_eq!(vector, [0.6, 0.8]);
/// # Ok::<(), oxembed::EmbeddingError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Postprocess {
    hidden: usize,
    modes: Vec<PoolingMode>,
    include_prompt: bool,
    steps: Vec<Step>,
    output_dimension: usize,
}

impl Postprocess {
    /// Pools token embeddings of `hidden` values with `modes`, then applies `steps`.
    ///
    /// # Errors
    /// [`EmbeddingError::Internal`] where the widths do not fit: reading the model folder has checked them.
    pub fn new(hidden: usize, modes: Vec<PoolingMode>, include_prompt: bool, steps: Vec<Step>) -> Result<Self> {
        let pooled = hidden.checked_mul(modes.len()).filter(|pooled| *pooled > 0);
        let mut dimension = pooled.ok_or_else(|| EmbeddingError::internal("pooling without width or mode"))?;
        for step in &steps {
            if let Step::Dense(layer) = step {
                if layer.in_features() != dimension {
                    let (found, needed) = (layer.in_features(), dimension);
                    return Err(EmbeddingError::internal(format!("a dense layer takes {found} values, not {needed}")));
                }
                dimension = layer.out_features();
            }
        }
        Ok(Self { hidden, modes, include_prompt, steps, output_dimension: dimension })
    }

    /// The pooling modes, whose vectors stand side by side.
    pub fn modes(&self) -> &[PoolingMode] {
        &self.modes
    }

    /// The steps after pooling, in order.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Width of the model's vectors, before truncation.
    pub fn output_dimension(&self) -> usize {
        self.output_dimension
    }

    /// Whether a prompt's tokens are left out of pooling: only then need they be counted.
    pub fn leaves_out_prompt(&self) -> bool {
        !self.include_prompt
    }

    /// Whether the model's last step brings vectors to unit length.
    pub fn ends_normalized(&self) -> bool {
        matches!(self.steps.last(), Some(Step::Normalize))
    }

    /// Width of the vectors under `options`.
    ///
    /// # Errors
    /// [`EmbeddingError::InvalidInput`] for a `truncate_dim` of 0.
    pub fn dimension(&self, options: PostprocessOptions) -> Result<usize> {
        match options.truncate_dim {
            None => Ok(self.output_dimension),
            Some(0) => Err(EmbeddingError::invalid_input("truncate_dim is 0; it has to be at least 1")),
            Some(dimension) => Ok(dimension.min(self.output_dimension)),
        }
    }

    /// The vector of one text.
    ///
    /// `tokens` are the embeddings of its real tokens, without padding; the first `prompt_tokens` are its prompt's,
    /// which only counts where [`leaves_out_prompt`](Self::leaves_out_prompt). `out` has
    /// [`dimension`](Self::dimension) values.
    ///
    /// # Errors
    /// [`EmbeddingError::InvalidInput`] for a `truncate_dim` of 0; [`EmbeddingError::Internal`] where a slice has
    /// another length.
    pub fn apply(
        &self,
        tokens: &[f32],
        prompt_tokens: usize,
        options: PostprocessOptions,
        scratch: &mut Scratch,
        out: &mut [f32],
    ) -> Result<()> {
        if !tokens.len().is_multiple_of(self.hidden) || out.len() != self.dimension(options)? {
            let (tokens, hidden, out) = (tokens.len(), self.hidden, out.len());
            let message = format!("postprocessing got {tokens} values of {hidden} wide tokens for a vector of {out}");
            return Err(EmbeddingError::internal(message));
        }
        let left_out = if self.include_prompt { 0 } else { prompt_tokens };
        let Scratch { current, next } = scratch;
        current.resize(self.modes.len() * self.hidden, 0.0);
        pool(&self.modes, tokens, self.hidden, left_out, current);
        for step in &self.steps {
            match step {
                Step::Normalize => normalize(current),
                Step::Dense(layer) => {
                    next.resize(layer.out_features(), 0.0);
                    layer.apply(current, next);
                    std::mem::swap(current, next);
                }
            }
        }
        // `out` may be shorter: that is the truncation.
        for (value, computed) in out.iter_mut().zip(current.iter()) {
            *value = *computed;
        }
        if options.normalize == Some(true) {
            normalize(out);
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::float_cmp)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::postprocess::Activation;

    fn dense(inputs: usize, outputs: usize) -> Step {
        let weight = (0..inputs * outputs).map(|value| value as f32 / 10.0 - 0.4).collect();
        Step::Dense(DenseLayer::new(Path::new("m"), inputs, outputs, weight, None, Activation::Tanh).unwrap())
    }

    fn vector(steps: &Postprocess, options: PostprocessOptions) -> Vec<f32> {
        let mut out = vec![0.0; steps.dimension(options).unwrap()];
        let mut scratch = Scratch::default();
        steps.apply(&[1.0, 2.0, 5.0, 6.0], 1, options, &mut scratch, &mut out).unwrap();
        // Memory of a text before must not show.
        let mut again = out.clone();
        steps.apply(&[1.0, 2.0, 5.0, 6.0], 1, options, &mut scratch, &mut again).unwrap();
        assert_eq!(out, again);
        out
    }

    #[test]
    fn steps_run_in_their_order() {
        let steps = Postprocess::new(2, vec![PoolingMode::Mean], true, vec![dense(2, 3), Step::Normalize, dense(3, 2)]);
        let steps = steps.unwrap();
        assert_eq!(steps.output_dimension(), 2);
        assert_eq!(steps.modes(), [PoolingMode::Mean]);
        assert_eq!(steps.steps(), [dense(2, 3), Step::Normalize, dense(3, 2)]);
        assert!(!steps.ends_normalized());
        let mut first: Vec<f32> = [(-0.4, -0.3), (-0.2, -0.1), (0.0, 0.1)]
            .iter()
            .map(|(left, right)| (3.0_f32 * left + 4.0 * right).tanh())
            .collect();
        let length = first.iter().map(|value| value * value).sum::<f32>().sqrt();
        for value in &mut first {
            *value /= length;
        }
        let expected = [
            (-0.4 * first[0] - 0.3 * first[1] - 0.2 * first[2]).tanh(),
            (-0.1 * first[0] + 0.0 * first[1] + 0.1 * first[2]).tanh(),
        ];
        for (value, expected) in vector(&steps, PostprocessOptions::default()).iter().zip(expected) {
            assert!((value - expected).abs() < 1e-6, "{value} instead of {expected}");
        }
    }

    #[test]
    fn truncation_shortens_a_normalized_vector_unless_normalization_is_asked_for() {
        let steps = Postprocess::new(2, vec![PoolingMode::Mean], true, vec![Step::Normalize]).unwrap();
        let truncated = PostprocessOptions { truncate_dim: Some(1), normalize: None };
        assert_eq!(vector(&steps, truncated), [0.6]);
        assert_eq!(vector(&steps, PostprocessOptions { normalize: Some(false), ..truncated }), [0.6]);
        assert_eq!(vector(&steps, PostprocessOptions { normalize: Some(true), ..truncated }), [1.0]);
    }

    #[test]
    fn normalize_false_leaves_the_models_own_normalization() {
        let steps = Postprocess::new(2, vec![PoolingMode::Mean], true, vec![Step::Normalize]).unwrap();
        let options = PostprocessOptions { truncate_dim: None, normalize: Some(false) };
        assert_eq!(vector(&steps, options), [0.6, 0.8]);
        assert!(steps.ends_normalized());
    }

    #[test]
    fn normalize_true_normalizes_a_model_that_does_not() {
        let steps = Postprocess::new(2, vec![PoolingMode::Mean], true, vec![]).unwrap();
        assert_eq!(vector(&steps, PostprocessOptions::default()), [3.0, 4.0]);
        assert_eq!(vector(&steps, PostprocessOptions { truncate_dim: None, normalize: Some(true) }), [0.6, 0.8]);
    }

    #[test]
    fn a_prompt_counts_unless_the_model_leaves_it_out() {
        let with = Postprocess::new(2, vec![PoolingMode::Mean], true, vec![]).unwrap();
        let without = Postprocess::new(2, vec![PoolingMode::Mean], false, vec![]).unwrap();
        assert!(without.leaves_out_prompt() && !with.leaves_out_prompt());
        assert_eq!(vector(&with, PostprocessOptions::default()), [3.0, 4.0]);
        assert_eq!(vector(&without, PostprocessOptions::default()), [5.0, 6.0]);
    }

    #[test]
    fn truncation_beyond_the_width_keeps_all_and_zero_is_refused() {
        let steps = Postprocess::new(2, vec![PoolingMode::Mean], true, vec![]).unwrap();
        assert_eq!(steps.dimension(PostprocessOptions { truncate_dim: Some(9), normalize: None }).unwrap(), 2);
        let error = steps.dimension(PostprocessOptions { truncate_dim: Some(0), normalize: None }).unwrap_err();
        assert!(matches!(error, EmbeddingError::InvalidInput { .. }));
    }

    #[test]
    fn slices_of_another_length_are_an_error_and_not_a_panic() {
        let steps = Postprocess::new(2, vec![PoolingMode::Mean], true, vec![]).unwrap();
        let options = PostprocessOptions::default();
        let mut scratch = Scratch::default();
        assert!(steps.apply(&[1.0; 3], 0, options, &mut scratch, &mut [0.0; 2]).is_err());
        assert!(steps.apply(&[1.0; 4], 0, options, &mut scratch, &mut [0.0; 3]).is_err());
        assert!(steps.apply(&[], 0, options, &mut scratch, &mut [0.0; 2]).is_ok());
    }

    #[test]
    fn widths_that_do_not_fit_are_refused() {
        assert!(Postprocess::new(2, vec![], true, vec![]).is_err());
        assert!(Postprocess::new(0, vec![PoolingMode::Cls], true, vec![]).is_err());
        assert!(Postprocess::new(2, vec![PoolingMode::Cls], true, vec![dense(3, 1)]).is_err());
        assert!(Postprocess::new(2, vec![PoolingMode::Cls, PoolingMode::Mean], true, vec![dense(4, 1)]).is_ok());
    }
}
