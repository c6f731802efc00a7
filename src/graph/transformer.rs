//! A transformer as data: what a family's file says, and what [`super::writer`] turns into a graph.
//!
//! Every family here is the same walk: look tokens up, then blocks of attention and feed-forward with residuals, then
//! perhaps a norm. What differs is which norms stand where, how positions enter, what may attend to what, and the
//! names of the tensors. All of that is plain data.

use std::ops::Range;

use super::activation::Activation;
use super::attention::dimension;
use super::builder::{Value, WrittenGraph};
use super::rotary::Rotary;
use super::settings::Sizes;
use super::target::Target;
use super::writer::Writer;
use super::{Architecture, Author, Part, Site};
use crate::error::Result;
use crate::postprocess::Postprocess;
use crate::weights::Weights;

/// A model, its settings read and checked.
#[derive(Debug, Clone)]
pub struct Transformer {
    /// What the engine must know.
    pub architecture: Architecture,
    /// From token ids to vectors.
    pub embeddings: Embeddings,
    /// The blocks, in order.
    pub layers: Vec<Layer>,
    /// The norm after the last block.
    pub final_norm: Option<Norm>,
    /// A bias that is added to the scores of every layer, by the positions of query and key.
    pub position_bias: Option<PositionBias>,
}

/// A bias by position, looked up in a table.
#[derive(Debug, Clone, Copy)]
pub struct PositionBias {
    /// Rows of the table.
    pub rows: usize,
    /// Writes the bias `(1, heads, sequence, sequence)`, given the table's rows and the number of heads.
    pub write: fn(&mut Writer<'_>, usize, usize) -> Result<Value>,
}

/// From token ids to vectors: a sum of rows of tables.
#[derive(Debug, Clone)]
pub struct Embeddings {
    /// The table of tokens.
    pub tokens: &'static str,
    /// The table of positions, and how many rows it has.
    pub positions: Option<(&'static str, usize)>,
    /// The table of token types; its rows are in [`Architecture::token_types`].
    pub token_types: Option<&'static str>,
    /// What the sum is multiplied by.
    pub scale: Option<f32>,
    /// The norm of the sum.
    pub norm: Option<Norm>,
}

impl Embeddings {
    /// Of tokens alone.
    pub fn of_tokens(tokens: &'static str) -> Self {
        Self { tokens, positions: None, token_types: None, scale: None, norm: None }
    }
}

/// A block of attention and feed-forward.
#[derive(Debug, Clone)]
pub struct Layer {
    /// Attention.
    pub attention: Attention,
    /// Its norms.
    pub attention_norms: Norms,
    /// The feed-forward half.
    pub feed_forward: FeedForward,
    /// Its norms.
    pub feed_forward_norms: Norms,
}

/// Where the norms of half a block stand: `after_residual(x + after(half(before(x))))`.
#[derive(Debug, Clone, Default)]
pub struct Norms {
    /// On the way in.
    pub before: Option<Norm>,
    /// On the way out, before the residual is added.
    pub after: Option<Norm>,
    /// Of the sum with the residual.
    pub after_residual: Option<Norm>,
}

impl Norms {
    /// On the way in alone.
    pub fn before(norm: Norm) -> Self {
        Self { before: Some(norm), ..Self::default() }
    }

    /// Of the sum with the residual alone.
    pub fn after_residual(norm: Norm) -> Self {
        Self { after_residual: Some(norm), ..Self::default() }
    }
}

/// A normalization over the last dimension.
#[derive(Debug, Clone, PartialEq)]
pub struct Norm {
    /// Name of its tensors without `.weight` and `.bias`.
    pub stem: String,
    /// Which one.
    pub kind: NormKind,
    /// Added to the variance.
    pub epsilon: f32,
}

/// The two normalizations in use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum NormKind {
    /// Mean and variance, with a bias or without.
    Layer {
        /// Whether there is a bias.
        bias: bool,
    },
    /// Root mean square; `offset` is added to the weight (1 in Gemma).
    RootMeanSquare {
        /// What is added to the stored weight.
        offset: f32,
    },
}

/// A linear layer, or some of the rows of a stored one.
#[derive(Debug, Clone)]
pub struct Linear {
    /// Name of its tensors without `.weight` and `.bias`.
    pub stem: String,
    /// Width of the input.
    pub inputs: usize,
    /// The rows of the stored matrix that are this layer; families store query, key and value as one.
    pub rows: Range<usize>,
    /// Number of rows that are stored.
    pub stored_rows: usize,
    /// Whether there is a bias.
    pub bias: bool,
}

impl Linear {
    /// A layer that is stored alone.
    pub fn new(stem: String, inputs: usize, outputs: usize, bias: bool) -> Self {
        Self { stem, inputs, rows: 0..outputs, stored_rows: outputs, bias }
    }

    /// A stored matrix cut into layers of the given widths.
    pub fn parts<const N: usize>(stem: &str, inputs: usize, widths: [usize; N], bias: bool) -> [Self; N] {
        let stored_rows = widths.iter().sum();
        let mut start = 0;
        widths.map(|width| {
            let rows = start..start + width;
            start += width;
            Self { stem: stem.to_owned(), inputs, rows, stored_rows, bias }
        })
    }
}

/// Attention of every token to those in its reach.
#[derive(Debug, Clone)]
pub struct Attention {
    /// To queries, `heads * head_size` wide.
    pub query: Linear,
    /// To keys, `key_value_heads * head_size` wide.
    pub key: Linear,
    /// To values, as wide as keys.
    pub value: Linear,
    /// Back to the width of the model.
    pub output: Linear,
    /// Norm of each head's query.
    pub query_norm: Option<Norm>,
    /// Norm of each head's key.
    pub key_norm: Option<Norm>,
    /// Number of heads.
    pub heads: usize,
    /// Number of heads that have keys and values of their own; it divides `heads`.
    pub key_value_heads: usize,
    /// Width of a head.
    pub head_size: usize,
    /// What scores are multiplied by.
    pub scale: f32,
    /// How positions turn queries and keys.
    pub rotary: Option<Rotary>,
    /// What a token attends to.
    pub reach: Reach,
}

impl Attention {
    /// What most families have: heads that share the model's width, each with keys of its own, attending to all
    /// tokens; the layers are those to queries, keys and values and back.
    pub fn new(sizes: &Sizes, [query, key, value, output]: [Linear; 4]) -> Self {
        Self {
            query,
            key,
            value,
            output,
            query_norm: None,
            key_norm: None,
            heads: sizes.heads,
            key_value_heads: sizes.heads,
            head_size: sizes.head,
            scale: sizes.scale(),
            rotary: None,
            reach: Reach::ALL,
        }
    }
}

/// How many tokens before and after it a token attends to; `None` is all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    /// Tokens before.
    pub before: Option<usize>,
    /// Tokens after; 0 makes a model causal.
    pub after: Option<usize>,
}

impl Reach {
    /// Every token.
    pub const ALL: Self = Self { before: None, after: None };
    /// The tokens up to this one.
    pub const CAUSAL: Self = Self { before: None, after: Some(0) };

    /// The tokens at most `distance` away, on both sides.
    pub fn within(distance: usize) -> Self {
        Self { before: Some(distance), after: Some(distance) }
    }

    /// The last `tokens` tokens, this one included.
    pub fn last(tokens: usize) -> Self {
        Self { before: Some(tokens.saturating_sub(1)), after: Some(0) }
    }

    /// What the key's position less the query's is compared with, by which operator.
    pub fn limits(self) -> impl Iterator<Item = (&'static str, i64)> {
        let before = self.before.map(|before| ("GreaterOrEqual", -dimension(before)));
        let after = self.after.map(|after| ("LessOrEqual", dimension(after)));
        before.into_iter().chain(after)
    }

    /// A window that no text is longer than is none.
    pub fn for_texts_of(self, tokens: usize) -> Self {
        let matters = |distance: &usize| *distance + 1 < tokens;
        Self { before: self.before.filter(matters), after: self.after.filter(|after| *after == 0 || matters(after)) }
    }
}

/// The feed-forward half of a block: `down(activation(up(x)))`, or gated: `down(activation(gate(x)) * up(x))`.
#[derive(Debug, Clone)]
pub struct FeedForward {
    /// To the inner width.
    pub up: Linear,
    /// The gate, of the same shape.
    pub gate: Option<Linear>,
    /// Back to the width of the model.
    pub down: Linear,
    /// The function between.
    pub activation: Activation,
}

impl Author for Transformer {
    fn architecture(&self) -> Architecture {
        self.architecture.clone()
    }

    fn anchor(&self) -> &'static str {
        self.embeddings.tokens
    }

    fn write(&self, weights: &Weights, target: &Target, head: Option<&Postprocess>) -> Result<WrittenGraph> {
        Writer::new(self, weights, target).write(head)
    }

    fn sites(&self) -> Vec<[Site; 4]> {
        self.layers.iter().map(Layer::sites).collect()
    }

    fn write_part(&self, weights: &Weights, target: &Target, part: Part) -> Result<WrittenGraph> {
        Writer::new(self, weights, target).write_part(part)
    }
}

#[cfg(test)]
mod tests {
    use super::{Linear, Reach};

    #[test]
    fn a_window_counts_the_token_itself_only_when_it_looks_back() {
        assert_eq!(Reach::last(4), Reach { before: Some(3), after: Some(0) });
        assert_eq!(Reach::last(1), Reach { before: Some(0), after: Some(0) });
        assert_eq!(Reach::within(4), Reach { before: Some(4), after: Some(4) });
    }

    #[test]
    fn a_window_that_no_text_is_longer_than_is_none() {
        // In a text of 5 tokens the first and the last are 4 apart.
        assert_eq!(Reach::within(4).for_texts_of(5), Reach::ALL);
        assert_eq!(Reach::within(3).for_texts_of(5), Reach::within(3));
        assert_eq!(Reach::last(5).for_texts_of(5), Reach::CAUSAL);
        assert_eq!(Reach::last(4).for_texts_of(5), Reach::last(4));
        assert_eq!(Reach::ALL.for_texts_of(5), Reach::ALL);
        for tokens in [0, 1, usize::MAX] {
            assert_eq!(Reach::CAUSAL.for_texts_of(tokens), Reach::CAUSAL, "{tokens}");
        }
    }

    #[test]
    fn parts_share_the_rows_of_a_stored_matrix() {
        let [query, key, value] = Linear::parts("qkv", 7, [8, 4, 4], true);
        assert_eq!([query.rows, key.rows, value.rows.clone()], [0..8, 8..12, 12..16]);
        assert_eq!((value.stem.as_str(), value.inputs, value.stored_rows, value.bias), ("qkv", 7, 16, true));
    }
}
