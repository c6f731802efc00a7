//! GTE, "new" in Alibaba's own code: BERT with rotary positions and a gated feed-forward block, projections stored as
//! one.
//!
//! Agrees with `transformers` `GteModel` and with Alibaba-NLP/new-impl. Zhang et al. 2024, "mGTE".

use super::rotary::{Rotary, RotaryKeys};
use super::settings::{Keys, Sizes, refuse_other_than};
use super::transformer::{Attention, FeedForward, Layer, Linear, Norm, NormKind, Norms};
use super::{Author, Family, encoder};
use crate::config::Document;
use crate::error::Result;

/// The row of the table of families.
pub const FAMILY: Family = Family { model_types: &["gte", "new"], read };

fn read(config: &Document) -> Result<Box<dyn Author>> {
    let sizes = Sizes::read(config, &Keys::USUAL)?;
    let is_original = config.str("model_type")? == "new";
    config.optional_choice("position_embedding_type", &[("rope", ())])?;
    config.optional_choice("layer_norm_type", &[("layer_norm", ())])?;
    for key in ["logn_attention_scale", "logn_attention_clip1"] {
        refuse_other_than(config, key, false)?;
    }
    let default_theta = if is_original { 10_000.0 } else { 160_000.0 };
    let keys = RotaryKeys { theta: "rope_theta", default_theta, layer_type: None, scaled: true };
    let model = Model {
        sizes,
        rotary: Rotary::read(config, keys, sizes.head)?,
        epsilon: config.f32_positive_or("layer_norm_eps", 1e-12)?,
        is_packed: config.bool_or("pack_qkv", true)?,
    };
    let layers = (0..sizes.layers).map(|number| model.layer(number)).collect();
    let norm = model.norm("embeddings.LayerNorm".to_owned());
    let max_tokens = model.rotary.max_tokens;
    Ok(Box::new(encoder::with_computed_positions(config, &sizes, max_tokens, 1, norm, layers)?))
}

struct Model {
    sizes: Sizes,
    rotary: Rotary,
    epsilon: f32,
    is_packed: bool,
}

impl Model {
    fn norm(&self, stem: String) -> Norm {
        Norm { stem, kind: NormKind::Layer { bias: true }, epsilon: self.epsilon }
    }

    fn layer(&self, number: usize) -> Layer {
        let Sizes { hidden, intermediate: inner, .. } = self.sizes;
        let width = self.sizes.heads * self.sizes.head;
        let stem = format!("encoder.layer.{number}");
        let after = |part: &str| Norms::after_residual(self.norm(format!("{stem}.{part}")));
        let linear = |part: &str, inputs, outputs| Linear::new(format!("{stem}.{part}"), inputs, outputs, true);
        let [query, key, value] = if self.is_packed {
            Linear::parts(&format!("{stem}.attention.qkv_proj"), hidden, [width; 3], true)
        } else {
            ["q_proj", "k_proj", "v_proj"].map(|name| linear(&format!("attention.{name}"), hidden, width))
        };
        let [up, gate] = Linear::parts(&format!("{stem}.mlp.up_gate_proj"), hidden, [inner; 2], false);
        Layer {
            attention: Attention {
                rotary: Some(self.rotary.clone()),
                ..Attention::new(&self.sizes, [query, key, value, linear("attention.o_proj", width, hidden)])
            },
            attention_norms: after("attn_ln"),
            feed_forward: FeedForward {
                up,
                gate: Some(gate),
                down: linear("mlp.down_proj", inner, hidden),
                activation: self.sizes.activation,
            },
            feed_forward_norms: after("mlp_ln"),
        }
    }
}
