//! What a dense layer applies to its output.

use std::f32::consts::FRAC_1_SQRT_2;

/// An activation of torch, as its class is made without arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// The value itself.
    Identity,
    /// Hyperbolic tangent.
    Tanh,
    /// `1 / (1 + e^-x)`.
    Sigmoid,
    /// The larger of `x` and 0.
    Relu,
    /// `x · Φ(x)`, the exact one with the error function.
    Gelu,
    /// `x · sigmoid(x)`.
    Silu,
}

impl Activation {
    /// Applies it to each value.
    ///
    /// ```
    /// use oxembed::postprocess::Activation;
    ///
    /// let mut values = [-1.0, 0.5];
    /// Activation::Relu.apply(&mut values);
    /// assert_eq!(values, [0.0, 0.5]);
    /// ```
    pub fn apply(self, values: &mut [f32]) {
        match self {
            Self::Identity => {}
            Self::Tanh => each(values, f32::tanh),
            Self::Sigmoid => each(values, sigmoid),
            // Not `f32::max`, which would hide a NaN.
            Self::Relu => each(values, |value| if value < 0.0 { 0.0 } else { value }),
            Self::Gelu => each(values, |value| 0.5 * value * (1.0 + libm::erff(value * FRAC_1_SQRT_2))),
            Self::Silu => each(values, |value| value * sigmoid(value)),
        }
    }
}

fn each(values: &mut [f32], function: impl Fn(f32) -> f32) {
    for value in values {
        *value = function(*value);
    }
}

fn sigmoid(value: f32) -> f32 {
    1.0 / (1.0 + (-value).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of torch 2, `repr` of float32.
    #[test]
    fn activations_give_torch_values() {
        let inputs = [-3.0, -0.5, 0.0, 0.7, 4.0];
        let expected: [(Activation, [f32; 5]); 6] = [
            (Activation::Identity, inputs),
            (Activation::Tanh, [-0.995_054_8, -0.462_117_16, 0.0, 0.604_367_8, 0.999_329_3]),
            (Activation::Sigmoid, [0.047_425_874, 0.377_540_67, 0.5, 0.668_187_8, 0.982_013_8]),
            (Activation::Relu, [0.0, 0.0, 0.0, 0.7, 4.0]),
            (Activation::Gelu, [-0.004_049_694_5, -0.154_268_77, 0.0, 0.530_625_4, 3.999_873_4]),
            (Activation::Silu, [-0.142_277_62, -0.188_770_33, 0.0, 0.467_731_4, 3.928_055_3]),
        ];
        for (activation, outputs) in expected {
            let mut values = inputs;
            activation.apply(&mut values);
            for (value, output) in values.iter().zip(outputs) {
                assert!((value - output).abs() < 1e-6, "{activation:?}: {value} instead of {output}");
            }
        }
    }

    #[test]
    fn a_nan_stays_a_nan() {
        for activation in [Activation::Tanh, Activation::Sigmoid, Activation::Relu, Activation::Gelu, Activation::Silu]
        {
            let mut values = [f32::NAN];
            activation.apply(&mut values);
            assert!(values.iter().all(|value| value.is_nan()), "{activation:?}");
        }
    }
}
