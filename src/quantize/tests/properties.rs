//! What holds for all inputs.

use proptest::prelude::*;
use rayon::ThreadPoolBuilder;

use super::brute_force::Numbers;
use crate::int8::QuantizedSite;
use crate::quantize::{FloatLinear, Gram, Moments, Partition, SiteErrors, solve};

fn moments(rows: &[f32], partition: &Partition, piece: usize) -> Moments {
    let mut gram = Gram::new(partition.clone()).unwrap();
    rows.chunks(piece * partition.order.len()).for_each(|rows| gram.add(rows).unwrap());
    gram.finish().unwrap()
}

fn solved(seed: u64, inputs: usize, common: f64, piece: usize, threads: usize) -> (QuantizedSite, SiteErrors) {
    let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| {
        let mut numbers = Numbers(seed);
        let rows = numbers.inputs(4 * inputs, inputs, common);
        let magnitudes: Vec<f64> = (0..inputs).map(|_| numbers.even()).collect();
        let partition = Partition::choose(&magnitudes, 8, 48).unwrap();
        let weight = numbers.singles(70 * inputs);
        let linear = FloatLinear { key: "dense", weight: &weight, bias: None };
        solve(&[linear], &partition, &moments(&rows, &partition, piece)).unwrap()
    })
}

#[test]
fn one_thread_and_several_give_the_same_bits() {
    // Several blocks of rows, tiles, blocks of the factor and blocks of outputs.
    let (expected, errors) = solved(1, 330, 1.0, 1320, 1);
    for (piece, threads) in [(1320, 2), (1000, 3), (1, 1), (7, 4)] {
        let (found, found_errors) = solved(1, 330, 1.0, piece, threads);
        assert_eq!(found, expected, "{threads} threads, {piece} rows at a time");
        assert_eq!(found_errors, errors);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn solved_weights_are_no_worse_than_the_nearest(seed: u64, inputs in 4_usize..90, common in 0.0..4.0) {
        let (_, errors) = solved(seed, inputs, common, 64, 1);
        prop_assert!(errors.solved <= 1.05 * errors.nearest, "{:?}", errors);
    }

    #[test]
    fn on_inputs_with_much_in_common_they_are_clearly_better(seed: u64, inputs in 24_usize..90, common in 1.5..4.0) {
        let (_, errors) = solved(seed, inputs, common, 64, 1);
        prop_assert!(errors.solved < 0.8 * errors.nearest, "{:?}", errors);
    }

    #[test]
    fn an_order_can_be_undone(
        magnitudes in proptest::collection::vec(0.0..9.0_f64, 1..400),
        outliers in 0_usize..40,
        length in 0_usize..500,
    ) {
        let partition = Partition::choose(&magnitudes, outliers, length).unwrap();
        partition.check().unwrap();
        let mut restored = vec![f64::NAN; magnitudes.len()];
        for (&channel, magnitude) in partition.order.iter().zip(partition.ordered(&magnitudes)) {
            restored[channel as usize] = magnitude;
        }
        prop_assert_eq!(restored, magnitudes);
    }

    #[test]
    fn outliers_come_first_and_the_others_as_they_are(
        magnitudes in proptest::collection::vec(0.0..9.0_f64, 64..400),
        outliers in 1_usize..40,
        length in 4_usize..500,
    ) {
        let partition = Partition::choose(&magnitudes, outliers, length).unwrap();
        prop_assert_eq!(partition.groups[0], outliers);
        let (first, others) = partition.order.split_at(outliers);
        let smallest = first.iter().map(|&channel| magnitudes[channel as usize]).fold(f64::INFINITY, f64::min);
        prop_assert!(others.iter().all(|&channel| magnitudes[channel as usize] <= smallest));
        prop_assert!(others.is_sorted());
        let rest = &partition.groups[1..];
        let (shortest, longest) = (rest.iter().min().unwrap(), rest.iter().max().unwrap());
        prop_assert!(longest - shortest < 8, "{:?}", rest);
        prop_assert!(rest[..rest.len() - 1].iter().all(|length| length.is_multiple_of(4)), "{:?}", rest);
        let mean = (magnitudes.len() - outliers) as f64 / rest.len() as f64;
        prop_assert!(rest.len() == 1 || mean > 0.6 * length as f64, "{:?}", rest);
        prop_assert!(mean < 1.6 * length as f64 + 8.0, "{:?}", rest);
    }
}

#[test]
fn an_input_of_few_channels_is_one_group() {
    for channels in [1, 2, 5, 63] {
        let partition = Partition::choose(&vec![1.0; channels], 16, 32).unwrap();
        assert_eq!(partition.groups, [channels]);
        assert!(partition.order.is_sorted());
    }
    assert!(Partition::choose(&[], 16, 32).is_err());
    assert!(Partition::choose(&[1.0, f64::NAN], 16, 32).is_err());
}

#[test]
fn groups_are_never_longer_than_a_product_can_be() {
    let partition = Partition::choose(&vec![1.0; 200_003], 16, usize::MAX).unwrap();
    assert!(partition.groups.iter().all(|length| (1..=65_536).contains(length)), "{:?}", partition.groups);
    assert_eq!(partition.groups.iter().sum::<usize>(), 200_003);
}
