//! Comparing a quantized model with the model in single precision: vectors and time.

use std::time::Instant;

use indexmap::IndexMap;

use super::calibration::CalibrationText;
use super::driver::QuantizeWatch;
use super::quality::{KindQuality, Quality};
use super::report::{Progress, Stage};
use crate::cosine::cosine;
use crate::embedder::Embedder;
use crate::error::Result;
use crate::options::EncodeOptions;

/// The mean cosine that int8 promises.
const LEAST_MEAN: f64 = 0.9995;
/// The cosine that no text may stay below.
const LEAST_MINIMUM: f64 = 0.998;
/// Paired runs whose median is the ratio.
const RUNS: usize = 3;
/// Texts of a timed run.
const TIMED_TEXTS: usize = 96;
/// Texts that are timed one at a time.
const SINGLE_TEXTS: usize = 12;

/// The same model in single precision and quantized.
pub struct Pair {
    /// In single precision.
    pub full: Embedder,
    /// Quantized.
    pub quantized: Embedder,
}

impl Pair {
    /// Cosines between the vectors of both.
    ///
    /// # Errors
    /// What encoding says; `Cancelled` where `watch` breaks.
    pub fn quality(&self, texts: &[CalibrationText], watch: &mut QuantizeWatch<'_>) -> Result<Quality> {
        let inputs: Vec<&str> = texts.iter().map(|text| text.text.as_str()).collect();
        let (total, options) = (2 * inputs.len(), EncodeOptions::default());
        let mut at = |done: usize| watch(Progress { stage: Stage::Check, done, total });
        let full = self.full.encode_watched(&inputs, &options, &mut |done| at(done))?;
        let quantized = self.quantized.encode_watched(&inputs, &options, &mut |done| at(inputs.len() + done))?;
        let rows = full.vectors.rows().into_iter().zip(quantized.vectors.rows());
        let cosines: Vec<f64> = rows.map(|(full, quantized)| cosine(&full.to_vec(), &quantized.to_vec())).collect();
        let mut by_kind: IndexMap<String, Vec<f64>> = IndexMap::new();
        for (text, cosine) in texts.iter().zip(&cosines) {
            by_kind.entry(text.kind.clone()).or_default().push(*cosine);
        }
        let (mean, minimum) = (mean(&cosines), minimum(&cosines));
        Ok(Quality {
            mean,
            minimum,
            first_percentile: first_percentile(&cosines),
            texts: texts.len(),
            tokens: full.usage.total_tokens,
            by_kind: by_kind.into_iter().map(|(kind, cosines)| (kind, of_kind(&cosines))).collect(),
            passed: mean >= LEAST_MEAN && minimum >= LEAST_MINIMUM,
        })
    }

    /// Texts a second of both, run by turns, and the median ratio.
    ///
    /// # Errors
    /// What encoding says; `Cancelled` where `watch` breaks.
    pub fn speed(&self, texts: &[CalibrationText], watch: &mut QuantizeWatch<'_>) -> Result<(f64, f64, f64)> {
        let timed = timed(texts);
        self.run(&timed)?;
        let mut runs = Vec::with_capacity(RUNS);
        for number in 0..RUNS {
            speed_step(number).tell(watch)?;
            runs.push(self.run(&timed)?);
        }
        let rate = |seconds: Vec<f64>| timed.len() as f64 / median(seconds).max(f64::MIN_POSITIVE);
        let (full, quantized) = (runs.iter().map(|run| run.0).collect(), runs.iter().map(|run| run.1).collect());
        Ok((rate(full), rate(quantized), ratio(&runs)))
    }

    /// The median ratio of one text at a time.
    ///
    /// # Errors
    /// As [`speed`](Self::speed).
    pub fn single_speed(&self, texts: &[CalibrationText], watch: &mut QuantizeWatch<'_>) -> Result<f64> {
        speed_step(RUNS).tell(watch)?;
        let timed = timed(texts);
        let mut runs = Vec::new();
        for text in timed.iter().step_by(timed.len().div_ceil(SINGLE_TEXTS).max(1)) {
            self.run(&[text])?;
            runs.extend((0..RUNS).map(|_| self.run(&[text])).collect::<Result<Vec<_>>>()?);
        }
        speed_step(RUNS + 1).tell(watch)?;
        Ok(ratio(&runs))
    }

    /// Seconds that each takes for `texts`.
    fn run(&self, texts: &[&str]) -> Result<(f64, f64)> {
        let time = |embedder: &Embedder| {
            let start = Instant::now();
            embedder.encode(texts, &EncodeOptions::default())?;
            Ok(start.elapsed().as_secs_f64().max(f64::MIN_POSITIVE))
        };
        Ok((time(&self.full)?, time(&self.quantized)?))
    }
}

/// Every so many of the texts, so that all kinds are among them.
fn timed(texts: &[CalibrationText]) -> Vec<&str> {
    let every = texts.len().div_ceil(TIMED_TEXTS).max(1);
    texts.iter().map(|text| text.text.as_str()).step_by(every).collect()
}

fn speed_step(done: usize) -> Progress {
    Progress { stage: Stage::Speed, done, total: RUNS + 1 }
}

fn ratio(runs: &[(f64, f64)]) -> f64 {
    median(runs.iter().map(|(full, quantized)| full / quantized).collect())
}

fn of_kind(cosines: &[f64]) -> KindQuality {
    KindQuality {
        mean: mean(cosines),
        first_percentile: first_percentile(cosines),
        minimum: minimum(cosines),
        texts: cosines.len(),
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// The least; of none, and of some that are no numbers, none that passes.
fn minimum(values: &[f64]) -> f64 {
    if values.is_empty() || values.iter().any(|value| !value.is_finite()) {
        return -1.0;
    }
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

fn first_percentile(values: &[f64]) -> f64 {
    let sorted = sorted(values.to_vec());
    sorted.get(sorted.len() / 100).copied().unwrap_or(-1.0)
}

fn median(values: Vec<f64>) -> f64 {
    let sorted = sorted(values);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::{first_percentile, mean, median, minimum};

    #[test]
    fn figures_are_what_their_names_say() {
        assert!((mean(&[1.0, 2.0, 6.0]) - 3.0).abs() < 1e-12);
        assert!((minimum(&[0.5, 0.25, 1.0]) - 0.25).abs() < 1e-12);
        assert!((median(vec![9.0, 1.0, 2.0]) - 2.0).abs() < 1e-12);
        let hundred: Vec<f64> = (0..200).rev().map(f64::from).collect();
        assert!((first_percentile(&hundred) - 2.0).abs() < 1e-12);
        // What is no number is never good.
        assert!(minimum(&[]) < 0.0 && minimum(&[1.0, f64::NAN]) < 0.0);
    }
}
