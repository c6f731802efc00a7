//! The same mathematics a second time, as naively as it can be written: whole inverses, nested loops, `f64`.

#![allow(clippy::cast_possible_truncation)] // Test inputs may be narrowed, and rounded weights fit a byte.

/// A matrix as rows.
pub type Rows = Vec<Vec<f64>>;

/// Numbers that look random and are the same every time (splitmix64).
#[derive(Debug)]
pub struct Numbers(pub u64);

impl Numbers {
    /// Evenly spread, -1 to 1.
    pub fn even(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    }

    /// About a bell curve of variance 1.
    pub fn bell(&mut self) -> f64 {
        (0..3).map(|_| self.even()).sum()
    }

    /// `count` of [`Numbers::bell`], in single precision.
    pub fn singles(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.bell() as f32).collect()
    }

    /// Rows of inputs that have much in common, each channel with a size of its own: `(rows, inputs)`.
    pub fn inputs(&mut self, rows: usize, inputs: usize, common: f64) -> Vec<f32> {
        let sizes: Vec<f64> = (0..inputs).map(|_| 0.2 + self.even().abs()).collect();
        let mut numbers = Vec::new();
        for _ in 0..rows {
            let shared = self.bell();
            numbers.extend(sizes.iter().map(|size| (size * (common * shared + self.bell() + 0.3)) as f32));
        }
        numbers
    }
}

/// What a row becomes when each group is quantized to bytes and read back, by the formula of the documentation in `f32`.
pub fn restored(row: &[f32], order: &[u32], groups: &[usize]) -> Vec<f32> {
    let ordered: Vec<f32> = order.iter().map(|&channel| row[channel as usize]).collect();
    let mut result = Vec::new();
    for &length in groups {
        let group = &ordered[result.len()..result.len() + length];
        let highest = group.iter().copied().fold(0.0, f32::max);
        let lowest = group.iter().copied().fold(0.0, f32::min);
        let scale = highest / 255.0 - lowest / 255.0;
        let reciprocal = 1.0 / scale;
        let zero = (-lowest * reciprocal).round_ties_even().clamp(0.0, 255.0);
        let byte = |number: f32| ((number * reciprocal).round_ties_even() + zero).clamp(0.0, 255.0);
        result.extend(group.iter().map(|&number| if scale == 0.0 { 0.0 } else { (byte(number) - zero) * scale }));
    }
    result
}

/// The mean of each column, and their covariance by its definition.
pub fn covariance(rows: &[Vec<f32>]) -> (Vec<f64>, Rows) {
    let (count, inputs) = (rows.len() as f64, rows[0].len());
    let mean: Vec<f64> =
        (0..inputs).map(|column| rows.iter().map(|row| f64::from(row[column])).sum::<f64>() / count).collect();
    let entry = |one: usize, other: usize| {
        let product = |row: &Vec<f32>| (f64::from(row[one]) - mean[one]) * (f64::from(row[other]) - mean[other]);
        rows.iter().map(product).sum::<f64>() / count
    };
    let matrix = (0..inputs).map(|one| (0..inputs).map(|other| entry(one, other)).collect()).collect();
    (mean, matrix)
}

/// The inverse, by Gauss and Jordan with pivots.
pub fn inverse(matrix: &Rows) -> Rows {
    let size = matrix.len();
    let mut left = matrix.clone();
    let mut right: Rows =
        (0..size).map(|row| (0..size).map(|column| f64::from(u8::from(row == column))).collect()).collect();
    for step in 0..size {
        let pivot =
            (step..size).max_by(|&one, &other| left[one][step].abs().total_cmp(&left[other][step].abs())).unwrap();
        left.swap(step, pivot);
        right.swap(step, pivot);
        let factor = left[step][step];
        for matrix in [&mut left, &mut right] {
            matrix[step].iter_mut().for_each(|number| *number /= factor);
        }
        for row in (0..size).filter(|&row| row != step) {
            let factor = left[row][step];
            for column in 0..size {
                left[row][column] -= factor * left[step][column];
                right[row][column] -= factor * right[step][column];
            }
        }
    }
    right
}

/// `e H e`.
pub fn weighted_square(error: &[f64], matrix: &Rows) -> f64 {
    let product = |row: &Vec<f64>| row.iter().zip(error).map(|(one, other)| one * other).sum::<f64>();
    matrix.iter().zip(error).map(|(row, error)| error * product(row)).sum()
}

/// The optimal brain surgeon: rounds one weight after the other, the one with the largest variance first, and after each
/// moves those that are left by the rule of the whole inverse, from which the rounded input is then eliminated.
pub fn surgeon(weights: &[f64], scales: &[f64], covariance: &Rows, damping: f64) -> Vec<i8> {
    let size = weights.len();
    let mean = (0..size).map(|input| covariance[input][input]).sum::<f64>() / size as f64;
    let mut damped = covariance.clone();
    (0..size).for_each(|input| damped[input][input] += damping * mean);
    let mut inverse = inverse(&damped);
    let mut left = weights.to_vec();
    let mut rounded = vec![0; size];
    let mut order: Vec<usize> = (0..size).collect();
    order.sort_by(|&one, &other| covariance[other][other].total_cmp(&covariance[one][one]));
    for input in order {
        rounded[input] = (left[input] / scales[input]).round_ties_even().clamp(-127.0, 127.0) as i8;
        let error = (left[input] - f64::from(rounded[input]) * scales[input]) / inverse[input][input];
        (0..size).for_each(|other| left[other] -= error * inverse[input][other]);
        let removed = inverse[input].clone();
        for row in 0..size {
            for column in 0..size {
                inverse[row][column] -= removed[row] * removed[column] / removed[input];
            }
        }
        // What is eliminated must not come back by a rounding error.
        inverse[input].fill(0.0);
        for row in &mut inverse {
            row[input] = 0.0;
        }
    }
    rounded
}
