//! What was loaded, in plain values.

use std::time::Duration;

use indexmap::IndexMap;

use crate::quantize::Quality;

/// Everything there is to know about a loaded model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ModelInfo {
    /// Name of the model's folder.
    pub name: String,
    /// The folder.
    pub path: String,
    /// `model_type` of config.json; `onnx` for an ONNX file without one.
    pub family: String,
    /// The file the graph or its weights come from, relative to the folder.
    pub source: String,
    /// Numbers in a vector.
    pub dimension: usize,
    /// Most tokens of a text, special tokens included.
    pub max_seq_length: usize,
    /// Pooling modes, in the order in which their vectors are concatenated.
    pub pooling: Vec<String>,
    /// What happens after the transformer, in order.
    pub modules: Vec<String>,
    /// Prompts by name.
    pub prompts: IndexMap<String, String>,
    /// The prompt used where a call names none.
    pub default_prompt_name: Option<String>,
    /// How vectors are meant to be compared.
    pub similarity_fn_name: String,
    /// The side on which shorter texts are filled up.
    pub padding_side: String,
    /// Tokens that the model has embeddings for.
    pub vocabulary_size: usize,
    /// Numbers in the weights; 0 for an ONNX file of a format in which they cannot be counted.
    pub parameters: usize,
    /// The type of the arithmetic.
    pub dtype: String,
    /// How near the vectors come to those in single precision, where linear layers are quantized: measured when they were
    /// made, on texts kept apart.
    pub quality: Option<Quality>,
    /// The execution provider that was chosen.
    pub provider: String,
    /// Threads that compute.
    pub threads: usize,
    /// What the folder does not say and was assumed, in plain sentences.
    pub assumptions: Vec<String>,
}

/// Whether a model works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthStatus {
    /// True where a text could be embedded.
    pub healthy: bool,
    /// What was tried and what came of it.
    pub message: String,
    /// Time it took.
    pub latency: Duration,
}
