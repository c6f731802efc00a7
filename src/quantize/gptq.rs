//! GPTQ: weights are rounded one input after the other, and those that are not rounded yet make up for the error.
//!
//! Inputs are taken in the order of their variance, the largest first, while most others are left to make up for them.
//! The scales are known before, so this order and the groups do not get in each other's way.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayViewMut2, Axis, s};
use rayon::prelude::*;

use super::cholesky::inverse_factor;
use super::clip::nearest;
use crate::error::{EmbeddingError, Result};

/// What is added to each variance, in parts of the mean variance, from the first that is enough.
const DAMPINGS: [f64; 5] = [0.01, 0.1, 1.0, 10.0, 100.0];
/// Inputs whose errors reach the inputs after them together.
const BLOCK: usize = 128;
/// Outputs that are rounded together.
const OUTPUTS: usize = 64;

/// How errors spread over the inputs of a site: the same for all weights that read it.
///
/// ```
/// use ndarray::arr2;
/// use oxembed::quantize::Spread;
///
/// // Two inputs that are nearly the same: the second makes up for what the first loses.
/// let spread = Spread::of(&arr2(&[[1.01, 1.0], [1.0, 1.0]]))?;
/// assert_eq!(spread.round(&[1.4, 1.4], &[2], &[1.0]), [1, 2]);
/// # Ok::<(), oxembed::EmbeddingError>(())
/// ```
#[derive(Debug)]
pub struct Spread {
    /// The positions in the order in which they are rounded.
    order: Vec<usize>,
    /// `(inputs, inputs)` in that order, upper triangular.
    factor: Array2<f32>,
    /// What was added to each variance, in parts of the mean variance.
    damping: f64,
}

impl Spread {
    /// From the covariance of the inputs. An input without variance has no part in the others' errors.
    ///
    /// # Errors
    ///
    /// [`EmbeddingError::InvalidInput`] where no damping makes the matrix positive definite: it is no covariance.
    pub fn of(covariance: &Array2<f64>) -> Result<Self> {
        let variances = covariance.diag();
        let alive: Vec<f64> = variances.iter().copied().filter(|variance| *variance > 0.0).collect();
        let mean = if alive.is_empty() { 1.0 } else { alive.iter().sum::<f64>() / alive.len() as f64 };
        let mut order: Vec<(usize, f64)> = variances.iter().copied().enumerate().collect();
        // Stable: of equals the first comes first.
        order.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        let dead = |position: usize| !variances.get(position).is_some_and(|variance| *variance > 0.0);
        let order: Vec<usize> = order.into_iter().map(|(position, _)| position).collect();
        let mut ordered = covariance.select(Axis(0), &order).select(Axis(1), &order);
        for (index, _) in order.iter().enumerate().filter(|(_, position)| dead(**position)) {
            ordered.row_mut(index).fill(0.0);
            ordered.column_mut(index).fill(0.0);
            ordered.slice_mut(s![index, index]).fill(mean);
        }
        let mut added = 0.0;
        for damping in DAMPINGS {
            ordered.diag_mut().mapv_inplace(|variance| variance + (damping - added) * mean);
            added = damping;
            if let Some(factor) = inverse_factor(&ordered) {
                #[allow(clippy::cast_possible_truncation)] // The weights are single precision too.
                let factor = factor.mapv(|number| number as f32).as_standard_layout().into_owned();
                return Ok(Self { order, factor, damping });
            }
        }
        let problem = "the model cannot be quantized: the covariance of a site's inputs is not positive definite";
        Err(EmbeddingError::invalid_input(problem))
    }

    /// What was added to each variance, in parts of the mean variance.
    pub fn damping(&self) -> f64 {
        self.damping
    }

    /// Rounds weights `(outputs, inputs)` to multiples of `scales`, `(groups, outputs)`, for groups of these lengths, and
    /// returns the multiples.
    pub fn round(&self, weight: &[f32], groups: &[usize], scales: &[f32]) -> Vec<i8> {
        let inputs = self.order.len();
        let groups = group_of_each(groups);
        let outputs = weight.len() / inputs.max(1);
        let mut rounded = vec![0_i8; weight.len()];
        let places: Vec<_> = rounded.chunks_mut(OUTPUTS * inputs.max(1)).enumerate().collect();
        places.into_par_iter().for_each(|(index, places)| {
            let first = index * OUTPUTS;
            let count = places.len() / inputs.max(1);
            let position_of = |column: usize| self.order.get(column).copied().unwrap_or_default();
            let mut weights = Array2::from_shape_fn((count, inputs), |(output, column)| {
                let place = (first + output) * inputs + position_of(column);
                weight.get(place).copied().unwrap_or_default()
            });
            let scales = Array2::from_shape_fn((count, inputs), |(output, column)| {
                let group = groups.get(position_of(column)).copied().unwrap_or_default();
                scales.get(group * outputs + first + output).copied().unwrap_or_default()
            });
            self.round_together(&mut weights, &scales);
            for (row, places) in weights.rows().into_iter().zip(places.chunks_exact_mut(inputs)) {
                for (&number, &position) in row.iter().zip(&self.order) {
                    if let Some(place) = places.get_mut(position) {
                        #[allow(clippy::cast_possible_truncation)] // A whole number, -127 to 127.
                        let number = number as i8;
                        *place = number;
                    }
                }
            }
        });
        rounded
    }

    /// Puts the multiples of the scales in the place of the weights.
    fn round_together(&self, weights: &mut Array2<f32>, scales: &Array2<f32>) {
        let (outputs, inputs) = weights.dim();
        for start in (0..inputs).step_by(BLOCK) {
            let end = inputs.min(start + BLOCK);
            let mut errors = Array2::<f32>::zeros((outputs, end - start));
            let (mut now, mut later) = weights.view_mut().split_at(Axis(1), end);
            let mut now = now.slice_mut(s![.., start..end]);
            self.round_block(&mut now, &scales.slice(s![.., start..end]), &mut errors, start);
            general_mat_mul(-1.0, &errors, &self.factor.slice(s![start..end, end..]), 1.0, &mut later);
        }
    }

    /// [`Spread::round_together`] for the inputs of one block, from `start` on; the errors are for those after it.
    fn round_block(
        &self,
        weights: &mut ArrayViewMut2<'_, f32>,
        scales: &ndarray::ArrayView2<'_, f32>,
        errors: &mut Array2<f32>,
        start: usize,
    ) {
        let end = start + weights.ncols();
        let factor = self.factor.slice(s![start..end, start..end]);
        for ((mut weights, scales), errors) in weights.rows_mut().into_iter().zip(scales.rows()).zip(errors.rows_mut())
        {
            let Some(weights) = weights.as_slice_mut() else { continue };
            let steps = scales.iter().zip(errors).zip(factor.rows()).enumerate();
            for (index, ((&scale, error), factors)) in steps {
                let Some((weight, later)) = weights.get_mut(index..).and_then(<[f32]>::split_first_mut) else { break };
                let Some(factors) = factors.to_slice().and_then(|factors| factors.get(index..)) else { break };
                let Some((pivot, factors)) = factors.split_first() else { break };
                let multiple = nearest(*weight, scale);
                *error = (*weight - multiple * scale) / pivot;
                *weight = multiple;
                later.iter_mut().zip(factors).for_each(|(weight, factor)| *weight -= *error * factor);
            }
        }
    }
}

/// For each position, its group.
pub(super) fn group_of_each(groups: &[usize]) -> Vec<usize> {
    groups.iter().enumerate().flat_map(|(group, &length)| std::iter::repeat_n(group, length)).collect()
}
