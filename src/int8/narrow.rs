//! What the kernels of 128 and 256 bits share, in plain Rust: a loop over the lanes of an array becomes one instruction
//! where it is inlined into a function with that instruction. `avx512` has its own, since only it has masks.

// Arrays are indexed: an iterator that takes one by value is a function of its own, which may not be inlined.
#![allow(clippy::needless_range_loop)]
#![allow(clippy::inline_always)] // What is not inlined is compiled without the instructions.

use super::gelu;
use super::product::{Epilogue, Tile};
use super::rows::{Encoding, RowPlace, RowPlan, RowScale, quantized};

/// Rows of a tile.
pub const ROWS: usize = 6;

/// Columns of a panel.
pub const COLUMNS: usize = 16;

/// Numbers that are quantized together.
const LANES: usize = 16;

/// The sums of products of one group of a tile.
pub type Products = [[i32; COLUMNS]; ROWS];

/// Where one group of a tile lies.
#[derive(Debug, Clone, Copy)]
pub struct GroupOfTile {
    /// Its first byte in the first row.
    pub numbers: *const u8,
    /// Bytes from one row to the next.
    pub stride: usize,
    /// Its first weight.
    pub weights: *const u8,
    /// Its steps.
    pub steps: usize,
}

/// Computes a tile; `sum_group` adds up the products of one group of it.
///
/// # Safety
///
/// As [`super::product::ComputeTile`], for tiles of at most [`ROWS`] rows and panels of [`COLUMNS`] columns. `sum_group`
/// may rely on the bytes of all steps in all rows of the tile, and on their weights.
#[inline(always)]
pub unsafe fn compute(tile: &Tile<'_>, encoding: Encoding, sum_group: impl Fn(GroupOfTile, &mut Products)) {
    let (bias, _) = tile.panel.bias.as_chunks::<COLUMNS>();
    let (sums, _) = tile.panel.sums.as_chunks::<COLUMNS>();
    let (scales, _) = tile.panel.scales.as_chunks::<COLUMNS>();
    let mut result = [bias.first().copied().unwrap_or_default(); ROWS];
    let mut products = [[0_i32; COLUMNS]; ROWS];
    for (index, ((group, sums), scales)) in tile.groups.iter().zip(sums).zip(scales).enumerate() {
        // SAFETY: the rows have bytes, and the panel has weights, for the steps of all groups.
        let group = unsafe {
            GroupOfTile {
                numbers: tile.row(0).add(group.offset * encoding.bytes()),
                stride: tile.rows.stride,
                weights: tile.panel.weights.as_ptr().add(group.offset * COLUMNS),
                steps: group.steps,
            }
        };
        sum_group(group, &mut products);
        for (row, (result, products)) in result.iter_mut().zip(&products).take(tile.row_count).enumerate() {
            // SAFETY: the row is one of the tile, the group one of the groups.
            let (scale, zero) = unsafe { tile.row_scale(row, index) };
            for column in 0..COLUMNS {
                result[column] += (products[column] - zero * sums[column]) as f32 * (scale * scales[column]);
            }
        }
    }
    for (row, result) in result.iter_mut().take(tile.row_count).enumerate() {
        if tile.epilogue == Epilogue::Gelu {
            for column in 0..COLUMNS {
                result[column] = gelu::gelu(result[column]);
            }
        }
        // SAFETY: the caller lets us write this row of the tile.
        let output = unsafe { std::slice::from_raw_parts_mut(tile.output.add(row * tile.output_stride), tile.columns) };
        output.iter_mut().zip(result).for_each(|(place, value)| *place = *value);
    }
}

/// Quantizes one row, as the module's documentation has it.
///
/// # Safety
///
/// As [`super::rows::QuantizeRow`]; it needs no instructions but those it is compiled for.
#[inline(always)]
pub unsafe fn quantize_row(row: &[f32], plan: &RowPlan<'_>, place: RowPlace<'_>) {
    let RowPlace { arranged, bytes, scales, zeros } = place;
    // SAFETY: the row and the room are those of the order, as the caller says.
    unsafe { plan.order.arrange(row, arranged) };
    for ((group, scale_place), zero_place) in plan.groups.iter().zip(scales).zip(zeros) {
        let values = arranged.get(group.start..group.start + group.length).unwrap_or_default();
        let scale = range_of(values);
        *scale_place = scale.scale;
        *zero_place = scale.zero;
        let places = bytes.get_mut(group.offset * plan.encoding.bytes()..).unwrap_or_default();
        let mut places = places.chunks_mut(LANES * plan.encoding.bytes());
        for start in (0..values.len()).step_by(LANES) {
            let vector = loaded(values, start);
            let mut numbers = [0; LANES];
            for lane in 0..LANES {
                numbers[lane] = quantized(vector[lane], scale.inverse, scale.zero);
            }
            let places = places.next().unwrap_or_default();
            write(places, plan.encoding, numbers, LANES.min(values.len() - start));
        }
    }
}

/// The scale of one group of a row.
#[inline(always)]
fn range_of(values: &[f32]) -> RowScale {
    let (mut lowest, mut highest, mut poison) = ([0.0_f32; LANES], [0.0_f32; LANES], [0.0_f32; LANES]);
    for start in (0..values.len()).step_by(LANES) {
        let vector = loaded(values, start);
        for lane in 0..LANES {
            let value = vector[lane];
            lowest[lane] = if value < lowest[lane] { value } else { lowest[lane] };
            highest[lane] = if value > highest[lane] { value } else { highest[lane] };
            // Zero times a number that is not finite is NaN, which the sum keeps.
            poison[lane] += value * 0.0;
        }
    }
    let lowest = lowest.into_iter().fold(0.0, f32::min);
    let highest = highest.into_iter().fold(0.0, f32::max);
    RowScale::of_range(lowest, highest, !poison.into_iter().any(f32::is_nan))
}

/// The numbers from `start` on, and zeros behind the last.
#[inline(always)]
fn loaded(values: &[f32], start: usize) -> [f32; LANES] {
    let values = values.get(start..).unwrap_or_default();
    if let Some(vector) = values.first_chunk::<LANES>() {
        return *vector;
    }
    let mut vector = [0.0; LANES];
    vector.iter_mut().zip(values).for_each(|(place, value)| *place = *value);
    vector
}

#[inline(always)]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // They are 0 to 255.
fn write(places: &mut [u8], encoding: Encoding, numbers: [i32; LANES], count: usize) {
    let flipped = if encoding == Encoding::Signed { 0x80 } else { 0 };
    if encoding == Encoding::Wide {
        let mut wide = [0; LANES * 2];
        for lane in 0..LANES {
            [wide[2 * lane], wide[2 * lane + 1]] = (numbers[lane] as u16).to_ne_bytes();
        }
        copy(places, &wide, 2 * count);
    } else {
        let mut bytes = [0; LANES];
        for lane in 0..LANES {
            bytes[lane] = numbers[lane] as u8 ^ flipped;
        }
        copy(places, &bytes, count);
    }
}

#[inline(always)]
fn copy<const COUNT: usize>(places: &mut [u8], bytes: &[u8; COUNT], count: usize) {
    match places.first_chunk_mut::<COUNT>() {
        Some(places) if count == COUNT => *places = *bytes,
        _ => places.iter_mut().zip(bytes).take(count).for_each(|(place, byte)| *place = *byte),
    }
}
