//! Small graphs whose partitions can be counted by hand.

use std::collections::HashMap;

use super::{Partitioning, Rules, partition};
use crate::inspect::shapes::{Shapes, ValueShape};
use crate::onnx::proto::{AttributeProto, GraphProto, NodeProto, TensorProto};

const RULES: Rules =
    Rules { operators: &[("ai.onnx:Add", "two inputs"), ("ai.onnx:If", "")], max_rank: 5, fixed_shapes_only: false };

fn node(op_type: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        input: inputs.iter().map(|name| (*name).to_owned()).collect(),
        output: vec![output.to_owned()],
        op_type: op_type.to_owned(),
        ..NodeProto::default()
    }
}

fn graph(nodes: Vec<NodeProto>) -> GraphProto {
    GraphProto { node: nodes, ..GraphProto::default() }
}

fn partitions(nodes: Vec<NodeProto>) -> Partitioning {
    partition(&graph(nodes), &Shapes::default(), &RULES)
}

#[test]
fn a_node_that_is_left_splits_what_depends_on_it() {
    let found = partitions(vec![
        node("Add", &["x", "x"], "a"),
        node("Sin", &["a"], "b"),
        node("Add", &["b", "b"], "c"),
        node("Add", &["c", "c"], "d"),
    ]);
    assert_eq!((found.partitions.as_slice(), found.by_operator), (&[1, 2][..], 1));
    assert_eq!(found.unsupported_operators.iter().collect::<Vec<_>>(), ["ai.onnx:Sin"]);
    assert_eq!(found.unchecked["ai.onnx:Add"], "two inputs");
}

#[test]
fn a_node_that_is_left_beside_does_not_split() {
    let found = partitions(vec![
        node("Sin", &["x"], "s"),
        node("Add", &["x", "x"], "a"),
        node("Add", &["a", "s"], "b"),
        node("Add", &["b", "b"], "c"),
    ]);
    assert_eq!(found.partitions, [3]);
}

#[test]
fn a_cycle_ends_and_its_nodes_are_in_no_partition() {
    let found =
        partitions(vec![node("Add", &["x", "x"], "a"), node("Add", &["a", "c"], "b"), node("Add", &["b"], "c")]);
    // `c` is made after it is asked for, so that nobody makes it: the edge is not there.
    assert_eq!((found.partitions.as_slice(), found.nodes), (&[3][..], 3));
    let itself = partitions(vec![node("Add", &["a"], "a")]);
    assert_eq!(itself.partitions, [1]);
}

#[test]
fn shapes_that_vary_are_unknown_or_left_out_are_left_where_they_matter() {
    let fixed = ValueShape { rank: 2, is_fixed: true };
    let values = [("x", fixed), ("y", ValueShape { rank: 2, is_fixed: false })];
    let shapes =
        Shapes { values: HashMap::from(values.map(|(name, shape)| (name.to_owned(), shape))), subgraphs: Vec::new() };
    let mut graph = graph(vec![
        node("Add", &["x", "w"], "a"),
        node("Add", &["x", "y"], "b"),
        node("Add", &["x", "unknown"], "c"),
        node("Add", &["x", ""], "d"),
    ]);
    graph.initializer.push(TensorProto { name: "w".to_owned(), ..TensorProto::default() });
    let rules = Rules { fixed_shapes_only: true, ..RULES };
    let found = partition(&graph, &shapes, &rules);
    assert_eq!((found.supported(), found.by_shape), (1, 3));
    assert_eq!(partition(&graph, &shapes, &RULES).supported(), 4);
}

#[test]
fn six_dimensions_are_too_many() {
    let values = HashMap::from([("x".to_owned(), ValueShape { rank: 6, is_fixed: true })]);
    let shapes = Shapes { values, subgraphs: Vec::new() };
    let graph = graph(vec![node("Add", &["x", "x"], "a")]);
    let found = partition(&graph, &shapes, &Rules { fixed_shapes_only: true, ..RULES });
    assert_eq!((found.supported(), found.by_rank), (0, 1));
    assert_eq!(found.operators_of_unsupported_rank.iter().collect::<Vec<_>>(), ["ai.onnx:Add"]);
}

#[test]
fn what_a_subgraph_takes_from_around_it_is_an_edge_of_its_node() {
    let branch = graph(vec![node("Sin", &["s"], "inner"), node("Add", &["inner", "inner"], "y")]);
    let mut choice = node("If", &["condition"], "z");
    choice.attribute.push(AttributeProto { g: Some(branch), ..AttributeProto::default() });
    let found = partitions(vec![node("Add", &["x", "x"], "a"), node("Sin", &["a"], "s"), choice]);
    // Without the edge to `s` the two nodes of the main graph would be one partition.
    assert_eq!((found.partitions.as_slice(), found.nodes, found.by_operator), (&[1, 1, 1][..], 5, 2));
}
