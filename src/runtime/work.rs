//! How much work each node of a graph is: multiply-adds of its matrix products.
//!
//! Counted for texts of 128 tokens where the shape is not fixed. What no product is counts as nothing: it is a few per
//! cent of the time, and its count would say little about it.

use std::collections::{BTreeMap, HashMap};

use crate::graph::{LINEAR_OPERATOR, PRODUCTS_ATTRIBUTE};
use crate::onnx::proto::{GraphProto, NodeProto};

/// Tokens of a text where the graph does not fix them.
const USUAL_TOKENS: u64 = 128;

/// Multiply-adds of one text, by node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Work {
    by_node: HashMap<String, u64>,
}

/// A node as a provider got it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedNode {
    /// Its name, perhaps changed by ONNX Runtime.
    pub name: String,
    /// Its operator.
    pub operator: String,
}

impl Work {
    /// Of the nodes of `graph`, whose tokens have vectors of `hidden` numbers.
    pub fn of(graph: &GraphProto, hidden: usize) -> Self {
        let weights: HashMap<&str, &[i64]> =
            graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor.dims.as_slice())).collect();
        let tokens = tokens(graph);
        let hidden = hidden as u64;
        let work = |node: &NodeProto| match node.op_type.as_str() {
            "MatMul" | "Gemm" | "FusedMatMul" | "MatMulNBits" => Some(product(node, &weights, tokens, hidden)),
            LINEAR_OPERATOR => Some(tokens * products(node)),
            // Scores, and values by scores.
            "Attention" if node.domain.is_empty() => Some(2 * tokens * tokens * hidden),
            "MultiHeadAttention" | "GroupQueryAttention" | "PackedMultiHeadAttention" => {
                Some(2 * tokens * tokens * hidden)
            }
            // With its three projections inside.
            "Attention" | "QAttention" => Some(2 * tokens * tokens * hidden + weighted(node, &weights, tokens)),
            _ => None,
        };
        let by_node = graph.node.iter().filter_map(|node| Some((node.name.clone(), work(node)?))).collect();
        Self { by_node }
    }

    /// The share of the work that each provider has, from 0 to 1; all zeros where no work is known.
    pub fn shares(&self, placed: &BTreeMap<String, Vec<PlacedNode>>) -> BTreeMap<String, f64> {
        let sums: BTreeMap<&String, u64> =
            placed.iter().map(|(provider, nodes)| (provider, nodes.iter().map(|node| self.node(node)).sum())).collect();
        let total: u64 = sums.values().sum();
        let share = |sum: u64| if total == 0 { 0.0 } else { sum as f64 / total as f64 };
        sums.into_iter().map(|(provider, sum)| (provider.clone(), share(sum))).collect()
    }

    /// Of one node; a fused one has the name of what it was made of, and something behind it.
    fn node(&self, node: &PlacedNode) -> u64 {
        if let Some(work) = self.by_node.get(&node.name) {
            return *work;
        }
        let made_of = |name: &str| {
            node.name.strip_prefix(name).is_some_and(|rest| !rest.starts_with(|next: char| next.is_alphanumeric()))
        };
        let known = self.by_node.iter().filter(|(name, _)| !name.is_empty() && made_of(name));
        known.max_by_key(|(name, _)| name.len()).map_or(0, |(_, work)| *work)
    }
}

/// Tokens of a text, where an input fixes them.
fn tokens(graph: &GraphProto) -> u64 {
    let shapes = graph.input.iter().filter_map(|input| input.r#type.as_ref()?.tensor_type.as_ref()?.shape.as_ref());
    let fixed = shapes.filter_map(|shape| shape.dim.get(1)?.dim_value).max().unwrap_or(0);
    u64::try_from(fixed).ok().filter(|tokens| *tokens > 0).unwrap_or(USUAL_TOKENS)
}

/// A product with a weight, or of two values: then it is one of attention's.
fn product(node: &NodeProto, weights: &HashMap<&str, &[i64]>, tokens: u64, hidden: u64) -> u64 {
    match node.input.get(1).and_then(|name| weights.get(name.as_str())) {
        Some(dims) => tokens * size(dims),
        None if node.input.iter().any(|name| weights.get(name.as_str()).is_some_and(|dims| dims.len() > 1)) => {
            weighted(node, weights, tokens)
        }
        None => tokens * tokens * hidden,
    }
}

/// What a node of quantized layers says of itself: multiply-adds of a token.
fn products(node: &NodeProto) -> u64 {
    let said = node.attribute.iter().find(|attribute| attribute.name == PRODUCTS_ATTRIBUTE);
    said.and_then(|attribute| u64::try_from(attribute.i).ok()).unwrap_or(0)
}

fn weighted(node: &NodeProto, weights: &HashMap<&str, &[i64]>, tokens: u64) -> u64 {
    let sizes = node.input.iter().filter_map(|name| weights.get(name.as_str())).filter(|dims| dims.len() > 1);
    tokens * sizes.map(|dims| size(dims)).sum::<u64>()
}

fn size(dims: &[i64]) -> u64 {
    dims.iter().map(|dimension| u64::try_from(*dimension).unwrap_or(0)).product()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{PlacedNode, Work};
    use crate::onnx::proto::{GraphProto, NodeProto, TensorProto};

    fn node(name: &str, op_type: &str, input: &[&str]) -> NodeProto {
        NodeProto {
            name: name.to_owned(),
            op_type: op_type.to_owned(),
            input: input.iter().map(|name| (*name).to_owned()).collect(),
            ..NodeProto::default()
        }
    }

    fn graph() -> GraphProto {
        let weight = TensorProto { name: "w".to_owned(), dims: vec![10, 30], ..TensorProto::default() };
        GraphProto {
            node: vec![
                node("Gemm_1", "Gemm", &["x", "w", "b"]),
                node("Gemm_12", "Gemm", &["x", "w"]),
                node("MatMul_2", "MatMul", &["q", "k"]),
                node("Add_3", "Add", &["x", "w"]),
            ],
            initializer: vec![weight],
            ..GraphProto::default()
        }
    }

    fn placed(pairs: &[(&str, &[(&str, &str)])]) -> BTreeMap<String, Vec<PlacedNode>> {
        let node =
            |(name, operator): &(&str, &str)| PlacedNode { name: (*name).to_owned(), operator: (*operator).to_owned() };
        pairs.iter().map(|(name, nodes)| ((*name).to_owned(), nodes.iter().map(node).collect())).collect()
    }

    #[test]
    fn shares_are_of_multiply_adds() {
        let work = Work::of(&graph(), 10);
        let shares = work.shares(&placed(&[
            ("A", &[("Gemm_1", "Gemm"), ("Add_3", "Add")]),
            ("B", &[("Gemm_12", "Gemm"), ("MatMul_2", "MatMul")]),
            ("C", &[("Add_3", "Add")]),
        ]));
        // 128 x 10 x 30, twice, and 128 x 128 x 10.
        let total = 38_400.0 * 2.0 + 163_840.0;
        assert!((shares["A"] - 38_400.0 / total).abs() < 1e-12);
        assert!((shares["B"] - (38_400.0 + 163_840.0) / total).abs() < 1e-12);
        assert!(shares["C"].abs() < 1e-12);
    }

    #[test]
    fn a_fused_node_is_known_by_what_it_was_made_of() {
        let work = Work::of(&graph(), 10);
        let node = |name: &str| work.node(&PlacedNode { name: name.to_owned(), operator: "Gemm".to_owned() });
        assert_eq!(node("Gemm_1/MatMulAddFusion"), 38_400);
        assert_eq!(node("Gemm_12_fused"), 38_400);
        assert_eq!((node("Gemm_123"), node("other")), (0, 0));
    }

    #[test]
    fn without_work_there_are_no_shares() {
        let shares = Work::default().shares(&placed(&[("A", &[("Add_3", "Add")])]));
        assert!(shares["A"].abs() < f64::EPSILON);
    }
}
