//! Parts of a transformer as graphs of their own, for whoever goes through it layer by layer.

use super::builder::{Value, WrittenGraph};
use super::proto::DataType;
use super::transformer::{Layer, Linear};
use super::writer::Writer;
use crate::error::{EmbeddingError, Result};

/// A part of a transformer. A graph of it takes the batch's usual inputs, and all but the first part also
/// [`Part::INPUT`], `(tokens, hidden)`; its output is [`Part::OUTPUT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// From token ids to the input of the first layer.
    Embeddings,
    /// A layer, by its number.
    Layer(usize),
    /// A layer up to the input of one of its sites, which is the output then.
    UpTo {
        /// Number of the layer.
        layer: usize,
        /// Number of the site, as in [`Site`].
        site: usize,
    },
    /// What follows the last layer.
    End,
}

impl Part {
    /// Name of the input of hidden states.
    pub const INPUT: &'static str = "hidden_states";
    /// Name of the output.
    pub const OUTPUT: &'static str = "part_output";
}

/// Linear layers that share their input.
#[derive(Debug, Clone)]
pub struct Site {
    /// What it is in the layer: `qkv`, `attention_output`, `up` or `down`.
    pub role: &'static str,
    /// The layers.
    pub linears: Vec<Linear>,
}

impl Layer {
    /// The sites in the order in which data comes to them.
    pub fn sites(&self) -> [Site; 4] {
        let Self { attention, feed_forward, .. } = self;
        let up: Vec<Linear> = feed_forward.gate.iter().chain([&feed_forward.up]).cloned().collect();
        [
            Site {
                role: "qkv",
                linears: [&attention.query, &attention.key, &attention.value].map(Clone::clone).into(),
            },
            Site { role: "attention_output", linears: vec![attention.output.clone()] },
            Site { role: "up", linears: up },
            Site { role: "down", linears: vec![feed_forward.down.clone()] },
        ]
    }
}

impl Writer<'_> {
    /// Writes one part.
    pub fn write_part(mut self, part: Part) -> Result<WrittenGraph> {
        let transformer = self.transformer;
        let width = transformer.architecture.hidden_size;
        self.check_rotary_tables()?;
        let output = match part {
            Part::Embeddings => self.embeddings()?,
            Part::End => {
                let hidden = self.hidden_states();
                match &transformer.final_norm {
                    Some(norm) => self.norm(norm, width, &hidden)?,
                    None => hidden,
                }
            }
            Part::Layer(number) => self.write_layer(number)?,
            Part::UpTo { layer, site } => {
                let sites = transformer.layers.get(layer).map(Layer::sites).ok_or_else(|| no_layer(layer))?;
                let first = sites.get(site).and_then(|site| site.linears.first());
                self.observed = Some((first.map(Linear::key).unwrap_or_default(), None));
                self.write_layer(layer)?;
                let seen = self.observed.take().and_then(|(_, value)| value);
                seen.ok_or_else(|| EmbeddingError::internal(format!("layer {layer} has no site {site}")))?
            }
        };
        let last = match part {
            Part::UpTo { .. } => "inputs".to_owned(),
            _ => width.to_string(),
        };
        self.builder.output(Part::OUTPUT, &output, DataType::Float, &["tokens", &last]);
        Ok(self.builder.finish())
    }

    fn hidden_states(&mut self) -> Value {
        let width = self.transformer.architecture.hidden_size.to_string();
        self.builder.input(Part::INPUT, DataType::Float, &["tokens", &width])
    }

    fn write_layer(&mut self, number: usize) -> Result<Value> {
        let layer = self.transformer.layers.get(number).ok_or_else(|| no_layer(number))?;
        let hidden = self.hidden_states();
        self.position_bias()?;
        self.layer(layer, &hidden)
    }

    /// Remembers the input of the site that is looked for.
    pub fn observe(&mut self, layers: &[&Linear], input: &Value) {
        if let (Some((key, value)), Some(first)) = (&mut self.observed, layers.first())
            && *key == first.key()
        {
            *value = Some(input.clone());
        }
    }
}

fn no_layer(number: usize) -> EmbeddingError {
    EmbeddingError::internal(format!("there is no layer {number}"))
}
