//! The product by the 8-bit dot product of AVX-VNNI (`vpdpbusd` on 256 bits).

// An iterator over vectors is a function of its own, which is compiled without these instructions where it is not inlined.
#![allow(clippy::needless_range_loop)]

use std::arch::x86_64::{
    _mm256_dpbusd_avx_epi32, _mm256_loadu_si256, _mm256_set1_epi32, _mm256_setzero_si256, _mm256_storeu_si256,
};

use super::narrow::{self, COLUMNS, GroupOfTile, Products, ROWS};
use super::product::{Shape, Tile};
use super::rows::Encoding;

/// The shape of its tiles: the sums of 12 vectors stay in registers, next to 2 of weights and one of inputs.
pub const SHAPE: Shape = Shape { rows: ROWS, columns: COLUMNS, depth: 4 };

/// How it reads the inputs.
pub const ENCODING: Encoding = Encoding::Unsigned;

/// The functions of one encoding of the instruction.
macro_rules! kernel {
    ($compute:ident, $sum_group:ident, $features:literal, $dot_product:ident) => {
        /// Computes a tile.
        ///
        /// # Safety
        ///
        /// As [`super::product::ComputeTile`].
        #[target_feature(enable = $features)]
        pub unsafe fn $compute(tile: &Tile<'_>) {
            let rows = tile.row_count;
            // SAFETY: the caller keeps the contract of a tile, and of a group what follows from it.
            unsafe {
                narrow::compute(tile, ENCODING, |group, products| for_row_count!(rows, $sum_group(group, products)));
            }
        }

        /// Adds up the products of one group.
        ///
        /// # Safety
        ///
        /// The group has weights for its steps, and so has each of `COUNT` rows numbers.
        #[target_feature(enable = $features)]
        unsafe fn $sum_group<const COUNT: usize>(group: GroupOfTile, products: &mut Products) {
            let GroupOfTile { mut numbers, stride, mut weights, steps } = group;
            let mut sums = [[_mm256_setzero_si256(); 2]; COUNT];
            for _ in 0..steps {
                // SAFETY: there are bytes for so many steps in the weights and in each row.
                unsafe {
                    let first = _mm256_loadu_si256(weights.cast());
                    let second = _mm256_loadu_si256(weights.add(32).cast());
                    for row in 0..COUNT {
                        let four = _mm256_set1_epi32(numbers.add(row * stride).cast::<i32>().read_unaligned());
                        sums[row][0] = $dot_product(sums[row][0], four, first);
                        sums[row][1] = $dot_product(sums[row][1], four, second);
                    }
                    numbers = numbers.add(4);
                    weights = weights.add(64);
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
    };
}

kernel!(compute, sum_group, "avx2,avxvnni", _mm256_dpbusd_avx_epi32);

/// The same instruction as AVX-512 encodes it: what tests run where a processor has no other.
#[cfg(test)]
pub mod as_avx512 {
    use super::*;
    use std::arch::x86_64::_mm256_dpbusd_epi32;

    kernel!(compute, sum_group, "avx2,avx512vl,avx512vnni", _mm256_dpbusd_epi32);
}
