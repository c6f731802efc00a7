//! The encoder of 2018 that BERT, RoBERTa, XLM-RoBERTa, DistilBERT and MPNet share: embeddings, then blocks of
//! attention and feed-forward, each with a residual and a LayerNorm after it. What differs is data: [`Names`],
//! [`Settings`] and an optional relative position bias.
//!
//! The graph works on `(tokens, hidden)` matrices and goes to `(batch, sequence, hidden)` only for attention. That
//! keeps ONNX Runtime from fusing `Add` and `LayerNormalization` into `SkipLayerNormalization`, which is 8% slower
//! over the whole of MiniLM on a CPU, and gives `Gemm` the weights as they are stored, `(out, in)`.

use std::ops::RangeInclusive;

use super::activation::{ACTIVATIONS, Activation};
use super::builder::{Attribute, GraphBuilder, MICROSOFT, Value, WrittenGraph};
use super::proto::DataType;
use super::{Architecture, Author, PositionScheme};
use crate::config::Document;
use crate::error::Result;
use crate::weights::{StoredTensor, Weights};

/// Larger than any encoder that exists, small enough that products of two fit in `usize` and an allocation is sane.
pub const DIMENSION: RangeInclusive<usize> = 1..=1 << 20;
/// Number of layers or heads.
pub const COUNT: RangeInclusive<usize> = 1..=1 << 10;
/// Rows of a vocabulary.
pub const VOCABULARY: RangeInclusive<usize> = 1..=1 << 24;

/// Tensor names of a family; `{}` stands for the layer, and a linear or norm is the stem before `.weight`/`.bias`.
#[derive(Debug, Clone, Copy)]
pub struct Names {
    /// Stem of the LayerNorm after the embeddings.
    pub embedding_norm: &'static str,
    /// Stem of a layer.
    pub layer: &'static str,
    /// Stems inside a layer.
    pub query: &'static str,
    /// Stem of the key projection.
    pub key: &'static str,
    /// Stem of the value projection.
    pub value: &'static str,
    /// Stem of the attention's output projection.
    pub attention_output: &'static str,
    /// Stem of the LayerNorm after attention.
    pub attention_norm: &'static str,
    /// Stem of the first half of the feed-forward block.
    pub intermediate: &'static str,
    /// Stem of the second half.
    pub output: &'static str,
    /// Stem of the LayerNorm after the feed-forward block.
    pub output_norm: &'static str,
}

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
}

/// Adds a family's position bias `(1, heads, sequence, sequence)` to attention, given the input ids.
pub type AttentionBias = fn(&Encoder, &mut GraphBuilder, &Weights, &Value) -> Result<Value>;

/// A model of this kind, its settings read and checked.
#[derive(Debug, Clone)]
pub struct Encoder {
    /// What the engine must know.
    pub architecture: Architecture,
    /// Number of layers.
    pub layers: usize,
    /// Number of attention heads.
    pub heads: usize,
    /// Rows of the position table.
    pub position_rows: usize,
    /// Tensor names.
    pub names: &'static Names,
    /// The family's position bias.
    pub attention_bias: Option<AttentionBias>,
    /// Rows of the relative position table, where there is one.
    pub relative_rows: usize,
    intermediate_size: usize,
    activation: Activation,
    layer_norm_epsilon: f32,
}

impl Encoder {
    /// Reads what all families have in common.
    pub fn read(
        config: &Document,
        keys: &Keys,
        names: &'static Names,
        positions: PositionScheme,
        layer_norm_epsilon: f32,
    ) -> Result<Self> {
        let key = |names: &[&'static str]| config.first_of(names).or(names.first().copied()).unwrap_or_default();
        let hidden_size = config.usize_in(key(keys.hidden_size), DIMENSION)?;
        let heads = config.usize_in(key(keys.heads), COUNT)?;
        if hidden_size % heads != 0 {
            let problem = format!("must divide {} = {hidden_size}", key(keys.hidden_size));
            return Err(config.invalid(key(keys.heads), problem));
        }
        let position_rows = config.usize_in("max_position_embeddings", DIMENSION)?;
        let reserved = match positions {
            PositionScheme::FromZero => 0,
            PositionScheme::AfterPadding { padding_id } => padding_id as usize + 1,
        };
        let max_tokens = position_rows.checked_sub(reserved).filter(|tokens| *tokens > 0).ok_or_else(|| {
            config.invalid(
                "max_position_embeddings",
                format!("positions start after the padding id, so there must be more than {reserved} of them"),
            )
        })?;
        Ok(Self {
            architecture: Architecture {
                family: config.str("model_type")?.to_owned(),
                hidden_size,
                vocabulary_size: config.usize_in("vocab_size", VOCABULARY)?,
                max_tokens,
                positions: Some(positions),
                token_types: None,
            },
            layers: config.usize_in(key(keys.layers), COUNT)?,
            heads,
            position_rows,
            names,
            attention_bias: None,
            relative_rows: 0,
            intermediate_size: config.usize_in(key(keys.intermediate_size), DIMENSION)?,
            activation: config.choice(key(keys.activation), ACTIVATIONS)?,
            layer_norm_epsilon,
        })
    }
}

impl Author for Encoder {
    fn architecture(&self) -> Architecture {
        self.architecture.clone()
    }

    fn anchor(&self) -> &'static str {
        "embeddings.word_embeddings.weight"
    }

    fn write(&self, weights: &Weights) -> Result<WrittenGraph> {
        let mut writer = Writer::new(self, weights);
        let mut hidden = writer.embeddings()?;
        for layer in 0..self.layers {
            hidden = writer.layer(layer, &hidden)?;
        }
        Ok(writer.finish(&hidden))
    }
}

/// Writes one graph; holds the values that every layer uses.
struct Writer<'a> {
    encoder: &'a Encoder,
    weights: &'a Weights,
    builder: GraphBuilder,
    input_ids: Value,
    key_padding_mask: Value,
    attention_bias: Value,
    /// `(batch, sequence, hidden)`.
    sequence_shape: Value,
    /// `(tokens, hidden)`.
    token_shape: Value,
}

const SEQUENCE: [&str; 2] = ["batch", "sequence"];

impl<'a> Writer<'a> {
    fn new(encoder: &'a Encoder, weights: &'a Weights) -> Self {
        let mut builder = GraphBuilder::new(&encoder.architecture.family, weights.file_name());
        let input_ids = builder.input("input_ids", DataType::Int64, &SEQUENCE);
        let attention_mask = builder.input("attention_mask", DataType::Int64, &SEQUENCE);
        let to_int32 = [("to", Attribute::Int(DataType::Int32 as i64))];
        let key_padding_mask = builder.node("Cast", &[&attention_mask], &to_int32);
        let shape = builder.node("Shape", &[&input_ids], &[]);
        #[allow(clippy::cast_possible_wrap)] // Bounded by `DIMENSION`.
        let hidden = builder.integers(&[encoder.architecture.hidden_size as i64]);
        let sequence_shape = builder.node("Concat", &[&shape, &hidden], &[("axis", Attribute::Int(0))]);
        let rest = builder.integers(&[-1]);
        let token_shape = builder.node("Concat", &[&rest, &hidden], &[("axis", Attribute::Int(0))]);
        Self {
            encoder,
            weights,
            builder,
            input_ids,
            key_padding_mask,
            attention_bias: Value::none(),
            sequence_shape,
            token_shape,
        }
    }

    fn embeddings(&mut self) -> Result<Value> {
        let architecture = &self.encoder.architecture;
        let hidden = architecture.hidden_size;
        let words =
            self.weights.tensor("embeddings.word_embeddings.weight", &[architecture.vocabulary_size, hidden])?;
        let input_ids = self.input_ids.clone();
        let mut sum = self.look_up(words, &input_ids);
        if architecture.positions.is_some() {
            let rows = [self.encoder.position_rows, hidden];
            let table = self.weights.tensor("embeddings.position_embeddings.weight", &rows)?;
            let position_ids = self.builder.input("position_ids", DataType::Int64, &SEQUENCE);
            let positions = self.look_up(table, &position_ids);
            sum = self.builder.node("Add", &[&sum, &positions], &[]);
        }
        if let Some(rows) = architecture.token_types {
            let table = self.weights.tensor("embeddings.token_type_embeddings.weight", &[rows, hidden])?;
            let token_type_ids = self.builder.input("token_type_ids", DataType::Int64, &SEQUENCE);
            let token_types = self.look_up(table, &token_type_ids);
            sum = self.builder.node("Add", &[&sum, &token_types], &[]);
        }
        if let Some(attention_bias) = self.encoder.attention_bias {
            self.attention_bias = attention_bias(self.encoder, &mut self.builder, self.weights, &self.input_ids)?;
        }
        let tokens = self.builder.node("Reshape", &[&sum, &self.token_shape], &[]);
        self.norm(self.encoder.names.embedding_norm, &tokens)
    }

    fn look_up(&mut self, table: &StoredTensor, ids: &Value) -> Value {
        let stored = self.builder.table(table);
        let rows = self.builder.node("Gather", &[&stored, ids], &[]);
        if table.dtype == crate::weights::StoredType::Float32 {
            return rows;
        }
        self.builder.node("Cast", &[&rows], &[("to", Attribute::Int(DataType::Float as i64))])
    }

    fn layer(&mut self, layer: usize, hidden: &Value) -> Result<Value> {
        let names = self.encoder.names;
        let stem = names.layer.replace("{}", &layer.to_string());
        let name = |part: &str| format!("{stem}.{part}");
        let width = self.encoder.architecture.hidden_size;
        let inner = self.encoder.intermediate_size;

        let query = self.linear(&name(names.query), hidden, width, width)?;
        let key = self.linear(&name(names.key), hidden, width, width)?;
        let value = self.linear(&name(names.value), hidden, width, width)?;
        let context = self.attention(&query, &key, &value);
        let attended = self.linear(&name(names.attention_output), &context, width, width)?;
        let sum = self.builder.node("Add", &[&attended, hidden], &[]);
        let hidden = self.norm(&name(names.attention_norm), &sum)?;

        let intermediate = self.linear(&name(names.intermediate), &hidden, width, inner)?;
        let activated = self.encoder.activation.apply(&mut self.builder, &intermediate);
        let output = self.linear(&name(names.output), &activated, inner, width)?;
        let sum = self.builder.node("Add", &[&output, &hidden], &[]);
        self.norm(&name(names.output_norm), &sum)
    }

    fn attention(&mut self, query: &Value, key: &Value, value: &Value) -> Value {
        let [query, key, value] =
            [query, key, value].map(|tokens| self.builder.node("Reshape", &[tokens, &self.sequence_shape], &[]));
        #[allow(clippy::cast_possible_wrap)] // Bounded by `COUNT`.
        let heads = self.encoder.heads as i64;
        let none = Value::none();
        let context = self.builder.node_in(
            MICROSOFT,
            "MultiHeadAttention",
            &[&query, &key, &value, &none, &self.key_padding_mask, &self.attention_bias],
            // The default of -10000 leaks padding into models with large scores.
            &[("num_heads", Attribute::Int(heads)), ("mask_filter_value", Attribute::Float(f32::MIN))],
        );
        self.builder.node("Reshape", &[&context, &self.token_shape], &[])
    }

    fn linear(&mut self, stem: &str, input: &Value, inputs: usize, outputs: usize) -> Result<Value> {
        let weight = self.builder.weight(self.weights.tensor(&format!("{stem}.weight"), &[outputs, inputs])?);
        let bias = self.builder.weight(self.weights.tensor(&format!("{stem}.bias"), &[outputs])?);
        Ok(self.builder.node("Gemm", &[input, &weight, &bias], &[("transB", Attribute::Int(1))]))
    }

    fn norm(&mut self, stem: &str, input: &Value) -> Result<Value> {
        let shape = [self.encoder.architecture.hidden_size];
        let [scale, bias] = [("weight", "gamma"), ("bias", "beta")].map(|(name, tensorflow_name)| {
            // Checkpoints converted from TensorFlow keep its names; transformers renames them when it loads.
            let old = format!("{stem}.{tensorflow_name}");
            let new = format!("{stem}.{name}");
            self.weights.tensor(if self.weights.has(&old) && !self.weights.has(&new) { &old } else { &new }, &shape)
        });
        let [scale, bias] = [self.builder.weight(scale?), self.builder.weight(bias?)];
        let epsilon = self.encoder.layer_norm_epsilon;
        let attributes = [("axis", Attribute::Int(-1)), ("epsilon", Attribute::Float(epsilon))];
        Ok(self.builder.node("LayerNormalization", &[input, &scale, &bias], &attributes))
    }

    fn finish(mut self, hidden: &Value) -> WrittenGraph {
        let output = self.builder.node("Reshape", &[hidden, &self.sequence_shape], &[]);
        let width = self.encoder.architecture.hidden_size.to_string();
        self.builder.output("last_hidden_state", &output, DataType::Float, &["batch", "sequence", &width]);
        self.builder.finish()
    }
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
