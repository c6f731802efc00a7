//! The activations of transformers' `ACT2FN`, by the names that `config.json` uses.

use super::builder::{Attribute, GraphBuilder, MICROSOFT, Value};
use super::target::Dialect;

/// The function between the two halves of a feed-forward block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// The exact GELU, by the error function.
    Gelu,
    /// GELU's tanh approximation.
    GeluTanh,
    /// `x * sigmoid(1.702 x)`.
    QuickGelu,
    /// `max(x, 0)`.
    Relu,
    /// `x * sigmoid(x)`.
    Silu,
    /// Hyperbolic tangent.
    Tanh,
    /// The logistic function.
    Sigmoid,
    /// GELU cut off at -10 and 10.
    Gelu10,
    /// `x` as it is.
    Linear,
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// `max(x, 0)` squared.
    ReluSquared,
    /// `x`, or a hundredth of it below zero.
    LeakyRelu,
    /// `x * tanh(softplus(x))`.
    Mish,
}

/// Names in `config.json`, as transformers spells them.
pub const ACTIVATIONS: &[(&str, Activation)] = &[
    ("gelu", Activation::Gelu),
    ("gelu_python", Activation::Gelu),
    ("gelu_new", Activation::GeluTanh),
    ("gelu_fast", Activation::GeluTanh),
    ("gelu_pytorch_tanh", Activation::GeluTanh),
    ("gelu_python_tanh", Activation::GeluTanh),
    ("gelu_accurate", Activation::GeluTanh),
    ("gelu_10", Activation::Gelu10),
    ("quick_gelu", Activation::QuickGelu),
    ("relu", Activation::Relu),
    ("silu", Activation::Silu),
    ("swish", Activation::Silu),
    ("tanh", Activation::Tanh),
    ("sigmoid", Activation::Sigmoid),
    ("linear", Activation::Linear),
    ("relu6", Activation::Relu6),
    ("relu2", Activation::ReluSquared),
    ("leaky_relu", Activation::LeakyRelu),
    ("mish", Activation::Mish),
];

impl Activation {
    /// Adds the nodes.
    pub fn apply(self, builder: &mut GraphBuilder, dialect: Dialect, value: &Value) -> Value {
        match (self, dialect) {
            // ONNX Runtime's own Gelu, with the bias already added by the product before it: fused into BiasGelu it
            // takes nearly twice as long (5.3 against 2.9 ms on a 512-token batch of MiniLM).
            (Self::Gelu, Dialect::Fused) => builder.node_in(MICROSOFT, "Gelu", &[value], &[]),
            (Self::Gelu, Dialect::Plain) => builder.node("Gelu", &[value], &[]),
            // 0.29 ms on 512 x 1152 numbers where the operator of ONNX takes 0.44.
            (Self::GeluTanh, Dialect::Fused) => builder.node_in(MICROSOFT, "FastGelu", &[value], &[]),
            (Self::GeluTanh, Dialect::Plain) => {
                builder.node("Gelu", &[value], &[("approximate", Attribute::String("tanh".to_owned()))])
            }
            (Self::QuickGelu, _) => swish(builder, dialect, value, 1.702),
            (Self::Silu, _) => swish(builder, dialect, value, 1.0),
            (Self::Relu, _) => builder.node("Relu", &[value], &[]),
            (Self::Tanh, _) => builder.node("Tanh", &[value], &[]),
            (Self::Sigmoid, _) => builder.node("Sigmoid", &[value], &[]),
            (Self::Gelu10, _) => {
                let gelu = Self::Gelu.apply(builder, dialect, value);
                clip(builder, &gelu, -10.0, 10.0)
            }
            (Self::Linear, _) => value.clone(),
            (Self::Relu6, _) => clip(builder, value, 0.0, 6.0),
            (Self::ReluSquared, _) => {
                let positive = builder.node("Relu", &[value], &[]);
                builder.node("Mul", &[&positive, &positive], &[])
            }
            (Self::LeakyRelu, _) => builder.node("LeakyRelu", &[value], &[("alpha", Attribute::Float(0.01))]),
            (Self::Mish, Dialect::Fused) => builder.node("Mish", &[value], &[]),
            (Self::Mish, Dialect::Plain) => {
                let softplus = builder.node("Softplus", &[value], &[]);
                let tanh = builder.node("Tanh", &[&softplus], &[]);
                builder.node("Mul", &[value, &tanh], &[])
            }
        }
    }
}

/// `x * sigmoid(alpha x)`.
fn swish(builder: &mut GraphBuilder, dialect: Dialect, value: &Value, alpha: f32) -> Value {
    if dialect == Dialect::Fused {
        return builder.node_in(MICROSOFT, "QuickGelu", &[value], &[("alpha", Attribute::Float(alpha))]);
    }
    let factor = builder.number(alpha);
    let scaled = builder.node("Mul", &[value, &factor], &[]);
    let sigmoid = builder.node("Sigmoid", &[&scaled], &[]);
    builder.node("Mul", &[value, &sigmoid], &[])
}

fn clip(builder: &mut GraphBuilder, value: &Value, low: f32, high: f32) -> Value {
    let (low, high) = (builder.number(low), builder.number(high));
    builder.node("Clip", &[value, &low, &high], &[])
}
