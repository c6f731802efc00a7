//! The product by the 8-bit dot product of AVX512-VNNI (`vpdpbusd`), and quantization by AVX-512.

// An iterator over vectors is a function of its own, which is compiled without these instructions where it is not inlined.
#![allow(clippy::needless_range_loop)]

#[allow(clippy::wildcard_imports)] // Dozens of instructions, by names that are nobody else's.
use std::arch::x86_64::*;
use std::mem::MaybeUninit;

use super::gelu::{COEFFICIENTS, LIMIT, SQUARINGS};
use super::product::{Epilogue, Shape, Tile};
use super::rows::{Encoding, RowPlace, RowPlan, RowScale};

/// The shape of its tiles: the sums of 24 vectors stay in registers, next to 4 of weights and one of inputs.
pub const SHAPE: Shape = Shape { rows: 6, columns: WIDTH, depth: 4 };

/// How it reads the inputs.
pub const ENCODING: Encoding = Encoding::Unsigned;

const LANES: usize = 16;
const VECTORS: usize = 4;

/// Columns of a tile.
const WIDTH: usize = VECTORS * LANES;

/// Numbers that are quantized together: as bytes they fill a vector.
const BLOCK: usize = 64;

/// Repeats a block for each vector of a row of a tile. A loop may stay a loop, and then what it indexes is no register.
macro_rules! for_each_vector {
    ($vector:ident, $block:block) => {
        for_each_vector!($vector, $block, 0, 1, 2, 3);
    };
    ($vector:ident, $block:block, $($index:literal),*) => {
        $({
            const $vector: usize = $index;
            $block
        })*
    };
}

/// Computes a tile.
///
/// # Safety
///
/// As [`super::product::ComputeTile`].
pub unsafe fn compute(tile: &Tile<'_>) {
    // SAFETY: the caller keeps the same contract.
    unsafe { for_row_count!(tile.row_count, compute_rows(tile)) }
}

/// What a tile has come to after some groups.
#[repr(align(64))]
struct Results([[MaybeUninit<f32>; WIDTH]; SHAPE.rows]);

/// # Safety
///
/// As [`compute`], for `ROWS` rows.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn compute_rows<const ROWS: usize>(tile: &Tile<'_>) {
    let mut results = Results([[MaybeUninit::uninit(); WIDTH]; SHAPE.rows]);
    let results: *mut f32 = results.0.as_mut_ptr().cast();
    // SAFETY: the panel has as many steps, sums and scales as the groups, and the rows have bytes for all steps; the
    // results are those of all groups when they are read.
    unsafe {
        let mut before = Before { results: tile.panel.bias.as_ptr(), stride: 0 };
        let mut weights = tile.panel.weights.as_ptr();
        for index in 0..tile.groups.len() {
            add_group::<ROWS>(tile, index, weights, before, results);
            weights = weights.add(tile.groups.get_unchecked(index).steps * WIDTH * SHAPE.depth);
            before = Before { results, stride: WIDTH };
        }
        if tile.epilogue == Epilogue::Gelu {
            for row in 0..ROWS {
                let output = tile.output.add(row * tile.output_stride);
                for vector in 0..VECTORS {
                    let value = gelu(_mm512_loadu_ps(results.add(row * WIDTH + vector * LANES)));
                    _mm512_mask_storeu_ps(output.wrapping_add(vector * LANES), mask_of_vector(tile, vector), value);
                }
            }
        }
    }
}

/// What a tile has come to before a group: the bias, or the results of the groups before it.
#[derive(Clone, Copy)]
struct Before {
    results: *const f32,
    /// Numbers from one row to the next.
    stride: usize,
}

/// Adds a group to what came before it.
///
/// It is a function of its own, whose results are in memory: the registers are taken by the sums, and a compiler that has
/// to keep the results as well stores them twice for each group.
///
/// # Safety
///
/// As [`compute`], for `ROWS` rows; `weights` are those of the group, and there are results for all rows.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn add_group<const ROWS: usize>(
    tile: &Tile<'_>,
    index: usize,
    mut weights: *const u8,
    before: Before,
    results: *mut f32,
) {
    // SAFETY: the caller says so.
    unsafe {
        let group = tile.groups.get_unchecked(index);
        let mut products = [[_mm512_setzero_si512(); VECTORS]; ROWS];
        let mut numbers = tile.row(0).add(group.offset);
        for _ in 0..group.steps {
            let mut factors = [_mm512_setzero_si512(); VECTORS];
            for_each_vector!(VECTOR, {
                factors[VECTOR] = _mm512_loadu_si512(weights.add(VECTOR * 64).cast());
            });
            for row in 0..ROWS {
                let four = numbers.add(row * tile.rows.stride).cast::<i32>().read_unaligned();
                let four = _mm512_set1_epi32(four);
                for_each_vector!(VECTOR, {
                    products[row][VECTOR] = _mm512_dpbusd_epi32(products[row][VECTOR], four, factors[VECTOR]);
                });
            }
            weights = weights.add(WIDTH * SHAPE.depth);
            numbers = numbers.add(SHAPE.depth);
        }
        let sums = tile.panel.sums.as_ptr().add(index * WIDTH);
        let scales = tile.panel.scales.as_ptr().add(index * WIDTH);
        // The last group's results are what the tile is to be, unless a function follows.
        let is_last = index + 1 == tile.groups.len() && tile.epilogue == Epilogue::None;
        let (places, stride) = if is_last { (tile.output, tile.output_stride) } else { (results, WIDTH) };
        for_each_vector!(VECTOR, {
            let mask = if is_last { mask_of_vector(tile, VECTOR) } else { u16::MAX };
            let sum = _mm512_loadu_si512(sums.add(VECTOR * LANES).cast());
            let column_scale = _mm512_loadu_ps(scales.add(VECTOR * LANES));
            for row in 0..ROWS {
                let (scale, zero) = tile.row_scale(row, index);
                let product = _mm512_sub_epi32(products[row][VECTOR], _mm512_mullo_epi32(_mm512_set1_epi32(zero), sum));
                let worth = _mm512_mul_ps(_mm512_set1_ps(scale), column_scale);
                let before = _mm512_loadu_ps(before.results.add(row * before.stride + VECTOR * LANES));
                let result = _mm512_add_ps(before, _mm512_mul_ps(_mm512_cvtepi32_ps(product), worth));
                _mm512_mask_storeu_ps(places.wrapping_add(row * stride + VECTOR * LANES), mask, result);
            }
        });
    }
}

/// The lanes of a vector of a tile that are columns of the layer.
#[inline]
fn mask_of_vector(tile: &Tile<'_>, vector: usize) -> u16 {
    let columns = tile.columns.saturating_sub(vector * LANES);
    if columns >= LANES { u16::MAX } else { (1 << columns) - 1 }
}

/// [`super::gelu::gelu`] of 16 numbers, the same operations in the same order.
#[inline]
#[target_feature(enable = "avx512f")]
fn gelu(x: __m512) -> __m512 {
    let a = _mm512_min_ps(_mm512_abs_ps(x), _mm512_set1_ps(LIMIT));
    let mut power = _mm512_setzero_ps();
    for degree in (0..COEFFICIENTS.len()).rev() {
        power = _mm512_add_ps(_mm512_mul_ps(power, a), _mm512_set1_ps(COEFFICIENTS[degree]));
    }
    for _ in 0..SQUARINGS {
        power = _mm512_mul_ps(power, power);
    }
    let positive = _mm512_max_ps(_mm512_setzero_ps(), x);
    _mm512_sub_ps(positive, _mm512_div_ps(_mm512_mul_ps(_mm512_set1_ps(0.5), a), power))
}

/// Quantizes one row.
///
/// # Safety
///
/// As [`super::rows::QuantizeRow`], for a processor with AVX-512 F, BW and VL.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub unsafe fn quantize_row(row: &[f32], plan: &RowPlan<'_>, place: RowPlace<'_>) {
    let RowPlace { arranged, bytes, scales, zeros } = place;
    // SAFETY: the row and the room are those of the order, as the caller says.
    unsafe { plan.order.arrange(row, arranged) };
    for ((group, scale_place), zero_place) in plan.groups.iter().zip(scales).zip(zeros) {
        let first = arranged.as_ptr().wrapping_add(group.start);
        // SAFETY: the arranged row has the numbers of the group, as the caller says.
        let scale = unsafe { range_of(first, group.length) };
        *scale_place = scale.scale;
        *zero_place = scale.zero;
        let (inverse, zero) = (_mm512_set1_ps(scale.inverse), _mm512_set1_epi32(scale.zero));
        for index in (0..group.length).step_by(BLOCK) {
            let mask = mask_of_block(group.length - index);
            let mut numbers = [_mm512_setzero_si512(); BLOCK / LANES];
            for vector in 0..BLOCK / LANES {
                // SAFETY: the mask keeps the load within the group.
                let value = unsafe { loaded(first.wrapping_add(index), mask, vector) };
                numbers[vector] = _mm512_add_epi32(_mm512_cvtps_epi32(_mm512_mul_ps(value, inverse)), zero);
            }
            // Packing clamps to 0 to 255, and leaves every fourth number together with its like.
            let [first, second, third, fourth] = numbers;
            let packed = _mm512_packus_epi16(_mm512_packs_epi32(first, second), _mm512_packs_epi32(third, fourth));
            let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
            let packed = _mm512_permutexvar_epi32(order, packed);
            // SAFETY: the mask keeps the store within the bytes of the group.
            unsafe { _mm512_mask_storeu_epi8(bytes.as_mut_ptr().add(group.offset + index).cast(), mask, packed) };
        }
    }
}

/// The scale of the group of `length` numbers from `first` on.
///
/// # Safety
///
/// The processor has AVX-512 F, BW and VL, and the numbers are there.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn range_of(first: *const f32, length: usize) -> RowScale {
    let nothing = _mm512_setzero_ps();
    let [mut lowest, mut highest, mut poison] = [[nothing; BLOCK / LANES]; 3];
    for index in (0..length).step_by(BLOCK) {
        let mask = mask_of_block(length - index);
        for vector in 0..BLOCK / LANES {
            // SAFETY: the mask keeps the load within the group.
            let value = unsafe { loaded(first.wrapping_add(index), mask, vector) };
            lowest[vector] = _mm512_min_ps(lowest[vector], value);
            highest[vector] = _mm512_max_ps(highest[vector], value);
            // Zero times a number that is not finite is NaN, which the sum keeps.
            poison[vector] = _mm512_fmadd_ps(value, nothing, poison[vector]);
        }
    }
    for vector in 1..BLOCK / LANES {
        lowest[0] = _mm512_min_ps(lowest[0], lowest[vector]);
        highest[0] = _mm512_max_ps(highest[0], highest[vector]);
        poison[0] = _mm512_add_ps(poison[0], poison[vector]);
    }
    let finite = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(poison[0], poison[0]) == 0;
    RowScale::of_range(_mm512_reduce_min_ps(lowest[0]), _mm512_reduce_max_ps(highest[0]), finite)
}

/// The numbers of a block that are in use, of `left` numbers.
#[inline]
fn mask_of_block(left: usize) -> u64 {
    if left >= BLOCK { u64::MAX } else { (1 << left) - 1 }
}

/// One vector of the block that starts at `first`; 0 where the block's mask has none.
///
/// # Safety
///
/// The processor has AVX-512 F, and the numbers of the mask are there.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[allow(clippy::cast_possible_truncation)] // The mask of one vector of the block.
unsafe fn loaded(first: *const f32, mask: u64, vector: usize) -> __m512 {
    let mask = (mask >> (vector * LANES)) as u16;
    // SAFETY: the mask has only numbers that the caller says are there. Addresses outside of it are not read.
    unsafe { _mm512_maskz_loadu_ps(mask, first.wrapping_add(vector * LANES)) }
}
