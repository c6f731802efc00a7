//! A folder's safetensors weights: how many, how stored, which are not used, and whether the small ones are numbers.

use std::collections::BTreeMap;

use super::findings::{Code, Finding, listed};
use super::report::WeightFacts;
use crate::weights::{StoredTensor, Weights};

/// Vectors up to this length (norms, biases) are looked through.
const SMALL: usize = 1 << 16;
/// Of the weights: more than this share unused is no head that embeddings do not need.
const MANY: f64 = 0.1;

/// What `weights` are.
pub fn facts(weights: &Weights, file: &str) -> WeightFacts {
    let mut by_dtype = BTreeMap::new();
    for tensor in weights.tensors() {
        *by_dtype.entry(tensor.dtype.name().to_owned()).or_insert(0) += tensor.len();
    }
    WeightFacts {
        file: file.to_owned(),
        tensors: weights.tensors().count(),
        parameters: weights.parameters(),
        by_dtype,
        unused: Vec::new(),
    }
}

/// The names of the tensors that the written graph did not ask for, and whether that is suspicious.
pub fn unused(weights: &Weights) -> (Vec<String>, Option<Finding>) {
    let unused = weights.unused();
    let names: Vec<String> = unused.iter().map(|tensor| tensor.name.clone()).collect();
    if names.is_empty() {
        return (names, None);
    }
    let numbers: usize = unused.iter().map(|tensor| tensor.len()).sum();
    let share = numbers as f64 / weights.parameters().max(1) as f64;
    let code = if share > MANY { Code::ManyUnusedTensors } else { Code::UnusedTensors };
    let message = format!(
        "{} tensors, {:.1}% of the weights, are not used by the graph: {}",
        names.len(),
        100.0 * share,
        listed(&names)
    );
    let remedy = "nothing, where they are a head that embeddings do not need (a pooler, a language model's head)";
    (names, Some(Finding::new(code, message, remedy).in_file(weights.path())))
}

/// Norms and biases that are NaN or infinite: one of them spoils every vector.
pub fn non_finite(weights: &Weights) -> Option<Finding> {
    let is_small = |tensor: &&StoredTensor| tensor.shape.len() == 1 && tensor.len() <= SMALL;
    let names: Vec<&str> = weights
        .tensors()
        .filter(is_small)
        .filter(|tensor| tensor.to_f32().iter().any(|number| !number.is_finite()))
        .map(|tensor| tensor.name.as_str())
        .collect();
    let message = format!("{} norms and biases have values that are NaN or infinite: {}", names.len(), listed(&names));
    let remedy = "download the model again; if that does not help, its training failed";
    (!names.is_empty()).then(|| Finding::new(Code::NonFiniteWeights, message, remedy).in_file(weights.path()))
}
