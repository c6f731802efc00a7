//! Each step against brute force.

#![allow(clippy::float_cmp)] // Zeros are exact.

use ndarray::Array2;

use super::brute_force::{Numbers, Rows, covariance, inverse, restored, surgeon, weighted_square};
use crate::int8::{Epilogue, Instructions, PackedSite, QuantizedLinear, QuantizedSite};
use crate::quantize::cholesky::inverse_factor;
use crate::quantize::gram::restore_quantized;
use crate::quantize::{ChannelStatistics, FloatLinear, Gram, Moments, Partition, Spread, clipped_scales, solve};

fn matrix(rows: &Rows) -> Array2<f64> {
    Array2::from_shape_fn((rows.len(), rows.len()), |(row, column)| rows[row][column])
}

fn moments(inputs: &[f32], partition: &Partition) -> Moments {
    let mut gram = Gram::new(partition.clone()).unwrap();
    gram.add(inputs).unwrap();
    gram.finish().unwrap()
}

#[track_caller]
fn assert_near(found: impl IntoIterator<Item = f64>, expected: impl IntoIterator<Item = f64>, tolerance: f64) {
    let (found, expected): (Vec<f64>, Vec<f64>) = (found.into_iter().collect(), expected.into_iter().collect());
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0.0_f64, |largest, number| largest.max(number.abs()));
    for (found, expected) in found.iter().zip(&expected) {
        assert!((found - expected).abs() <= tolerance * largest, "{found} is not {expected}");
    }
}

#[test]
fn statistics_are_those_of_all_rows() {
    let (rows, inputs) = (301, 5);
    let numbers = Numbers(1).inputs(rows, inputs, 0.5);
    let mut statistics = ChannelStatistics::new(inputs);
    statistics.add(&numbers).unwrap();
    let column = |channel: usize| numbers.iter().skip(channel).step_by(inputs).copied();
    assert_eq!(statistics.rows(), rows);
    assert_eq!(
        statistics.largest(),
        (0..inputs).map(|channel| column(channel).map(f32::abs).fold(0.0, f32::max)).collect::<Vec<_>>()
    );
    let mean = |channel: usize| column(channel).map(f64::from).sum::<f64>() / rows as f64;
    assert_near(statistics.means(), (0..inputs).map(mean), 1e-12);
    let norm = |channel: usize| {
        (column(channel).map(|number| f64::from(number).abs().powf(4.0)).sum::<f64>() / rows as f64).powf(0.25)
    };
    assert_near(statistics.magnitudes(), (0..inputs).map(norm), 1e-12);
}

#[test]
fn the_moments_are_those_of_the_quantized_rows() {
    // More rows than a block, more channels than a tile, and a mean that is far from 0.
    let (rows, inputs) = (1100, 270);
    let mut numbers = Numbers(2).inputs(rows, inputs, 1.0);
    numbers.iter_mut().skip(3).step_by(inputs).for_each(|number| *number += 40.0);
    numbers.iter_mut().skip(9).step_by(inputs).for_each(|number| *number = 0.0);
    let partition = Partition { order: (0..270).rev().collect(), groups: vec![1, 200, 69] };
    let found = moments(&numbers, &partition);
    let quantized: Vec<Vec<f32>> =
        numbers.chunks(inputs).map(|row| restored(row, &partition.order, &partition.groups)).collect();
    let (mean, expected) = covariance(&quantized);
    assert_eq!(found.rows, rows);
    assert_near(found.quantized_mean, mean, 1e-6);
    assert_near(found.covariance.iter().copied(), expected.into_iter().flatten(), 1e-6);
    let input_mean = |channel: usize| {
        numbers.iter().skip(channel).step_by(inputs).copied().map(f64::from).sum::<f64>() / rows as f64
    };
    assert_near(found.input_mean, (0..inputs).rev().map(input_mean), 1e-12);
    assert_eq!(found.covariance.diag()[260], 0.0, "a channel of zeros has no variance at all");
}

#[test]
fn the_covariance_is_of_what_the_kernels_take_their_inputs_for() {
    let (inputs, groups) = (37, [5, 20, 12]);
    let mut rows = Numbers(10).inputs(50, inputs, 1.0);
    rows[..5].fill(0.0);
    rows[40] = 1e30;
    rows[80] = 1e-39;
    // A layer that returns its inputs.
    let identity = QuantizedLinear {
        key: "identity".to_owned(),
        outputs: inputs,
        weight: (0..inputs * inputs).map(|place| i8::from(place % (inputs + 1) == 0)).collect(),
        weight_scales: vec![1.0; groups.len() * inputs],
        bias: vec![0.0; inputs],
    };
    let order = (0..37).collect();
    let site = QuantizedSite { inputs, order, groups: groups.to_vec(), linears: vec![identity] };
    let one_by_one = |tasks: usize, task: &(dyn Fn(usize) + Sync)| (0..tasks).for_each(task);
    for instructions in Instructions::available() {
        let packed = PackedSite::new(&site, Epilogue::None, instructions).unwrap();
        let mut expected = vec![0.0; rows.len()];
        packed.run(&rows, &mut [&mut expected], &one_by_one).unwrap();
        let mut found = rows.clone();
        found.chunks_mut(inputs).for_each(|row| restore_quantized(row, &groups));
        assert_eq!(found, expected, "{}", instructions.name());
    }
}

#[test]
fn inputs_that_are_no_finite_rows_are_refused() {
    let message = |numbers: &[f32]| {
        let mut gram = Gram::new(Partition { order: vec![0, 1], groups: vec![2] }).unwrap();
        gram.add(&[1.0, 2.0]).unwrap();
        let message = gram.add(numbers).unwrap_err().to_string();
        assert!(ChannelStatistics::new(2).add(numbers).is_err());
        message
    };
    assert!(message(&[1.0]).contains("rows of 2"));
    let found = message(&[0.0, 0.0, 1.0, f32::NAN]);
    assert!(found.contains("channel 1 of token 2 is NaN"), "{found}");
    assert!(message(&[f32::INFINITY, 0.0]).contains("inf"));
    let empty = Gram::new(Partition { order: vec![0], groups: vec![1] }).unwrap().finish().unwrap_err();
    assert!(empty.to_string().contains("without inputs"));
    assert!(Gram::new(Partition { order: vec![0, 0], groups: vec![2] }).is_err());
    assert!(Gram::new(Partition { order: vec![0, 1], groups: vec![1] }).is_err());
}

#[test]
fn the_factor_is_that_of_the_inverse() {
    // Sizes of one block, a whole number of blocks, and a rest.
    for size in [1, 2, 40, 128, 256, 300] {
        let numbers = Numbers(size as u64).inputs(2 * size + 1, size, 0.7);
        let rows: Vec<Vec<f32>> = numbers.chunks(size).map(<[f32]>::to_vec).collect();
        let (_, mut expected) = covariance(&rows);
        (0..size).for_each(|input| expected[input][input] += 0.01);
        let factor = inverse_factor(&matrix(&expected)).unwrap();
        assert!(factor.indexed_iter().all(|((row, column), number)| column >= row || *number == 0.0));
        assert!(factor.diag().iter().all(|number| *number > 0.0));
        assert_near(factor.t().dot(&factor), inverse(&expected).into_iter().flatten(), 1e-9);
    }
}

#[test]
fn a_matrix_that_is_not_positive_definite_has_no_factor() {
    for (corner, wrong) in [(1.0, 0.0), (1.0, -1.0), (1.0, f64::NAN), (f64::INFINITY, 1.0)] {
        let mut rows = Array2::eye(200);
        rows[(3, 3)] = corner;
        rows[(170, 170)] = wrong;
        assert!(inverse_factor(&rows).is_none(), "{corner} {wrong}");
    }
}

#[test]
fn a_scale_is_the_clip_with_the_least_error() {
    let mut numbers = Numbers(3);
    let (outputs, groups, inputs) = (7, [5, 30, 9], 44);
    let mut weight = numbers.singles(outputs * inputs);
    weight[10] = 9.0;
    weight[inputs..inputs + 5].fill(0.0);
    let mut variances: Vec<f64> = (0..inputs).map(|_| numbers.even().abs()).collect();
    // What this large weight is multiplied with hardly varies: it may be cut off.
    variances[10] = 0.0;
    let found = clipped_scales(&weight, &groups, &variances);
    assert_eq!(found.len(), groups.len() * outputs);
    let mut clipped = 0;
    for output in 0..outputs {
        let mut start = 0;
        for (index, length) in groups.into_iter().enumerate() {
            let range = output * inputs + start..output * inputs + start + length;
            let (row, variances) = (&weight[range], &variances[start..start + length]);
            start += length;
            let largest = row.iter().map(|weight| f64::from(weight.abs())).fold(0.0, f64::max);
            let error = |scale: f64| -> f64 {
                let rounded = |weight: f64| (weight / scale).round_ties_even().clamp(-127.0, 127.0) * scale;
                row.iter()
                    .zip(variances)
                    .map(|(&weight, variance)| (f64::from(weight) - rounded(weight.into())).powi(2) * variance)
                    .sum()
            };
            let scale = f64::from(found[index * outputs + output]);
            if largest == 0.0 {
                assert_eq!(scale, 0.0);
                continue;
            }
            let clips = [1.0, 0.96, 0.92, 0.88, 0.84, 0.8, 0.75, 0.7].map(|clip| largest * clip / 127.0);
            assert!(clips.iter().any(|clip| (clip - scale).abs() < 1e-6 * scale));
            assert!(clips.iter().all(|&clip| error(scale) <= error(clip) * (1.0 + 1e-3)), "{output} {index}");
            clipped += usize::from(scale < 0.99 * largest / 127.0);
        }
    }
    assert!(clipped > 0, "no group of this test is clipped");
    assert_eq!(clipped_scales(&[1e-40; 4], &[4], &[1.0; 4]), [0.0], "too small for a scale");
}

#[test]
fn weights_are_those_of_the_optimal_brain_surgeon() {
    // More inputs than a block, so that errors reach later blocks.
    for (seed, inputs, groups) in [(4, 12, vec![12]), (5, 24, vec![4, 20]), (6, 150, vec![16, 100, 34])] {
        let mut numbers = Numbers(seed);
        let outputs = 5;
        let rows: Vec<Vec<f32>> = numbers.inputs(3 * inputs, inputs, 0.8).chunks(inputs).map(<[f32]>::to_vec).collect();
        let (_, covariance) = covariance(&rows);
        let weight = numbers.singles(outputs * inputs);
        let scales: Vec<f32> = (0..groups.len() * outputs).map(|_| 0.02 + 0.003 * numbers.singles(1)[0]).collect();
        let found = Spread::of(&matrix(&covariance)).unwrap().round(&weight, &groups, &scales);
        let group_of = |input: usize| (0..groups.len()).find(|&group| input < groups[..=group].iter().sum()).unwrap();
        for output in 0..outputs {
            let weights: Vec<f64> = weight[output * inputs..][..inputs].iter().map(|&weight| weight.into()).collect();
            let scales: Vec<f64> = (0..inputs).map(|input| scales[group_of(input) * outputs + output].into()).collect();
            let expected = surgeon(&weights, &scales, &covariance, 0.01);
            assert_eq!(found[output * inputs..][..inputs], expected, "{inputs} inputs, output {output}");
        }
    }
}

#[test]
fn inputs_without_variance_leave_the_others_alone() {
    let rows: Vec<Vec<f32>> = Numbers(7).inputs(60, 6, 0.8).chunks(6).map(<[f32]>::to_vec).collect();
    let (_, alive) = covariance(&rows);
    let mut with_dead = Array2::zeros((8, 8));
    let places = [0, 1, 3, 4, 5, 7];
    for (row, &to) in places.iter().enumerate() {
        for (column, &at) in places.iter().enumerate() {
            with_dead[(to, at)] = alive[row][column];
        }
    }
    let weight = Numbers(8).singles(6);
    let mut longer = vec![0.613; 8];
    places.iter().zip(&weight).for_each(|(&place, &weight)| longer[place] = weight);
    let expected = Spread::of(&matrix(&alive)).unwrap().round(&weight, &[6], &[0.02]);
    let found = Spread::of(&with_dead).unwrap().round(&longer, &[8], &[0.02]);
    assert_eq!(places.map(|place| found[place])[..], expected);
    assert_eq!([found[2], found[6]], [31, 31], "rounded to the nearest: 0.613 / 0.02 is 30.65");
    let nothing = Spread::of(&Array2::zeros((2, 2))).unwrap();
    assert_eq!(nothing.round(&[0.11, -0.39], &[2], &[0.1]), [1, -4]);
}

#[test]
fn damping_is_raised_until_it_is_enough() {
    // Eigenvalues 1.5 and -0.5: 0.01 of the mean, 0.5, is too little.
    let indefinite = ndarray::arr2(&[[0.5, 1.0], [1.0, 0.5]]);
    assert!((Spread::of(&indefinite).unwrap().damping() - 10.0).abs() < 1e-12);
    assert!((Spread::of(&Array2::eye(2)).unwrap().damping() - 0.01).abs() < 1e-12);
    for wrong in [1e6, f64::NAN] {
        let message = Spread::of(&ndarray::arr2(&[[0.5, wrong], [wrong, 0.5]])).unwrap_err().to_string();
        assert!(message.contains("not positive definite"), "{message}");
    }
}

#[test]
fn a_solved_site_keeps_the_mean_of_its_outputs() {
    let (rows, inputs, outputs) = (400, 70, 9);
    let mut numbers = Numbers(9);
    let rows = numbers.inputs(rows, inputs, 1.5);
    let mut statistics = ChannelStatistics::new(inputs);
    statistics.add(&rows).unwrap();
    let partition = Partition::choose(&statistics.magnitudes(), 6, 32).unwrap();
    let (weight, bias) = (numbers.singles(outputs * inputs), numbers.singles(outputs));
    let linears = [
        FloatLinear { key: "with", weight: &weight, bias: Some(&bias) },
        FloatLinear { key: "without", weight: &weight[..3 * inputs], bias: None },
    ];
    let (site, errors) = solve(&linears, &partition, &moments(&rows, &partition)).unwrap();
    assert_eq!((&site.order, &site.groups), (&partition.order, &partition.groups));
    let mut squares = [0.0; 3];
    let quantized: Vec<Vec<f32>> =
        rows.chunks(inputs).map(|row| restored(row, &partition.order, &partition.groups)).collect();
    let (_, covariance) = covariance(&quantized);
    for (linear, layer) in linears.iter().zip(&site.linears) {
        assert_eq!(layer.key, linear.key);
        for output in 0..layer.outputs {
            let own = &linear.weight[output * inputs..][..inputs];
            let mut worth = Vec::new();
            for (group, &length) in site.groups.iter().enumerate() {
                let scale = f64::from(layer.weight_scales[group * layer.outputs + output]);
                let weights = &layer.weight[output * inputs + worth.len()..][..length];
                worth.extend(weights.iter().map(|&weight| f64::from(weight) * scale));
            }
            let dot = |one: &[f32], other: &[f64]| -> f64 {
                one.iter().zip(other).map(|(one, other)| f64::from(*one) * other).sum()
            };
            let natural: Vec<f64> = own.iter().map(|&weight| weight.into()).collect();
            let before: f64 = rows.chunks(inputs).map(|row| dot(row, &natural)).sum::<f64>() / 400.0
                + linear.bias.map_or(0.0, |bias| f64::from(bias[output]));
            let after: f64 =
                quantized.iter().map(|row| dot(row, &worth)).sum::<f64>() / 400.0 + f64::from(layer.bias[output]);
            assert!((before - after).abs() < 1e-5, "{before} {after}");
            let ordered: Vec<f64> = site.order.iter().map(|&channel| natural[channel as usize]).collect();
            let error: Vec<f64> = worth.iter().zip(&ordered).map(|(one, other)| one - other).collect();
            squares[0] += weighted_square(&ordered, &covariance);
            squares[1] += weighted_square(&error, &covariance);
        }
    }
    assert!((errors.solved / (squares[1] / squares[0]) - 1.0).abs() < 1e-3, "{errors:?} {squares:?}");
    assert!(errors.solved < 0.8 * errors.nearest, "{errors:?}");
}

#[test]
fn layers_that_do_not_fit_the_site_are_refused() {
    let partition = Partition { order: vec![1, 0], groups: vec![2] };
    let moments = moments(&[1.0, 0.5, -1.0, 0.25, 0.0, -1.0], &partition);
    let refused = |weight: &[f32], bias: Option<&[f32]>, partition: &Partition, words: &str| {
        let message = solve(&[FloatLinear { key: "k", weight, bias }], partition, &moments).unwrap_err().to_string();
        assert!(message.contains(words), "{message}");
    };
    refused(&[1.0; 3], None, &partition, "k has 3 weights for 2 inputs");
    refused(&[], None, &partition, "k has 0 weights");
    refused(&[1.0; 4], Some(&[0.0]), &partition, "k has a bias of another length");
    refused(&[1.0, f32::NAN], None, &partition, "k holds a number that is not finite");
    refused(&[1.0; 2], Some(&[f32::INFINITY]), &partition, "k holds a number that is not finite");
    refused(&[1.0; 3], None, &Partition { order: vec![0, 1, 2], groups: vec![3] }, "moments");
    refused(&[1.0; 2], None, &Partition { order: vec![0, 0], groups: vec![2] }, "twice");
    assert!(solve(&[], &partition, &moments).unwrap_err().to_string().contains("no layers"));
}
