//! Rows of numbers as rows of bytes: each row and group with a scale and a zero point of its own.

use super::aligned::Aligned;
use super::order::Order;

/// A range of inputs that is quantized with one scale per row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    /// Where it starts in an arranged row.
    pub start: usize,
    /// How many inputs it has.
    pub length: usize,
    /// Where it starts in a quantized row, in numbers. It is padded to whole steps there.
    pub offset: usize,
    /// How many steps of the product it takes.
    pub steps: usize,
}

/// How a kernel reads a quantized number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(dead_code)] // No processor has kernels for all of them.
pub enum Encoding {
    /// A byte, 0 to 255.
    Unsigned,
    /// A byte less 128, for products of two signed numbers; the zero point is 128 less as well.
    Signed,
    /// 16 bits, 0 to 255.
    Wide,
}

impl Encoding {
    /// Bytes a number.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Unsigned | Self::Signed => 1,
            Self::Wide => 2,
        }
    }

    /// What is taken from the zero point.
    const fn zero_shift(self) -> i32 {
        match self {
            Self::Unsigned | Self::Wide => 0,
            Self::Signed => 128,
        }
    }
}

/// How a row is arranged and cut.
#[derive(Debug, Clone, Copy)]
pub struct RowPlan<'a> {
    /// The order of the channels.
    pub order: &'a Order,
    /// The groups, of channels in that order.
    pub groups: &'a [Group],
    /// How the numbers are written.
    pub encoding: Encoding,
    /// Inputs that one step takes together.
    pub depth: usize,
}

impl RowPlan<'_> {
    /// Bytes of a quantized row.
    pub fn row_bytes(&self) -> usize {
        let last = self.groups.last().map_or(0, |group| group.offset + group.steps * self.depth);
        last * self.encoding.bytes()
    }
}

/// How the numbers of one group of one row become bytes.
#[derive(Debug, Clone, Copy)]
pub struct RowScale {
    /// What one step is worth. 0 where the group is all zeros, NaN where a number in it is not finite, which makes the
    /// whole row of the result NaN.
    pub scale: f32,
    /// Its reciprocal; 0 where there is none.
    pub inverse: f32,
    /// The byte of the number 0.
    pub zero: i32,
}

impl RowScale {
    /// From the range of the numbers, which includes 0.
    #[inline]
    pub fn of_range(lowest: f32, highest: f32, all_are_finite: bool) -> Self {
        if !all_are_finite {
            return Self { scale: f32::NAN, inverse: 0.0, zero: 0 };
        }
        // Each is divided by itself: the difference of two finite numbers may overflow.
        let scale = highest / 255.0 - lowest / 255.0;
        // The reciprocal of a smaller number may overflow, and processors may be set to take such numbers for 0.
        if scale < f32::MIN_POSITIVE {
            return Self { scale: 0.0, inverse: 0.0, zero: 0 };
        }
        let inverse = 1.0 / scale;
        Self { scale, inverse, zero: quantized(-lowest, inverse, 0) }
    }
}

/// The number as a byte.
///
/// A number of 2^23 and a half of that has no bits left for fractions: adding it rounds to a whole number, ties to even, in
/// one addition on every processor. What is rounded here is at most 255 and a little.
#[inline]
pub fn quantized(value: f32, inverse: f32, zero: i32) -> i32 {
    const WHOLE: f32 = 12_582_912.0;
    let whole = (value * inverse + WHOLE).to_bits().cast_signed() - WHOLE.to_bits().cast_signed();
    (whole + zero).clamp(0, 255)
}

/// Rows of bytes with their scales: the scratch memory of a product, to be reused.
#[derive(Debug, Default)]
pub struct QuantizedRows {
    count: usize,
    pub(super) bytes: Aligned<u8>,
    /// Bytes from one row to the next.
    pub(super) stride: usize,
    /// `(rows, groups)`.
    pub(super) scales: Vec<f32>,
    /// `(rows, groups)`, as the encoding has them.
    pub(super) zeros: Vec<i32>,
    /// The row that is being quantized, its channels in order.
    arranged: Aligned<f32>,
}

/// Where one row goes.
#[derive(Debug)]
pub struct RowPlace<'a> {
    /// Scratch memory for the row with its channels in order; what is behind them is of no meaning.
    pub arranged: &'a mut [f32],
    /// The bytes, each group padded to whole steps.
    pub bytes: &'a mut [u8],
    /// One for each group.
    pub scales: &'a mut [f32],
    /// One for each group.
    pub zeros: &'a mut [i32],
}

/// Quantizes one row.
///
/// # Safety
///
/// The processor has the instructions of the kernel. The row has a number for every channel of the order, which are those
/// of the groups; `arranged` is the order's room, and there are a scale and a zero point for every group, and bytes for
/// every channel of the padded groups.
pub type QuantizeRow = unsafe fn(&[f32], &RowPlan<'_>, RowPlace<'_>);

impl QuantizedRows {
    /// How many rows it holds.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Quantizes the rows, each `inputs` long.
    ///
    /// # Safety
    ///
    /// As [`QuantizeRow`], for each row and a row of bytes of the plan's groups.
    pub(super) unsafe fn fill(&mut self, rows: &[f32], inputs: usize, plan: &RowPlan<'_>, quantize: QuantizeRow) {
        let count = rows.len() / inputs;
        let groups = plan.groups.len();
        let stride = plan.row_bytes();
        self.count = count;
        self.stride = stride;
        self.bytes.resize(count * stride);
        self.scales.resize(count * groups, 0.0);
        self.zeros.resize(count * groups, 0);
        self.arranged.resize(plan.order.room());
        let places = self
            .bytes
            .as_mut_slice()
            .chunks_exact_mut(stride)
            .zip(self.scales.chunks_exact_mut(groups))
            .zip(self.zeros.chunks_exact_mut(groups));
        for (row, ((bytes, scales), zeros)) in rows.chunks_exact(inputs).zip(places) {
            let place = RowPlace { arranged: self.arranged.as_mut_slice(), bytes, scales, zeros: &mut *zeros };
            // SAFETY: the caller says so, and the place was made for the plan.
            unsafe { quantize(row, plan, place) };
            let zero_shift = plan.encoding.zero_shift();
            if zero_shift != 0 {
                for zero in zeros {
                    *zero -= zero_shift;
                }
            }
        }
    }
}

/// Where groups of these lengths lie, each padded to whole steps.
pub fn groups_of(lengths: &[usize], depth: usize) -> Vec<Group> {
    let (mut start, mut offset) = (0, 0);
    let place = |&length: &usize| {
        let group = Group { start, length, offset, steps: length.div_ceil(depth) };
        start += length;
        offset += group.steps * depth;
        group
    };
    lengths.iter().map(place).collect()
}
