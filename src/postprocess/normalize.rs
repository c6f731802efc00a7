//! To unit length.

/// Partial sums that the compiler can keep in vector registers; their number fixes the order of the additions.
pub(super) const LANES: usize = 16;

/// Length below which a vector is divided by this instead, as in torch.
const EPSILON: f32 = 1e-12;

/// Divides by the Euclidean length, as `torch.nn.functional.normalize(x, p=2, eps=1e-12)`: zeros stay zeros.
///
/// ```
/// let mut vector = [3.0, 4.0];
/// oxembed::postprocess::normalize(&mut vector);
/// assert_eq!(vector, [0.6, 0.8]);
/// ```
pub fn normalize(vector: &mut [f32]) {
    let length = dot(vector, vector).sqrt();
    // Not `f32::max`, which would hide a NaN.
    let divisor = if length < EPSILON { EPSILON } else { length };
    for value in vector {
        *value /= divisor;
    }
}

/// The sum of products, always added in the same order.
pub(super) fn dot(left: &[f32], right: &[f32]) -> f32 {
    let (left_blocks, left_rest) = left.as_chunks::<LANES>();
    let (right_blocks, right_rest) = right.as_chunks::<LANES>();
    let mut sums = [0.0_f32; LANES];
    for (left_block, right_block) in left_blocks.iter().zip(right_blocks) {
        for ((sum, left), right) in sums.iter_mut().zip(left_block).zip(right_block) {
            *sum += left * right;
        }
    }
    let rest: f32 = left_rest.iter().zip(right_rest).map(|(left, right)| left * right).sum();
    // Halving keeps the rounding error of the last additions small.
    let (low, high) = sums.split_at(LANES / 2);
    let halves: f32 = low.iter().zip(high).map(|(low, high)| low + high).sum();
    halves + rest
}

#[cfg(test)]
#[allow(clippy::float_cmp)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn zeros_stay_zeros() {
        let mut vector = [0.0; 5];
        normalize(&mut vector);
        assert!(vector.iter().all(|value| *value == 0.0));
    }

    #[test]
    fn a_length_below_epsilon_is_divided_by_epsilon() {
        let mut vector = [1e-13_f32, 0.0];
        normalize(&mut vector);
        assert!((vector[0] - 0.1).abs() < 1e-6, "{vector:?}");
    }

    #[test]
    fn a_nan_is_not_hidden() {
        let mut vector = [f32::NAN, 1.0];
        normalize(&mut vector);
        assert!(vector.iter().all(|value| value.is_nan()));
    }

    proptest! {
        #[test]
        fn length_is_one(mut vector in prop::collection::vec(-100.0_f32..100.0, 1..200)) {
            prop_assume!(vector.iter().any(|value| value.abs() > 1e-3));
            normalize(&mut vector);
            let length: f64 = vector.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
            prop_assert!((length - 1.0).abs() < 1e-6, "{length}");
        }

        #[test]
        fn dot_is_near_the_exact_sum(values in prop::collection::vec((-10.0_f32..10.0, -10.0_f32..10.0), 0..300)) {
            let (left, right): (Vec<f32>, Vec<f32>) = values.into_iter().unzip();
            let exact: f64 = left.iter().zip(&right).map(|(l, r)| f64::from(*l) * f64::from(*r)).sum();
            let size: f64 = left.iter().zip(&right).map(|(l, r)| (f64::from(*l) * f64::from(*r)).abs()).sum();
            prop_assert!((f64::from(dot(&left, &right)) - exact).abs() <= 1e-5 * size + 1e-9);
        }
    }
}
