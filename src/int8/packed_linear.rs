//! A quantized linear layer as a kernel reads it.

use super::aligned::Aligned;
use super::product::{Panel, Shape};
use super::rows::Group;
use super::site::QuantizedLinear;

/// One layer of a site, in panels of columns, padded with zeros to whole panels and whole steps.
#[derive(Debug)]
pub struct PackedLinear {
    /// Length of a row of the result.
    pub outputs: usize,
    shape: Shape,
    /// Of the inputs.
    groups: usize,
    /// `(panels, steps of all groups, columns of a panel, depth)`.
    weights: Aligned<u8>,
    /// `(panels, groups, columns of a panel)`.
    sums: Vec<i32>,
    /// As `sums`.
    scales: Vec<f32>,
    /// `(panels, columns of a panel)`.
    bias: Vec<f32>,
}

/// Steps that are packed together: their part of a panel stays in the cache closest to the core.
const BLOCK_STEPS: usize = 64;

impl PackedLinear {
    /// Packs a layer of inputs that are cut into `groups`.
    pub fn new(linear: &QuantizedLinear, inputs: usize, groups: &[Group], shape: Shape) -> Self {
        let panels = linear.outputs.div_ceil(shape.columns);
        let padded = panels * shape.columns;
        let mut packed = Self {
            outputs: linear.outputs,
            shape,
            groups: groups.len(),
            weights: Aligned::zeros(padded * groups.last().map_or(0, |group| group.offset + group.steps * shape.depth)),
            sums: vec![0; padded * groups.len()],
            scales: vec![0.0; padded * groups.len()],
            bias: linear.bias.clone(),
        };
        packed.bias.resize(padded, 0.0);
        match shape.depth {
            8 => packed.pack_weights::<8>(linear, inputs, groups),
            4 => packed.pack_weights::<4>(linear, inputs, groups),
            2 => packed.pack_weights::<2>(linear, inputs, groups),
            _ => packed.pack_weights::<1>(linear, inputs, groups),
        }
        packed.pack_columns(linear, inputs, groups);
        packed
    }

    /// How many panels there are.
    pub fn panel_count(&self) -> usize {
        self.outputs.div_ceil(self.shape.columns)
    }

    /// Bytes of memory that it takes.
    pub fn size(&self) -> usize {
        let numbers = self.sums.len() + self.scales.len() + self.bias.len();
        self.weights.as_slice().len() + numbers * size_of::<f32>()
    }

    /// One panel.
    pub fn panel(&self, index: usize) -> Option<Panel<'_>> {
        let length = self.weights.as_slice().len() / self.panel_count();
        let columns = index * self.shape.columns..(index + 1) * self.shape.columns;
        let by_group = columns.start * self.groups..columns.end * self.groups;
        Some(Panel {
            weights: self.weights.as_slice().get(index * length..(index + 1) * length)?,
            sums: self.sums.get(by_group.clone())?,
            scales: self.scales.get(by_group)?,
            bias: self.bias.get(columns)?,
        })
    }

    /// What stands in a row of the layer for each step goes to the column of that row; the padding stays 0.
    fn pack_weights<const DEPTH: usize>(&mut self, linear: &QuantizedLinear, inputs: usize, groups: &[Group]) {
        let width = self.shape.columns;
        let panel_length = self.weights.as_slice().len() / self.panel_count();
        let panels = self.weights.as_mut_slice().chunks_exact_mut(panel_length);
        for (panel, columns) in panels.zip(linear.weight.chunks(width * inputs)) {
            for group in groups {
                let steps = panel.get_mut(group.offset * width..).unwrap_or_default();
                let steps = steps.get_mut(..group.steps * width * DEPTH).unwrap_or_default();
                for (block, steps) in steps.chunks_mut(BLOCK_STEPS * width * DEPTH).enumerate() {
                    let start = block * BLOCK_STEPS * DEPTH;
                    let end = group.length.min(start + BLOCK_STEPS * DEPTH);
                    for (column, weights) in columns.chunks_exact(inputs).enumerate() {
                        let weights = weights.get(group.start + start..group.start + end).unwrap_or_default();
                        pack_column::<DEPTH>(steps, width, column, weights);
                    }
                }
            }
        }
    }

    /// The sums and scales of the columns, by groups.
    fn pack_columns(&mut self, linear: &QuantizedLinear, inputs: usize, groups: &[Group]) {
        let width = self.shape.columns;
        for (output, weights) in linear.weight.chunks_exact(inputs).enumerate() {
            let (panel, column) = (output / width, output % width);
            for (index, group) in groups.iter().enumerate() {
                let place = (panel * groups.len() + index) * width + column;
                let weights = weights.get(group.start..group.start + group.length).unwrap_or_default();
                if let Some(sum) = self.sums.get_mut(place) {
                    *sum = weights.iter().map(|&weight| i32::from(weight)).sum();
                }
                let scale = linear.weight_scales.get(index * linear.outputs + output);
                if let (Some(to), Some(from)) = (self.scales.get_mut(place), scale) {
                    *to = *from;
                }
            }
        }
    }
}

/// Writes the weights of one column to every step of a block, the last of which may be less than full.
fn pack_column<const DEPTH: usize>(steps: &mut [u8], width: usize, column: usize, weights: &[i8]) {
    let (whole, rest) = weights.as_chunks::<DEPTH>();
    let (places, _) = steps.as_chunks_mut::<DEPTH>();
    let mut places = places.iter_mut().skip(column).step_by(width);
    for (weights, place) in whole.iter().zip(&mut places) {
        *place = weights.map(i8::cast_unsigned);
    }
    if let Some(place) = places.next() {
        place.iter_mut().zip(rest).for_each(|(place, weight)| *place = weight.cast_unsigned());
    }
}
