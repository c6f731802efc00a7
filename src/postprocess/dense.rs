//! A linear layer and its activation.

use std::path::Path;

use super::activation::Activation;
use super::normalize::dot;
use crate::error::{EmbeddingError, Result};

/// `activation(weight · x + bias)`, sentence-transformers' `Dense`.
#[derive(Debug, Clone, PartialEq)]
pub struct DenseLayer {
    /// One row of `in_features` for each output.
    weight: Vec<f32>,
    bias: Option<Vec<f32>>,
    in_features: usize,
    out_features: usize,
    activation: Activation,
}

impl DenseLayer {
    /// A layer of the given shape; `weight` is `(out_features, in_features)`, row by row. `file` is named in errors.
    ///
    /// ```
    /// use oxembed::postprocess::{Activation, DenseLayer};
    ///
    /// let layer = DenseLayer::new("m".as_ref(), 2, 1, vec![1.0, 2.0], Some(vec![0.5]), Activation::Identity)?;
    /// let mut output = [0.0];
    /// layer.apply(&[10.0, 20.0], &mut output);
    /// assert_eq!(output, [50.5]);
    /// # Ok::<(), oxembed::EmbeddingError>(())
    /// ```
    ///
    /// # Errors
    /// [`EmbeddingError::InvalidModel`] where the weights do not fit the shape.
    pub fn new(
        file: &Path,
        in_features: usize,
        out_features: usize,
        weight: Vec<f32>,
        bias: Option<Vec<f32>>,
        activation: Activation,
    ) -> Result<Self> {
        let misfit = |key: &str, found: usize, needed: String| {
            EmbeddingError::invalid_key(file, key, None, format!("{found} values; {needed} are needed"))
        };
        if in_features == 0 || out_features == 0 || in_features.checked_mul(out_features) != Some(weight.len()) {
            return Err(misfit("linear.weight", weight.len(), format!("{out_features} x {in_features}")));
        }
        if let Some(bias) = bias.as_ref().filter(|bias| bias.len() != out_features) {
            return Err(misfit("linear.bias", bias.len(), out_features.to_string()));
        }
        Ok(Self { weight, bias, in_features, out_features, activation })
    }

    /// One row of `in_features` for each output.
    pub fn weight(&self) -> &[f32] {
        &self.weight
    }

    /// A value for each output, where there are any.
    pub fn bias(&self) -> Option<&[f32]> {
        self.bias.as_deref()
    }

    /// What is applied to the outputs.
    pub fn activation(&self) -> Activation {
        self.activation
    }

    /// Width of the input.
    pub fn in_features(&self) -> usize {
        self.in_features
    }

    /// Width of the output.
    pub fn out_features(&self) -> usize {
        self.out_features
    }

    /// Applies the layer to rows of `in_features`, giving rows of `out_features`.
    ///
    /// A row's result does not depend on the other rows: only the order in which weights are visited does, so that each
    /// is fetched once.
    pub fn apply(&self, rows_in: &[f32], rows_out: &mut [f32]) {
        debug_assert_eq!(rows_in.len() / self.in_features, rows_out.len() / self.out_features);
        for (output, weights) in self.weight.chunks_exact(self.in_features).enumerate() {
            let bias = self.bias.as_ref().and_then(|bias| bias.get(output)).copied().unwrap_or(0.0);
            let rows = rows_in.chunks_exact(self.in_features).zip(rows_out.chunks_exact_mut(self.out_features));
            for (row_in, row_out) in rows {
                if let Some(value) = row_out.get_mut(output) {
                    *value = dot(weights, row_in) + bias;
                }
            }
        }
        self.activation.apply(rows_out);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::float_cmp)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn layer(inputs: usize, outputs: usize, weight: Vec<f32>, bias: Option<Vec<f32>>) -> Result<DenseLayer> {
        DenseLayer::new(Path::new("2_Dense/model.safetensors"), inputs, outputs, weight, bias, Activation::Identity)
    }

    #[test]
    fn weights_of_another_shape_are_refused() {
        let error = layer(3, 2, vec![0.0; 5], None).unwrap_err();
        assert_eq!(error.to_string(), "2_Dense/model.safetensors: linear.weight: 5 values; 2 x 3 are needed");
        let error = layer(3, 2, vec![0.0; 6], Some(vec![0.0; 3])).unwrap_err();
        assert_eq!(error.to_string(), "2_Dense/model.safetensors: linear.bias: 3 values; 2 are needed");
        assert!(layer(usize::MAX, 2, vec![0.0; 6], None).is_err());
        assert!(layer(0, 0, vec![], None).is_err());
    }

    #[test]
    fn a_layer_says_what_it_was_made_of() {
        let weight = vec![0.5, -2.0, 3.0, 4.0, 5.0, 6.0];
        let with = layer(3, 2, weight.clone(), Some(vec![0.25, 7.0])).unwrap();
        assert_eq!((with.weight(), with.bias()), (&weight[..], Some(&[0.25, 7.0][..])));
        assert_eq!((with.in_features(), with.out_features()), (3, 2));
        assert_eq!(layer(3, 2, weight, None).unwrap().bias(), None);
    }

    proptest! {
        #[test]
        fn rows_match_a_brute_force_product_and_do_not_depend_on_their_neighbours(
            (inputs, outputs, rows, weight, bias, values) in (1_usize..40, 1_usize..9, 1_usize..5)
                .prop_flat_map(|(inputs, outputs, rows)| (
                    Just(inputs),
                    Just(outputs),
                    Just(rows),
                    prop::collection::vec(-2.0_f32..2.0, inputs * outputs),
                    prop::option::of(prop::collection::vec(-2.0_f32..2.0, outputs)),
                    prop::collection::vec(-2.0_f32..2.0, inputs * rows),
                ))
        ) {
            let layer = layer(inputs, outputs, weight.clone(), bias.clone()).unwrap();
            let mut together = vec![0.0; rows * outputs];
            layer.apply(&values, &mut together);
            for row in 0..rows {
                let input = &values[row * inputs..(row + 1) * inputs];
                let mut alone = vec![0.0; outputs];
                layer.apply(input, &mut alone);
                prop_assert_eq!(&alone[..], &together[row * outputs..(row + 1) * outputs]);
                for (output, value) in alone.iter().enumerate() {
                    let mut exact = bias.as_ref().map_or(0.0, |bias| f64::from(bias[output]));
                    for (column, number) in input.iter().enumerate() {
                        exact += f64::from(weight[output * inputs + column]) * f64::from(*number);
                    }
                    prop_assert!((f64::from(*value) - exact).abs() < 1e-4);
                }
            }
        }
    }
}
