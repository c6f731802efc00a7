//! Linear layers and the feed-forward half of a block.

use super::builder::{Attribute, Value};
use super::transformer::{FeedForward, Linear};
use super::writer::Writer;
use crate::error::Result;

impl Writer<'_> {
    /// `(tokens, inputs)` to `(tokens, outputs)`. The weights stay as they are stored, `(outputs, inputs)`; layers that
    /// are stored as one matrix are views of its rows, because one product and a split is not faster than several.
    pub fn linear(&mut self, linear: &Linear, input: &Value) -> Result<Value> {
        let stored = self.weights.tensor(&format!("{}.weight", linear.stem), &[linear.stored_rows, linear.inputs])?;
        let weight = self.builder.weight(&stored.rows(linear.rows.clone())?);
        let transposed = [("transB", Attribute::Int(1))];
        if !linear.bias {
            return Ok(self.builder.node("Gemm", &[input, &weight], &transposed));
        }
        let stored = self.weights.tensor(&format!("{}.bias", linear.stem), &[linear.stored_rows])?;
        let bias = self.builder.weight(&stored.rows(linear.rows.clone())?);
        Ok(self.builder.node("Gemm", &[input, &weight, &bias], &transposed))
    }

    /// The feed-forward half of a block, `(tokens, hidden)` to the same.
    pub fn feed_forward(&mut self, feed_forward: &FeedForward, hidden: &Value) -> Result<Value> {
        let up = self.linear(&feed_forward.up, hidden)?;
        let inner = if let Some(gate) = &feed_forward.gate {
            let gate = self.linear(gate, hidden)?;
            let gate = feed_forward.activation.apply(&mut self.builder, self.target.dialect, &gate);
            self.builder.node("Mul", &[&gate, &up], &[])
        } else {
            feed_forward.activation.apply(&mut self.builder, self.target.dialect, &up)
        };
        self.linear(&feed_forward.down, &inner)
    }
}
