//! Pooling, normalization and truncation, compared with their definitions in double precision.

use arbitrary::{Result, Unstructured};
use oxembed::postprocess::{PoolingMode, Postprocess, PostprocessOptions, Scratch, Step};

const MODES: [PoolingMode; 6] = [
    PoolingMode::Cls,
    PoolingMode::Max,
    PoolingMode::Mean,
    PoolingMode::MeanSqrtLenTokens,
    PoolingMode::WeightedMean,
    PoolingMode::LastToken,
];

/// Single precision is near double precision, and numbers that are none are not hidden.
pub fn check(input: &[u8]) {
    let Ok(text) = Text::of(&mut Unstructured::new(input)) else { return };
    let steps = if text.has_normalize { vec![Step::Normalize] } else { Vec::new() };
    let pipeline =
        Postprocess::new(text.hidden, text.modes.clone(), text.include_prompt, steps).expect("widths that fit");
    let dimension = match pipeline.dimension(text.options) {
        Ok(dimension) => dimension,
        Err(error) => {
            return assert!(text.options.truncate_dim == Some(0), "{error}");
        }
    };
    let mut out = vec![f32::NAN; dimension];
    // Memory of another text must not shine through.
    let mut scratch = Scratch::default();
    let mut other = vec![0.0; dimension];
    pipeline.apply(&[3.0; 64][..text.hidden], 0, text.options, &mut scratch, &mut other).expect("one token");
    pipeline.apply(&text.tokens, text.prompt, text.options, &mut scratch, &mut out).expect("tokens that fit");
    let exact = text.exact(dimension);
    // Squares of larger numbers may be infinite in single precision, as in torch; and minus infinity, which is what `max`
    // of no tokens is, has no direction.
    let is_tame = |value: &f32| value.abs() < 1e6;
    if !text.tokens.iter().all(is_tame) || exact.iter().any(|value| value.is_nan()) {
        return;
    }
    for (value, exact) in out.iter().zip(&exact) {
        let value = f64::from(*value);
        let is_near = value.total_cmp(exact).is_eq() || (value - exact).abs() <= 1e-5 * exact.abs() + 1e-4;
        assert!(is_near, "{value} instead of {exact}: {text:?}");
    }
}

#[derive(Debug)]
struct Text {
    hidden: usize,
    modes: Vec<PoolingMode>,
    tokens: Vec<f32>,
    prompt: usize,
    include_prompt: bool,
    has_normalize: bool,
    options: PostprocessOptions,
}

impl Text {
    fn of(input: &mut Unstructured<'_>) -> Result<Self> {
        let hidden = input.int_in_range(1..=64)?;
        let count = input.int_in_range(1..=6)?;
        let modes = (0..count).map(|_| input.choose(&MODES).copied()).collect::<Result<_>>()?;
        let length = input.int_in_range(0..=40)? * hidden;
        let is_tame = input.ratio(7, 8)?;
        let number = |input: &mut Unstructured<'_>| -> Result<f32> {
            if is_tame { Ok(f32::from(input.arbitrary::<i16>()?) / 1000.0) } else { input.arbitrary() }
        };
        let truncate_dim = if input.arbitrary()? { Some(input.int_in_range(0..=500)?) } else { None };
        Ok(Self {
            hidden,
            modes,
            prompt: input.int_in_range(0..=45)?,
            include_prompt: input.arbitrary()?,
            has_normalize: input.arbitrary()?,
            options: PostprocessOptions { truncate_dim, normalize: input.arbitrary()? },
            tokens: (0..length).map(|_| number(input)).collect::<Result<_>>()?,
        })
    }

    fn exact(&self, dimension: usize) -> Vec<f64> {
        let left_out = if self.include_prompt { 0 } else { self.prompt };
        let tokens: Vec<&[f32]> = self.tokens.chunks_exact(self.hidden).collect();
        let column = |mode: PoolingMode, column: usize| pooled(mode, &tokens, left_out, column);
        let mut row: Vec<f64> = Vec::new();
        for mode in &self.modes {
            row.extend((0..self.hidden).map(|place| column(*mode, place)));
        }
        if self.has_normalize {
            normalize(&mut row);
        }
        row.truncate(dimension);
        if self.options.normalize == Some(true) {
            normalize(&mut row);
        }
        row
    }
}

/// One number, as the definition reads.
fn pooled(mode: PoolingMode, tokens: &[&[f32]], left_out: usize, column: usize) -> f64 {
    let values: Vec<(f64, f64)> =
        (1_u32..).map(f64::from).zip(tokens.iter().map(|token| f64::from(token[column]))).skip(left_out).collect();
    let count = values.len() as f64;
    let total: f64 = values.iter().map(|(_, value)| value).sum();
    let weighted: f64 = values.iter().map(|(weight, value)| weight * value).sum();
    let weights: f64 = values.iter().map(|(weight, _)| weight).sum();
    let first = tokens.first().map_or(0.0, |token| f64::from(token[column]));
    match mode {
        PoolingMode::Cls => values.first().map_or(first, |(_, value)| *value),
        PoolingMode::LastToken => values.last().map_or(0.0, |(_, value)| *value),
        PoolingMode::Max => values.iter().map(|(_, value)| *value).fold(f64::NEG_INFINITY, f64::max),
        _ if values.is_empty() => 0.0,
        PoolingMode::Mean => total / count,
        PoolingMode::MeanSqrtLenTokens => total / count.sqrt(),
        PoolingMode::WeightedMean => weighted / weights,
    }
}

/// As torch: by the length, or by 1e-12 where that is less.
fn normalize(row: &mut [f64]) {
    let length = row.iter().map(|value| value * value).sum::<f64>().sqrt();
    let divisor = if length < 1e-12 { 1e-12 } else { length };
    for value in row {
        *value /= divisor;
    }
}
