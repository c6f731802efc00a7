//! Gemma 3's text model, the base of EmbeddingGemma: norms before and after each half of a block, queries and keys
//! normalized, most layers attend to nearby tokens only, and in embedding models both ways.
//!
//! Agrees with `transformers` `Gemma3TextModel`. Its soft caps on scores are settings that the model does not use.

use super::rotary::{Rotary, RotaryKeys};
use super::settings::{DIMENSION, HEAD, Keys, LayerType, Sizes};
use super::transformer::{
    Attention, Embeddings, FeedForward, Layer, Linear, Norm, NormKind, Norms, Reach, Transformer,
};
use super::{Architecture, Author, Family};
use crate::config::Document;
use crate::error::Result;

/// The row of the table of families.
pub const FAMILY: Family = Family { model_types: &["gemma3_text"], read };

const KEYS: Keys = Keys { activation: &["hidden_activation"], ..Keys::USUAL };

fn read(config: &Document) -> Result<Box<dyn Author>> {
    let mut sizes = Sizes::read(config, &KEYS)?;
    sizes.head = config.usize_in("head_dim", HEAD)?;
    let window = config.usize_in("sliding_window", DIMENSION)?;
    let looks_both_ways = config.optional_bool("use_bidirectional_attention")?.unwrap_or(false);
    #[allow(clippy::cast_possible_truncation)]
    let scale = config.f64_in("query_pre_attn_scalar", 1e-6..=1e6)?.sqrt().recip() as f32;
    let model = Model {
        sizes,
        key_value_heads: sizes.key_value_heads(config)?,
        scale,
        epsilon: config.f32_positive_or("rms_norm_eps", 1e-6)?,
        attention_bias: config.bool_or("attention_bias", false)?,
        full: (rotary(config, LayerType::Full, sizes.head)?, if looks_both_ways { Reach::ALL } else { Reach::CAUSAL }),
        sliding: (
            rotary(config, LayerType::Sliding, sizes.head)?,
            // The window counts both sides when the model looks both ways.
            if looks_both_ways { Reach::within(window / 2) } else { Reach::last(window) },
        ),
    };
    let key =
        config.first_of(&["sliding_window_pattern", "_sliding_window_pattern"]).unwrap_or("sliding_window_pattern");
    let pattern = config.optional_usize_in(key, DIMENSION)?.unwrap_or(6);
    let otherwise = |layer| if (layer + 1) % pattern == 0 { LayerType::Full } else { LayerType::Sliding };
    let kinds = LayerType::read(config, sizes.layers, otherwise)?;
    let computed = [&model.full, &model.sliding].into_iter().filter_map(|(rotary, _)| rotary.max_tokens).min();
    Ok(Box::new(Transformer {
        architecture: Architecture::with_computed_positions(config, &sizes, computed)?,
        embeddings: Embeddings {
            scale: Some((sizes.hidden as f32).sqrt()),
            ..Embeddings::of_tokens("embed_tokens.weight")
        },
        layers: kinds.into_iter().enumerate().map(|(number, kind)| model.layer(number, kind)).collect(),
        final_norm: Some(model.norm("norm".to_owned())),
        position_bias: None,
    }))
}

fn rotary(config: &Document, kind: LayerType, head_size: usize) -> Result<Rotary> {
    let (theta, default_theta) = match kind {
        LayerType::Full => ("rope_theta", 1_000_000.0),
        LayerType::Sliding => ("rope_local_base_freq", 10_000.0),
    };
    let scaled = kind == LayerType::Full;
    Rotary::read(config, RotaryKeys { theta, default_theta, layer_type: Some(kind.name()), scaled }, head_size)
}

struct Model {
    sizes: Sizes,
    key_value_heads: usize,
    scale: f32,
    epsilon: f32,
    attention_bias: bool,
    full: (Rotary, Reach),
    sliding: (Rotary, Reach),
}

impl Model {
    fn norm(&self, stem: String) -> Norm {
        Norm { stem, kind: NormKind::RootMeanSquare { offset: 1.0 }, epsilon: self.epsilon }
    }

    fn layer(&self, number: usize, kind: LayerType) -> Layer {
        let Sizes { hidden, intermediate: inner, heads, head, .. } = self.sizes;
        let (query_width, key_width) = (heads * head, self.key_value_heads * head);
        let stem = format!("layers.{number}");
        let norms = |before: &str, after: &str| Norms {
            before: Some(self.norm(format!("{stem}.{before}"))),
            after: Some(self.norm(format!("{stem}.{after}"))),
            after_residual: None,
        };
        let linear = |part: &str, inputs, outputs, bias| Linear::new(format!("{stem}.{part}"), inputs, outputs, bias);
        let projections = [
            linear("self_attn.q_proj", hidden, query_width, self.attention_bias),
            linear("self_attn.k_proj", hidden, key_width, self.attention_bias),
            linear("self_attn.v_proj", hidden, key_width, self.attention_bias),
            linear("self_attn.o_proj", query_width, hidden, self.attention_bias),
        ];
        let (rotary, reach) = match kind {
            LayerType::Full => &self.full,
            LayerType::Sliding => &self.sliding,
        };
        Layer {
            attention: Attention {
                query_norm: Some(self.norm(format!("{stem}.self_attn.q_norm"))),
                key_norm: Some(self.norm(format!("{stem}.self_attn.k_norm"))),
                key_value_heads: self.key_value_heads,
                scale: self.scale,
                rotary: Some(rotary.clone()),
                reach: *reach,
                ..Attention::new(&self.sizes, projections)
            },
            attention_norms: norms("input_layernorm", "post_attention_layernorm"),
            feed_forward: FeedForward {
                up: linear("mlp.up_proj", hidden, inner, false),
                gate: Some(linear("mlp.gate_proj", hidden, inner, false)),
                down: linear("mlp.down_proj", inner, hidden, false),
                activation: self.sizes.activation,
            },
            feed_forward_norms: norms("pre_feedforward_layernorm", "post_feedforward_layernorm"),
        }
    }
}
