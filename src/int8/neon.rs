//! The product by the 8-bit instructions of ARM: the dot product (`sdot`), and the product of small matrices (`usmmla`),
//! which does twice as much at once.
//!
//! The functions of `std::arch` for both are not stable, so they stand here as assembly of one instruction each.

// An iterator over vectors is a function of its own, which is compiled without these instructions where it is not inlined.
#![allow(clippy::needless_range_loop)]

use std::arch::aarch64::{
    int8x16_t, int32x4_t, uint8x16_t, vcombine_u8, vdup_n_u8, vdupq_n_s32, vget_high_s32, vget_low_s32, vld1_u8,
    vld1q_s8, vreinterpretq_s8_s32, vst1_s32, vst1q_s32,
};
use std::arch::asm;

use super::narrow::{self, COLUMNS, GroupOfTile, Products, ROWS};
use super::product::{Shape, Tile};
use super::rows::Encoding;

/// The shape of the tiles of the dot product: 24 vectors of sums stay in registers, next to 4 of weights and one of
/// inputs.
pub const DOT_PRODUCT_SHAPE: Shape = Shape { rows: ROWS, columns: COLUMNS, depth: 4 };

/// How the dot product reads the inputs: both its factors are signed.
pub const DOT_PRODUCT_ENCODING: Encoding = Encoding::Signed;

/// The shape of the tiles of the matrix product: 24 vectors of sums, each 2 rows by 2 columns, next to one of weights
/// and 3 of inputs.
pub const MATRIX_SHAPE: Shape = Shape { rows: ROWS, columns: COLUMNS, depth: 8 };

/// How the matrix product reads the inputs.
pub const MATRIX_ENCODING: Encoding = Encoding::Unsigned;

/// Vectors of 4 sums in a row of a tile.
const VECTORS: usize = COLUMNS / 4;

/// Vectors of weights in a step of the matrix product, each of two columns.
const COLUMN_PAIRS: usize = COLUMNS / 2;

/// Computes a tile by the dot product.
///
/// # Safety
///
/// As [`super::product::ComputeTile`].
#[target_feature(enable = "neon,dotprod")]
pub unsafe fn compute_dot_product(tile: &Tile<'_>) {
    let rows = tile.row_count;
    // SAFETY: the caller keeps the contract of a tile, and of a group what follows from it.
    unsafe {
        narrow::compute(tile, DOT_PRODUCT_ENCODING, |group, products| {
            for_row_count!(rows, sum_dot_products(group, products))
        });
    }
}

/// Computes a tile by the matrix product.
///
/// # Safety
///
/// As [`super::product::ComputeTile`].
#[target_feature(enable = "neon,i8mm")]
pub unsafe fn compute_matrix(tile: &Tile<'_>) {
    let rows = tile.row_count;
    // SAFETY: the caller keeps the contract of a tile, and of a group what follows from it.
    unsafe {
        narrow::compute(tile, MATRIX_ENCODING, |group, products| match rows {
            1 | 2 => sum_matrices::<1>(group, rows, products),
            3 | 4 => sum_matrices::<2>(group, rows, products),
            _ => sum_matrices::<3>(group, rows, products),
        });
    }
}

/// Adds up the products of one group.
///
/// # Safety
///
/// The group has weights for its steps, and so has each of `COUNT` rows numbers.
#[target_feature(enable = "neon,dotprod")]
unsafe fn sum_dot_products<const COUNT: usize>(group: GroupOfTile, products: &mut Products) {
    let GroupOfTile { mut numbers, stride, mut weights, steps } = group;
    let mut sums = [[vdupq_n_s32(0); VECTORS]; COUNT];
    for _ in 0..steps {
        // SAFETY: there are bytes for so many steps in the weights and in each row.
        unsafe {
            let mut factors = [vreinterpretq_s8_s32(vdupq_n_s32(0)); VECTORS];
            for vector in 0..VECTORS {
                factors[vector] = vld1q_s8(weights.add(vector * 16).cast());
            }
            for row in 0..COUNT {
                let four = vdupq_n_s32(numbers.add(row * stride).cast::<i32>().read_unaligned());
                for vector in 0..VECTORS {
                    sums[row][vector] = dot_product(sums[row][vector], vreinterpretq_s8_s32(four), factors[vector]);
                }
            }
        }
        numbers = numbers.wrapping_add(4);
        weights = weights.wrapping_add(4 * COLUMNS);
    }
    for row in 0..COUNT {
        for vector in 0..VECTORS {
            // SAFETY: a row of products has the size of its vectors.
            unsafe { vst1q_s32(products[row].as_mut_ptr().add(4 * vector), sums[row][vector]) };
        }
    }
}

/// Adds up the products of one group, of `PAIRS` pairs of rows; the last row may lack its second.
///
/// # Safety
///
/// The group has weights for its steps, and so has each of the `rows` numbers; these are `PAIRS` pairs or one row less.
#[target_feature(enable = "neon,i8mm")]
unsafe fn sum_matrices<const PAIRS: usize>(group: GroupOfTile, rows: usize, products: &mut Products) {
    let GroupOfTile { mut numbers, stride, mut weights, steps } = group;
    let mut sums = [[vdupq_n_s32(0); COLUMN_PAIRS]; PAIRS];
    for _ in 0..steps {
        // SAFETY: there are bytes for so many steps in the weights and in each row.
        unsafe {
            let mut pairs = [vcombine_u8(vdup_n_u8(0), vdup_n_u8(0)); PAIRS];
            for pair in 0..PAIRS {
                let first = vld1_u8(numbers.add(2 * pair * stride));
                // What stands for a row that is not there is computed and left behind.
                let second = if 2 * pair + 1 < rows { vld1_u8(numbers.add((2 * pair + 1) * stride)) } else { first };
                pairs[pair] = vcombine_u8(first, second);
            }
            for column in 0..COLUMN_PAIRS {
                let factor = vld1q_s8(weights.add(column * 16).cast());
                for pair in 0..PAIRS {
                    sums[pair][column] = matrix_product(sums[pair][column], pairs[pair], factor);
                }
            }
        }
        numbers = numbers.wrapping_add(8);
        weights = weights.wrapping_add(8 * COLUMNS);
    }
    for pair in 0..PAIRS {
        for column in 0..COLUMN_PAIRS {
            let sum = sums[pair][column];
            // SAFETY: each of the two rows has a place of two numbers for every pair of columns.
            unsafe {
                vst1_s32(products[2 * pair].as_mut_ptr().add(2 * column), vget_low_s32(sum));
                vst1_s32(products[2 * pair + 1].as_mut_ptr().add(2 * column), vget_high_s32(sum));
            }
        }
    }
}

/// Adds to each of 4 sums the products of 4 pairs of signed bytes.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn dot_product(mut sums: int32x4_t, numbers: int8x16_t, weights: int8x16_t) -> int32x4_t {
    // SAFETY: the function has the feature; the instruction touches its registers only.
    unsafe {
        asm!(
            "sdot {0:v}.4s, {1:v}.16b, {2:v}.16b",
            inout(vreg) sums, in(vreg) numbers, in(vreg) weights,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}

/// Adds to 2 x 2 sums the products of 2 rows of 8 unsigned bytes with 2 columns of 8 signed ones.
#[inline]
#[target_feature(enable = "neon,i8mm")]
fn matrix_product(mut sums: int32x4_t, rows: uint8x16_t, columns: int8x16_t) -> int32x4_t {
    // SAFETY: the function has the feature; the instruction touches its registers only.
    unsafe {
        asm!(
            "usmmla {0:v}.4s, {1:v}.16b, {2:v}.16b",
            inout(vreg) sums, in(vreg) rows, in(vreg) columns,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}
