//! Normalizations.

use super::builder::{Attribute, Value};
use super::target::Dialect;
use super::transformer::{Norm, NormKind};
use super::writer::Writer;
use crate::error::Result;

impl Writer<'_> {
    /// Normalizes the last dimension of `input`, which has `width` values.
    pub fn norm(&mut self, norm: &Norm, width: usize, input: &Value) -> Result<Value> {
        match norm.kind {
            NormKind::Layer { bias } => self.layer_norm(norm, bias, width, input),
            NormKind::RootMeanSquare { offset } => self.root_mean_square_norm(norm, offset, width, input),
        }
    }

    fn layer_norm(&mut self, norm: &Norm, bias: bool, width: usize, input: &Value) -> Result<Value> {
        let scale = self.norm_tensor(norm, "weight", "gamma", width)?;
        let bias = if bias { self.norm_tensor(norm, "bias", "beta", width)? } else { Value::none() };
        let attributes = [("axis", Attribute::Int(-1)), ("epsilon", Attribute::Float(norm.epsilon))];
        let inputs = [input, &scale, &bias];
        let inputs = if bias.is_none() { &inputs[..2] } else { &inputs[..] };
        Ok(self.builder.node("LayerNormalization", inputs, &attributes))
    }

    /// Checkpoints converted from TensorFlow keep its names; transformers renames them when it loads.
    fn norm_tensor(&mut self, norm: &Norm, name: &str, tensorflow_name: &str, width: usize) -> Result<Value> {
        let old = format!("{}.{tensorflow_name}", norm.stem);
        let new = format!("{}.{name}", norm.stem);
        let name = if self.weights.has(&old) && !self.weights.has(&new) { &old } else { &new };
        Ok(self.builder.weight(self.weights.tensor(name, &[width])?))
    }

    fn root_mean_square_norm(&mut self, norm: &Norm, offset: f32, width: usize, input: &Value) -> Result<Value> {
        let stored = self.weights.tensor(&format!("{}.weight", norm.stem), &[width])?;
        let weight = if offset == 0.0 {
            self.builder.weight(stored)
        } else {
            let weight = stored.to_f32().into_iter().map(|weight| weight + offset).collect();
            self.builder.computed(&format!("{}.plus_{offset}", stored.name), &[width], weight)
        };
        if self.target.dialect == Dialect::Fused {
            let attributes = [("axis", Attribute::Int(-1)), ("epsilon", Attribute::Float(norm.epsilon))];
            return Ok(self.builder.node("RMSNormalization", &[input, &weight], &attributes));
        }
        let last = self.builder.integers(&[-1]);
        let epsilon = self.builder.number(norm.epsilon);
        let square = self.builder.node("Mul", &[input, input], &[]);
        let mean = self.builder.node("ReduceMean", &[&square, &last], &[]);
        let shifted = self.builder.node("Add", &[&mean, &epsilon], &[]);
        let root = self.builder.node("Sqrt", &[&shifted], &[]);
        let unit = self.builder.node("Div", &[input, &root], &[]);
        Ok(self.builder.node("Mul", &[&unit, &weight], &[]))
    }
}
