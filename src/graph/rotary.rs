//! Rotary position embeddings: every pair of numbers of a query or key is turned by an angle that grows with the
//! position (Su et al. 2021, RoFormer), and the scalings of the angles that long-text models have.
//!
//! Agrees with transformers' `modeling_rope_utils`, whose arithmetic is single precision; so is this, because at
//! position 8,000 the rounding of an angle is larger than what may differ.

use std::f64::consts::TAU;

use crate::config::Document;
use crate::error::Result;

/// The keys under which a family has the settings.
#[derive(Debug, Clone, Copy)]
pub struct RotaryKeys {
    /// The base, beside the other settings of `config.json`.
    pub theta: &'static str,
    /// The base where no key says it.
    pub default_theta: f64,
    /// The kind of layer, where each kind has its own settings.
    pub layer_type: Option<&'static str>,
    /// Whether `rope_scaling` counts for these layers.
    pub scaled: bool,
}

/// How far a position turns each pair, and a factor on the result.
#[derive(Debug, Clone, PartialEq)]
pub struct Rotary {
    /// The angle from one position to the next, for each pair.
    pub frequencies: Vec<f32>,
    /// What cosine and sine are multiplied by.
    pub factor: f32,
    /// The longest text for which these frequencies hold.
    pub max_tokens: Option<usize>,
}

/// The scalings, by `rope_type`.
const KINDS: &[(&str, Kind)] = &[
    ("default", Kind::Default),
    ("linear", Kind::Linear),
    ("dynamic", Kind::Dynamic),
    ("ntk", Kind::Ntk),
    ("yarn", Kind::Yarn),
    ("llama3", Kind::Llama3),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Default,
    Linear,
    Dynamic,
    Ntk,
    Yarn,
    Llama3,
}

impl Rotary {
    /// Reads the settings for heads of `head_size`.
    ///
    /// # Errors
    /// `InvalidModel` where a setting is missing, out of range or not understood.
    pub fn read(config: &Document, keys: RotaryKeys, head_size: usize) -> Result<Self> {
        let section = section(config, keys)?;
        let settings = Settings { config, section: section.as_ref(), keys, head_size };
        settings.rotary()
    }

    /// Rows and columns of cosines and sines: a row each position, a column each pair.
    pub fn tables(&self, rows: usize) -> (Vec<f32>, Vec<f32>) {
        let numbers = rows * self.frequencies.len();
        let (mut cosines, mut sines) = (Vec::with_capacity(numbers), Vec::with_capacity(numbers));
        for position in 0..rows {
            for frequency in &self.frequencies {
                let (sine, cosine) = (position as f32 * frequency).sin_cos();
                cosines.push(cosine * self.factor);
                sines.push(sine * self.factor);
            }
        }
        (cosines, sines)
    }
}

/// `rope_scaling` as transformers 4 wrote it wins over `rope_parameters`, which transformers 5 writes; where each kind
/// of layer has settings of its own, it is added to them.
fn section(config: &Document, keys: RotaryKeys) -> Result<Option<Document>> {
    let scaling = config.section("rope_scaling")?.filter(|section| keys.scaled && section.keys().next().is_some());
    let parameters = config.section("rope_parameters")?;
    let Some(layer_type) = keys.layer_type else { return Ok(scaling.or(parameters)) };
    let Some(parameters) = parameters else { return Ok(scaling) };
    if !parameters.keys().all(|key| key.ends_with("_attention") || key == "truncate") {
        let problem = "an object with a key for each kind of layer, such as \"full_attention\", is understood";
        return Err(config.invalid("rope_parameters", problem));
    }
    Ok(match (parameters.section(layer_type)?, scaling) {
        (Some(own), Some(scaling)) => Some(own.updated_by(&scaling)),
        (own, scaling) => own.or(scaling),
    })
}

struct Settings<'a> {
    config: &'a Document,
    section: Option<&'a Document>,
    keys: RotaryKeys,
    head_size: usize,
}

impl Settings<'_> {
    fn rotary(&self) -> Result<Rotary> {
        let kind = self.kind()?;
        if !self.head_size.is_multiple_of(2) {
            let problem = format!("heads are {} wide; rotary positions need an even width", self.head_size);
            return Err(self.config.invalid("head_dim", problem));
        }
        if let Some(section) = self.section {
            let fraction = section.optional_f64_in("partial_rotary_factor", 0.0..=1.0)?;
            if fraction.is_some_and(|fraction| fraction < 1.0) {
                return Err(section.invalid("partial_rotary_factor", "1.0 is understood"));
            }
        }
        let theta = self.theta()?;
        let plain = self.frequencies(theta);
        let whole = |frequencies| Rotary { frequencies, factor: 1.0, max_tokens: None };
        Ok(match kind {
            Kind::Default => whole(plain),
            Kind::Linear => {
                let factor = self.factor()?;
                whole(plain.into_iter().map(|frequency| frequency / factor).collect())
            }
            // Frequencies change only for texts beyond the trained length, and then with the text's length.
            Kind::Dynamic => Rotary { max_tokens: Some(self.trained_tokens()?), ..whole(plain) },
            Kind::Ntk => whole(self.ntk(theta, plain)?),
            Kind::Yarn => self.yarn(theta, &plain)?,
            Kind::Llama3 => whole(self.llama3(plain)?),
        })
    }

    fn kind(&self) -> Result<Kind> {
        let Some(section) = self.section else { return Ok(Kind::Default) };
        let key = if section.has("rope_type") { "rope_type" } else { "type" };
        Ok(section.optional_choice(key, KINDS)?.unwrap_or(Kind::Default))
    }

    fn theta(&self) -> Result<f64> {
        const LARGEST: f64 = 1e12;
        let stored = match self.section {
            Some(section) => section.optional_f64_in("rope_theta", 1.0..=LARGEST)?,
            None => None,
        };
        match stored {
            Some(theta) => Ok(theta),
            None => Ok(self.config.optional_f64_in(self.keys.theta, 1.0..=LARGEST)?.unwrap_or(self.keys.default_theta)),
        }
    }

    /// In single precision, rounded where torch rounds.
    #[allow(clippy::cast_possible_truncation)]
    fn frequencies(&self, theta: f64) -> Vec<f32> {
        let width = self.head_size as f32;
        let theta = f64::from(theta as f32);
        (0..self.head_size / 2)
            .map(|pair| {
                let exponent = (2 * pair) as f32 / width;
                1.0 / theta.powf(f64::from(exponent)) as f32
            })
            .collect()
    }

    #[allow(clippy::cast_possible_truncation)]
    fn factor(&self) -> Result<f32> {
        Ok(self.number("factor", None)? as f32)
    }

    /// A number of the section, above zero.
    fn number(&self, key: &str, default: Option<f64>) -> Result<f64> {
        const RANGE: std::ops::RangeInclusive<f64> = 1e-6..=1e6;
        let section = self.section.unwrap_or(self.config);
        match (section.optional_f64_in(key, RANGE)?, default) {
            (Some(number), _) | (None, Some(number)) => Ok(number),
            (None, None) => section.f64_in(key, RANGE),
        }
    }

    fn trained_tokens(&self) -> Result<usize> {
        self.config.usize_in("max_position_embeddings", super::DIMENSION)
    }

    /// The length before scaling: beside the other settings, else among the scaling's own, else the trained length.
    fn original_tokens(&self) -> Result<usize> {
        const KEY: &str = "original_max_position_embeddings";
        for document in [Some(self.config), self.section].into_iter().flatten() {
            if let Some(tokens) = document.optional_usize_in(KEY, super::DIMENSION)? {
                return Ok(tokens);
            }
        }
        self.trained_tokens()
    }

    /// Alibaba's, after <https://kexue.fm/archives/9706>: the base grows by the factor and the frequencies shrink by
    /// its 2/width-th power; or, mixed, each pair shrinks more than the one before.
    fn ntk(&self, theta: f64, plain: Vec<f32>) -> Result<Vec<f32>> {
        let factor = self.factor()?;
        if factor <= 1.0 {
            return Ok(plain);
        }
        let section = self.section.unwrap_or(self.config);
        let width = self.head_size as f32;
        if !section.has("mixed_b") {
            let divisor = factor.powf(2.0 / width);
            let grown = self.frequencies(theta * f64::from(factor));
            return Ok(grown.into_iter().map(|frequency| frequency / divisor).collect());
        }
        #[allow(clippy::cast_possible_truncation)]
        let exponent = self.number("mixed_b", None)? as f32;
        let unit = factor.ln() / (width / 2.0).powf(exponent);
        let shrink = |(pair, frequency): (usize, f32)| frequency / (unit * (pair as f32 + 1.0).powf(exponent)).exp();
        Ok(plain.into_iter().enumerate().map(shrink).collect())
    }

    /// Peng et al. 2023, YaRN: slow pairs are interpolated, fast ones kept, those between blended.
    #[allow(clippy::cast_possible_truncation)]
    fn yarn(&self, theta: f64, plain: &[f32]) -> Result<Rotary> {
        let factor = self.number("factor", None)?;
        let original = self.original_tokens()? as f64;
        let width = self.head_size as f64;
        let fast = self.number("beta_fast", Some(32.0))?;
        let slow = self.number("beta_slow", Some(1.0))?;
        let pair_of = |rotations: f64| width * (original / (rotations * TAU)).ln() / (2.0 * theta.ln());
        let (mut low, mut high) = (pair_of(fast), pair_of(slow));
        if self.truncates()? {
            (low, high) = (low.floor(), high.ceil());
        }
        let (low, mut high) = (low.max(0.0), high.min(width - 1.0));
        if (low - high).abs() < f64::EPSILON {
            high = low + 0.001;
        }
        let blend = |(pair, frequency): (usize, &f32)| {
            let ramp = ((pair as f64 - low) / (high - low)).clamp(0.0, 1.0);
            let frequency = f64::from(*frequency);
            (frequency / factor * ramp + frequency * (1.0 - ramp)) as f32
        };
        let frequencies = plain.iter().enumerate().map(blend).collect();
        Ok(Rotary { frequencies, factor: self.yarn_factor(factor)? as f32, max_tokens: None })
    }

    /// Where each kind of layer has settings of its own, transformers looks for this one beside them.
    fn truncates(&self) -> Result<bool> {
        let beside = match self.keys.layer_type {
            Some(_) => self.config.section("rope_parameters")?,
            None => self.section.cloned(),
        };
        let truncates = beside.map(|section| section.optional_bool("truncate")).transpose()?.flatten();
        Ok(truncates.unwrap_or(true))
    }

    fn yarn_factor(&self, factor: f64) -> Result<f64> {
        let section = self.section.unwrap_or(self.config);
        if section.has("attention_factor") {
            return self.number("attention_factor", None);
        }
        let scale = |weight: f64| if factor <= 1.0 { 1.0 } else { 0.1 * weight * factor.ln() + 1.0 };
        if section.has("mscale") && section.has("mscale_all_dim") {
            return Ok(scale(self.number("mscale", None)?) / scale(self.number("mscale_all_dim", None)?));
        }
        Ok(scale(1.0))
    }

    /// Llama 3.1: long wavelengths are stretched, short ones kept, those between blended.
    #[allow(clippy::cast_possible_truncation)]
    fn llama3(&self, plain: Vec<f32>) -> Result<Vec<f32>> {
        let factor = self.number("factor", None)?;
        let (low, high) = (self.number("low_freq_factor", None)?, self.number("high_freq_factor", None)?);
        let original = self.original_tokens()? as f64;
        if low >= high {
            let section = self.section.unwrap_or(self.config);
            return Err(section.invalid("high_freq_factor", "has to be more than low_freq_factor"));
        }
        let stretch = |frequency: f32| {
            let frequency = f64::from(frequency);
            let wavelength = TAU / frequency;
            let stretched = if wavelength < original / high {
                frequency
            } else if wavelength > original / low {
                frequency / factor
            } else {
                let smooth = (original / wavelength - low) / (high - low);
                (1.0 - smooth) * frequency / factor + smooth * frequency
            };
            stretched as f32
        };
        Ok(plain.into_iter().map(stretch).collect())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "rotary_tests.rs"]
mod tests;
