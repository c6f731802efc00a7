//! Attention of one long text, some queries at a time.
//!
//! Scores of all queries at once would take `heads * tokens²` numbers: 3 GB for 8,192 tokens of a base model. A chunk of
//! queries takes a small part of that, and it needs only the keys in its reach: half of them in a causal model, a few
//! hundred where attention is local. The chunks are the rounds of a `Scan`.

use super::attention::dimension;
use super::builder::{Attribute, GraphBuilder, Value};
use super::proto::DataType;
use super::transformer::{Attention, Reach};
use super::writer::Writer;

/// Queries of a chunk: enough for full speed of the products, few enough that scores stay small.
const CHUNK: usize = 128;

/// How a text falls into chunks.
#[derive(Debug, Clone)]
pub struct Chunks {
    /// What fills `(1, sequence, width)` up to the next full chunk.
    pads: Value,
    /// Position of the first query of each.
    starts: Value,
    /// Number of tokens, a list of one.
    length: Value,
}

/// What the rounds take from the graph around them.
struct Around<'a> {
    attention: &'a Attention,
    reach: Reach,
    /// `(1, sequence, key_value_heads * head_size)`.
    key: &'a Value,
    /// As `key`.
    value: &'a Value,
    /// Number of tokens, a scalar.
    length: Value,
    /// The lowest number, for scores that do not count.
    lowest: f32,
}

impl Writer<'_> {
    /// `(1, sequence, heads * head_size)`, all three of them as the layer made them, to the same.
    pub fn chunked_attention(
        &mut self,
        attention: &Attention,
        reach: Reach,
        [query, key, value]: [&Value; 3],
    ) -> Value {
        let width = dimension(attention.heads * attention.head_size);
        let length = self.sequence_length();
        let body = self.round(&Around { attention, reach, key, value, length, lowest: self.lowest() });
        let Chunks { pads, starts, length } = self.chunks();
        let builder = &mut self.builder;
        let query = builder.node("Pad", &[query, &pads], &[]);
        let shape = builder.integers(&[-1, dimension(CHUNK), width]);
        let chunks = builder.node("Reshape", &[&query, &shape], &[]);
        let scanned = [("num_scan_inputs", Attribute::Int(2)), ("body", Attribute::Graph(body))];
        let context = builder.node("Scan", &[&chunks, &starts], &scanned);
        let shape = builder.integers(&[1, -1, width]);
        let context = builder.node("Reshape", &[&context, &shape], &[]);
        let (zero, second) = (builder.integers(&[0]), builder.integers(&[1]));
        builder.node("Slice", &[&context, &zero, &length, &second], &[])
    }

    /// How the text falls into chunks, the same for every layer.
    fn chunks(&mut self) -> Chunks {
        if let Some(chunks) = &self.shared.chunks {
            return chunks.clone();
        }
        let length = self.sequence_length();
        let builder = &mut self.builder;
        let size = builder.integer(dimension(CHUNK));
        let rest = builder.node("Mod", &[&length, &size], &[]);
        let missing = builder.node("Sub", &[&size, &rest], &[]);
        let missing = builder.node("Mod", &[&missing, &size], &[]);
        let whole = builder.node("Add", &[&length, &missing], &[]);
        let zero = builder.integer(0);
        let starts = builder.node("Range", &[&zero, &whole, &size], &[]);
        let (missing, none) = (builder.listed(&missing), builder.integers(&[0]));
        let pads = [&none, &none, &none, &none, &missing, &none];
        let pads = builder.node("Concat", &pads, &[("axis", Attribute::Int(0))]);
        let chunks = Chunks { pads, starts, length: builder.listed(&length) };
        self.shared.chunks = Some(chunks.clone());
        chunks
    }

    /// One round: a chunk of queries and the position of its first, to what they gather.
    fn round(&mut self, around: &Around<'_>) -> super::proto::GraphProto {
        let attention = around.attention;
        let width = (attention.heads * attention.head_size).to_string();
        let mut body = self.builder.nested();
        let float_type = body.float_type();
        let query = body.input("chunk", float_type, &[&CHUNK.to_string(), &width]);
        let start = body.input("start", DataType::Int64, &[]);
        let first = body.integers(&[0]);
        let query = body.node("Unsqueeze", &[&query, &first], &[]);
        let keys = body.key_range(around, &start);
        let [key, value] = [around.key, around.value].map(|all| match &keys {
            Some((from, to)) => {
                let (from, to) = (body.listed(from), body.listed(to));
                let second = body.integers(&[1]);
                body.node("Slice", &[all, &from, &to, &second], &[])
            }
            None => all.clone(),
        });
        let mask = keys.map(|(from, to)| body.reach_mask(around, &start, &from, &to));
        let mut inputs = vec![&query, &key, &value];
        inputs.extend(mask.as_ref());
        let attributes = [
            ("q_num_heads", Attribute::Int(dimension(attention.heads))),
            ("kv_num_heads", Attribute::Int(dimension(attention.key_value_heads))),
            ("scale", Attribute::Float(attention.scale)),
        ];
        let context = body.node("Attention", &inputs, &attributes);
        // Not `Squeeze`: ONNX Runtime infers the width that `Attention` gives as 0 here.
        let shape = body.integers(&[dimension(CHUNK), dimension(attention.heads * attention.head_size)]);
        let context = body.node("Reshape", &[&context, &shape], &[]);
        body.output("context", &context, float_type, &[&CHUNK.to_string(), &width]);
        body.into_graph()
    }
}

impl GraphBuilder {
    fn listed(&mut self, scalar: &Value) -> Value {
        let first = self.integers(&[0]);
        self.node("Unsqueeze", &[scalar, &first], &[])
    }

    /// The first key in reach of a chunk and the one after the last; `None` where every key is.
    fn key_range(&mut self, around: &Around<'_>, start: &Value) -> Option<(Value, Value)> {
        if around.reach == Reach::ALL {
            return None;
        }
        let zero = self.integer(0);
        let from = match around.reach.before {
            Some(before) => {
                let before = self.integer(dimension(before));
                let from = self.node("Sub", &[start, &before], &[]);
                self.node("Max", &[&from, &zero], &[])
            }
            None => zero,
        };
        let to = match around.reach.after {
            Some(after) => {
                let after = self.integer(dimension(CHUNK + after));
                let to = self.node("Add", &[start, &after], &[]);
                self.node("Min", &[&to, &around.length], &[])
            }
            None => around.length.clone(),
        };
        Some((from, to))
    }

    /// `(1, 1, chunk, keys)`: 0 in reach, very low out of it.
    fn reach_mask(&mut self, around: &Around<'_>, start: &Value, from: &Value, to: &Value) -> Value {
        let one = self.integer(1);
        let keys = self.node("Range", &[from, to, &one], &[]);
        let offsets: Vec<i64> = (0..dimension(CHUNK)).collect();
        let offsets = self.integers(&offsets);
        let queries = self.node("Add", &[&offsets, start], &[]);
        let (first, second) = (self.integers(&[0]), self.integers(&[1]));
        let keys = self.node("Unsqueeze", &[&keys, &first], &[]);
        let queries = self.node("Unsqueeze", &[&queries, &second], &[]);
        let distance = self.node("Sub", &[&keys, &queries], &[]);
        let (zero, lowest) = (self.number(0.0), self.number(around.lowest));
        let mut mask = zero.clone();
        for (operator, limit) in around.reach.limits() {
            let limit = self.integer(limit);
            let within = self.node(operator, &[&distance, &limit], &[]);
            mask = self.node("Where", &[&within, &mask, &lowest], &[]);
        }
        let axes = self.integers(&[0, 1]);
        self.node("Unsqueeze", &[&mask, &axes], &[])
    }
}
