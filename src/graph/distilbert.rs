//! DistilBERT: BERT without token types, under its own names.
//!
//! Agrees with `transformers` `DistilBertModel`.

use super::encoder::{self, Names};
use super::settings::Keys;
use super::{Author, Family, PositionScheme};
use crate::config::Document;
use crate::error::Result;

/// The row of the table of families.
pub const FAMILY: Family = Family { model_types: &["distilbert"], read };

/// Its own names; transformers takes BERT's as well.
const KEYS: Keys = Keys {
    hidden_size: &["dim", "hidden_size"],
    layers: &["n_layers", "num_hidden_layers"],
    heads: &["n_heads", "num_attention_heads"],
    intermediate_size: &["hidden_dim", "intermediate_size"],
    activation: &["activation"],
    positions: &["max_position_embeddings"],
};

const NAMES: Names = Names {
    layer: "transformer.layer.{}",
    query: "attention.q_lin",
    key: "attention.k_lin",
    value: "attention.v_lin",
    attention_output: "attention.out_lin",
    attention_norm: "sa_layer_norm",
    intermediate: "ffn.lin1",
    output: "ffn.lin2",
    output_norm: "output_layer_norm",
};

/// Fixed in `transformers`; `config.json` does not have it.
const LAYER_NORM_EPSILON: f32 = 1e-12;

fn read(config: &Document) -> Result<Box<dyn Author>> {
    Ok(Box::new(encoder::read(config, &KEYS, &NAMES, PositionScheme::FromZero, LAYER_NORM_EPSILON)?))
}
