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

/// `rope_scaling` as transformers 4 wrote it wins over `rope_parameters`, which transformers 5 writes.
fn section(config: &Document, keys: RotaryKeys) -> Result<Option<Document>> {
    let scaling = config.section("rope_scaling")?.filter(|section| keys.scaled && section.keys().next().is_some());
    let parameters = config.section("rope_parameters")?;
    let Some(layer_type) = keys.layer_type else { return Ok(scaling.or(parameters)) };
    match parameters {
        Some(parameters) => {
            if !parameters.keys().all(|key| key.ends_with("_attention") || key == "truncate") {
                let problem = "an object with a key for each kind of layer, such as \"full_attention\", is understood";
                return Err(config.invalid("rope_parameters", problem));
            }
            parameters.section(layer_type)
        }
        None => Ok(scaling),
    }
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
        if low >= high {
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
mod tests {
    use super::{Rotary, RotaryKeys};
    use crate::config::Document;

    const KEYS: RotaryKeys =
        RotaryKeys { theta: "rope_theta", default_theta: 10_000.0, layer_type: None, scaled: true };

    fn read(text: &str) -> crate::error::Result<Rotary> {
        read_for(8, text)
    }

    fn read_for(head_size: usize, text: &str) -> crate::error::Result<Rotary> {
        Rotary::read(&Document::from_text("config.json", text).unwrap(), KEYS, head_size)
    }

    fn assert_frequencies(rotary: &Rotary, expected: &[f32], factor: f32) {
        assert_eq!(rotary.frequencies.len(), expected.len());
        for (pair, (frequency, expected)) in rotary.frequencies.iter().zip(expected).enumerate() {
            assert!((frequency / expected - 1.0).abs() < 1e-6, "pair {pair}: {frequency}, expected {expected}");
        }
        assert!((rotary.factor - factor).abs() < 1e-6, "{} {factor}", rotary.factor);
    }

    #[test]
    fn frequencies_are_powers_of_the_base() {
        let rotary = read(r#"{"rope_theta": 10000.0}"#).unwrap();
        for (frequency, expected) in rotary.frequencies.iter().zip([1.0, 0.1, 0.01, 0.001]) {
            assert!((frequency / expected - 1.0).abs() < 1e-6, "{frequency} {expected}");
        }
    }

    #[test]
    fn both_spellings_mean_the_same() {
        let old = read(r#"{"rope_theta": 500.0, "rope_scaling": {"type": "linear", "factor": 4.0}}"#).unwrap();
        let new = read(r#"{"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 500.0}}"#).unwrap();
        assert_eq!(old, new);
        assert!((old.frequencies[0] - 0.25).abs() < 1e-7);
    }

    #[test]
    fn a_dynamic_scaling_bounds_the_text() {
        let text = r#"{"max_position_embeddings": 64, "rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}"#;
        let rotary = read(text).unwrap();
        assert_eq!((rotary.max_tokens, rotary.frequencies), (Some(64), read("{}").unwrap().frequencies));
    }

    // The numbers of the next three tests are those of transformers 5.23: `ROPE_INIT_FUNCTIONS[rope_type]` for a
    // `LlamaConfig` with these settings.

    #[test]
    fn linear_scaling_is_that_of_transformers() {
        let rotary = read(r#"{"rope_scaling": {"rope_type": "linear", "factor": 4.0}}"#).unwrap();
        assert_frequencies(&rotary, &[0.25, 0.025, 0.0025, 0.000_25], 1.0);
    }

    #[test]
    fn yarn_is_that_of_transformers() {
        let text = r#"{"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "rope_theta": 10000.0,
            "original_max_position_embeddings": 32}}"#;
        let slow = [0.025, 7.905_695e-3, 0.0025, 7.905_694_7e-4, 0.000_25, 7.905_694e-5];
        let expected = [&[1.0, 0.197_642_36], &slow[..]].concat();
        assert_frequencies(&read_for(16, text).unwrap(), &expected, 1.138_629_4);

        let text = r#"{"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "rope_theta": 10000.0,
            "original_max_position_embeddings": 32, "truncate": false, "beta_fast": 4.0, "beta_slow": 2.0}}"#;
        let expected = [&[1.0, 0.079_056_94], &slow[..]].concat();
        assert_frequencies(&read_for(16, text).unwrap(), &expected, 1.138_629_4);

        // The length before scaling stands beside the section here, and `mscale` decides on the factor.
        let text = r#"{"original_max_position_embeddings": 4096, "rope_theta": 10000.0, "rope_scaling":
            {"type": "yarn", "factor": 40.0, "mscale": 0.707, "mscale_all_dim": 1.0}}"#;
        let expected = [1.0, 0.316_227_76, 0.1, 0.023_914_725, 5.125e-3, 8.498_622e-4, 2.5e-5, 7.905_694_5e-6];
        assert_frequencies(&read_for(16, text).unwrap(), &expected, 0.921_042_4);

        let text = r#"{"max_position_embeddings": 2048, "rope_parameters": {"rope_type": "yarn", "factor": 8.0,
            "rope_theta": 1e6, "original_max_position_embeddings": 256, "attention_factor": 0.5, "beta_fast": 16.0}}"#;
        let expected =
            [1.0, 0.125_961_45, 0.013_176_158, 7.029_266_6e-4, 1.25e-4, 2.222_849_3e-5, 3.952_847e-6, 7.029_267e-7];
        assert_frequencies(&read_for(16, text).unwrap(), &expected, 0.5);
    }

    #[test]
    fn llama3_is_that_of_transformers() {
        let text = r#"{"rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 128}, "rope_theta": 500000.0}"#;
        let expected = [
            1.0,
            0.191_126_5,
            4.700_754e-3,
            9.115_831e-4,
            1.767_766_8e-4,
            3.428_102_4e-5,
            6.647_869_7e-6,
            1.289_173_2e-6,
        ];
        assert_frequencies(&read_for(16, text).unwrap(), &expected, 1.0);
        let error = read(&text.replace("4.0", "1.0")).unwrap_err().to_string();
        assert!(error.contains("rope_scaling.high_freq_factor = 1.0"), "{error}");
    }

    /// Alibaba-NLP/new-impl: `1 / (base * factor) ** (2 i / width) / factor ** (2 / width)`.
    #[test]
    fn ntk_is_that_of_new_impl() {
        let text = r#"{"rope_theta": 10000.0, "rope_scaling": {"type": "ntk", "factor": 2.0}}"#;
        // 2^-1/4, 40000^-1/4, 2^-1/4 / 20000^1/2, (2 * 20000^3)^-1/4
        let expected = [0.840_896_4, 0.070_710_68, 5.946_036e-3, 0.0005];
        assert_frequencies(&read(text).unwrap(), &expected, 1.0);
        let text = r#"{"rope_scaling": {"type": "ntk", "factor": 16.0, "mixed_b": 0.5}}"#;
        // Divided by 16 to the power of the square root of 1/4, 2/4, 3/4 and 1.
        let expected = [0.25, 0.1 / 7.102_993, 0.01 / 11.035_66, 0.001 / 16.0];
        assert_frequencies(&read(text).unwrap(), &expected, 1.0);
        let text = text.replace("16.0", "1.0");
        assert_frequencies(&read(&text).unwrap(), &[1.0, 0.1, 0.01, 0.001], 1.0);
    }

    #[test]
    fn each_kind_of_layer_has_its_own_settings() {
        let keys = RotaryKeys { layer_type: Some("sliding_attention"), ..KEYS };
        let read = |text| Rotary::read(&Document::from_text("config.json", text).unwrap(), keys, 8);
        let text = r#"{"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 1e6},
            "sliding_attention": {"rope_type": "default", "rope_theta": 16.0}}}"#;
        assert_frequencies(&read(text).unwrap(), &[1.0, 0.5, 0.25, 0.125], 1.0);
        let error = read(r#"{"rope_parameters": {"rope_type": "default"}}"#).unwrap_err().to_string();
        assert!(error.contains("rope_parameters") && error.contains("full_attention"), "{error}");
    }

    #[test]
    fn what_is_not_whole_heads_of_pairs_is_refused() {
        let error = read_for(7, "{}").unwrap_err().to_string();
        assert!(error.contains("head_dim") && error.contains("even width"), "{error}");
        let error = read(r#"{"rope_parameters": {"partial_rotary_factor": 0.5}}"#).unwrap_err().to_string();
        assert!(error.contains("rope_parameters.partial_rotary_factor = 0.5: 1.0 is understood"), "{error}");
        for theta in ["0.0", "-1.0", "1e13", "\"ten\""] {
            let error = read(&format!(r#"{{"rope_theta": {theta}}}"#)).unwrap_err().to_string();
            assert!(error.contains("rope_theta"), "{error}");
        }
    }

    #[test]
    fn an_unknown_scaling_is_named() {
        let error = read(r#"{"rope_scaling": {"rope_type": "longrope"}}"#).unwrap_err().to_string();
        assert!(error.contains("rope_scaling.rope_type = \"longrope\"") && error.contains("\"yarn\""), "{error}");
        let error = read(r#"{"rope_scaling": {"rope_type": "linear"}}"#).unwrap_err().to_string();
        assert!(error.contains("rope_scaling.factor"), "{error}");
    }

    #[test]
    fn tables_have_a_row_each_position() {
        let (cosines, sines) = read("{}").unwrap().tables(3);
        assert_eq!((cosines.len(), sines.len()), (12, 12));
        assert_eq!((cosines[0], sines[0]), (1.0, 0.0));
        assert!((sines[8] - 2.0_f32.sin()).abs() < 1e-7);
    }
}
