//! Linear layers, full or quantized, and the feed-forward half of a block.

use std::ops::Range;

use super::activation::Activation;
use super::builder::{Attribute, Value};
use super::target::Linears;
use super::transformer::{FeedForward, Linear};
use super::writer::Writer;
use crate::error::Result;
use crate::int8::Epilogue;
use crate::weights::{StoredTensor, Weights};

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

    /// Its weight `(outputs, inputs)` and its bias, where it has one, as they are stored.
    ///
    /// # Errors
    /// `InvalidModel` where one is missing or has another shape.
    pub fn stored(&self, weights: &Weights) -> Result<(StoredTensor, Option<StoredTensor>)> {
        let rows = |name: &str, shape: &[usize]| {
            weights.tensor(&format!("{}.{name}", self.stem), shape)?.rows(self.rows.clone())
        };
        let weight = rows("weight", &[self.stored_rows, self.inputs])?;
        let bias = self.bias.then(|| rows("bias", &[self.stored_rows])).transpose()?;
        Ok((weight, bias))
    }
}

impl Writer<'_> {
    /// Layers of one input, `(tokens, inputs)`, each to `(tokens, outputs)`: a quantized site where the target wants
    /// one and the model has it, else a product each.
    pub fn linears<const N: usize>(&mut self, layers: [&Linear; N], input: &Value) -> Result<[Value; N]> {
        if let Some(outputs) = self.quantized(layers, Epilogue::None, input)? {
            return Ok(outputs);
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
        if activation == Activation::Gelu
            && let Some([output]) = self.quantized([layer], Epilogue::Gelu, input)?
        {
            return Ok(output);
        }
        let output = self.linear(layer, input)?;
        Ok(activation.apply(&mut self.builder, self.target.dialect, &output))
    }

    /// The weights stay as they are stored, `(outputs, inputs)`; layers that are stored as one matrix are views of its
    /// rows, because one product and a split is not faster than several.
    fn full(&mut self, linear: &Linear, input: &Value) -> Result<Value> {
        let (weight, bias) = linear.stored(self.weights)?;
        let weight = self.builder.weight(&weight);
        let transposed = [("transB", Attribute::Int(1))];
        let Some(bias) = bias else { return Ok(self.builder.node("Gemm", &[input, &weight], &transposed)) };
        let bias = self.builder.weight(&bias);
        Ok(self.builder.node("Gemm", &[input, &weight, &bias], &transposed))
    }

    /// The node of a quantized site, where the target wants one and the model has it.
    fn quantized<const N: usize>(
        &mut self,
        layers: [&Linear; N],
        epilogue: Epilogue,
        input: &Value,
    ) -> Result<Option<[Value; N]>> {
        self.observe(&layers, input);
        let Some(model) = self.weights.quantized().filter(|_| self.target.linears == Linears::Quantized) else {
            return Ok(None);
        };
        let keys = layers.map(Linear::key);
        let outputs = layers.map(|layer| layer.rows.len());
        if !model.has_site(&keys, layers.first().map_or(0, |layer| layer.inputs), &outputs)? {
            return Ok(None);
        }
        let name = keys.into_iter().next().unwrap_or_default();
        // How much work it is can be read off the node.
        let shape = layers.iter().map(|layer| (layer.rows.len() * layer.inputs) as u64);
        let products = Attribute::Int(i64::try_from(shape.sum::<u64>()).unwrap_or(i64::MAX));
        let attributes = [(SITE_ATTRIBUTE, Attribute::String(name.clone())), (PRODUCTS_ATTRIBUTE, products)];
        self.builder.site(&name, epilogue);
        Ok(Some(self.builder.node_in_with_outputs(OPERATOR_DOMAIN, LINEAR_OPERATOR, &[input], &attributes)))
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
