//! One site: weights in single precision and what its inputs are like become quantized layers.

use ndarray::Array2;
use rayon::prelude::*;

use super::clip::{clipped_scales, nearest};
use super::gptq::{Spread, group_of_each};
use super::gram::Moments;
use super::groups::Partition;
use crate::error::{EmbeddingError, Result};
use crate::int8::{QuantizedLinear, QuantizedSite};

/// Outputs whose error is measured together.
const OUTPUTS: usize = 64;

/// A linear layer as the model has it.
#[derive(Debug, Clone, Copy)]
pub struct FloatLinear<'a> {
    /// The stem of its tensors, or `stem[start:end]`.
    pub key: &'a str,
    /// `(outputs, inputs)`, row-major, channels in their own order.
    pub weight: &'a [f32],
    /// `(outputs)`, or nothing for zeros.
    pub bias: Option<&'a [f32]>,
}

/// How large the error of a site's outputs is that its weights make, in parts of the outputs' variance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SiteErrors {
    /// With every weight rounded to the nearest.
    pub nearest: f64,
    /// With the weights as they were solved for.
    pub solved: f64,
    /// What was added to each input's variance, in parts of the mean variance.
    pub damping: f64,
}

/// Quantizes the layers of a site. The mean of each output stays what it was.
///
/// # Errors
///
/// [`EmbeddingError::InvalidInput`] where weights, biases, partition and moments are not of one shape, a number is not
/// finite, or the covariance is none.
///
/// ```
/// use oxembed::quantize::{FloatLinear, Gram, Partition, solve};
///
/// let partition = Partition { order: vec![0, 1], groups: vec![2] };
/// let mut gram = Gram::new(partition.clone())?;
/// gram.add(&[1.0, 0.5, -1.0, 0.25, 0.0, -1.0])?;
/// let dense = FloatLinear { key: "dense", weight: &[0.5, -1.27], bias: None };
/// let (site, errors) = solve(&[dense], &partition, &gram.finish()?)?;
/// assert_eq!(site.linears[0].weight, [50, -127]);
/// assert!(errors.solved < 1e-6);
/// # Ok::<(), oxembed::EmbeddingError>(())
/// ```
pub fn solve(
    linears: &[FloatLinear<'_>],
    partition: &Partition,
    moments: &Moments,
) -> Result<(QuantizedSite, SiteErrors)> {
    check(linears, partition, moments)?;
    let spread = Spread::of(&moments.covariance)?;
    let mut squares = Squares::default();
    let quantize = |linear: &FloatLinear<'_>| {
        let (layer, own) = quantize(linear, partition, moments, &spread);
        squares.original += own.original;
        squares.nearest += own.nearest;
        squares.solved += own.solved;
        layer
    };
    let site = QuantizedSite {
        inputs: partition.order.len(),
        order: partition.order.clone(),
        groups: partition.groups.clone(),
        linears: linears.iter().map(quantize).collect(),
    };
    site.check()?;
    let part = |error: f64| if squares.original > 0.0 { error / squares.original } else { 0.0 };
    let errors = SiteErrors { nearest: part(squares.nearest), solved: part(squares.solved), damping: spread.damping() };
    Ok((site, errors))
}

/// Variances of outputs: the layer's own, and of what rounding makes of them.
#[derive(Debug, Default)]
struct Squares {
    original: f64,
    nearest: f64,
    solved: f64,
}

fn quantize(
    linear: &FloatLinear<'_>,
    partition: &Partition,
    moments: &Moments,
    spread: &Spread,
) -> (QuantizedLinear, Squares) {
    let inputs = partition.order.len();
    let outputs = linear.weight.len() / inputs;
    let ordered: Vec<f32> = linear.weight.chunks_exact(inputs).flat_map(|row| partition.ordered(row)).collect();
    let groups = &partition.groups;
    let scales = clipped_scales(&ordered, groups, &moments.covariance.diag().to_vec());
    let weight = spread.round(&ordered, groups, &scales);
    let group_of_each = group_of_each(groups);
    let scale = |place: usize| {
        let group = group_of_each.get(place % inputs)?;
        scales.get(group * outputs + place / inputs).copied()
    };
    // For each weight, what one step is worth.
    let steps: Vec<f32> = (0..ordered.len()).map_while(scale).collect();
    let solved: Vec<f32> = weight.iter().zip(&steps).map(|(&weight, step)| f32::from(weight) * step).collect();
    let rounded: Vec<f32> = ordered.iter().zip(&steps).map(|(&weight, &step)| nearest(weight, step) * step).collect();
    let squares = Squares {
        original: variance(&ordered, None, &moments.covariance),
        nearest: variance(&rounded, Some(&ordered), &moments.covariance),
        solved: variance(&solved, Some(&ordered), &moments.covariance),
    };
    let bias = corrected_bias(linear.bias, &ordered, &solved, moments);
    (QuantizedLinear { key: linear.key.to_owned(), outputs, weight, weight_scales: scales, bias }, squares)
}

/// The bias with which the mean of each output is that of the weights `original` on the inputs as they are.
fn corrected_bias(bias: Option<&[f32]>, original: &[f32], solved: &[f32], moments: &Moments) -> Vec<f32> {
    let product = |row: &[f32], mean: &[f64]| -> f64 {
        row.iter().zip(mean).map(|(&weight, mean)| f64::from(weight) * mean).sum()
    };
    let inputs = moments.input_mean.len();
    let rows = original.chunks_exact(inputs).zip(solved.chunks_exact(inputs)).enumerate();
    let corrected = |(output, (original, solved)): (usize, (&[f32], &[f32]))| {
        let bias = bias.and_then(|bias| bias.get(output)).copied().map_or(0.0, f64::from);
        #[allow(clippy::cast_possible_truncation)] // The kernels compute in single precision.
        let corrected =
            (bias + product(original, &moments.input_mean) - product(solved, &moments.quantized_mean)) as f32;
        corrected
    };
    rows.map(corrected).collect()
}

/// The variance of all outputs of these weights together, or of what is left of them without the weights `without`.
fn variance(weight: &[f32], without: Option<&[f32]>, covariance: &Array2<f64>) -> f64 {
    let inputs = covariance.nrows();
    let outputs = weight.len() / inputs;
    let number = |numbers: &[f32], place: usize| numbers.get(place).copied().map_or(0.0, f64::from);
    let sums: Vec<f64> = (0..outputs.div_ceil(OUTPUTS))
        .into_par_iter()
        .map(|index| {
            let first = index * OUTPUTS;
            let rows = Array2::from_shape_fn((OUTPUTS.min(outputs - first), inputs), |(row, column)| {
                let place = (first + row) * inputs + column;
                number(weight, place) - without.map_or(0.0, |without| number(without, place))
            });
            (rows.dot(covariance) * &rows).sum()
        })
        .collect();
    // In the order of the blocks, and not in the order in which the threads come to an end.
    sums.into_iter().sum()
}

fn check(linears: &[FloatLinear<'_>], partition: &Partition, moments: &Moments) -> Result<()> {
    partition.check()?;
    let inputs = partition.order.len();
    let refused =
        |problem: String| Err(EmbeddingError::invalid_input(format!("a site cannot be quantized: {problem}")));
    let Moments { input_mean, quantized_mean, covariance, .. } = moments;
    if covariance.dim() != (inputs, inputs) || input_mean.len() != inputs || quantized_mean.len() != inputs {
        return refused(format!("its moments are not those of {inputs} inputs"));
    }
    for FloatLinear { key, weight, bias } in linears {
        let outputs = weight.len() / inputs;
        if outputs == 0 || !weight.len().is_multiple_of(inputs) {
            return refused(format!("{key} has {} weights for {inputs} inputs", weight.len()));
        }
        if bias.is_some_and(|bias| bias.len() != outputs) {
            return refused(format!("{key} has a bias of another length than its {outputs} outputs"));
        }
        if weight.iter().chain(bias.unwrap_or_default()).any(|number| !number.is_finite()) {
            return refused(format!("{key} holds a number that is not finite"));
        }
    }
    Ok(())
}
