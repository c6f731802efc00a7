//! Writing the ONNX graph of a model from its `config.json` and its weights.
//!
//! A family of models is one file with a [`Family`] row: the `model_type` values it answers to and a function that
//! reads its settings. [`FAMILIES`] is the only place that knows them all.

mod activation;
mod attention;
mod bert;
mod builder;
mod chunked;
mod decoder;
mod distilbert;
mod encoder;
#[cfg(test)]
mod family_tests;
mod gemma3;
mod gte;
mod head;
mod linear;
mod modernbert;
mod mpnet;
mod nomic_bert;
mod norm;
mod part;
mod product;
mod rotary;
mod settings;
mod target;
mod transformer;
mod writer;

pub use builder::{Initializer, InitializerData, WEIGHTS_FOLDER, WrittenGraph};
pub use linear::{LINEAR_OPERATOR, OPERATOR_DOMAIN, PRODUCTS_ATTRIBUTE, SITE_ATTRIBUTE};
pub use part::{Part, Site};
pub use product::{PRODUCT_INPUT, product_graph};
pub use target::{Arithmetic, Batches, Dialect, Linears, Lookup, Padding, StaticShape, Target};
pub use transformer::Linear;

use settings::{DIMENSION, Sizes};

use crate::config::Document;
use crate::error::Result;
use crate::onnx::proto;
use crate::postprocess::Postprocess;
use crate::weights::Weights;

/// How positions are numbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PositionScheme {
    /// 0, 1, 2, …
    FromZero,
    /// RoBERTa: tokens other than the padding id are counted from `padding_id + 1`; a padding token, even one spelled
    /// out in the text, has the position `padding_id`.
    AfterPadding {
        /// The padding id.
        padding_id: u32,
    },
}

/// What the rest of the engine must know about a written graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Architecture {
    /// `model_type`.
    pub family: String,
    /// Width of a token's vector.
    pub hidden_size: usize,
    /// Rows of the embedding table; every token id is below it.
    pub vocabulary_size: usize,
    /// The most tokens a text can have: the rows of the position table, where there is one.
    pub max_tokens: usize,
    /// The most tokens a text had in training, which is the limit where the folder names no other.
    pub trained_tokens: usize,
    /// How positions are numbered.
    pub positions: PositionScheme,
    /// Rows of the token-type table, where the graph has one.
    pub token_types: Option<usize>,
}

impl Architecture {
    /// Of a model that computes its positions: no table ends, but `max_tokens` may.
    fn with_computed_positions(config: &Document, sizes: &Sizes, max_tokens: Option<usize>) -> Result<Self> {
        Ok(Self {
            family: config.str("model_type")?.to_owned(),
            hidden_size: sizes.hidden,
            vocabulary_size: sizes.vocabulary,
            max_tokens: max_tokens.unwrap_or(*DIMENSION.end()),
            trained_tokens: sizes.positions,
            positions: PositionScheme::FromZero,
            token_types: None,
        })
    }
}

/// One family of models: its settings, read and checked, ready to write its graph.
pub trait Author: Send + Sync {
    /// What the engine must know.
    fn architecture(&self) -> Architecture;

    /// A tensor name that every model of the family has, by which a name prefix is recognized.
    fn anchor(&self) -> &'static str;

    /// Writes the graph for `target`; names and shapes of the weights are checked on the way. Its output is
    /// `last_hidden_state`, or with a `head` inside `sentence_embedding`.
    ///
    /// # Errors
    /// `InvalidModel` where a tensor is missing or has another shape; `InvalidInput` where the target needs a fixed
    /// shape and has none, or the head cannot be part of a graph.
    fn write(&self, weights: &Weights, target: &Target, head: Option<&Postprocess>) -> Result<WrittenGraph>;

    /// The sites of every layer: the linear layers that share an input.
    fn sites(&self) -> Vec<[Site; 4]>;

    /// Writes one part of the model for `target`.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    fn write_part(&self, weights: &Weights, target: &Target, part: Part) -> Result<WrittenGraph>;
}

/// A row of the table of families.
pub struct Family {
    /// Values of `model_type` it answers to.
    pub model_types: &'static [&'static str],
    /// Reads the settings.
    pub read: fn(&Document) -> Result<Box<dyn Author>>,
}

/// Every family whose graph we write.
pub const FAMILIES: &[Family] = &[
    bert::FAMILY,
    distilbert::FAMILY,
    mpnet::FAMILY,
    modernbert::FAMILY,
    nomic_bert::FAMILY,
    gte::FAMILY,
    decoder::FAMILY,
    gemma3::FAMILY,
];

/// The `model_type` values of [`FAMILIES`].
pub fn known_model_types() -> Vec<&'static str> {
    FAMILIES.iter().flat_map(|family| family.model_types.iter().copied()).collect()
}

/// The author for a `config.json`, or `None` where its family is not known.
///
/// # Errors
/// `InvalidModel` where a setting of a known family is missing, out of range or not understood.
pub fn author(config: &Document) -> Result<Option<Box<dyn Author>>> {
    let model_type = config.str("model_type")?;
    FAMILIES
        .iter()
        .find(|family| family.model_types.contains(&model_type))
        .map(|family| (family.read)(config))
        .transpose()
}
