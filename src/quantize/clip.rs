//! The scale of each output's weights in each group: the largest weight, or less, where cutting the largest ones off costs
//! less than rounding all the others more coarsely.

use rayon::prelude::*;

/// The largest magnitude of a quantized weight.
const LIMIT: f32 = 127.0;
/// What of the largest weight the scale may cover.
const CLIPS: [f32; 8] = [1.0, 0.96, 0.92, 0.88, 0.84, 0.8, 0.75, 0.7];

/// For weights `(outputs, inputs)` in the order of the groups, the scales `(groups, outputs)` with the least squared error
/// where each input's error counts as much as its `variances`. 0 where all weights are 0 or too small for a scale.
///
/// ```
/// use oxembed::quantize::clipped_scales;
///
/// // One group, two outputs. The second cuts its largest weight, whose input never varies, off.
/// let scales = clipped_scales(&[1.27, 0.5, 1.27, 0.777], &[2], &[0.0, 1.0]);
/// assert_eq!(scales.len(), 2);
/// assert!((scales[0] - 0.01).abs() < 1e-6);
/// assert!(scales[1] < 0.0095);
/// ```
pub fn clipped_scales(weight: &[f32], groups: &[usize], variances: &[f64]) -> Vec<f32> {
    let inputs = variances.len();
    let outputs = weight.len() / inputs.max(1);
    let by_output: Vec<Vec<f32>> = weight
        .par_chunks_exact(inputs.max(1))
        .map(|row| {
            let (mut row, mut variances) = (row, variances);
            let scale = |&length: &usize| {
                let (group, rest) = row.split_at_checked(length)?;
                let (weights, rest_of_variances) = variances.split_at_checked(length)?;
                (row, variances) = (rest, rest_of_variances);
                Some(clipped_scale(group, weights))
            };
            groups.iter().filter_map(scale).collect()
        })
        .collect();
    let mut scales = Vec::with_capacity(groups.len() * outputs);
    for group in 0..groups.len() {
        scales.extend(by_output.iter().filter_map(|scales| scales.get(group)));
    }
    scales
}

fn clipped_scale(weights: &[f32], variances: &[f64]) -> f32 {
    let largest = weights.iter().fold(0.0_f32, |largest, weight| largest.max(weight.abs()));
    let error = |scale: f32| -> f64 {
        let error = |(&weight, &variance): (&f32, &f64)| {
            f64::from(weight - nearest(weight, scale) * scale).powi(2) * variance.max(0.0)
        };
        weights.iter().zip(variances).map(error).sum()
    };
    let scales = CLIPS.map(|clip| largest * clip / LIMIT);
    let mut best = (0.0, f64::INFINITY);
    for scale in scales.into_iter().filter(|scale| *scale >= f32::MIN_POSITIVE) {
        let error = error(scale);
        if error < best.1 {
            best = (scale, error);
        }
    }
    best.0
}

/// The quantized weight next to `weight`: a whole number, -127 to 127. 0 for a scale of 0.
pub fn nearest(weight: f32, scale: f32) -> f32 {
    /// Has no bits left for fractions: adding it rounds, ties to even, without a call.
    const WHOLE: f32 = 12_582_912.0;
    if scale < f32::MIN_POSITIVE {
        return 0.0;
    }
    ((weight / scale).clamp(-LIMIT, LIMIT) + WHOLE) - WHOLE
}
