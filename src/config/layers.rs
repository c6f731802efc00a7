//! The `config.json` of the modules behind the transformer: pooling, dense, normalize, dropout.

use std::path::{Path, PathBuf};

use super::document::Document;
use crate::error::{EmbeddingError, Result};
use crate::foreign::other_weights;
use crate::postprocess::{Activation, PoolingMode};

/// Widest vector that is believed.
pub(super) const MAX_DIMENSION: usize = 1 << 20;

const FILE: &str = "config.json";

/// sentence-transformers' `Pooling`: token embeddings to one vector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pooling {
    /// The modes whose vectors are put side by side, in this order.
    pub modes: Vec<PoolingMode>,
    /// Whether the tokens of a prompt take part.
    pub include_prompt: bool,
    /// Width of a token embedding, where the file says it.
    pub word_embedding_dimension: Option<usize>,
}

/// sentence-transformers' `Dense`: `activation(weight · x + bias)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dense {
    /// The module's folder; weights are `linear.weight` (`out_features` × `in_features`) and `linear.bias` in
    /// [`weights_file`](Self::weights_file).
    pub folder: PathBuf,
    /// Width of the input.
    pub in_features: usize,
    /// Width of the output.
    pub out_features: usize,
    /// Whether there is a `linear.bias`.
    pub bias: bool,
    /// What is applied at the end.
    pub activation: Activation,
}

impl Dense {
    /// The safetensors file; [`ModelFolder::read`](super::ModelFolder::read) has seen that it exists.
    pub fn weights_file(&self) -> PathBuf {
        self.folder.join("model.safetensors")
    }
}

/// Keys of files that sentence-transformers 2 to 5.3 wrote, in the order in which it puts the vectors side by side,
/// which is not the order in which it writes the keys.
const POOLING_KEYS: [(&str, PoolingMode); 6] = [
    ("pooling_mode_cls_token", PoolingMode::Cls),
    ("pooling_mode_max_tokens", PoolingMode::Max),
    ("pooling_mode_mean_tokens", PoolingMode::Mean),
    ("pooling_mode_mean_sqrt_len_tokens", PoolingMode::MeanSqrtLenTokens),
    ("pooling_mode_weightedmean_tokens", PoolingMode::WeightedMean),
    ("pooling_mode_lasttoken", PoolingMode::LastToken),
];

const POOLING_MODES: [(&str, PoolingMode); 6] = [
    ("cls", PoolingMode::Cls),
    ("max", PoolingMode::Max),
    ("mean", PoolingMode::Mean),
    ("mean_sqrt_len_tokens", PoolingMode::MeanSqrtLenTokens),
    ("weightedmean", PoolingMode::WeightedMean),
    ("lasttoken", PoolingMode::LastToken),
];

/// Class names under `torch.nn`, as they are made without arguments: `GELU()` is the exact one.
const ACTIVATIONS: [(&str, Activation); 6] = [
    ("Identity", Activation::Identity),
    ("Tanh", Activation::Tanh),
    ("Sigmoid", Activation::Sigmoid),
    ("ReLU", Activation::Relu),
    ("GELU", Activation::Gelu),
    ("SiLU", Activation::Silu),
];

/// Reads the pooling module of `folder`; says so in `assumptions` where the file leaves the mode open.
pub(super) fn read_pooling(folder: &Path, assumptions: &mut Vec<String>) -> Result<Pooling> {
    let document = Document::read(&folder.join(FILE))?;
    let mut known = vec!["embedding_dimension", "word_embedding_dimension", "pooling_mode", "include_prompt"];
    known.extend(POOLING_KEYS.iter().map(|(key, _)| *key));
    document.refuse_unknown_keys(&known)?;

    let dimension_key =
        document.first_of(&["embedding_dimension", "word_embedding_dimension"]).unwrap_or("embedding_dimension");
    let pooling = Pooling {
        modes: pooling_modes(&document, assumptions)?,
        include_prompt: document.bool_or("include_prompt", true)?,
        word_embedding_dimension: document.optional_usize_in(dimension_key, 1..=MAX_DIMENSION)?,
    };
    Ok(pooling)
}

/// `pooling_mode` wins over the older boolean keys; where nothing is chosen, sentence-transformers takes the mean.
fn pooling_modes(document: &Document, assumptions: &mut Vec<String>) -> Result<Vec<PoolingMode>> {
    const KEY: &str = "pooling_mode";
    if document.get(KEY).is_some_and(serde_json::Value::is_array) {
        return listed_pooling_modes(document, KEY);
    }
    if document.get(KEY).is_some() {
        return Ok(vec![document.choice(KEY, &POOLING_MODES)?]);
    }
    let mut modes = Vec::new();
    for (key, mode) in POOLING_KEYS {
        if document.bool_or(key, false)? {
            modes.push(mode);
        }
    }
    if modes.is_empty() {
        modes.push(PoolingMode::Mean);
        let file = document.path().display();
        assumptions.push(format!("{file} chooses no pooling mode: mean, as sentence-transformers does"));
    }
    Ok(modes)
}

fn listed_pooling_modes(document: &Document, key: &str) -> Result<Vec<PoolingMode>> {
    let names = document.optional_strings(key)?.unwrap_or_default();
    let known = POOLING_MODES.map(|(name, _)| name).join(", ");
    if names.is_empty() || names.len() > POOLING_MODES.len() {
        return Err(document.invalid(key, format!("a list of one to six of these is understood: {known}")));
    }
    names
        .iter()
        .map(|name| {
            let found = POOLING_MODES.iter().find(|(known, _)| known == name);
            found
                .map(|(_, mode)| *mode)
                .ok_or_else(|| document.invalid(key, format!("{name:?} is unknown; these are understood: {known}")))
        })
        .collect()
}

/// Reads the dense module of `folder` and looks for its weights.
pub(super) fn read_dense(folder: &Path) -> Result<Dense> {
    let document = Document::read(&folder.join(FILE))?;
    document.refuse_unknown_keys(&[
        "in_features",
        "out_features",
        "bias",
        "activation_function",
        "module_input_name",
        "module_output_name",
        "use_residual",
    ])?;
    refuse_other_features(&document)?;
    if document.bool_or("use_residual", false)? {
        return Err(document.invalid("use_residual", "false is understood"));
    }
    let dense = Dense {
        folder: folder.to_owned(),
        in_features: document.usize_in("in_features", 1..=MAX_DIMENSION)?,
        out_features: document.usize_in("out_features", 1..=MAX_DIMENSION)?,
        bias: document.bool_or("bias", true)?,
        activation: activation(&document)?,
    };
    require_safetensors(&dense)?;
    Ok(dense)
}

/// `activation_function` is a Python class path; `torch.nn.GELU` and `torch.nn.modules.activation.GELU` are one class.
fn activation(document: &Document) -> Result<Activation> {
    const KEY: &str = "activation_function";
    if document.get(KEY).is_none() {
        // The default of sentence-transformers' constructor.
        return Ok(Activation::Tanh);
    }
    let path = document.str(KEY)?;
    let class = ["torch.nn.modules.activation.", "torch.nn.modules.linear.", "torch.nn.modules.", "torch.nn."]
        .iter()
        .find_map(|prefix| path.strip_prefix(prefix));
    let found = class.and_then(|class| ACTIVATIONS.iter().find(|(name, _)| *name == class));
    found.map(|(_, activation)| *activation).ok_or_else(|| {
        let known = ACTIVATIONS.map(|(name, _)| name).join(", ");
        document.invalid(KEY, format!("these classes of torch.nn are understood: {known}"))
    })
}

/// Unpickling runs code of whoever wrote the file, so `pytorch_model.bin` is never read.
fn require_safetensors(dense: &Dense) -> Result<()> {
    let file = dense.weights_file();
    if file.is_file() {
        return Ok(());
    }
    let problem = match other_weights(&dense.folder) {
        Some(others) => format!("the file is missing; {others}"),
        None => "the file is missing; a Dense module keeps linear.weight and linear.bias there".to_owned(),
    };
    Err(EmbeddingError::invalid_model(&file, problem))
}

/// Reads the optional settings of a module that only works on the sentence embedding.
pub(super) fn check_normalize(folder: &Path) -> Result<()> {
    match Document::read_optional(&folder.join(FILE))? {
        Some(document) => {
            document.refuse_unknown_keys(&["module_input_name", "module_output_name"])?;
            refuse_other_features(&document)
        }
        None => Ok(()),
    }
}

/// sentence-transformers can route any feature through a module; one that is not the sentence embedding is not ours.
fn refuse_other_features(document: &Document) -> Result<()> {
    const SENTENCE: &[(&str, ())] = &[("sentence_embedding", ())];
    document.optional_choice("module_input_name", SENTENCE)?;
    document.optional_choice("module_output_name", SENTENCE)?;
    Ok(())
}
