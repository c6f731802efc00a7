//! Why the 8-bit product of AVX2 cannot be used.

use super::{Numbers, bytes_by_the_formula, computed, kernels, site};
use crate::int8::{Epilogue, PackedSite};

/// What `vpmaddubsw` makes of two products: their sum in 16 bits, clamped.
fn saturated(bytes: [u8; 2], weights: [i8; 2]) -> i16 {
    let product = |index: usize| i16::from(bytes[index]) * i16::from(weights[index]);
    product(0).saturating_add(product(1))
}

#[test]
#[cfg(target_arch = "x86_64")]
fn the_instruction_that_saturates_is_emulated_as_it_is() {
    use std::arch::x86_64::{_mm_cvtsi32_si128, _mm_extract_epi16, _mm_maddubs_epi16};
    if !std::arch::is_x86_feature_detected!("ssse3") {
        return;
    }
    let mut numbers = Numbers(19);
    for _ in 0..10_000 {
        let (bytes, weights) = ([numbers.next() as u8 | 0x80; 2], [numbers.next() as i8, numbers.next() as i8]);
        // SAFETY: the processor has SSSE3.
        let real = unsafe {
            let pair = |low: u8, high: u8| _mm_cvtsi32_si128(i32::from(u16::from_le_bytes([low, high])));
            let [first, second] = weights.map(i8::cast_unsigned);
            _mm_extract_epi16::<0>(_mm_maddubs_epi16(pair(bytes[0], bytes[1]), pair(first, second)))
        };
        assert_eq!(real as i16, saturated(bytes, weights));
    }
}

/// A row as the normalization of a BERT layer gives it: one channel far out, which moves the byte of 0 far from the
/// middle. Then two ordinary weights are enough to leave 16 bits.
#[test]
#[cfg_attr(miri, ignore = "of numbers only, and very many")]
fn the_8_bit_product_of_avx2_would_saturate_and_no_kernel_does() {
    let (inputs, outputs) = (384, 64);
    let mut numbers = Numbers(23);
    let mut site = site(&mut numbers, vec![inputs], &[outputs]);
    site.order = (0..).take(inputs).collect();
    let linear = &mut site.linears[0];
    for weight in &mut linear.weight {
        // The sum of four uniform numbers is about normal; 127 is 3.5 standard deviations.
        *weight = ((0..4).map(|_| numbers.unit()).sum::<f32>() * 31.4) as i8;
    }
    linear.bias.fill(0.0);
    let linear = site.linears[0].clone();
    let mut row = numbers.units(inputs, 2.0);
    row[99] = -30.0;

    let (bytes, zero, scale) = bytes_by_the_formula(&row);
    let mut saturated_outputs = 0;
    let mut furthest = 0.0_f32;
    for (n, weights) in linear.weight.chunks(inputs).enumerate() {
        let pairs = bytes.as_chunks::<2>().0.iter().zip(weights.as_chunks::<2>().0);
        let clamped: i64 = pairs.map(|(&bytes, &weights)| i64::from(saturated(bytes, weights))).sum();
        let exact: i64 = bytes.iter().zip(weights).map(|(&byte, &weight)| i64::from(byte) * i64::from(weight)).sum();
        let columns: i64 = weights.iter().map(|&weight| i64::from(weight)).sum();
        saturated_outputs += usize::from(clamped != exact);
        let worth = scale * linear.weight_scales[n];
        furthest = furthest.max(((clamped - exact) as f32 * worth).abs());
        for (name, kernel) in kernels() {
            let packed = PackedSite::for_kernel(&site, Epilogue::None, kernel).unwrap();
            let output = &computed(&packed, &row)[0];
            assert_eq!(output[n], (exact - zero * columns) as f32 * worth, "{name}");
        }
    }
    assert!(saturated_outputs > outputs / 4, "{saturated_outputs} of {outputs} outputs");
    assert!(furthest > 1.0, "{furthest}");
}
