//! How near the vectors of a quantized model come to the model's own.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// Cosines between the vectors of a quantized model and those of the model in single precision, on texts that it was not
/// calibrated with.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quality {
    /// The mean of all texts.
    pub mean: f64,
    /// The worst text.
    pub minimum: f64,
    /// The cosine that one text in a hundred stays below.
    pub first_percentile: f64,
    /// How many texts.
    pub texts: usize,
    /// How many tokens they have together.
    pub tokens: usize,
    /// The same by the kind of text: language, code, single words, ….
    pub by_kind: IndexMap<String, KindQuality>,
    /// Whether the model keeps what int8 promises.
    pub passed: bool,
}

/// As [`Quality`], for the texts of one kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KindQuality {
    /// The mean of the texts.
    pub mean: f64,
    /// The cosine that one text in a hundred stays below.
    pub first_percentile: f64,
    /// The worst text.
    pub minimum: f64,
    /// How many texts.
    pub texts: usize,
}

impl Quality {
    /// Whether every cosine is a number.
    pub(super) fn is_finite(&self) -> bool {
        let kinds = self.by_kind.values().flat_map(|kind| [kind.mean, kind.first_percentile, kind.minimum]);
        kinds.chain([self.mean, self.minimum, self.first_percentile]).all(f64::is_finite)
    }
}
