//! What a kernel is given: a tile of the result, some rows by one panel of columns.

use super::rows::{Group, QuantizedRows};

/// What is applied to the result before it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Epilogue {
    /// Nothing.
    None,
    /// The exact GELU, by the error function.
    Gelu,
}

/// Columns of a packed layer that are computed together, padded with zeros to the width of the kernel.
#[derive(Debug, Clone, Copy)]
pub struct Panel<'a> {
    /// `(steps of all groups, width, depth)`, the bytes of signed numbers.
    pub weights: &'a [u8],
    /// `(groups, width)`: the sums of a column's weights.
    pub sums: &'a [i32],
    /// `(groups, width)`.
    pub scales: &'a [f32],
    /// `(width)`.
    pub bias: &'a [f32],
}

/// One tile: `row_count` rows from `first_row` on, times one panel.
#[derive(Debug, Clone, Copy)]
pub struct Tile<'a> {
    pub rows: &'a QuantizedRows,
    pub first_row: usize,
    pub row_count: usize,
    pub groups: &'a [Group],
    pub panel: Panel<'a>,
    pub epilogue: Epilogue,
    /// Where the first number of the tile goes.
    pub output: *mut f32,
    /// Numbers from one row of the output to the next.
    pub output_stride: usize,
    /// How many columns of the panel are of the layer.
    pub columns: usize,
}

/// Computes a tile.
///
/// # Safety
///
/// The processor has the instructions of the kernel. `rows` holds the rows, quantized with `groups` and the encoding of
/// the kernel; the panel has the kernel's width and depth and as many steps as the groups; `row_count` is 1 up to the
/// kernel's rows and `columns` 1 up to its width; `output` may be written at `row * output_stride + column` for each of
/// them, and nobody else reads or writes there meanwhile.
pub type ComputeTile = unsafe fn(&Tile<'_>);

/// What a kernel computes at once and how it wants its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Rows of a tile, at most.
    pub rows: usize,
    /// Columns of a panel.
    pub columns: usize,
    /// Inputs that one step takes together.
    pub depth: usize,
}

impl Tile<'_> {
    /// First byte of a row of the tile.
    ///
    /// # Safety
    ///
    /// As [`ComputeTile`], and `row` is below `row_count`.
    pub unsafe fn row(&self, row: usize) -> *const u8 {
        // SAFETY: the caller says that the row is one of `rows`, which has `stride` bytes for each.
        unsafe { self.rows.bytes.as_slice().as_ptr().add((self.first_row + row) * self.rows.stride) }
    }

    /// Scale and zero point of one row and group.
    ///
    /// # Safety
    ///
    /// As [`ComputeTile`], `row` is below `row_count`, and `group` is one of the groups.
    pub unsafe fn row_scale(&self, row: usize, group: usize) -> (f32, i32) {
        let index = (self.first_row + row) * self.groups.len() + group;
        // SAFETY: the caller says that both are in range, and there is one of each for every row and group.
        unsafe { (*self.rows.scales.get_unchecked(index), *self.rows.zeros.get_unchecked(index)) }
    }
}
