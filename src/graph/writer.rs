//! Writes the graph of a [`Transformer`] for a [`Target`].
//!
//! The graph works on `(tokens, hidden)` matrices and goes to `(batch, sequence, …)` only for attention. That keeps
//! ONNX Runtime from fusing `Add` and `LayerNormalization` into `SkipLayerNormalization`, which is 8% slower over the
//! whole of MiniLM on a CPU, and gives `Gemm` the weights as they are stored, `(outputs, inputs)`.

use super::attention::{Shared, dimension};
use super::builder::{Attribute, GraphBuilder, Value, WrittenGraph};
use super::proto::DataType;
use super::target::{Arithmetic, Dialect, Lookup, StaticShape, Target};
use super::transformer::{Layer, Norms, Transformer};
use crate::error::{EmbeddingError, Result};
use crate::postprocess::Postprocess;
use crate::weights::{StoredTensor, Weights};

/// Writes one graph; holds the values that every layer uses.
pub struct Writer<'a> {
    /// What is written.
    pub transformer: &'a Transformer,
    /// Where the tensors are.
    pub weights: &'a Weights,
    /// What it is written for.
    pub target: Target,
    /// The nodes so far.
    pub builder: GraphBuilder,
    /// `(batch, sequence)`.
    pub input_ids: Value,
    /// `(batch, sequence)`: 1 for a token, 0 for padding.
    pub attention_mask: Value,
    /// What layers have in common.
    pub shared: Shared,
    /// The key of a site whose input is looked for, and the input once it was met.
    pub observed: Option<(String, Option<Value>)>,
    batch_shape: Option<Value>,
    length: Option<Value>,
    shapes: Vec<((Leading, usize), Value)>,
}

/// The dimensions before the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leading {
    /// Tokens of all texts.
    Tokens,
    /// Batch and sequence.
    Sequence,
    /// Batch, sequence, and this number of heads.
    Heads(usize),
}

impl<'a> Writer<'a> {
    /// Nothing written yet but the inputs.
    pub fn new(transformer: &'a Transformer, weights: &'a Weights, target: &Target) -> Self {
        let target = target.with_max_tokens(transformer.architecture.max_tokens);
        let mut builder = GraphBuilder::new(&transformer.architecture.family, &target);
        let dimensions = sequence_dimensions(target.shape);
        let dimensions = [dimensions[0].as_str(), dimensions[1].as_str()];
        let input_ids = builder.input("input_ids", DataType::Int64, &dimensions);
        let attention_mask = builder.input("attention_mask", DataType::Int64, &dimensions);
        Self {
            transformer,
            weights,
            target,
            builder,
            input_ids,
            attention_mask,
            shared: Shared::default(),
            observed: None,
            batch_shape: None,
            length: None,
            shapes: Vec::new(),
        }
    }

    /// Writes everything.
    pub fn write(mut self, head: Option<&Postprocess>) -> Result<WrittenGraph> {
        if self.target.lookup == Lookup::GatherNd && self.target.shape.is_none() {
            return Err(EmbeddingError::invalid_input(
                "a graph for coreml needs a fixed shape, texts by tokens: --static 1x128, or static=(1, 128) in Python",
            ));
        }
        let transformer = self.transformer;
        self.check_rotary_tables()?;
        let mut hidden = self.embeddings()?;
        self.position_bias()?;
        for layer in &transformer.layers {
            hidden = self.layer(layer, &hidden)?;
        }
        if let Some(norm) = &transformer.final_norm {
            hidden = self.norm(norm, transformer.architecture.hidden_size, &hidden)?;
        }
        self.finish(&hidden, head)
    }

    /// The bias that all layers share, where there is one.
    pub fn position_bias(&mut self) -> Result<()> {
        if let Some(bias) = self.transformer.position_bias {
            let heads = self.transformer.layers.first().map_or(0, |layer| layer.attention.heads);
            self.shared.position_bias = Some((bias.write)(self, bias.rows, heads)?);
        }
        Ok(())
    }

    /// A limit that nobody means must not become tables of gigabytes.
    pub fn check_rotary_tables(&self) -> Result<()> {
        const LARGEST: usize = 1 << 27;
        let rotary = self.transformer.layers.iter().filter_map(|layer| layer.attention.rotary.as_ref());
        let pairs = rotary.map(|rotary| rotary.frequencies.len()).max().unwrap_or(0);
        let tokens = self.target.max_tokens;
        if tokens.saturating_mul(pairs) <= LARGEST {
            return Ok(());
        }
        Err(EmbeddingError::invalid_input(format!(
            "texts of {tokens} tokens need tables of {pairs} numbers for each of their positions, which is too much; \
             give a smaller max_seq_length"
        )))
    }

    /// `(tokens, hidden)`.
    pub fn embeddings(&mut self) -> Result<Value> {
        let architecture = &self.transformer.architecture;
        let embeddings = &self.transformer.embeddings;
        let hidden = architecture.hidden_size;
        let tokens = self.weights.tensor(embeddings.tokens, &[architecture.vocabulary_size, hidden])?;
        let input_ids = self.input_ids.clone();
        let mut sum = self.look_up(tokens, &input_ids);
        if let Some((name, rows)) = embeddings.positions {
            let table = self.weights.tensor(name, &[rows, hidden])?;
            let position_ids = self.sequence_input("position_ids");
            let positions = self.look_up(table, &position_ids);
            sum = self.builder.node("Add", &[&sum, &positions], &[]);
        }
        if let (Some(name), Some(rows)) = (embeddings.token_types, architecture.token_types) {
            let table = self.weights.tensor(name, &[rows, hidden])?;
            let token_type_ids = self.sequence_input("token_type_ids");
            let token_types = self.look_up(table, &token_type_ids);
            sum = self.builder.node("Add", &[&sum, &token_types], &[]);
        }
        if let Some(scale) = embeddings.scale {
            let scale = self.builder.number(scale);
            sum = self.builder.node("Mul", &[&sum, &scale], &[]);
        }
        let shape = self.token_shape(hidden);
        let tokens = self.builder.node("Reshape", &[&sum, &shape], &[]);
        match &embeddings.norm {
            Some(norm) => self.norm(norm, hidden, &tokens),
            None => Ok(tokens),
        }
    }

    fn sequence_input(&mut self, name: &str) -> Value {
        let dimensions = sequence_dimensions(self.target.shape);
        self.builder.input(name, DataType::Int64, &[&dimensions[0], &dimensions[1]])
    }

    /// Rows of a table.
    fn look_up(&mut self, table: &StoredTensor, ids: &Value) -> Value {
        let float_type = self.builder.float_type();
        let (stored, stored_type) = match self.target.dialect {
            Dialect::Fused => self.builder.table(table),
            Dialect::Plain => (self.builder.weight(table), float_type),
        };
        let rows = match self.target.lookup {
            Lookup::Gather => self.builder.node("Gather", &[&stored, ids], &[]),
            Lookup::GatherNd => {
                let shape = self.builder.integers(&[-1, 1]);
                let ids = self.builder.node("Reshape", &[ids, &shape], &[]);
                self.builder.node("GatherND", &[&stored, &ids], &[])
            }
        };
        if stored_type == float_type {
            return rows;
        }
        self.builder.node("Cast", &[&rows], &[("to", Attribute::Int(float_type as i64))])
    }

    /// A layer, `(tokens, hidden)` to the same.
    pub fn layer(&mut self, layer: &Layer, hidden: &Value) -> Result<Value> {
        let hidden =
            self.half(&layer.attention_norms, hidden, |writer, input| writer.attention(&layer.attention, input))?;
        self.half(&layer.feed_forward_norms, &hidden, |writer, input| writer.feed_forward(&layer.feed_forward, input))
    }

    /// Half a block with its residual and its norms.
    fn half(
        &mut self,
        norms: &Norms,
        hidden: &Value,
        write: impl FnOnce(&mut Self, &Value) -> Result<Value>,
    ) -> Result<Value> {
        let width = self.transformer.architecture.hidden_size;
        let input = match &norms.before {
            Some(norm) => self.norm(norm, width, hidden)?,
            None => hidden.clone(),
        };
        let mut output = write(self, &input)?;
        if let Some(norm) = &norms.after {
            output = self.norm(norm, width, &output)?;
        }
        let sum = self.builder.node("Add", &[&output, hidden], &[]);
        match &norms.after_residual {
            Some(norm) => self.norm(norm, width, &sum),
            None => Ok(sum),
        }
    }

    fn finish(mut self, hidden: &Value, head: Option<&Postprocess>) -> Result<WrittenGraph> {
        let width = self.transformer.architecture.hidden_size;
        let shape = self.sequence_shape(width);
        let mut output = self.builder.node("Reshape", &[hidden, &shape], &[]);
        if self.target.arithmetic != Arithmetic::Float32 {
            output = self.builder.node("Cast", &[&output], &[("to", Attribute::Int(DataType::Float as i64))]);
        }
        let [batch, sequence] = sequence_dimensions(self.target.shape);
        let Some(head) = head else {
            let dimensions = [batch.as_str(), sequence.as_str(), &width.to_string()];
            self.builder.output("last_hidden_state", &output, DataType::Float, &dimensions);
            return Ok(self.builder.finish());
        };
        self.builder.compute_in(Arithmetic::Float32);
        let row = self.sentence_embedding(&output, head)?;
        let dimensions = [batch.as_str(), &head.output_dimension().to_string()];
        self.builder.output("sentence_embedding", &row, DataType::Float, &dimensions);
        Ok(self.builder.finish())
    }

    /// The lowest number of the arithmetic.
    pub fn lowest(&self) -> f32 {
        match self.target.arithmetic {
            Arithmetic::Float32 => f32::MIN,
            Arithmetic::Float16 => half::f16::MIN.to_f32(),
        }
    }

    /// Shape of `(tokens, width)`.
    pub fn token_shape(&mut self, width: usize) -> Value {
        self.shape(Leading::Tokens, width)
    }

    /// Shape of `(batch, sequence, width)`.
    pub fn sequence_shape(&mut self, width: usize) -> Value {
        self.shape(Leading::Sequence, width)
    }

    /// Shape of `(batch, sequence, heads, head_size)`.
    pub fn head_shape(&mut self, heads: usize, head_size: usize) -> Value {
        self.shape(Leading::Heads(heads), head_size)
    }

    fn shape(&mut self, leading: Leading, width: usize) -> Value {
        let key = (leading, width);
        if let Some((_, value)) = self.shapes.iter().find(|(known, _)| *known == key) {
            return value.clone();
        }
        let value = match (leading, self.target.shape) {
            (Leading::Tokens, Some(shape)) => {
                self.builder.integers(&[shape.batch * shape.sequence, width].map(dimension))
            }
            (Leading::Tokens, None) => self.builder.integers(&[-1, dimension(width)]),
            (Leading::Sequence, Some(shape)) => {
                self.builder.integers(&[shape.batch, shape.sequence, width].map(dimension))
            }
            (Leading::Heads(heads), Some(shape)) => {
                self.builder.integers(&[shape.batch, shape.sequence, heads, width].map(dimension))
            }
            (Leading::Sequence, None) => self.after_batch_shape(&[width]),
            (Leading::Heads(heads), None) => self.after_batch_shape(&[heads, width]),
        };
        self.shapes.push((key, value.clone()));
        value
    }

    /// The shape `(batch, sequence)`, and `sizes` behind it.
    fn after_batch_shape(&mut self, sizes: &[usize]) -> Value {
        let sizes: Vec<i64> = sizes.iter().copied().map(dimension).collect();
        let sizes = self.builder.integers(&sizes);
        let batch_shape = self.batch_shape();
        self.builder.node("Concat", &[&batch_shape, &sizes], &[("axis", Attribute::Int(0))])
    }

    /// The shape `(batch, sequence)`.
    pub fn batch_shape(&mut self) -> Value {
        if let Some(value) = &self.batch_shape {
            return value.clone();
        }
        let value = match self.target.shape {
            Some(shape) => self.builder.integers(&[shape.batch, shape.sequence].map(dimension)),
            None => self.builder.node("Shape", &[&self.input_ids], &[]),
        };
        self.batch_shape = Some(value.clone());
        value
    }

    /// Number of tokens of the batch's texts, a scalar.
    pub fn sequence_length(&mut self) -> Value {
        if let Some(value) = &self.length {
            return value.clone();
        }
        let value = if let Some(shape) = self.target.shape {
            self.builder.integer(dimension(shape.sequence))
        } else {
            let attributes = [("start", Attribute::Int(1)), ("end", Attribute::Int(2))];
            let length = self.builder.node("Shape", &[&self.input_ids], &attributes);
            self.builder.node("Squeeze", &[&length], &[])
        };
        self.length = Some(value.clone());
        value
    }
}

/// Names of varying dimensions, or the sizes of fixed ones.
fn sequence_dimensions(shape: Option<StaticShape>) -> [String; 2] {
    match shape {
        Some(shape) => [shape.batch.to_string(), shape.sequence.to_string()],
        None => ["batch".to_owned(), "sequence".to_owned()],
    }
}
