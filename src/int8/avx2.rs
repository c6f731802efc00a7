//! The exact product by AVX2.
//!
//! AVX2 has a product of unsigned and signed bytes (`vpmaddubsw`), but it adds two of them in 16 bits and saturates. Here
//! both are widened to 16 bits, where `vpmaddwd` adds them in 32 bits and is exact.

// An iterator over vectors is a function of its own, which is compiled without these instructions where it is not inlined.
#![allow(clippy::needless_range_loop)]

use std::arch::x86_64::{
    _mm_loadu_si128, _mm256_add_epi32, _mm256_cvtepi8_epi16, _mm256_madd_epi16, _mm256_set1_epi32,
    _mm256_setzero_si256, _mm256_storeu_si256,
};

use super::narrow::{self, COLUMNS, GroupOfTile, Products, ROWS};
use super::product::{Shape, Tile};
use super::rows::{Encoding, RowPlace, RowPlan};

/// The shape of its tiles: the sums of 12 vectors stay in registers, next to 2 of weights and one of inputs.
pub const SHAPE: Shape = Shape { rows: ROWS, columns: COLUMNS, depth: 2 };

/// How it reads the inputs.
pub const ENCODING: Encoding = Encoding::Wide;

/// Computes a tile.
///
/// # Safety
///
/// As [`super::product::ComputeTile`].
#[target_feature(enable = "avx2")]
pub unsafe fn compute(tile: &Tile<'_>) {
    let rows = tile.row_count;
    // SAFETY: the caller keeps the contract of a tile, and of a group what follows from it.
    unsafe {
        narrow::compute(tile, ENCODING, |group, products| for_row_count!(rows, sum_group(group, products)));
    }
}

/// Adds up the products of one group.
///
/// # Safety
///
/// The group has weights for its steps, and so has each of `COUNT` rows numbers.
#[target_feature(enable = "avx2")]
unsafe fn sum_group<const COUNT: usize>(group: GroupOfTile, products: &mut Products) {
    let GroupOfTile { mut numbers, stride, mut weights, steps } = group;
    let mut sums = [[_mm256_setzero_si256(); 2]; COUNT];
    for _ in 0..steps {
        // SAFETY: there are bytes for so many steps in the weights and in each row.
        unsafe {
            let first = _mm256_cvtepi8_epi16(_mm_loadu_si128(weights.cast()));
            let second = _mm256_cvtepi8_epi16(_mm_loadu_si128(weights.add(16).cast()));
            for row in 0..COUNT {
                let two = _mm256_set1_epi32(numbers.add(row * stride).cast::<i32>().read_unaligned());
                sums[row][0] = _mm256_add_epi32(sums[row][0], _mm256_madd_epi16(two, first));
                sums[row][1] = _mm256_add_epi32(sums[row][1], _mm256_madd_epi16(two, second));
            }
            numbers = numbers.add(4);
            weights = weights.add(32);
        }
    }
    for row in 0..COUNT {
        let places = products[row].as_mut_ptr();
        // SAFETY: a row of products has the size of two vectors.
        unsafe {
            _mm256_storeu_si256(places.cast(), sums[row][0]);
            _mm256_storeu_si256(places.add(8).cast(), sums[row][1]);
        }
    }
}

/// Quantizes one row.
///
/// # Safety
///
/// As [`super::rows::QuantizeRow`], for a processor with AVX2.
#[target_feature(enable = "avx2")]
pub unsafe fn quantize_row(row: &[f32], plan: &RowPlan<'_>, place: RowPlace<'_>) {
    // SAFETY: the caller keeps the same contract.
    unsafe { narrow::quantize_row(row, plan, place) };
}
