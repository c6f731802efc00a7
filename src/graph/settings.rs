//! Settings of `config.json` that every family has, under whatever names it has them.

use std::ops::RangeInclusive;

use super::activation::{ACTIVATIONS, Activation};
use crate::config::Document;
use crate::error::Result;

/// Larger than any model that exists, small enough that products of two fit in `usize` and an allocation is sane.
pub const DIMENSION: RangeInclusive<usize> = 1..=1 << 20;
/// Number of layers or heads.
pub const COUNT: RangeInclusive<usize> = 1..=1 << 10;
/// Width of a head: ten times what any model has.
pub const HEAD: RangeInclusive<usize> = 1..=1 << 12;
/// Rows of a vocabulary.
pub const VOCABULARY: RangeInclusive<usize> = 1..=1 << 24;

/// Keys of `config.json` that families spell differently; the first that is there counts.
#[derive(Debug, Clone, Copy)]
pub struct Keys {
    /// Width of a token's vector.
    pub hidden_size: &'static [&'static str],
    /// Number of layers.
    pub layers: &'static [&'static str],
    /// Number of attention heads.
    pub heads: &'static [&'static str],
    /// Width inside the feed-forward block.
    pub intermediate_size: &'static [&'static str],
    /// Activation inside the feed-forward block.
    pub activation: &'static [&'static str],
    /// The most tokens of a text.
    pub positions: &'static [&'static str],
}

impl Keys {
    /// The names of most families.
    pub const USUAL: Self = Self {
        hidden_size: &["hidden_size"],
        layers: &["num_hidden_layers"],
        heads: &["num_attention_heads"],
        intermediate_size: &["intermediate_size"],
        activation: &["hidden_act"],
        positions: &["max_position_embeddings"],
    };
}

/// The sizes of a model.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Width of a token's vector.
    pub hidden: usize,
    /// Number of layers.
    pub layers: usize,
    /// Number of attention heads.
    pub heads: usize,
    /// Width of a head.
    pub head: usize,
    /// Width inside the feed-forward block.
    pub intermediate: usize,
    /// Activation inside the feed-forward block.
    pub activation: Activation,
    /// Rows of the token table.
    pub vocabulary: usize,
    /// The most tokens of a text, as the file says it.
    pub positions: usize,
}

impl Sizes {
    /// Reads and checks them; heads share the hidden size equally, unless `head_dim` says their width.
    ///
    /// # Errors
    /// `InvalidModel` naming the key that is missing or out of range.
    pub fn read(config: &Document, keys: &Keys) -> Result<Self> {
        let key = config.first_of(keys.activation).or(keys.activation.first().copied()).unwrap_or_default();
        Self::read_with(config, keys, config.choice(key, ACTIVATIONS)?)
    }

    /// As [`Sizes::read`], for a family that has its own names for activations.
    ///
    /// # Errors
    /// As [`Sizes::read`].
    pub fn read_with(config: &Document, keys: &Keys, activation: Activation) -> Result<Self> {
        let key = |names: &[&'static str]| config.first_of(names).or(names.first().copied()).unwrap_or_default();
        let hidden = config.usize_in(key(keys.hidden_size), DIMENSION)?;
        let heads = config.usize_in(key(keys.heads), COUNT)?;
        let head = match config.optional_usize_in("head_dim", HEAD)? {
            Some(head) => head,
            None if hidden % heads != 0 => {
                let problem = format!("must divide {} = {hidden}", key(keys.hidden_size));
                return Err(config.invalid(key(keys.heads), problem));
            }
            None if !HEAD.contains(&(hidden / heads)) => {
                let problem = format!("heads of {} values are wider than any model has", hidden / heads);
                return Err(config.invalid(key(keys.heads), problem));
            }
            None => hidden / heads,
        };
        Ok(Self {
            hidden,
            layers: config.usize_in(key(keys.layers), COUNT)?,
            heads,
            head,
            intermediate: config.usize_in(key(keys.intermediate_size), DIMENSION)?,
            activation,
            vocabulary: config.usize_in("vocab_size", VOCABULARY)?,
            positions: config.usize_in(key(keys.positions), DIMENSION)?,
        })
    }

    /// For a family whose heads share a token's values equally.
    ///
    /// # Errors
    /// `InvalidModel` where `head_dim` says otherwise.
    pub fn with_equal_heads(self, config: &Document) -> Result<Self> {
        if self.head * self.heads == self.hidden {
            return Ok(self);
        }
        let problem = format!("heads share the {} values of a token equally in this family", self.hidden);
        Err(config.invalid("head_dim", problem))
    }

    /// The number of heads with keys and values of their own, which divides the number of heads.
    ///
    /// # Errors
    /// `InvalidModel` where it does not.
    pub fn key_value_heads(&self, config: &Document) -> Result<usize> {
        const KEY: &str = "num_key_value_heads";
        let count = config.optional_usize_in(KEY, COUNT)?.unwrap_or(self.heads);
        if !self.heads.is_multiple_of(count) {
            return Err(config.invalid(KEY, format!("must divide num_attention_heads = {}", self.heads)));
        }
        Ok(count)
    }

    /// What scores are multiplied by where nothing else is said: one over the square root of a head's width.
    pub fn scale(&self) -> f32 {
        1.0 / (self.head as f32).sqrt()
    }
}

/// The kinds of layers of a model whose layers differ in what they attend to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerType {
    /// To all tokens.
    Full,
    /// To those nearby.
    Sliding,
}

impl LayerType {
    /// `layer_types` as transformers 5 writes it, or what `otherwise` says of each layer.
    ///
    /// # Errors
    /// `InvalidModel` for a kind that is not known or a list of another length.
    pub fn read(config: &Document, layers: usize, otherwise: impl Fn(usize) -> Self) -> Result<Vec<Self>> {
        const KEY: &str = "layer_types";
        let Some(names) = config.optional_strings(KEY)? else {
            return Ok((0..layers).map(otherwise).collect());
        };
        let kind = |name: &&str| match *name {
            "full_attention" => Some(Self::Full),
            "sliding_attention" => Some(Self::Sliding),
            _ => None,
        };
        let kinds: Option<Vec<Self>> = names.iter().map(kind).collect();
        match kinds {
            Some(kinds) if kinds.len() == layers => Ok(kinds),
            _ => {
                let problem =
                    format!("\"full_attention\" or \"sliding_attention\" is needed for each of the {layers} layers");
                Err(config.invalid(KEY, problem))
            }
        }
    }

    /// The name in `config.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full_attention",
            Self::Sliding => "sliding_attention",
        }
    }
}

/// Refuses settings whose presence would change the vectors and which no graph here has.
///
/// # Errors
/// `InvalidModel` naming the first key with another value than the one that is understood.
pub fn refuse_other_than(config: &Document, key: &str, understood: bool) -> Result<()> {
    match config.optional_bool(key)? {
        Some(value) if value != understood => Err(config.invalid(key, format!("{understood} is understood"))),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Keys, LayerType, Sizes, refuse_other_than};
    use crate::config::Document;
    use crate::error::Result;

    fn document(more: &str) -> Document {
        let text = format!(
            r#"{{"hidden_size": 24, "num_hidden_layers": 2, "intermediate_size": 40, "hidden_act": "gelu",
               "vocab_size": 100, "max_position_embeddings": 64{more}}}"#
        );
        Document::from_text("config.json", &text).unwrap()
    }

    fn sizes(more: &str) -> Result<Sizes> {
        Sizes::read(&document(more), &Keys::USUAL)
    }

    #[test]
    fn heads_share_the_width_unless_theirs_is_given() {
        assert_eq!(sizes(r#", "num_attention_heads": 6"#).unwrap().head, 4);
        assert_eq!(sizes(r#", "num_attention_heads": 6, "head_dim": null"#).unwrap().head, 4);
        let wide = sizes(r#", "num_attention_heads": 5, "head_dim": 16"#).unwrap();
        assert_eq!((wide.heads, wide.head), (5, 16));
        assert!((wide.scale() - 0.25).abs() < 1e-7);
    }

    #[test]
    fn heads_that_cannot_share_the_width_are_refused() {
        let error = sizes(r#", "num_attention_heads": 5"#).unwrap_err().to_string();
        assert_eq!(error, "config.json: num_attention_heads = 5: must divide hidden_size = 24");
        for heads in ["0", "-3", "2000000", "2.5", "\"4\""] {
            let error = sizes(&format!(r#", "num_attention_heads": {heads}"#)).unwrap_err().to_string();
            assert!(error.contains(&format!("num_attention_heads = {heads}")), "{error}");
        }
        let error = sizes(r#", "num_attention_heads": 6, "head_dim": 0"#).unwrap_err().to_string();
        assert!(error.contains("head_dim = 0"), "{error}");
    }

    #[test]
    fn groups_of_heads_share_keys() {
        let count = |more: &str| {
            let config = document(&format!(r#", "num_attention_heads": 6{more}"#));
            Sizes::read(&config, &Keys::USUAL).unwrap().key_value_heads(&config)
        };
        assert_eq!(count("").unwrap(), 6);
        assert_eq!(count(r#", "num_key_value_heads": null"#).unwrap(), 6);
        assert_eq!(count(r#", "num_key_value_heads": 2"#).unwrap(), 2);
        for heads in ["4", "12", "0"] {
            let error = count(&format!(r#", "num_key_value_heads": {heads}"#)).unwrap_err().to_string();
            assert!(error.contains(&format!("num_key_value_heads = {heads}")), "{error}");
        }
    }

    #[test]
    fn the_first_spelling_that_is_there_is_named() {
        let keys = Keys { heads: &["n_head", "num_attention_heads"], ..Keys::USUAL };
        let read = |more: &str| Sizes::read(&document(more), &keys);
        assert_eq!(read(r#", "num_attention_heads": 6"#).unwrap().heads, 6);
        assert_eq!(read(r#", "num_attention_heads": 6, "n_head": 3"#).unwrap().heads, 3);
        let error = read("").unwrap_err().to_string();
        assert!(error.contains("n_head"), "{error}");
    }

    #[test]
    fn layer_types_are_the_list_or_what_the_family_says() {
        let read = |more: &str| {
            let config = document(more);
            LayerType::read(&config, 2, |layer| if layer == 0 { LayerType::Full } else { LayerType::Sliding })
        };
        assert_eq!(read("").unwrap(), [LayerType::Full, LayerType::Sliding]);
        assert_eq!(read(r#", "layer_types": null"#).unwrap(), [LayerType::Full, LayerType::Sliding]);
        let listed = read(r#", "layer_types": ["sliding_attention", "full_attention"]"#).unwrap();
        assert_eq!(listed, [LayerType::Sliding, LayerType::Full]);
        assert_eq!(listed.iter().map(|kind| kind.name()).collect::<Vec<_>>(), ["sliding_attention", "full_attention"]);
        let wrong = [
            r#"["full_attention"]"#,
            r#"["full_attention", "full_attention", "full_attention"]"#,
            r#"["full_attention", "linear_attention"]"#,
            "[1, 2]",
            "\"full_attention\"",
        ];
        for list in wrong {
            let error = read(&format!(r#", "layer_types": {list}"#)).unwrap_err().to_string();
            assert!(error.contains("layer_types = "), "{error}");
        }
    }

    #[test]
    fn a_switch_may_be_absent_or_have_the_value_that_is_understood() {
        for more in ["", r#", "causal": null"#, r#", "causal": false"#] {
            refuse_other_than(&document(more), "causal", false).unwrap();
        }
        let error = refuse_other_than(&document(r#", "causal": true"#), "causal", false).unwrap_err().to_string();
        assert_eq!(error, "config.json: causal = true: false is understood");
        assert!(refuse_other_than(&document(r#", "causal": 1"#), "causal", false).is_err());
    }
}
