//! The triangular factor of the inverse of a symmetric positive definite matrix, in double precision, by blocks.
//!
//! Every block of the result is one thread's work, so the bits do not depend on how many there are.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, s};
use rayon::prelude::*;

/// Rows and columns of a block.
const BLOCK: usize = 128;

/// The upper triangular `U` with `Uᵀ U = matrix⁻¹`; `None` where the matrix is not positive definite.
///
/// With rows and columns in reverse, `matrix` is `M Mᵀ` for a lower triangular `M`; then `U` is `M⁻¹` in reverse. So one
/// factor and its inverse are enough, and the inverse of the matrix is never there.
pub fn inverse_factor(matrix: &Array2<f64>) -> Option<Array2<f64>> {
    let mut lower = matrix.slice(s![..;-1, ..;-1]).as_standard_layout().into_owned();
    factorize(&mut lower)?;
    let inverse = invert_lower(&lower);
    Some(inverse.slice_move(s![..;-1, ..;-1]))
}

/// Puts the lower triangular `M` with `M Mᵀ = matrix` into the matrix, of which the lower half is read.
fn factorize(matrix: &mut Array2<f64>) -> Option<()> {
    let size = matrix.nrows();
    for start in (0..size).step_by(BLOCK) {
        let end = size.min(start + BLOCK);
        factorize_small(&mut matrix.slice_mut(s![start..end, start..end]))?;
        let (top, bottom) = matrix.view_mut().split_at(Axis(0), end);
        let diagonal = top.slice(s![start..end, start..end]).t().as_standard_layout().into_owned();
        let (mut panel, mut rest) = bottom.split_at(Axis(1), end);
        let mut panel = panel.slice_mut(s![.., start..end]);
        let parts: Vec<_> = panel.axis_chunks_iter_mut(Axis(0), BLOCK).collect();
        parts.into_par_iter().for_each(|mut rows| solve_rows(&mut rows, &diagonal));
        let strips: Vec<_> = rest.axis_chunks_iter_mut(Axis(0), BLOCK).enumerate().collect();
        strips.into_par_iter().for_each(|(index, mut strip)| {
            let (first, last) = (index * BLOCK, index * BLOCK + strip.nrows());
            let rows = panel.slice(s![first..last, ..]);
            let columns = panel.slice(s![..last, ..]);
            general_mat_mul(-1.0, &rows, &columns.t(), 1.0, &mut strip.slice_mut(s![.., ..last]));
        });
    }
    Some(())
}

/// [`factorize`], a number at a time.
fn factorize_small(matrix: &mut ArrayViewMut2<'_, f64>) -> Option<()> {
    for column in 0..matrix.nrows() {
        let done = matrix.slice(s![column, ..column]).to_owned();
        let pivot = matrix.get((column, column))? - done.dot(&done);
        if !(pivot > 0.0 && pivot.is_finite()) {
            return None;
        }
        let pivot = pivot.sqrt();
        *matrix.get_mut((column, column))? = pivot;
        for row in column + 1..matrix.nrows() {
            let product = matrix.slice(s![row, ..column]).dot(&done);
            let place = matrix.get_mut((row, column))?;
            *place = (*place - product) / pivot;
        }
    }
    Some(())
}

/// Solves `x upper = row` for each row, in place.
fn solve_rows(rows: &mut ArrayViewMut2<'_, f64>, upper: &Array2<f64>) {
    for mut row in rows.rows_mut() {
        for (index, factors) in upper.rows().into_iter().enumerate() {
            let (Some(&pivot), Some(&number)) = (factors.get(index), row.get(index)) else { return };
            let solved = number / pivot;
            row.slice_mut(s![index + 1..]).scaled_add(-solved, &factors.slice(s![index + 1..]));
            row.slice_mut(s![index]).fill(solved);
        }
    }
}

/// The inverse of the lower triangle; zeros above.
fn invert_lower(lower: &Array2<f64>) -> Array2<f64> {
    let size = lower.nrows();
    let mut inverse = Array2::<f64>::zeros((size, size));
    for start in (0..size).step_by(BLOCK) {
        let end = size.min(start + BLOCK);
        let own = invert_small(&lower.slice(s![start..end, start..end]));
        let (done, mut rows) = inverse.view_mut().split_at(Axis(0), start);
        let mut rows = rows.slice_mut(s![..end - start, ..]);
        rows.slice_mut(s![.., start..end]).assign(&own);
        let factors = lower.slice(s![start..end, ..start]);
        let done = done.view();
        let mut places = rows.slice_mut(s![.., ..start]);
        let places: Vec<_> = places.axis_chunks_iter_mut(Axis(1), BLOCK).enumerate().collect();
        places.into_par_iter().for_each(|(index, mut place)| {
            // What is done is a lower triangle as well: above the block's own rows are zeros.
            let first = index * BLOCK;
            let columns = done.slice(s![first.., first..first + place.ncols()]);
            let products = factors.slice(s![.., first..]).dot(&columns);
            general_mat_mul(-1.0, &own, &products, 0.0, &mut place);
        });
    }
    inverse
}

/// [`invert_lower`], a row at a time.
fn invert_small(lower: &ArrayView2<'_, f64>) -> Array2<f64> {
    let mut inverse = Array2::<f64>::eye(lower.nrows());
    for row in 0..lower.nrows() {
        let (done, mut rest) = inverse.view_mut().split_at(Axis(0), row);
        let mut place = rest.row_mut(0);
        for (factor, earlier) in lower.row(row).iter().zip(done.rows()) {
            place.scaled_add(-factor, &earlier);
        }
        let pivot = lower.diag().get(row).copied().unwrap_or(1.0);
        place.mapv_inplace(|number| number / pivot);
    }
    inverse
}
