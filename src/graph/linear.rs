//! Linear layers, full or quantized, and the feed-forward half of a block.

use std::ops::Range;

use super::activation::Activation;
use super::builder::{Attribute, Value};
use super::target::Linears;
use super::transformer::{FeedForward, Linear};
use super::writer::Writer;
use crate::error::Result;
use crate::int8::Epilogue;

/// The domain of the operators that this library computes itself.
pub const OPERATOR_DOMAIN: &str = "oxembed";
/// The operator of quantized linear layers that share their input: `(tokens, inputs)` to `(tokens, outputs)` for each.
pub const LINEAR_OPERATOR: &str = "QuantizedLinear";
/// Its attribute with the name of the site; the numbers are with the operator, not in the graph.
pub const SITE_ATTRIBUTE: &str = "site";
/// Its attribute with the multiply-adds of one token.
pub const PRODUCTS_ATTRIBUTE: &str = "products";

impl Linear {
    /// The name of the layer in a file of quantized ones: the stem of its tensors, and its rows where it is a part.
    pub fn key(&self) -> String {
        let Range { start, end } = self.rows;
        if self.rows.len() == self.stored_rows { self.stem.clone() } else { format!("{}[{start}:{end}]", self.stem) }
    }
}

impl Writer<'_> {
    /// Layers of one input, `(tokens, inputs)`, each to `(tokens, outputs)`: a quantized site where the target wants
    /// one and the model has it, else a product each.
    pub fn linears<const N: usize>(&mut self, layers: [&Linear; N], input: &Value) -> Result<[Value; N]> {
        self.observe(&layers, input);
        if self.is_quantized(&layers)? {
            return Ok(self.quantized(layers, Epilogue::None, input));
        }
        let mut outputs = std::array::from_fn(|_| Value::none());
        for (output, layer) in outputs.iter_mut().zip(layers) {
            *output = self.full(layer, input)?;
        }
        Ok(outputs)
    }

    /// One layer of an input.
    pub fn linear(&mut self, layer: &Linear, input: &Value) -> Result<Value> {
        let [output] = self.linears([layer], input)?;
        Ok(output)
    }

    /// One layer and the function after it, which a quantized site computes on the way.
    fn activated(&mut self, layer: &Linear, activation: Activation, input: &Value) -> Result<Value> {
        if activation == Activation::Gelu && self.is_quantized(&[layer])? {
            self.observe(&[layer], input);
            let [output] = self.quantized([layer], Epilogue::Gelu, input);
            return Ok(output);
        }
        let output = self.linear(layer, input)?;
        Ok(activation.apply(&mut self.builder, self.target.dialect, &output))
    }

    /// The weights stay as they are stored, `(outputs, inputs)`; layers that are stored as one matrix are views of its
    /// rows, because one product and a split is not faster than several.
    fn full(&mut self, linear: &Linear, input: &Value) -> Result<Value> {
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

    fn is_quantized(&self, layers: &[&Linear]) -> Result<bool> {
        let Some(model) = self.weights.quantized().filter(|_| self.target.linears == Linears::Quantized) else {
            return Ok(false);
        };
        let keys: Vec<String> = layers.iter().map(|layer| layer.key()).collect();
        let outputs: Vec<usize> = layers.iter().map(|layer| layer.rows.len()).collect();
        model.has_site(&keys, layers.first().map_or(0, |layer| layer.inputs), &outputs)
    }

    fn quantized<const N: usize>(&mut self, layers: [&Linear; N], epilogue: Epilogue, input: &Value) -> [Value; N] {
        let name = layers.first().map_or_else(String::new, |layer| layer.key());
        // How much work it is can be read off the node.
        let shape = layers.iter().map(|layer| (layer.rows.len() * layer.inputs) as u64);
        let products = Attribute::Int(i64::try_from(shape.sum::<u64>()).unwrap_or(i64::MAX));
        let attributes = [(SITE_ATTRIBUTE, Attribute::String(name.clone())), (PRODUCTS_ATTRIBUTE, products)];
        self.builder.site(&name, epilogue);
        self.builder.node_in_with_outputs(OPERATOR_DOMAIN, LINEAR_OPERATOR, &[input], &attributes)
    }

    /// The feed-forward half of a block, `(tokens, hidden)` to the same.
    pub fn feed_forward(&mut self, feed_forward: &FeedForward, hidden: &Value) -> Result<Value> {
        let FeedForward { up, gate, down, activation } = feed_forward;
        let inner = if let Some(gate) = gate {
            let [gate, up] = self.linears([gate, up], hidden)?;
            let gate = activation.apply(&mut self.builder, self.target.dialect, &gate);
            self.builder.node("Mul", &[&gate, &up], &[])
        } else {
            self.activated(up, *activation, hidden)?
        };
        self.linear(down, &inner)
    }
}
