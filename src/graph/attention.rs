//! Attention: fused into one operator, or written out.

use super::builder::{Attribute, Value};
use super::chunked::Chunks;
use super::rotary::Rotary;
use super::target::{Batches, Dialect, Padding, StaticShape};
use super::transformer::{Attention, Norm, Reach};
use super::writer::Writer;
use crate::error::Result;

/// A masked score in a graph of plain operators: low enough to vanish, and two of them still fit in half precision.
const PLAIN_MASKED: f32 = -30_000.0;

/// Cosines and sines of a rotary embedding, in the shapes that the dialect takes.
#[derive(Debug, Clone)]
struct Turn {
    cosines: Value,
    sines: Value,
}

/// What a graph has once and its layers share.
#[derive(Debug, Default)]
pub struct Shared {
    turns: Vec<(Rotary, Turn)>,
    masks: Vec<(Reach, Value)>,
    padding: Option<Value>,
    position_ids: Option<Value>,
    distances: Option<Value>,
    /// How a long text falls into chunks.
    pub chunks: Option<Chunks>,
    /// The bias by position, `(1, heads, sequence, sequence)`.
    pub position_bias: Option<Value>,
}

impl Writer<'_> {
    /// Attention of `(tokens, hidden)`, with its projections.
    pub fn attention(&mut self, attention: &Attention, hidden: &Value) -> Result<Value> {
        let (heads, key_value_heads) = (attention.heads, attention.key_value_heads);
        let [query, key, value] = self.linears([&attention.query, &attention.key, &attention.value], hidden)?;
        let query = self.head_norm(attention.query_norm.as_ref(), attention.head_size, &query)?;
        let key = self.head_norm(attention.key_norm.as_ref(), attention.head_size, &key)?;
        let context = match self.target.dialect {
            Dialect::Fused => {
                let query = self.fused_turn(attention, heads, &query);
                let key = self.fused_turn(attention, key_value_heads, &key);
                self.fused_attention(attention, &query, &key, &value)
            }
            Dialect::Plain => {
                let query = self.plain_turn(attention, heads, &query);
                let key = self.plain_turn(attention, key_value_heads, &key);
                let value = self.split_heads(key_value_heads, attention.head_size, &value);
                self.plain_attention(attention, &query, &key, &value)
            }
        };
        self.linear(&attention.output, &context)
    }

    /// Norm of every head by itself; `tokens` and the result are `(tokens, heads * head_size)`.
    fn head_norm(&mut self, norm: Option<&Norm>, head_size: usize, tokens: &Value) -> Result<Value> {
        let Some(norm) = norm else { return Ok(tokens.clone()) };
        let shape = self.builder.integers(&[-1, dimension(head_size)]);
        let heads = self.builder.node("Reshape", &[tokens, &shape], &[]);
        self.norm(norm, head_size, &heads)
    }

    /// `(batch, sequence, heads * head_size)`, turned by its position.
    fn fused_turn(&mut self, attention: &Attention, heads: usize, tokens: &Value) -> Value {
        let shape = self.sequence_shape(heads * attention.head_size);
        let sequence = self.builder.node("Reshape", &[tokens, &shape], &[]);
        let Some(rotary) = &attention.rotary else { return sequence };
        let turn = self.turn(rotary);
        let position_ids = self.position_ids();
        self.builder.node(
            "RotaryEmbedding",
            &[&sequence, &turn.cosines, &turn.sines, &position_ids],
            &[("num_heads", Attribute::Int(dimension(heads)))],
        )
    }

    /// The operator of ONNX. For short texts it is up to twice as fast as `com.microsoft.MultiHeadAttention`, which
    /// transposes, and gives the same bits.
    fn fused_attention(&mut self, attention: &Attention, query: &Value, key: &Value, value: &Value) -> Value {
        let shape = self.sequence_shape(attention.key_value_heads * attention.head_size);
        let value = self.builder.node("Reshape", &[value, &shape], &[]);
        let reach = attention.reach.for_texts_of(self.target.max_tokens);
        if self.target.batches == Batches::OneLongText && self.shared.position_bias.is_none() {
            let context = self.chunked_attention(attention, reach, [query, key, &value]);
            let shape = self.token_shape(attention.heads * attention.head_size);
            return self.builder.node("Reshape", &[&context, &shape], &[]);
        }
        let is_causal = self.needs_no_mask(reach);
        let mask = if is_causal { Value::none() } else { self.mask(reach) };
        let inputs = [query, key, &value, &mask];
        let inputs = if is_causal { &inputs[..3] } else { &inputs[..] };
        let context = self.builder.node(
            "Attention",
            inputs,
            &[
                ("q_num_heads", Attribute::Int(dimension(attention.heads))),
                ("kv_num_heads", Attribute::Int(dimension(attention.key_value_heads))),
                ("scale", Attribute::Float(attention.scale)),
                ("is_causal", Attribute::Int(i64::from(is_causal))),
            ],
        );
        let shape = self.token_shape(attention.heads * attention.head_size);
        self.builder.node("Reshape", &[&context, &shape], &[])
    }

    fn split_heads(&mut self, heads: usize, head_size: usize, tokens: &Value) -> Value {
        let shape = self.head_shape(heads, head_size);
        self.builder.node("Reshape", &[tokens, &shape], &[])
    }

    /// `(batch, sequence, heads, head_size)`, turned by its position.
    fn plain_turn(&mut self, attention: &Attention, heads: usize, tokens: &Value) -> Value {
        let tokens = self.split_heads(heads, attention.head_size, tokens);
        let Some(rotary) = &attention.rotary else { return tokens };
        let turn = self.turn(rotary);
        let half = dimension(attention.head_size / 2);
        let sizes = self.builder.integers(&[half, half]);
        let [first, second] =
            self.builder.node_with_outputs("Split", &[&tokens, &sizes], &[("axis", Attribute::Int(-1))]);
        let mut product = |half: &Value, by: &Value| self.builder.node("Mul", &[half, by], &[]);
        let (first_cosine, first_sine) = (product(&first, &turn.cosines), product(&first, &turn.sines));
        let (second_cosine, second_sine) = (product(&second, &turn.cosines), product(&second, &turn.sines));
        let first = self.builder.node("Sub", &[&first_cosine, &second_sine], &[]);
        let second = self.builder.node("Add", &[&second_cosine, &first_sine], &[]);
        self.builder.node("Concat", &[&first, &second], &[("axis", Attribute::Int(-1))])
    }

    /// Written out. Query heads that share keys become more rows of one product, so that keys are never repeated.
    fn plain_attention(&mut self, attention: &Attention, query: &Value, key: &Value, value: &Value) -> Value {
        let (heads, groups, size) = (attention.heads, attention.key_value_heads, attention.head_size);
        let [query, value] = [query, value].map(|value| self.transpose(value, &[0, 2, 1, 3]));
        let key = self.transpose(key, &[0, 2, 3, 1]);
        let sharing = heads / groups;
        let is_grouped = sharing != 1;
        let query = if is_grouped { self.regroup(&query, groups, sharing, Some(size)) } else { query };
        let scores = self.builder.node("MatMul", &[&query, &key], &[]);
        let scale = self.builder.number(attention.scale);
        let scores = self.builder.node("Mul", &[&scores, &scale], &[]);
        let scores = if is_grouped { self.regroup(&scores, heads, 1, None) } else { scores };
        let mask = self.mask(attention.reach.for_texts_of(self.target.max_tokens));
        let scores = self.builder.node("Add", &[&scores, &mask], &[]);
        let shares = self.builder.node("Softmax", &[&scores], &[("axis", Attribute::Int(-1))]);
        let shares = if is_grouped { self.regroup(&shares, groups, sharing, None) } else { shares };
        let context = self.builder.node("MatMul", &[&shares, &value], &[]);
        let context = if is_grouped { self.regroup(&context, heads, 1, Some(size)) } else { context };
        let context = self.transpose(&context, &[0, 2, 1, 3]);
        let shape = self.token_shape(heads * size);
        self.builder.node("Reshape", &[&context, &shape], &[])
    }

    /// `(batch, groups, shared * sequence, width)` of the same numbers in other groups; a width of `None` is the sequence.
    fn regroup(&mut self, value: &Value, groups: usize, shared: usize, width: Option<usize>) -> Value {
        let shape = match self.target.shape {
            Some(shape) => {
                [shape.batch, groups, shared * shape.sequence, width.unwrap_or(shape.sequence)].map(dimension)
            }
            // 0 is the size that is there.
            None => [0, dimension(groups), -1, width.map_or(0, dimension)],
        };
        let shape = self.builder.integers(&shape);
        self.builder.node("Reshape", &[value, &shape], &[])
    }

    fn transpose(&mut self, value: &Value, order: &[i64]) -> Value {
        self.builder.node("Transpose", &[value], &[("perm", Attribute::Ints(order.to_vec()))])
    }

    /// Cosines and sines; made once a graph for each kind of layer.
    fn turn(&mut self, rotary: &Rotary) -> Turn {
        if let Some((_, turn)) = self.shared.turns.iter().find(|(known, _)| known == rotary) {
            return turn.clone();
        }
        let rows = self.target.max_tokens;
        let pairs = rotary.frequencies.len();
        let number = self.shared.turns.len();
        let (cosines, sines) = rotary.tables(rows);
        let shape = match self.target.dialect {
            Dialect::Fused => vec![rows, pairs],
            Dialect::Plain => vec![1, rows, 1, pairs],
        };
        let mut turn = Turn {
            cosines: self.builder.computed(&format!("rotary_cosines_{number}"), &shape, cosines),
            sines: self.builder.computed(&format!("rotary_sines_{number}"), &shape, sines),
        };
        if self.target.dialect == Dialect::Plain && self.target.shape.is_none() {
            turn = Turn { cosines: self.first_positions(&turn.cosines), sines: self.first_positions(&turn.sines) };
        }
        self.shared.turns.push((rotary.clone(), turn.clone()));
        turn
    }

    /// Of a table `(1, positions, …)` those that the texts have.
    fn first_positions(&mut self, table: &Value) -> Value {
        let length = self.sequence_length();
        let (zero, one) = (self.builder.integers(&[0]), self.builder.integers(&[1]));
        let length = self.builder.node("Unsqueeze", &[&length, &zero], &[]);
        self.builder.node("Slice", &[table, &zero, &length, &one], &[])
    }

    /// `(batch, sequence)`: 0, 1, 2, …
    fn position_ids(&mut self) -> Value {
        if let Some(value) = &self.shared.position_ids {
            return value.clone();
        }
        let length = self.sequence_length();
        let (zero, one) = (self.builder.integer(0), self.builder.integer(1));
        let range = self.builder.node("Range", &[&zero, &length, &one], &[]);
        let shape = self.batch_shape();
        let value = self.builder.node("Expand", &[&range, &shape], &[]);
        self.shared.position_ids = Some(value.clone());
        value
    }

    /// What is added to scores: very low where a query must not look.
    fn mask(&mut self, reach: Reach) -> Value {
        if let Some((_, mask)) = self.shared.masks.iter().find(|(known, _)| *known == reach) {
            return mask.clone();
        }
        let mask = match self.target.dialect {
            Dialect::Fused => self.fused_mask(reach),
            Dialect::Plain => self.plain_mask(reach),
        };
        self.shared.masks.push((reach, mask.clone()));
        mask
    }

    /// `(batch, 1, sequence, sequence)`. Finite, because a padding token may have nothing to look at, and a row of
    /// nothing but infinities would become NaN and spread.
    fn fused_mask(&mut self, reach: Reach) -> Value {
        let lowest = self.lowest();
        let padding = self.padding(lowest);
        let mask = if let Some(within) = self.within(reach) {
            let lowest = self.builder.number(lowest);
            self.builder.node("Where", &[&within, &padding, &lowest], &[])
        } else {
            let (one, first) = (self.builder.integers(&[1]), self.builder.integers(&[0]));
            let length = self.sequence_length();
            let length = self.builder.node("Unsqueeze", &[&length, &first], &[]);
            let shape = self.builder.node("Concat", &[&one, &one, &length, &one], &[("axis", Attribute::Int(0))]);
            self.builder.node("Expand", &[&padding, &shape], &[])
        };
        match self.shared.position_bias.clone() {
            Some(bias) => self.builder.node("Add", &[&bias, &mask], &[]),
            None => mask,
        }
    }

    /// `(batch or 1, 1, 1 or sequence, sequence)`.
    fn plain_mask(&mut self, reach: Reach) -> Value {
        let window = self.plain_window(reach);
        let padding = (!self.is_padding_out_of(reach)).then(|| self.padding(PLAIN_MASKED));
        let bias = self.shared.position_bias.clone();
        let parts: Vec<Value> = [window, padding, bias].into_iter().flatten().collect();
        let mut sum = parts.first().cloned().unwrap_or(Value::none());
        for part in parts.iter().skip(1) {
            sum = self.builder.node("Add", &[&sum, part], &[]);
        }
        sum
    }

    /// `([1, 1,] sequence, sequence)`: 0 for a key in reach, else very low; `None` where every key is. A constant where
    /// the distances are known.
    fn plain_window(&mut self, reach: Reach) -> Option<Value> {
        let Some(StaticShape { sequence, .. }) = self.target.shape else {
            let within = self.within(reach)?;
            let (zero, masked) = (self.builder.number(0.0), self.builder.number(PLAIN_MASKED));
            return Some(self.builder.node("Where", &[&within, &zero, &masked], &[]));
        };
        (reach != Reach::ALL).then(|| {
            let mut values = Vec::with_capacity(sequence * sequence);
            for query in 0..sequence {
                values.extend((0..sequence).map(|key| {
                    let is_before = reach.before.is_none_or(|before| key + before >= query);
                    let is_after = reach.after.is_none_or(|after| key <= query + after);
                    if is_before && is_after { 0.0 } else { PLAIN_MASKED }
                }));
            }
            let name = format!("attention_window_{}", self.shared.masks.len());
            self.builder.computed(&name, &[1, 1, sequence, sequence], values)
        })
    }

    /// Padding behind the tokens is where no causal attention looks.
    fn is_padding_out_of(&self, reach: Reach) -> bool {
        reach.after == Some(0) && self.target.padding == Padding::Behind
    }

    fn needs_no_mask(&self, reach: Reach) -> bool {
        reach == Reach::CAUSAL && self.is_padding_out_of(reach) && self.shared.position_bias.is_none()
    }

    /// `(batch, 1, 1, sequence)`: 0 for a token, `masked` for padding.
    fn padding(&mut self, masked: f32) -> Value {
        if let Some(padding) = &self.shared.padding {
            return padding.clone();
        }
        let to = [("to", Attribute::Int(self.builder.float_type() as i64))];
        let mask = self.builder.node("Cast", &[&self.attention_mask], &to);
        let (one, lowest) = (self.builder.number(1.0), self.builder.number(-masked));
        let mask = self.builder.node("Sub", &[&mask, &one], &[]);
        let mask = self.builder.node("Mul", &[&mask, &lowest], &[]);
        let padding = if let Some(StaticShape { batch, sequence }) = self.target.shape {
            let shape = self.builder.integers(&[batch, 1, 1, sequence].map(dimension));
            self.builder.node("Reshape", &[&mask, &shape], &[])
        } else {
            let axes = self.builder.integers(&[1, 2]);
            self.builder.node("Unsqueeze", &[&mask, &axes], &[])
        };
        self.shared.padding = Some(padding.clone());
        padding
    }

    /// `(sequence, sequence)`: whether the key is in reach of the query; `None` where every key is.
    fn within(&mut self, reach: Reach) -> Option<Value> {
        let mut within: Option<Value> = None;
        for (operator, limit) in reach.limits() {
            let distance = self.distances();
            let limit = self.builder.integer(limit);
            let side = self.builder.node(operator, &[&distance, &limit], &[]);
            within = Some(match within {
                Some(other) => self.builder.node("And", &[&other, &side], &[]),
                None => side,
            });
        }
        within
    }

    /// `(sequence, sequence)`: the key's position less the query's.
    pub fn distances(&mut self) -> Value {
        if let Some(value) = &self.shared.distances {
            return value.clone();
        }
        let length = self.sequence_length();
        let (zero, one) = (self.builder.integer(0), self.builder.integer(1));
        let range = self.builder.node("Range", &[&zero, &length, &one], &[]);
        let (first, second) = (self.builder.integers(&[0]), self.builder.integers(&[1]));
        let keys = self.builder.node("Unsqueeze", &[&range, &first], &[]);
        let queries = self.builder.node("Unsqueeze", &[&range, &second], &[]);
        let value = self.builder.node("Sub", &[&keys, &queries], &[]);
        self.shared.distances = Some(value.clone());
        value
    }
}

/// A size as ONNX has it.
#[allow(clippy::cast_possible_wrap)] // Bounded by `DIMENSION`.
pub fn dimension(size: usize) -> i64 {
    size as i64
}
