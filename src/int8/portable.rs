//! The product in plain Rust, for processors that have nothing better.

use super::narrow::{self, COLUMNS, Products, ROWS};
use super::product::{Shape, Tile};
use super::rows::{Encoding, RowPlace, RowPlan};

/// The shape of its tiles.
pub const SHAPE: Shape = Shape { rows: ROWS, columns: COLUMNS, depth: 1 };

/// How it reads the inputs.
pub const ENCODING: Encoding = Encoding::Unsigned;

/// Computes a tile.
///
/// # Safety
///
/// As [`super::product::ComputeTile`].
pub unsafe fn compute(tile: &Tile<'_>) {
    let sum_group = |group: narrow::GroupOfTile, products: &mut Products| {
        // SAFETY: the weights of a group are there for all its steps.
        let weights = unsafe { std::slice::from_raw_parts(group.weights.cast::<[i8; COLUMNS]>(), group.steps) };
        for (row, products) in products.iter_mut().take(tile.row_count).enumerate() {
            // SAFETY: each row of the tile has a byte for each step.
            let numbers = unsafe { std::slice::from_raw_parts(group.numbers.add(row * group.stride), group.steps) };
            *products = [0; COLUMNS];
            for (&number, weights) in numbers.iter().zip(weights) {
                for (product, &weight) in products.iter_mut().zip(weights) {
                    *product += i32::from(number) * i32::from(weight);
                }
            }
        }
    };
    // SAFETY: the caller keeps the same contract.
    unsafe { narrow::compute(tile, ENCODING, sum_group) };
}

/// Quantizes one row.
///
/// # Safety
///
/// As [`super::rows::QuantizeRow`].
pub unsafe fn quantize_row(row: &[f32], plan: &RowPlan<'_>, place: RowPlace<'_>) {
    // SAFETY: the caller keeps the same contract.
    unsafe { narrow::quantize_row(row, plan, place) };
}
