//! The covariance of a site's quantized inputs, from rows that are seen once.
//!
//! Rows are collected in blocks of a fixed size, whatever blocks they come in; the products of a block are added up in
//! single precision, those of all blocks in double precision; and every tile of the result is one thread's work. So the
//! result is the same to the bit however the rows arrive and however many threads there are.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, s};
use rayon::prelude::*;

use super::groups::Partition;
use super::statistics::check_rows;
use crate::error::{EmbeddingError, Result};
use crate::int8::{RowScale, quantized};

/// Rows of a block.
const BLOCK: usize = 1024;
/// Rows and columns of a tile of the result.
const TILE: usize = 256;

/// Adds up the products of the channels of a site, each row quantized as a kernel does.
///
/// ```
/// use oxembed::quantize::{Gram, Partition};
///
/// let mut gram = Gram::new(Partition { order: vec![1, 0], groups: vec![1, 1] })?;
/// gram.add(&[0.0, 1.0, 0.0, 3.0])?;
/// let moments = gram.finish()?;
/// assert_eq!((moments.rows, moments.quantized_mean), (2, vec![2.0, 0.0]));
/// assert_eq!(moments.covariance.diag().to_vec(), [1.0, 0.0]);
/// # Ok::<(), oxembed::EmbeddingError>(())
/// ```
#[derive(Debug)]
pub struct Gram {
    partition: Partition,
    /// Rows that wait for the rest of their block, `(waiting, inputs)`.
    waiting: Vec<f32>,
    /// `(BLOCK, inputs)`, in the order of the partition.
    block: Array2<f32>,
    /// Taken from every row: about the mean, so that little is lost when the mean is taken out in the end.
    origin: Option<Vec<f32>>,
    rows: usize,
    input_sums: Vec<f64>,
    /// Of what is left without the origin.
    quantized_sums: Vec<f64>,
    tiles: Vec<Tile>,
}

/// What a site's inputs are like, in the order of its partition.
#[derive(Debug, Clone)]
pub struct Moments {
    /// Of how many rows.
    pub rows: usize,
    /// The mean of the inputs.
    pub input_mean: Vec<f64>,
    /// The mean of the quantized inputs.
    pub quantized_mean: Vec<f64>,
    /// `(inputs, inputs)`: the covariance of the quantized inputs.
    pub covariance: Array2<f64>,
}

/// A tile of the upper half of the products.
#[derive(Debug)]
struct Tile {
    row: usize,
    column: usize,
    products: Array2<f64>,
}

impl Gram {
    /// Of no rows yet.
    ///
    /// # Errors
    ///
    /// [`EmbeddingError::InvalidInput`] where the order is no permutation or the groups do not cut it.
    pub fn new(partition: Partition) -> Result<Self> {
        partition.check()?;
        let inputs = partition.order.len();
        let starts = || (0..inputs).step_by(TILE);
        let tiles =
            starts().flat_map(|row| starts().filter(move |&column| column >= row).map(move |column| (row, column)));
        let tile = |(row, column): (usize, usize)| {
            let products = Array2::zeros((TILE.min(inputs - row), TILE.min(inputs - column)));
            Tile { row, column, products }
        };
        Ok(Self {
            waiting: Vec::with_capacity(BLOCK * inputs),
            block: Array2::zeros((BLOCK, inputs)),
            origin: None,
            rows: 0,
            input_sums: vec![0.0; inputs],
            quantized_sums: vec![0.0; inputs],
            tiles: tiles.map(tile).collect(),
            partition,
        })
    }

    /// Adds `rows`, `(rows, inputs)`, channels in their own order.
    ///
    /// # Errors
    ///
    /// [`EmbeddingError::InvalidInput`] where the numbers are no whole rows or not finite.
    pub fn add(&mut self, rows: &[f32]) -> Result<()> {
        let inputs = self.partition.order.len();
        check_rows(rows, inputs, self.rows + self.waiting.len() / inputs)?;
        let mut rest = rows;
        while !rest.is_empty() {
            let missing = BLOCK * inputs - self.waiting.len();
            let (now, later) = rest.split_at(missing.min(rest.len()));
            self.waiting.extend_from_slice(now);
            rest = later;
            if self.waiting.len() == BLOCK * inputs {
                self.add_block();
            }
        }
        Ok(())
    }

    /// The moments of all rows.
    ///
    /// # Errors
    ///
    /// [`EmbeddingError::InvalidInput`] where there were none.
    pub fn finish(mut self) -> Result<Moments> {
        self.add_block();
        if self.rows == 0 {
            return Err(EmbeddingError::invalid_input("a site cannot be quantized without inputs"));
        }
        let count = self.rows as f64;
        let input_mean = self.input_sums.iter().map(|sum| sum / count).collect();
        let rest: Vec<f64> = self.quantized_sums.iter().map(|sum| sum / count).collect();
        let origin = self.origin.unwrap_or_default();
        let quantized_mean = rest.iter().zip(origin).map(|(rest, origin)| rest + f64::from(origin)).collect();
        let mut covariance = Array2::zeros((rest.len(), rest.len()));
        for Tile { row, column, products } in self.tiles {
            let (rows, columns) = products.dim();
            let mut place = covariance.slice_mut(s![row..row + rows, column..column + columns]);
            place.assign(&products);
            // Copied, and not computed again: the result is symmetric to the bit.
            covariance.slice_mut(s![column..column + columns, row..row + rows]).assign(&products.t());
        }
        for ((row, column), value) in covariance.indexed_iter_mut() {
            let means = rest.get(row).zip(rest.get(column)).map_or(0.0, |(one, other)| one * other);
            *value = *value / count - means;
        }
        Ok(Moments { rows: self.rows, input_mean, quantized_mean, covariance })
    }

    /// Adds the rows that wait.
    fn add_block(&mut self) {
        let inputs = self.partition.order.len();
        let count = self.waiting.len() / inputs;
        if count == 0 {
            return;
        }
        let partition = &self.partition;
        let places = self.block.as_slice_mut().unwrap_or_default().par_chunks_exact_mut(inputs);
        places.zip(self.waiting.par_chunks_exact(inputs)).for_each(|(place, row)| {
            for (to, &channel) in place.iter_mut().zip(&partition.order) {
                *to = row.get(channel as usize).copied().unwrap_or_default();
            }
        });
        let mut block = self.block.slice_mut(s![..count, ..]);
        for row in block.rows() {
            self.input_sums.iter_mut().zip(row).for_each(|(sum, &number)| *sum += f64::from(number));
        }
        let rows: Vec<_> = block.rows_mut().into_iter().filter_map(ndarray::ArrayViewMut1::into_slice).collect();
        rows.into_par_iter().for_each(|row| restore_quantized(row, &partition.groups));
        let origin = &*self.origin.get_or_insert_with(|| means(&block.view()));
        for mut row in block.rows_mut() {
            for ((number, origin), sum) in row.iter_mut().zip(origin).zip(&mut self.quantized_sums) {
                *number -= origin;
                *sum += f64::from(*number);
            }
        }
        let block = block.view();
        self.tiles.par_iter_mut().for_each(|tile| tile.add(&block));
        self.rows += count;
        self.waiting.clear();
    }
}

impl Tile {
    fn add(&mut self, block: &ArrayView2<'_, f32>) {
        let (rows, columns) = self.products.dim();
        let one = block.slice(s![.., self.row..self.row + rows]);
        let other = block.slice(s![.., self.column..self.column + columns]);
        let mut products = Array2::zeros((rows, columns));
        general_mat_mul(1.0, &one.t(), &other, 0.0, &mut products);
        self.products.zip_mut_with(&products, |sum, &product| *sum += f64::from(product));
    }
}

/// What a kernel takes the numbers of an ordered row for.
pub(super) fn restore_quantized(row: &mut [f32], groups: &[usize]) {
    let mut rest = row;
    for &length in groups {
        let Some((group, after)) = rest.split_at_mut_checked(length) else { return };
        rest = after;
        let range = |(lowest, highest): (f32, f32), &number: &f32| (lowest.min(number), highest.max(number));
        let (lowest, highest) = group.iter().fold((0.0, 0.0), range);
        let RowScale { scale, inverse, zero } = RowScale::of_range(lowest, highest, true);
        for number in group {
            *number = (quantized(*number, inverse, zero) - zero) as f32 * scale;
        }
    }
}

#[allow(clippy::cast_possible_truncation)] // Near the mean is near enough.
fn means(block: &ArrayView2<'_, f32>) -> Vec<f32> {
    let mut sums = vec![0.0_f64; block.ncols()];
    for row in block.rows() {
        sums.iter_mut().zip(row).for_each(|(sum, &number)| *sum += f64::from(number));
    }
    sums.into_iter().map(|sum| (sum / block.nrows() as f64) as f32).collect()
}
