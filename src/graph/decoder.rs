//! The decoder that Llama made usual and that Mistral, Qwen2 and Qwen3 vary: norms before each half of a block,
//! rotary positions, gated feed-forward, keys shared by groups of heads. What differs is data: [`Variant`].
//!
//! Agrees with `transformers` `LlamaModel`, `MistralModel`, `Qwen2Model` and `Qwen3Model`.

use super::rotary::{Rotary, RotaryKeys};
use super::settings::{COUNT, DIMENSION, Keys, LayerType, Sizes};
use super::transformer::{
    Attention, Embeddings, FeedForward, Layer, Linear, Norm, NormKind, Norms, Reach, Transformer,
};
use super::{Architecture, Author, Family};
use crate::config::Document;
use crate::error::Result;

/// The row of the table of families.
pub const FAMILY: Family = Family { model_types: &["llama", "mistral", "qwen2", "qwen3"], read };

/// Which projections of attention have a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AttentionBias {
    /// None.
    No,
    /// Those to queries, keys and values.
    Inputs,
    /// All four, where `attention_bias` says so.
    Setting,
}

/// Which layers have a sliding window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Window {
    /// None.
    No,
    /// All, where `sliding_window` is a number.
    All,
    /// Those that `layer_types`, or `use_sliding_window` and `max_window_layers`, say.
    Some,
}

/// What the members of the family differ in.
struct Variant {
    bias: AttentionBias,
    window: Window,
    head_norms: bool,
    feed_forward_bias: bool,
    default_head_size: Option<usize>,
}

fn variant(config: &Document) -> Result<Variant> {
    let usual = Variant {
        bias: AttentionBias::No,
        window: Window::No,
        head_norms: false,
        feed_forward_bias: false,
        default_head_size: None,
    };
    Ok(match config.str("model_type")? {
        "mistral" => Variant { window: Window::All, ..usual },
        "qwen2" => Variant { bias: AttentionBias::Inputs, window: Window::Some, ..usual },
        "qwen3" => Variant {
            bias: AttentionBias::Setting,
            window: Window::Some,
            head_norms: true,
            default_head_size: Some(128),
            ..usual
        },
        _ => Variant { bias: AttentionBias::Setting, feed_forward_bias: config.bool_or("mlp_bias", false)?, ..usual },
    })
}

fn read(config: &Document) -> Result<Box<dyn Author>> {
    let variant = variant(config)?;
    let mut sizes = Sizes::read(config, &Keys::USUAL)?;
    if let (Some(head), false) = (variant.default_head_size, config.has("head_dim")) {
        sizes.head = head;
    }
    let keys = RotaryKeys { theta: "rope_theta", default_theta: 10_000.0, layer_type: None, scaled: true };
    let attention_bias = config.bool_or("attention_bias", false)?;
    let model = Model {
        sizes,
        key_value_heads: sizes.key_value_heads(config)?,
        rotary: Rotary::read(config, keys, sizes.head)?,
        epsilon: config.f32_positive_or("rms_norm_eps", 1e-6)?,
        input_bias: variant.bias == AttentionBias::Inputs || variant.bias == AttentionBias::Setting && attention_bias,
        output_bias: variant.bias == AttentionBias::Setting && attention_bias,
        variant,
    };
    let reaches = reaches(config, model.variant.window, sizes.layers)?;
    Ok(Box::new(Transformer {
        architecture: Architecture::with_computed_positions(config, &sizes, model.rotary.max_tokens)?,
        embeddings: Embeddings::of_tokens("embed_tokens.weight"),
        layers: reaches.into_iter().enumerate().map(|(number, reach)| model.layer(number, reach)).collect(),
        final_norm: Some(model.norm("norm".to_owned())),
        position_bias: None,
    }))
}

/// What each layer attends to. `is_causal` = false makes the model look both ways, as transformers does.
fn reaches(config: &Document, kind: Window, layers: usize) -> Result<Vec<Reach>> {
    let is_causal = config.bool_or("is_causal", true)?;
    let window = config.optional_usize_in("sliding_window", DIMENSION)?;
    let kinds = match (kind, window) {
        (Window::No, _) | (Window::All, None) => vec![LayerType::Full; layers],
        (Window::All, Some(_)) => vec![LayerType::Sliding; layers],
        (Window::Some, window) => {
            let is_used = config.bool_or("use_sliding_window", false)? && window.is_some();
            let from = config.optional_usize_in("max_window_layers", 0..=*COUNT.end())?.unwrap_or(28);
            let kind = |layer| if is_used && layer >= from { LayerType::Sliding } else { LayerType::Full };
            let kinds = LayerType::read(config, layers, kind)?;
            if !is_used && kinds.contains(&LayerType::Sliding) {
                let problem = "some layers are said to slide, which needs use_sliding_window and sliding_window";
                return Err(config.invalid("layer_types", problem));
            }
            kinds
        }
    };
    let reach = |kind: LayerType| match (kind, window.filter(|_| kind == LayerType::Sliding), is_causal) {
        (_, None, true) => Reach::CAUSAL,
        (_, None, false) => Reach::ALL,
        (_, Some(window), true) => Reach::last(window),
        (_, Some(window), false) => Reach::within(window),
    };
    Ok(kinds.into_iter().map(reach).collect())
}

struct Model {
    sizes: Sizes,
    key_value_heads: usize,
    rotary: Rotary,
    epsilon: f32,
    input_bias: bool,
    output_bias: bool,
    variant: Variant,
}

impl Model {
    fn norm(&self, stem: String) -> Norm {
        Norm { stem, kind: NormKind::RootMeanSquare { offset: 0.0 }, epsilon: self.epsilon }
    }

    fn layer(&self, number: usize, reach: Reach) -> Layer {
        let Sizes { hidden, intermediate: inner, heads, head, .. } = self.sizes;
        let (query_width, key_width) = (heads * head, self.key_value_heads * head);
        let stem = format!("layers.{number}");
        let before = |part: &str| Norms::before(self.norm(format!("{stem}.{part}")));
        let linear = |part: &str, inputs, outputs, bias| Linear::new(format!("{stem}.{part}"), inputs, outputs, bias);
        let head_norm =
            |part: &str| self.variant.head_norms.then(|| self.norm(format!("{stem}.self_attn.{part}_norm")));
        let projections = [
            linear("self_attn.q_proj", hidden, query_width, self.input_bias),
            linear("self_attn.k_proj", hidden, key_width, self.input_bias),
            linear("self_attn.v_proj", hidden, key_width, self.input_bias),
            linear("self_attn.o_proj", query_width, hidden, self.output_bias),
        ];
        let bias = self.variant.feed_forward_bias;
        Layer {
            attention: Attention {
                query_norm: head_norm("q"),
                key_norm: head_norm("k"),
                key_value_heads: self.key_value_heads,
                rotary: Some(self.rotary.clone()),
                reach,
                ..Attention::new(&self.sizes, projections)
            },
            attention_norms: before("input_layernorm"),
            feed_forward: FeedForward {
                up: linear("mlp.up_proj", hidden, inner, bias),
                gate: Some(linear("mlp.gate_proj", hidden, inner, bias)),
                down: linear("mlp.down_proj", inner, hidden, bias),
                activation: self.sizes.activation,
            },
            feed_forward_norms: before("post_attention_layernorm"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Reach, Window, reaches};
    use crate::config::Document;
    use crate::error::Result;

    fn read(kind: Window, text: &str) -> Result<Vec<Reach>> {
        reaches(&Document::from_text("config.json", text).unwrap(), kind, 3)
    }

    #[test]
    fn llama_has_no_window() {
        assert_eq!(read(Window::No, r#"{"sliding_window": 8}"#).unwrap(), [Reach::CAUSAL; 3]);
        assert_eq!(read(Window::No, r#"{"is_causal": false}"#).unwrap(), [Reach::ALL; 3]);
    }

    #[test]
    fn mistral_has_one_in_all_layers_where_it_is_a_number() {
        assert_eq!(read(Window::All, r#"{"sliding_window": null}"#).unwrap(), [Reach::CAUSAL; 3]);
        assert_eq!(read(Window::All, r#"{"sliding_window": 8}"#).unwrap(), [Reach::last(8); 3]);
        let text = r#"{"sliding_window": 8, "is_causal": false}"#;
        assert_eq!(read(Window::All, text).unwrap(), [Reach::within(8); 3]);
    }

    #[test]
    fn qwen_has_one_in_the_layers_that_are_said_to_slide() {
        assert_eq!(read(Window::Some, r#"{"sliding_window": 8}"#).unwrap(), [Reach::CAUSAL; 3]);
        let text = r#"{"sliding_window": 8, "use_sliding_window": true, "max_window_layers": 2}"#;
        assert_eq!(read(Window::Some, text).unwrap(), [Reach::CAUSAL, Reach::CAUSAL, Reach::last(8)]);
        let text = r#"{"sliding_window": 8, "use_sliding_window": true,
            "layer_types": ["sliding_attention", "full_attention", "full_attention"]}"#;
        assert_eq!(read(Window::Some, text).unwrap(), [Reach::last(8), Reach::CAUSAL, Reach::CAUSAL]);
    }

    #[test]
    fn settings_that_contradict_each_other_are_refused() {
        let types = r#""layer_types": ["full_attention", "full_attention", "sliding_attention"]"#;
        for more in [r#""sliding_window": 8"#, r#""use_sliding_window": true"#] {
            let error = read(Window::Some, &format!("{{{types}, {more}}}")).unwrap_err().to_string();
            assert!(error.contains("layer_types = ") && error.contains("use_sliding_window"), "{error}");
        }
        for (kind, window) in [(Window::All, "0"), (Window::Some, "-1"), (Window::All, "\"8\"")] {
            let error = read(kind, &format!(r#"{{"sliding_window": {window}}}"#)).unwrap_err().to_string();
            assert!(error.contains("sliding_window"), "{error}");
        }
    }
}
