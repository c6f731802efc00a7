//! BERT, RoBERTa and XLM-RoBERTa: the same tensors, positions counted in two ways.
//!
//! Agrees with `transformers` `BertModel`, `RobertaModel` and `XLMRobertaModel`.

use super::encoder::{self, Names, refuse_decoder};
use super::settings::{Keys, VOCABULARY};
use super::{Author, Family, PositionScheme};
use crate::config::Document;
use crate::error::Result;

/// The row of the table of families.
pub const FAMILY: Family = Family { model_types: &["bert", "roberta", "xlm-roberta", "camembert"], read };

const NAMES: Names = Names {
    layer: "encoder.layer.{}",
    query: "attention.self.query",
    key: "attention.self.key",
    value: "attention.self.value",
    attention_output: "attention.output.dense",
    attention_norm: "attention.output.LayerNorm",
    intermediate: "intermediate.dense",
    output: "output.dense",
    output_norm: "output.LayerNorm",
};

fn read(config: &Document) -> Result<Box<dyn Author>> {
    refuse_decoder(config)?;
    let positions = if config.str("model_type")? == "bert" {
        PositionScheme::FromZero
    } else {
        // RobertaConfig's own default; the files of small models often leave it out.
        let padding_id = config.optional_usize_in("pad_token_id", 0..=*VOCABULARY.end())?.unwrap_or(1);
        PositionScheme::AfterPadding { padding_id: u32::try_from(padding_id).unwrap_or(u32::MAX) }
    };
    let epsilon = config.f32_positive_or("layer_norm_eps", 1e-12)?;
    let transformer = encoder::read(config, &Keys::USUAL, &NAMES, positions, epsilon)?;
    Ok(Box::new(encoder::with_token_types(transformer, config)?))
}
