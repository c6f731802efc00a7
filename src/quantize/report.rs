//! What quantizing came to.

use std::ops::ControlFlow;
use std::path::PathBuf;

use serde::Serialize;

use super::driver::QuantizeWatch;
use super::quality::Quality;
use crate::error::{EmbeddingError, Result};

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Layers are quantized.
    Layers,
    /// Vectors are compared.
    Check,
    /// Both models are timed.
    Speed,
}

impl Stage {
    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Layers => "layers",
            Self::Check => "check",
            Self::Speed => "speed",
        }
    }
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub stage: Stage,
    /// Steps done.
    pub done: usize,
    /// Steps in all.
    pub total: usize,
}

impl Progress {
    /// Tells `watch`.
    ///
    /// # Errors
    /// `Cancelled` where it breaks.
    pub(super) fn tell(self, watch: &mut QuantizeWatch<'_>) -> Result<()> {
        match watch(self) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(EmbeddingError::Cancelled),
        }
    }
}

/// What was quantized, how good it is and how fast.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QuantizationReport {
    /// The file; `None` where nothing was written.
    pub path: Option<PathBuf>,
    /// Whether the vectors are near enough to the model's own.
    pub passed: bool,
    /// The version of the recipe.
    pub recipe: String,
    /// Bytes of the file.
    pub bytes: u64,
    /// Numbers in the quantized matrices.
    pub parameters_quantized: usize,
    /// The texts that were learned from.
    pub calibration: CalibrationSize,
    /// Time it took.
    pub seconds: f64,
    /// On texts that were kept apart.
    pub quality: Quality,
    /// The errors on the way.
    pub layers: Vec<LayerReport>,
    /// On this machine.
    pub speed: Speed,
    /// The instructions that compute the products here.
    pub instructions: String,
    /// Whether they are made for it.
    pub fast: bool,
}

/// How much was learned from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct CalibrationSize {
    /// Texts.
    pub texts: usize,
    /// Tokens, special ones included.
    pub tokens: usize,
}

/// The errors of one layer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerReport {
    /// Its number.
    pub layer: usize,
    /// How far its hidden states are from the model's own, as a share of their length.
    pub error: f64,
    /// Its sites.
    pub sites: Vec<SiteReport>,
}

/// The errors of one site: what its layers give, as a share of its variation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SiteReport {
    /// What it is in the layer.
    pub role: &'static str,
    /// As it was quantized.
    pub error: f64,
    /// With every weight rounded to the nearest step.
    pub rounded: f64,
}

/// How fast the quantized model is beside the model in single precision, in one run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Speed {
    /// Texts a second in single precision.
    pub float32: f64,
    /// Texts a second in int8.
    pub int8: f64,
    /// The median ratio of paired runs.
    pub ratio: f64,
    /// The same for one text at a time with one thread.
    pub single: f64,
}
