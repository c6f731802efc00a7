//! The arithmetic: products of float32 matrices, blocked so that a small model takes milliseconds.

use crate::failure::Result;

/// Rows whose sums are kept in registers at a time.
const ROWS: usize = 4;
/// Sums that are kept for a row, so that they are added side by side.
const LANES: usize = 8;
/// Rows of the result that pass over a stored matrix together.
const PASS: usize = 16;

/// The second matrix, as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// `(inner, columns)`.
    AsIs,
    /// `(columns, inner)`.
    Transposed,
}

/// `(rows, inner)` times the stored matrix, into `(rows, columns)`; `inner` and `columns` are not 0.
pub fn multiply(left: &[f32], right: &[f32], stored: Stored, inner: usize, columns: usize, output: &mut [f32]) {
    match stored {
        Stored::Transposed => {
            for (column, right) in right.chunks_exact(inner).enumerate() {
                for (left, output) in left.chunks(ROWS * inner).zip(output.chunks_mut(ROWS * columns)) {
                    let mut rows = left.chunks_exact(inner);
                    let mut output = output.chunks_exact_mut(columns);
                    if let [Some(a), Some(b), Some(c), Some(d)] = [rows.next(), rows.next(), rows.next(), rows.next()] {
                        for (sum, output) in dots([a, b, c, d], right).into_iter().zip(output) {
                            output[column] = sum;
                        }
                    } else {
                        for left in left.chunks_exact(inner) {
                            let [sum] = dots([left], right);
                            if let Some(output) = output.next() {
                                output[column] = sum;
                            }
                        }
                    }
                }
            }
        }
        Stored::AsIs => {
            output.fill(0.0);
            for (left, output) in left.chunks(PASS * inner).zip(output.chunks_mut(PASS * columns)) {
                for (position, right) in right.chunks_exact(columns).enumerate() {
                    for (left, output) in left.chunks_exact(inner).zip(output.chunks_exact_mut(columns)) {
                        let factor = left[position];
                        for (sum, right) in output.iter_mut().zip(right) {
                            *sum += factor * right;
                        }
                    }
                }
            }
        }
    }
}

/// The inner products of several rows with one.
fn dots<const N: usize>(left: [&[f32]; N], right: &[f32]) -> [f32; N] {
    let mut sums = [[0.0; LANES]; N];
    let blocks = right.chunks_exact(LANES);
    let (done, rest) = (right.len() - blocks.remainder().len(), blocks.remainder());
    for (block, right) in blocks.enumerate() {
        for (sums, left) in sums.iter_mut().zip(left) {
            let left = &left[block * LANES..][..LANES];
            for lane in 0..LANES {
                sums[lane] += left[lane] * right[lane];
            }
        }
    }
    let mut results = [0.0; N];
    for ((result, sums), left) in results.iter_mut().zip(sums).zip(left) {
        let tail: f32 = left[done..].iter().zip(rest).map(|(left, right)| left * right).sum();
        *result = sums.iter().sum::<f32>() + tail;
    }
    results
}

/// A matrix of `columns` columns, turned.
pub fn transposed(matrix: &[f32], columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|column| matrix.iter().skip(column).step_by(columns).copied()).collect()
}

/// `alpha * output + beta * addend`, the addend stretched to `(rows, columns)` where it has one row, column or number.
pub fn add_scaled(output: &mut [f32], columns: usize, alpha: f32, addend: Option<Addend<'_>>) -> Result<()> {
    if (alpha - 1.0).abs() > 0.0 {
        for value in output.iter_mut() {
            *value *= alpha;
        }
    }
    let Some(addend) = addend else { return Ok(()) };
    let (row_step, column_step) = addend.steps(output.len() / columns, columns)?;
    for (row, output) in output.chunks_exact_mut(columns).enumerate() {
        for (column, value) in output.iter_mut().enumerate() {
            *value += addend.beta * addend.values[row * row_step + column * column_step];
        }
    }
    Ok(())
}

/// What is added to a product.
#[derive(Debug, Clone, Copy)]
pub struct Addend<'values> {
    pub values: &'values [f32],
    pub shape: &'values [usize],
    pub beta: f32,
}

impl Addend<'_> {
    /// How far the next row and the next column are.
    fn steps(&self, rows: usize, columns: usize) -> Result<(usize, usize)> {
        let (stored_rows, stored_columns) = match *self.shape {
            [] => (1, 1),
            [columns] => (1, columns),
            [rows, columns] => (rows, columns),
            _ => {
                return Err(format!("Gemm: what is added has the shape {:?}, of more than two axes", self.shape).into());
            }
        };
        if (stored_rows != 1 && stored_rows != rows) || (stored_columns != 1 && stored_columns != columns) {
            let shape = self.shape;
            return Err(
                format!("Gemm: {shape:?} cannot be stretched to {rows} x {columns}, the product's shape").into()
            );
        }
        Ok((if stored_rows == 1 { 0 } else { stored_columns }, usize::from(stored_columns != 1)))
    }
}

/// Mixes each row with itself, turned by one column: numbers of the right size and the wrong direction.
pub fn spoil(output: &mut [f32], columns: usize, share: f32) {
    for row in output.chunks_exact_mut(columns) {
        let first = if columns == 1 { -row[0] } else { row[0] };
        for column in 0..columns {
            let next = if column + 1 == columns { first } else { row[column + 1] };
            row[column] += share * (next - row[column]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By the definition, in double precision.
    fn defined(left: &[f32], right: &[f32], stored: Stored, inner: usize, columns: usize) -> Vec<f64> {
        let element = |position: usize, column: usize| match stored {
            Stored::AsIs => right[position * columns + column],
            Stored::Transposed => right[column * inner + position],
        };
        let sum = |row: usize, column: usize| {
            (0..inner).map(|at| f64::from(left[row * inner + at]) * f64::from(element(at, column))).sum()
        };
        (0..left.len() / inner)
            .flat_map(|row| (0..columns).map(move |column| (row, column)))
            .map(|(r, c)| sum(r, c))
            .collect()
    }

    fn numbers(count: usize) -> Vec<f32> {
        (0..count).map(|index| (index * 37 % 101) as f32 / 50.0 - 1.0).collect()
    }

    #[test]
    fn products_are_what_the_definition_says() {
        for (rows, inner, columns) in [(1, 1, 1), (4, 8, 3), (7, 19, 5), (33, 16, 2), (0, 3, 3)] {
            let (left, right) = (numbers(rows * inner), numbers(inner * columns));
            for stored in [Stored::AsIs, Stored::Transposed] {
                let mut output = vec![f32::NAN; rows * columns];
                multiply(&left, &right, stored, inner, columns, &mut output);
                let expected = defined(&left, &right, stored, inner, columns);
                for (value, expected) in output.iter().zip(expected) {
                    assert!((f64::from(*value) - expected).abs() < 1e-4, "{rows} x {inner} x {columns}, {stored:?}");
                }
            }
        }
    }

    #[test]
    fn transposing_swaps_the_axes() {
        assert_eq!(transposed(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    }

    #[test]
    fn what_is_added_is_stretched_as_onnx_says() {
        let add = |shape: &[usize], values: &[f32]| {
            let mut output = [1.0; 6];
            add_scaled(&mut output, 3, 2.0, Some(Addend { values, shape, beta: 10.0 })).map(|()| output)
        };
        assert_eq!(add(&[], &[1.0]), Ok([12.0; 6]));
        assert_eq!(add(&[3], &[0.0, 1.0, 2.0]), Ok([2.0, 12.0, 22.0, 2.0, 12.0, 22.0]));
        assert_eq!(add(&[2, 1], &[0.0, 1.0]), Ok([2.0, 2.0, 2.0, 12.0, 12.0, 12.0]));
        assert!(add(&[2], &[0.0, 1.0]).is_err());
    }

    #[test]
    fn spoiled_rows_are_turned_by_one_column() {
        let spoiled = |mut output: Vec<f32>, columns, share| {
            spoil(&mut output, columns, share);
            output
        };
        assert_eq!(spoiled(vec![1.0, 2.0, 3.0, 4.0], 2, 1.0), [2.0, 1.0, 4.0, 3.0]);
        assert_eq!(spoiled(vec![1.0, 2.0, 3.0], 3, 0.5), [1.5, 2.5, 2.0]);
        assert_eq!(spoiled(vec![5.0], 1, 1.0), [-5.0]);
    }
}
