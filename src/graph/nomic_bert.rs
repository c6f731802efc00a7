//! NomicBERT: BERT with rotary positions and a gated feed-forward block.
//!
//! Agrees with `transformers` `NomicBertModel` and with nomic-ai's own code, whose `config.json` uses the names of
//! GPT-2. Nussbaum et al. 2024, "Nomic Embed".

use super::activation::Activation;
use super::rotary::{Rotary, RotaryKeys};
use super::settings::{DIMENSION, Keys, Sizes, refuse_other_than};
use super::transformer::{Attention, FeedForward, Layer, Linear, Norm, NormKind, Norms};
use super::{Author, Family, encoder};
use crate::config::Document;
use crate::error::Result;

/// The row of the table of families.
pub const FAMILY: Family = Family { model_types: &["nomic_bert"], read };

/// The names of transformers, then those of nomic-ai.
const KEYS: Keys = Keys {
    hidden_size: &["hidden_size", "n_embd"],
    layers: &["num_hidden_layers", "n_layer"],
    heads: &["num_attention_heads", "n_head"],
    intermediate_size: &["intermediate_size", "n_inner"],
    activation: &["hidden_act"],
    positions: &["max_position_embeddings", "n_positions"],
};

/// nomic-ai's names of gated feed-forward blocks.
const GATED: &[(&str, Activation)] =
    &[("swiglu", Activation::Silu), ("geglu", Activation::Gelu), ("glu", Activation::Sigmoid)];

fn read(config: &Document) -> Result<Box<dyn Author>> {
    let is_original = config.has("n_embd");
    let sizes = if is_original {
        refuse_variants(config)?;
        Sizes::read_with(config, &KEYS, config.choice("activation_function", GATED)?)?
    } else {
        Sizes::read(config, &KEYS)?
    };
    let theta = if is_original { ("rotary_emb_base", 10_000.0) } else { ("rope_theta", 1000.0) };
    let keys = RotaryKeys { theta: theta.0, default_theta: theta.1, layer_type: None, scaled: true };
    let epsilon = config.first_of(&["layer_norm_eps", "layer_norm_epsilon"]).unwrap_or("layer_norm_eps");
    let mut rotary = Rotary::read(config, keys, sizes.head)?;
    if config.optional_f64_in("rotary_scaling_factor", 1.0..=1e6)?.is_some() {
        // The scaling changes frequencies only for texts beyond the trained length, and then with the text's length.
        rotary.max_tokens = Some(config.optional_usize_in("max_trained_positions", DIMENSION)?.unwrap_or(2048));
    }
    let model = Model {
        rotary,
        // The defaults of nomic-ai's code are GPT-2's.
        epsilon: config.f32_positive_or(epsilon, if is_original { 1e-5 } else { 1e-12 })?,
        attention_bias: config.bool_or("qkv_proj_bias", is_original)?,
        first_bias: config.bool_or("mlp_fc1_bias", is_original)?,
        second_bias: config.bool_or("mlp_fc2_bias", is_original)?,
        sizes,
    };
    let layers = (0..sizes.layers).map(|number| model.layer(number)).collect();
    let norm = model.norm("emb_ln".to_owned());
    let max_tokens = model.rotary.max_tokens;
    Ok(Box::new(encoder::with_computed_positions(config, &sizes, max_tokens, 2, norm, layers)?))
}

/// nomic-ai's code can be configured into models that nobody has published.
fn refuse_variants(config: &Document) -> Result<()> {
    for key in ["prenorm", "causal", "parallel_block", "use_rms_norm", "rotary_emb_interleaved"] {
        refuse_other_than(config, key, false)?;
    }
    if config.f64_in("rotary_emb_fraction", 0.0..=1.0)? < 1.0 {
        return Err(config.invalid("rotary_emb_fraction", "1.0 is understood: rotary positions for whole heads"));
    }
    if config.has("rotary_emb_scale_base") {
        return Err(config.invalid("rotary_emb_scale_base", "null is understood: positions that do not fade"));
    }
    for key in ["num_experts", "moe_every_n_layers"] {
        if config.optional_usize_in(key, 0..=usize::MAX)?.is_some_and(|count| count > 0) {
            return Err(config.invalid(key, "0 is understood: mixtures of experts are not supported"));
        }
    }
    Ok(())
}

struct Model {
    sizes: Sizes,
    rotary: Rotary,
    epsilon: f32,
    attention_bias: bool,
    first_bias: bool,
    second_bias: bool,
}

impl Model {
    fn norm(&self, stem: String) -> Norm {
        Norm { stem, kind: NormKind::Layer { bias: true }, epsilon: self.epsilon }
    }

    fn layer(&self, number: usize) -> Layer {
        let Sizes { hidden, intermediate: inner, .. } = self.sizes;
        let width = self.sizes.heads * self.sizes.head;
        let stem = format!("encoder.layers.{number}");
        let after = |part: &str| Norms::after_residual(self.norm(format!("{stem}.{part}")));
        let linear = |part: &str, inputs, outputs, bias| Linear::new(format!("{stem}.{part}"), inputs, outputs, bias);
        let [query, key, value] = Linear::parts(&format!("{stem}.attn.Wqkv"), hidden, [width; 3], self.attention_bias);
        let output = linear("attn.out_proj", width, hidden, self.attention_bias);
        Layer {
            attention: Attention {
                rotary: Some(self.rotary.clone()),
                ..Attention::new(&self.sizes, [query, key, value, output])
            },
            attention_norms: after("norm1"),
            feed_forward: FeedForward {
                up: linear("mlp.fc11", hidden, inner, self.first_bias),
                gate: Some(linear("mlp.fc12", hidden, inner, self.first_bias)),
                down: linear("mlp.fc2", inner, hidden, self.second_bias),
                activation: self.sizes.activation,
            },
            feed_forward_norms: after("norm2"),
        }
    }
}
