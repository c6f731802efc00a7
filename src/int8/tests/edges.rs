//! Rows and sites at the edges of what there can be.

use super::{Numbers, by_the_formula, computed, kernels, row, same, site};
use crate::int8::{Epilogue, Instructions, LONGEST_GROUP, PackedSite, QuantizedLinear, QuantizedSite, on_this_thread};

#[test]
fn a_row_that_is_not_finite_gives_nan_and_spoils_no_other() {
    let mut numbers = Numbers(11);
    // Interpreted, every product takes its time: few of them, over the same memory.
    let site = site(&mut numbers, vec![64, 32], if cfg!(miri) { &[17, 3] } else { &[70, 3] });
    let good = row(&mut numbers, site.inputs, 11);
    let all = [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
    for bad in all.into_iter().take(if cfg!(miri) { 1 } else { all.len() }) {
        let places: &[usize] = if cfg!(miri) { &[64] } else { &[0, 17, 63, 64, 95] };
        for place in places {
            let mut rows = [good.clone(), good.clone(), good.clone()].concat();
            rows[site.inputs + place] = bad;
            for (name, kernel) in kernels() {
                for epilogue in [Epilogue::None, Epilogue::Gelu] {
                    let packed = PackedSite::for_kernel(&site, epilogue, kernel).unwrap();
                    let expected = by_the_formula(&site, epilogue, &good);
                    for (result, expected) in computed(&packed, &rows).into_iter().zip(expected) {
                        let [first, second, third] =
                            [0, 1, 2].map(|row| result[row * expected.len()..][..expected.len()].to_vec());
                        assert!(same(&[first, third], &[expected.clone(), expected]));
                        assert!(second.iter().all(|value| value.is_nan()), "{bad} {name}");
                    }
                }
            }
        }
    }
}

#[test]
fn zeros_give_the_bias_and_a_constant_row_its_column_sums() {
    let mut numbers = Numbers(13);
    let site = site(&mut numbers, vec![100], &[33]);
    let linear = &site.linears[0];
    for (name, kernel) in kernels() {
        let packed = PackedSite::for_kernel(&site, Epilogue::None, kernel).unwrap();
        let output = &computed(&packed, &[vec![0.0; 100], vec![-2.5; 100]].concat())[0];
        assert_eq!(output[..33], linear.bias, "{name}");
        for (n, (&value, bias)) in output[33..].iter().zip(&linear.bias).enumerate() {
            let sum: i32 = linear.weight[n * 100..][..100].iter().map(|&weight| i32::from(weight)).sum();
            let exact = f64::from(*bias) - 2.5 * f64::from(sum) * f64::from(linear.weight_scales[n]);
            assert!((f64::from(value) - exact).abs() <= 1e-6 * exact.abs().max(1.0), "{value} {exact}");
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "of numbers only, and very many")]
fn the_largest_sums_stay_exact() {
    let inputs = LONGEST_GROUP;
    let linear = QuantizedLinear {
        key: "longest".to_owned(),
        outputs: 2,
        weight: [vec![127; inputs], vec![-127; inputs]].concat(),
        weight_scales: vec![1.0; 2],
        bias: vec![0.0; 2],
    };
    let order = (0..).take(inputs).collect();
    let site = QuantizedSite { inputs, order, groups: vec![inputs], linears: vec![linear] };
    for value in [255.0_f32, -255.0] {
        let mut row = vec![value; inputs];
        row[0] = 0.0;
        for (name, kernel) in kernels() {
            let packed = PackedSite::for_kernel(&site, Epilogue::None, kernel).unwrap();
            let exact = value * (127 * (inputs - 1)) as f32;
            assert_eq!(computed(&packed, &row), [vec![exact, -exact]], "{name}");
        }
    }
}

#[test]
fn a_site_or_rows_that_do_not_fit_are_refused_with_the_reason() {
    let good = site(&mut Numbers(17), vec![4, 4], &[3, 2]);
    let twice = QuantizedSite { order: vec![0; 8], ..good.clone() };
    let error = PackedSite::new(&twice, Epilogue::None, Instructions::Portable).unwrap_err().to_string();
    assert!(error.contains("0.order = 0"), "{error}");

    let packed = PackedSite::new(&good, Epilogue::None, Instructions::Portable).unwrap();
    let refusal = |rows: usize, outputs: &[usize]| {
        let mut results: Vec<_> = outputs.iter().map(|&length| vec![0.0; length]).collect();
        let mut outputs: Vec<&mut [f32]> = results.iter_mut().map(Vec::as_mut_slice).collect();
        packed.run(&vec![0.0; rows], &mut outputs, &on_this_thread).err().map(|error| error.to_string())
    };
    assert_eq!(refusal(16, &[6, 4]), None);
    assert_eq!(refusal(0, &[0, 0]), None);
    for (rows, outputs) in [(15, &[6, 4][..]), (16, &[6, 5]), (16, &[5, 4]), (16, &[6]), (16, &[6, 4, 4]), (0, &[3, 2])]
    {
        let error = refusal(rows, outputs).unwrap();
        assert!(error.contains(&format!("{rows} numbers to {outputs:?}")), "{error}");
    }
}

#[test]
fn instructions_that_the_processor_has_not_are_refused_by_name() {
    let missing = if cfg!(target_arch = "aarch64") { Instructions::Avx2 } else { Instructions::NeonMatrix };
    let site = site(&mut Numbers(18), vec![4], &[3]);
    let error = PackedSite::new(&site, Epilogue::None, missing).unwrap_err().to_string();
    assert!(error.contains(missing.name()) && error.contains("portable"), "{error}");
}

#[test]
#[cfg_attr(miri, ignore = "of sizes only, and very many weights")]
fn the_packed_weights_take_little_more_than_the_weights() {
    let site = site(&mut Numbers(19), vec![16, 368], &[384, 384, 384]);
    for (name, kernel) in kernels() {
        let packed = PackedSite::for_kernel(&site, Epilogue::None, kernel).unwrap();
        let weights = 384 * 3 * 384;
        let beside = 384 * 3 * (2 * 8 + 4);
        assert!((weights + beside..weights + beside + 10_000).contains(&packed.size()), "{} {name}", packed.size());
        assert_eq!(packed.instructions(), kernel.instructions);
    }
}
