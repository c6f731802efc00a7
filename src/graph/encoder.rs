//! The encoder of 2018 that BERT, RoBERTa, XLM-RoBERTa, DistilBERT and MPNet share: tables of positions, and a
//! LayerNorm after every residual. What differs is data: [`Names`], [`Keys`] and how positions are numbered.

use super::settings::{Keys, Sizes, VOCABULARY};
use super::transformer::{Attention, Embeddings, FeedForward, Layer, Linear, Norm, NormKind, Norms, Transformer};
use super::{Architecture, PositionScheme};
use crate::config::Document;
use crate::error::Result;

/// Tensor names inside a layer: the stems before `.weight` and `.bias`.
#[derive(Debug, Clone, Copy)]
pub struct Names {
    /// The layer; `{}` stands for its number.
    pub layer: &'static str,
    /// To queries.
    pub query: &'static str,
    /// To keys.
    pub key: &'static str,
    /// To values.
    pub value: &'static str,
    /// The attention's output projection.
    pub attention_output: &'static str,
    /// The LayerNorm after attention.
    pub attention_norm: &'static str,
    /// The first half of the feed-forward block.
    pub intermediate: &'static str,
    /// The second half.
    pub output: &'static str,
    /// The LayerNorm after the feed-forward block.
    pub output_norm: &'static str,
}

/// Reads what all of these families have in common.
pub fn read(
    config: &Document,
    keys: &Keys,
    names: &Names,
    positions: PositionScheme,
    epsilon: f32,
) -> Result<Transformer> {
    let sizes = Sizes::read(config, keys)?.with_equal_heads(config)?;
    let reserved = match positions {
        PositionScheme::FromZero => 0,
        PositionScheme::AfterPadding { padding_id } => padding_id as usize + 1,
    };
    let max_tokens = sizes.positions.checked_sub(reserved).filter(|tokens| *tokens > 0).ok_or_else(|| {
        config.invalid(
            "max_position_embeddings",
            format!("positions start after the padding id, so there must be more than {reserved} of them"),
        )
    })?;
    let norm = |stem: String| Norm { stem, kind: NormKind::Layer { bias: true }, epsilon };
    let layers = (0..sizes.layers).map(|number| layer(&sizes, names, number, &norm)).collect();
    Ok(Transformer {
        architecture: Architecture {
            family: config.str("model_type")?.to_owned(),
            hidden_size: sizes.hidden,
            vocabulary_size: sizes.vocabulary,
            max_tokens,
            trained_tokens: max_tokens,
            positions,
            token_types: None,
        },
        embeddings: Embeddings {
            positions: Some(("embeddings.position_embeddings.weight", sizes.positions)),
            norm: Some(norm("embeddings.LayerNorm".to_owned())),
            ..Embeddings::of_tokens("embeddings.word_embeddings.weight")
        },
        layers,
        final_norm: None,
        position_bias: None,
    })
}

fn layer(sizes: &Sizes, names: &Names, number: usize, norm: &impl Fn(String) -> Norm) -> Layer {
    let stem = names.layer.replace("{}", &number.to_string());
    let linear = |part: &str, inputs, outputs| Linear::new(format!("{stem}.{part}"), inputs, outputs, true);
    let after = |part: &str| Norms::after_residual(norm(format!("{stem}.{part}")));
    let (hidden, inner) = (sizes.hidden, sizes.intermediate);
    Layer {
        attention: Attention::new(
            sizes,
            [
                linear(names.query, hidden, hidden),
                linear(names.key, hidden, hidden),
                linear(names.value, hidden, hidden),
                linear(names.attention_output, hidden, hidden),
            ],
        ),
        attention_norms: after(names.attention_norm),
        feed_forward: FeedForward {
            up: linear(names.intermediate, hidden, inner),
            gate: None,
            down: linear(names.output, inner, hidden),
            activation: sizes.activation,
        },
        feed_forward_norms: after(names.output_norm),
    }
}

/// The table of token types, which most of these families have.
pub fn with_token_types(mut transformer: Transformer, config: &Document) -> Result<Transformer> {
    transformer.embeddings.token_types = Some("embeddings.token_type_embeddings.weight");
    transformer.architecture.token_types = Some(config.optional_usize_in("type_vocab_size", VOCABULARY)?.unwrap_or(2));
    Ok(transformer)
}

/// The encoders after it that compute positions: no table of them, perhaps one of token types.
pub fn with_computed_positions(
    config: &Document,
    sizes: &Sizes,
    max_tokens: Option<usize>,
    default_token_types: usize,
    norm: Norm,
    layers: Vec<Layer>,
) -> Result<Transformer> {
    let rows = config.optional_usize_in("type_vocab_size", 0..=*VOCABULARY.end())?.unwrap_or(default_token_types);
    let token_types = Some(rows).filter(|rows| *rows > 0);
    Ok(Transformer {
        architecture: Architecture { token_types, ..Architecture::with_computed_positions(config, sizes, max_tokens)? },
        embeddings: Embeddings {
            token_types: token_types.map(|_| "embeddings.token_type_embeddings.weight"),
            norm: Some(norm),
            ..Embeddings::of_tokens("embeddings.word_embeddings.weight")
        },
        layers,
        final_norm: None,
        position_bias: None,
    })
}

/// Refuses settings whose presence would change the vectors and which the graph does not have.
pub fn refuse_decoder(config: &Document) -> Result<()> {
    for key in ["is_decoder", "add_cross_attention"] {
        if config.bool_or(key, false)? {
            return Err(config.invalid(key, "only encoders are supported: false is understood"));
        }
    }
    if config.optional_str("position_embedding_type")?.is_some_and(|kind| kind != "absolute") {
        return Err(config.invalid("position_embedding_type", "\"absolute\" is understood"));
    }
    Ok(())
}
