//! The kernels against the formula, written out.

// The casts are of numbers that fit, or are meant to wrap; equality of numbers is what is tested.
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::float_cmp)]

mod bits;
mod edges;
mod saturation;
mod threads;

use super::kernel::Kernel;
use super::{Epilogue, Instructions, PackedSite, QuantizedLinear, QuantizedSite, on_this_thread};

/// Every kernel that can run here. AVX-VNNI's runs in the encoding of AVX-512 where a processor has no other.
fn kernels() -> Vec<(&'static str, Kernel)> {
    #[cfg(target_arch = "x86_64")]
    let emulated = Kernel::of_avx_vnni_as_avx512().map(|kernel| ("avx-vnni as avx512", kernel));
    #[cfg(not(target_arch = "x86_64"))]
    let emulated = None;
    let available = Instructions::available().into_iter();
    available.map(|instructions| (instructions.name(), Kernel::of(instructions).unwrap())).chain(emulated).collect()
}

/// The contract of the module's documentation in loops over single numbers, for the layers one after the other; only the
/// GELU is taken from the module, whose own tests hold it to the error function.
fn by_the_formula(site: &QuantizedSite, epilogue: Epilogue, row: &[f32]) -> Vec<Vec<f32>> {
    let ordered: Vec<f32> = site.order.iter().map(|&channel| row[channel as usize]).collect();
    let one = |linear: &QuantizedLinear| {
        if row.iter().any(|value| !value.is_finite()) {
            return vec![f32::NAN; linear.outputs];
        }
        let mut result = linear.bias.clone();
        let mut start = 0;
        for (group, &length) in site.groups.iter().enumerate() {
            let (bytes, zero, scale) = bytes_by_the_formula(&ordered[start..start + length]);
            for (n, value) in result.iter_mut().enumerate() {
                let weights = &linear.weight[n * site.inputs + start..][..length];
                let products =
                    bytes.iter().zip(weights).map(|(&byte, &weight)| (i64::from(byte) - zero) * i64::from(weight));
                let t = products.sum::<i64>();
                let worth = scale * linear.weight_scales[group * linear.outputs + n];
                *value += t as f32 * worth;
            }
            start += length;
        }
        match epilogue {
            Epilogue::None => result,
            Epilogue::Gelu => result.into_iter().map(super::gelu::gelu).collect(),
        }
    };
    site.linears.iter().map(one).collect()
}

/// The bytes of the numbers of one group, the byte of 0 and what one step is worth.
fn bytes_by_the_formula(numbers: &[f32]) -> (Vec<u8>, i64, f32) {
    let lowest = numbers.iter().copied().fold(0.0, f32::min);
    let highest = numbers.iter().copied().fold(0.0, f32::max);
    let scale = highest / 255.0 - lowest / 255.0;
    if scale < f32::MIN_POSITIVE {
        return (vec![0; numbers.len()], 0, 0.0);
    }
    let inverse = 1.0 / scale;
    let zero = (-lowest * inverse).round_ties_even().clamp(0.0, 255.0);
    let byte = |number: &f32| ((number * inverse).round_ties_even() + zero).clamp(0.0, 255.0) as u8;
    (numbers.iter().map(byte).collect(), zero as i64, scale)
}

/// The results of some rows by a kernel, for the layers one after the other.
fn computed(packed: &PackedSite, rows: &[f32]) -> Vec<Vec<f32>> {
    computed_by(packed, rows, &on_this_thread).unwrap()
}

fn computed_by(
    packed: &PackedSite,
    rows: &[f32],
    parallel_for: super::ParallelFor<'_>,
) -> crate::Result<Vec<Vec<f32>>> {
    let count = rows.len() / packed.inputs();
    let mut results: Vec<_> = packed.outputs().map(|outputs| vec![f32::INFINITY; count * outputs]).collect();
    let mut outputs: Vec<&mut [f32]> = results.iter_mut().map(Vec::as_mut_slice).collect();
    packed.run(rows, &mut outputs, parallel_for)?;
    Ok(results)
}

fn same(left: &[Vec<f32>], right: &[Vec<f32>]) -> bool {
    let same = |a: f32, b: f32| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
    left.len() == right.len()
        && left
            .iter()
            .zip(right)
            .all(|(left, right)| left.len() == right.len() && left.iter().zip(right).all(|(&a, &b)| same(a, b)))
}

/// Numbers without a library of their own: a product needs thousands, and shrinking them shows nothing.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32
    }

    fn below(&mut self, end: usize) -> usize {
        self.next() as usize % end
    }

    /// Between -1 and 1.
    fn unit(&mut self) -> f32 {
        (self.next() % 20_001) as f32 / 10_000.0 - 1.0
    }

    fn units(&mut self, count: usize, size: f32) -> Vec<f32> {
        (0..count).map(|_| self.unit() * size).collect()
    }

    /// Any order of the channels, or the natural one behind a few that are taken out.
    fn order(&mut self, channels: usize) -> Vec<u32> {
        let mut order: Vec<u32> = (0..channels as u32).collect();
        let taken_out = if self.below(2) == 0 { channels } else { channels.min(16) };
        for place in 0..taken_out {
            let from = place + self.below(channels - place);
            order[place..=from].rotate_right(1);
        }
        order
    }
}

/// A site with a layer for each of `outputs`.
fn site(numbers: &mut Numbers, groups: Vec<usize>, outputs: &[usize]) -> QuantizedSite {
    let inputs = groups.iter().sum();
    let linear = |(index, &outputs): (usize, &usize)| QuantizedLinear {
        key: index.to_string(),
        outputs,
        weight: (0..inputs * outputs).map(|_| numbers.next() as i8).map(|weight| weight.max(-127)).collect(),
        weight_scales: numbers.units(groups.len() * outputs, 0.01),
        bias: numbers.units(outputs, 2.0),
    };
    let linears = outputs.iter().enumerate().map(linear).collect();
    QuantizedSite { inputs, order: numbers.order(inputs), groups, linears }
}

/// A row of a kind: ordinary ones with outliers, and the ones at the edges.
fn row(numbers: &mut Numbers, inputs: usize, kind: u8) -> Vec<f32> {
    match kind {
        0 => vec![0.0; inputs],
        1 => vec![numbers.unit() * 5.0; inputs],
        2 => numbers.units(inputs, 1e-42),
        3 => numbers.units(inputs, 3.4e38),
        4 => numbers.units(inputs, 1e-30),
        5 => numbers.units(inputs, 1.0).into_iter().map(f32::abs).collect(),
        6 => numbers.units(inputs, 1.0).into_iter().map(|value| -value.abs()).collect(),
        7 => {
            let mut row = numbers.units(inputs, 1.0);
            let place = numbers.below(inputs);
            row[place] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY][numbers.below(3)];
            row
        }
        _ => {
            let mut row = numbers.units(inputs, 1.0);
            let place = numbers.below(inputs);
            row[place] = 30.0;
            row
        }
    }
}
