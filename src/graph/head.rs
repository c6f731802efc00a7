//! Pooling and what follows it as part of the graph, for files that other programs run.
//!
//! Every pooling but the maximum is a sum of tokens with weights; so each is written as that, which needs no operator
//! that some provider lacks.

use super::attention::dimension;
use super::builder::{Attribute, Value};
use super::target::StaticShape;
use super::writer::Writer;
use crate::error::{EmbeddingError, Result};
use crate::postprocess::{Activation, DenseLayer, PoolingMode, Postprocess, Step};

/// As `torch.nn.functional.normalize`.
const SMALLEST_LENGTH: f32 = 1e-12;
/// As sentence-transformers, where a text has no tokens.
const SMALLEST_COUNT: f32 = 1e-9;

impl Writer<'_> {
    /// `(batch, sequence, hidden)` in single precision to `(batch, dimension)`.
    ///
    /// # Errors
    /// `InvalidInput` where pooling leaves a prompt out, whose length a graph cannot know.
    pub fn sentence_embedding(&mut self, tokens: &Value, postprocess: &Postprocess) -> Result<Value> {
        if postprocess.leaves_out_prompt() {
            return Err(EmbeddingError::invalid_input(
                "the model leaves prompts out of pooling (include_prompt is false), and a graph cannot know how long a \
                 prompt was; export it without its pooling",
            ));
        }
        let pooled: Vec<Value> = postprocess.modes().iter().map(|mode| self.pool(*mode, tokens)).collect();
        let mut row = match pooled.as_slice() {
            [only] => only.clone(),
            several => {
                let parts: Vec<&Value> = several.iter().collect();
                self.builder.node("Concat", &parts, &[("axis", Attribute::Int(-1))])
            }
        };
        for (number, step) in postprocess.steps().iter().enumerate() {
            row = match step {
                Step::Dense(layer) => self.dense(layer, number, &row),
                Step::Normalize => self.normalize(&row),
            };
        }
        Ok(row)
    }

    /// `(batch, sequence, hidden)` to `(batch, hidden)`.
    fn pool(&mut self, mode: PoolingMode, tokens: &Value) -> Value {
        let mask = self.token_weights();
        match mode {
            PoolingMode::Max => self.maximum(tokens, &mask),
            PoolingMode::Cls => {
                let first = self.edge(&mask, Edge::First);
                self.weighted_sum(tokens, &first)
            }
            PoolingMode::LastToken => {
                let last = self.edge(&mask, Edge::Last);
                self.weighted_sum(tokens, &last)
            }
            PoolingMode::WeightedMean => {
                let positions = self.positions_of_tokens(&mask);
                let weights = self.builder.node("Mul", &[&mask, &positions], &[]);
                let (sum, total) = (self.weighted_sum(tokens, &weights), self.total(&weights));
                self.builder.node("Div", &[&sum, &total], &[])
            }
            PoolingMode::Mean => {
                let (sum, total) = (self.weighted_sum(tokens, &mask), self.total(&mask));
                self.builder.node("Div", &[&sum, &total], &[])
            }
            PoolingMode::MeanSqrtLenTokens => {
                let (sum, total) = (self.weighted_sum(tokens, &mask), self.total(&mask));
                let root = self.builder.node("Sqrt", &[&total], &[]);
                self.builder.node("Div", &[&sum, &root], &[])
            }
        }
    }

    /// `(batch, sequence, 1)`: 1 for a token, 0 for padding.
    fn token_weights(&mut self) -> Value {
        let to = [("to", Attribute::Int(self.builder.float_type() as i64))];
        let mask = self.builder.node("Cast", &[&self.attention_mask], &to);
        let last = self.builder.integers(&[2]);
        self.builder.node("Unsqueeze", &[&mask, &last], &[])
    }

    fn weighted_sum(&mut self, tokens: &Value, weights: &Value) -> Value {
        let weighted = self.builder.node("Mul", &[tokens, weights], &[]);
        let second = self.builder.integers(&[1]);
        self.builder.node("ReduceSum", &[&weighted, &second], &[("keepdims", Attribute::Int(0))])
    }

    /// `(batch, 1)`: the sum of the weights, at least a little.
    fn total(&mut self, weights: &Value) -> Value {
        let second = self.builder.integers(&[1]);
        let total = self.builder.node("ReduceSum", &[weights, &second], &[("keepdims", Attribute::Int(0))]);
        let smallest = self.builder.number(SMALLEST_COUNT);
        self.builder.node("Max", &[&total, &smallest], &[])
    }

    /// 1 where the neighbour on one side is no token: the mask less the mask moved by one. Padding may be on either
    /// side, so what is below zero is cut off.
    fn edge(&mut self, mask: &Value, edge: Edge) -> Value {
        let second = self.builder.integers(&[1]);
        let (zero, one) = (self.builder.integers(&[0]), self.builder.integers(&[1]));
        let kept = match edge {
            Edge::First => {
                let before_last = self.builder.integers(&[-1]);
                self.builder.node("Slice", &[mask, &zero, &before_last, &second], &[])
            }
            Edge::Last => {
                let end = self.target.shape.map_or(i64::MAX, |shape| dimension(shape.sequence));
                let end = self.builder.integers(&[end]);
                self.builder.node("Slice", &[mask, &one, &end, &second], &[])
            }
        };
        let blank = self.builder.node("Slice", &[mask, &zero, &one, &second], &[]);
        let blank = self.builder.node("Sub", &[&blank, &blank], &[]);
        let parts = match edge {
            Edge::First => [&blank, &kept],
            Edge::Last => [&kept, &blank],
        };
        let moved = self.builder.node("Concat", &parts, &[("axis", Attribute::Int(1))]);
        let difference = self.builder.node("Sub", &[mask, &moved], &[]);
        self.builder.node("Relu", &[&difference], &[])
    }

    /// `(batch, sequence, 1)`: 1, 2, 3, … from the first token on, wherever the padding is.
    fn positions_of_tokens(&mut self, mask: &Value) -> Value {
        let positions = self.positions_from_one();
        let first = self.edge(mask, Edge::First);
        let first = self.builder.node("Mul", &[&first, &positions], &[]);
        let (second, one) = (self.builder.integers(&[1]), self.builder.number(1.0));
        let first = self.builder.node("ReduceSum", &[&first, &second], &[]);
        let before = self.builder.node("Sub", &[&first, &one], &[]);
        self.builder.node("Sub", &[&positions, &before], &[])
    }

    /// `(1, sequence, 1)`: 1, 2, 3, …
    fn positions_from_one(&mut self) -> Value {
        if let Some(StaticShape { sequence, .. }) = self.target.shape {
            let values = (1..=sequence).map(|position| position as f32).collect();
            return self.builder.computed("positions_from_one", &[1, sequence, 1], values);
        }
        let (one, length) = (self.builder.integer(1), self.sequence_length());
        let end = self.builder.node("Add", &[&length, &one], &[]);
        let range = self.builder.node("Range", &[&one, &end, &one], &[]);
        let to = [("to", Attribute::Int(self.builder.float_type() as i64))];
        let range = self.builder.node("Cast", &[&range], &to);
        let axes = self.builder.integers(&[0, 2]);
        self.builder.node("Unsqueeze", &[&range, &axes], &[])
    }

    fn maximum(&mut self, tokens: &Value, mask: &Value) -> Value {
        let (one, lowest) = (self.builder.number(1.0), self.builder.number(-self.lowest()));
        let mask = self.builder.node("Sub", &[mask, &one], &[]);
        let mask = self.builder.node("Mul", &[&mask, &lowest], &[]);
        let tokens = self.builder.node("Add", &[tokens, &mask], &[]);
        let second = self.builder.integers(&[1]);
        self.builder.node("ReduceMax", &[&tokens, &second], &[("keepdims", Attribute::Int(0))])
    }

    fn dense(&mut self, layer: &DenseLayer, number: usize, row: &Value) -> Value {
        let shape = [layer.out_features(), layer.in_features()];
        let weight = self.builder.computed(&format!("dense_{number}.weight"), &shape, layer.weight().to_vec());
        let transposed = [("transB", Attribute::Int(1))];
        let output = match layer.bias() {
            Some(bias) => {
                let bias = self.builder.computed(&format!("dense_{number}.bias"), &[bias.len()], bias.to_vec());
                self.builder.node("Gemm", &[row, &weight, &bias], &transposed)
            }
            None => self.builder.node("Gemm", &[row, &weight], &transposed),
        };
        match layer.activation() {
            Activation::Identity => output,
            Activation::Tanh => self.builder.node("Tanh", &[&output], &[]),
            Activation::Sigmoid => self.builder.node("Sigmoid", &[&output], &[]),
            Activation::Relu => self.builder.node("Relu", &[&output], &[]),
            Activation::Gelu => self.builder.node("Gelu", &[&output], &[]),
            Activation::Silu => {
                let sigmoid = self.builder.node("Sigmoid", &[&output], &[]);
                self.builder.node("Mul", &[&output, &sigmoid], &[])
            }
        }
    }

    fn normalize(&mut self, row: &Value) -> Value {
        let square = self.builder.node("Mul", &[row, row], &[]);
        let last = self.builder.integers(&[1]);
        let sum = self.builder.node("ReduceSum", &[&square, &last], &[]);
        let length = self.builder.node("Sqrt", &[&sum], &[]);
        let smallest = self.builder.number(SMALLEST_LENGTH);
        let length = self.builder.node("Max", &[&length, &smallest], &[]);
        self.builder.node("Div", &[row, &length], &[])
    }
}

/// An end of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Edge {
    First,
    Last,
}
