//! ModernBERT: norms before each half of a block, gated feed-forward, rotary positions, and most layers attend to
//! nearby tokens only.
//!
//! Agrees with `transformers` `ModernBertModel`. Warner et al. 2024, "Smarter, Better, Faster, Longer".

use super::rotary::{Rotary, RotaryKeys};
use super::settings::{DIMENSION, Keys, LayerType, Sizes};
use super::transformer::{
    Attention, Embeddings, FeedForward, Layer, Linear, Norm, NormKind, Norms, Reach, Transformer,
};
use super::{Architecture, Author, Family};
use crate::config::Document;
use crate::error::Result;

/// The row of the table of families.
pub const FAMILY: Family = Family { model_types: &["modernbert"], read };

const KEYS: Keys = Keys { activation: &["hidden_activation"], ..Keys::USUAL };

fn read(config: &Document) -> Result<Box<dyn Author>> {
    let sizes = Sizes::read(config, &KEYS)?.with_equal_heads(config)?;
    let model = Model {
        sizes,
        attention_bias: config.bool_or("attention_bias", false)?,
        feed_forward_bias: config.bool_or("mlp_bias", false)?,
        norm_bias: config.bool_or("norm_bias", false)?,
        epsilon: config.f32_positive_or("norm_eps", 1e-5)?,
        window: Reach::within(config.usize_in("local_attention", DIMENSION)? / 2),
        full: rotary(config, LayerType::Full, sizes.head)?,
        sliding: rotary(config, LayerType::Sliding, sizes.head)?,
    };
    let every = config.optional_usize_in("global_attn_every_n_layers", DIMENSION)?.unwrap_or(3);
    let otherwise = |layer| if layer % every == 0 { LayerType::Full } else { LayerType::Sliding };
    let kinds = LayerType::read(config, sizes.layers, otherwise)?;
    let computed = [&model.full, &model.sliding].into_iter().filter_map(|rotary| rotary.max_tokens).min();
    Ok(Box::new(Transformer {
        architecture: Architecture::with_computed_positions(config, &sizes, computed)?,
        embeddings: Embeddings {
            norm: Some(model.norm("embeddings.norm".to_owned())),
            ..Embeddings::of_tokens("embeddings.tok_embeddings.weight")
        },
        layers: kinds.into_iter().enumerate().map(|(number, kind)| model.layer(number, kind)).collect(),
        final_norm: Some(model.norm("final_norm".to_owned())),
        position_bias: None,
    }))
}

fn rotary(config: &Document, kind: LayerType, head_size: usize) -> Result<Rotary> {
    let (theta, default_theta) = match kind {
        LayerType::Full => ("global_rope_theta", 160_000.0),
        LayerType::Sliding => ("local_rope_theta", 10_000.0),
    };
    Rotary::read(config, RotaryKeys { theta, default_theta, layer_type: Some(kind.name()), scaled: true }, head_size)
}

struct Model {
    sizes: Sizes,
    attention_bias: bool,
    feed_forward_bias: bool,
    norm_bias: bool,
    epsilon: f32,
    window: Reach,
    full: Rotary,
    sliding: Rotary,
}

impl Model {
    fn norm(&self, stem: String) -> Norm {
        Norm { stem, kind: NormKind::Layer { bias: self.norm_bias }, epsilon: self.epsilon }
    }

    fn layer(&self, number: usize, kind: LayerType) -> Layer {
        let Sizes { hidden, intermediate: inner, .. } = self.sizes;
        let stem = format!("layers.{number}");
        let before = |part: &str| Norms::before(self.norm(format!("{stem}.{part}")));
        let [query, key, value] = Linear::parts(&format!("{stem}.attn.Wqkv"), hidden, [hidden; 3], self.attention_bias);
        let [gate, up] = Linear::parts(&format!("{stem}.mlp.Wi"), hidden, [inner; 2], self.feed_forward_bias);
        let (rotary, reach) = match kind {
            LayerType::Full => (&self.full, Reach::ALL),
            LayerType::Sliding => (&self.sliding, self.window),
        };
        Layer {
            attention: Attention {
                rotary: Some(rotary.clone()),
                reach,
                ..Attention::new(
                    &self.sizes,
                    [query, key, value, Linear::new(format!("{stem}.attn.Wo"), hidden, hidden, self.attention_bias)],
                )
            },
            // The embeddings have just been normalized.
            attention_norms: if number == 0 { Norms::default() } else { before("attn_norm") },
            feed_forward: FeedForward {
                up,
                gate: Some(gate),
                down: Linear::new(format!("{stem}.mlp.Wo"), inner, hidden, self.feed_forward_bias),
                activation: self.sizes.activation,
            },
            feed_forward_norms: before("mlp_norm"),
        }
    }
}
