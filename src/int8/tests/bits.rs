//! Every kernel gives the bits of the formula.

use proptest::prelude::*;

use super::{Numbers, by_the_formula, computed, kernels, row, same, site};
use crate::int8::{Epilogue, PackedSite};

/// Of the sizes that are drawn, and of rows; few where miri interprets each product.
const LARGEST: usize = if cfg!(miri) { 20 } else { 150 };
const ROWS: usize = if cfg!(miri) { 4 } else { 30 };
const CASES: u32 = if cfg!(miri) { 2 } else { 192 };

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, ..ProptestConfig::default() })]

    #[test]
    fn every_kernel_gives_the_bits_of_the_formula(
        seed in any::<u64>(),
        groups in prop::collection::vec(1..LARGEST, 1..5),
        outputs in prop::collection::vec(1..LARGEST, 1..4),
        kinds in prop::collection::vec(0_u8..12, 1..ROWS),
        with_gelu in any::<bool>(),
    ) {
        let mut numbers = Numbers(seed);
        let epilogue = if with_gelu { Epilogue::Gelu } else { Epilogue::None };
        let site = site(&mut numbers, groups, &outputs);
        let rows: Vec<Vec<f32>> = kinds.iter().map(|&kind| row(&mut numbers, site.inputs, kind)).collect();
        let mut expected = vec![Vec::new(); outputs.len()];
        for row in &rows {
            expected.iter_mut().zip(by_the_formula(&site, epilogue, row)).for_each(|(all, one)| all.extend(one));
        }
        for (name, kernel) in kernels() {
            let packed = PackedSite::for_kernel(&site, epilogue, kernel).unwrap();
            prop_assert!(same(&computed(&packed, &rows.concat()), &expected), "{name}");
        }
    }
}
