//! One linear layer as a graph of its own, written as the layers of a model are.

use super::builder::{Attribute, GraphBuilder, WrittenGraph};
use super::proto::DataType;
use super::target::Target;

/// Name of the input of [`product_graph`], `(rows, inputs)`.
pub const PRODUCT_INPUT: &str = "rows";

/// A layer from `inputs` to `outputs` channels; `weight` is `(outputs, inputs)`, row-major.
pub fn product_graph(inputs: usize, outputs: usize, weight: Vec<f32>) -> WrittenGraph {
    let mut builder = GraphBuilder::new("product", &Target::CPU);
    let rows = builder.input(PRODUCT_INPUT, DataType::Float, &["tokens", &inputs.to_string()]);
    let weight = builder.computed("weight", &[outputs, inputs], weight);
    let bias = builder.computed("bias", &[outputs], vec![0.5; outputs]);
    let product = builder.node("Gemm", &[&rows, &weight, &bias], &[("transB", Attribute::Int(1))]);
    builder.output("product", &product, DataType::Float, &["tokens", &outputs.to_string()]);
    builder.finish()
}
