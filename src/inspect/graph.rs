//! What a graph says of itself.

use std::collections::BTreeMap;

use crate::onnx::proto::{GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};
use crate::onnx::{ElementType, elements};

use super::report::{Dimension, DtypeFacts, ExternalFacts, GraphFacts, PortFacts};

/// The name of ONNX's own domain, which may be left out.
pub const STANDARD_DOMAIN: &str = "ai.onnx";

/// A domain by its full name.
pub fn domain(domain: &str) -> &str {
    if domain.is_empty() { STANDARD_DOMAIN } else { domain }
}

/// The facts of `model`, which has `bytes` bytes.
pub fn facts(file: &str, bytes: usize, model: &ModelProto, external_data: Vec<ExternalFacts>) -> GraphFacts {
    let mut facts = GraphFacts {
        file: file.to_owned(),
        bytes,
        ir_version: model.ir_version,
        opsets: opsets(model),
        producer: format!("{} {}", model.producer_name, model.producer_version).trim().to_owned(),
        metadata: model.metadata_props.iter().map(|entry| (entry.key.clone(), entry.value.clone())).collect(),
        inputs: Vec::new(),
        outputs: Vec::new(),
        nodes: 0,
        subgraphs: 0,
        nodes_in_subgraphs: 0,
        functions: model.functions.len(),
        operators: BTreeMap::new(),
        initializers: 0,
        parameters: 0,
        parameter_bytes: 0,
        parameters_by_dtype: BTreeMap::new(),
        external_data,
    };
    if let Some(graph) = &model.graph {
        facts.inputs = inputs(graph).map(port).collect();
        facts.outputs = graph.output.iter().map(port).collect();
        facts.nodes = graph.node.len();
        count(graph, &mut facts);
        facts.nodes_in_subgraphs -= facts.nodes;
    }
    facts
}

/// Operator sets by domain.
pub fn opsets(model: &ModelProto) -> BTreeMap<String, i64> {
    model.opset_import.iter().map(|opset| (domain(&opset.domain).to_owned(), opset.version)).collect()
}

/// What a caller has to give: old files list their initializers among the inputs.
pub fn inputs(graph: &GraphProto) -> impl Iterator<Item = &ValueInfoProto> {
    let initializers: std::collections::HashSet<&str> =
        graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    graph.input.iter().filter(move |input| !initializers.contains(input.name.as_str()))
}

/// The graphs inside a node.
pub fn subgraphs(node: &NodeProto) -> impl Iterator<Item = &GraphProto> {
    node.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs))
}

/// The initializers of a graph and its subgraphs.
pub fn each_tensor<'a>(graph: &'a GraphProto, visit: &mut dyn FnMut(&'a TensorProto)) {
    let sparse = graph.sparse_initializer.iter().filter_map(|sparse| sparse.values.as_ref());
    graph.initializer.iter().chain(sparse).for_each(&mut *visit);
    for subgraph in graph.node.iter().flat_map(subgraphs) {
        each_tensor(subgraph, visit);
    }
}

/// Bytes that the numbers of a tensor take; none where that cannot be known.
pub fn tensor_bytes(tensor: &TensorProto) -> Option<u64> {
    ElementType::of(tensor.data_type)?.bytes(elements(tensor)?)
}

fn count(graph: &GraphProto, facts: &mut GraphFacts) {
    facts.nodes_in_subgraphs += graph.node.len();
    for node in &graph.node {
        let operators = facts.operators.entry(domain(&node.domain).to_owned()).or_default();
        *operators.entry(node.op_type.clone()).or_default() += 1;
        for subgraph in subgraphs(node) {
            facts.subgraphs += 1;
            count(subgraph, facts);
        }
    }
    let sparse = graph.sparse_initializer.iter().filter_map(|sparse| sparse.values.as_ref());
    for tensor in graph.initializer.iter().chain(sparse) {
        let (parameters, bytes) = (elements(tensor).unwrap_or(0), tensor_bytes(tensor).unwrap_or(0));
        facts.initializers += 1;
        facts.parameters = facts.parameters.saturating_add(parameters);
        facts.parameter_bytes = facts.parameter_bytes.saturating_add(bytes);
        let dtype: &mut DtypeFacts =
            facts.parameters_by_dtype.entry(ElementType::name_of(tensor.data_type)).or_default();
        dtype.tensors += 1;
        dtype.parameters = dtype.parameters.saturating_add(parameters);
        dtype.bytes = dtype.bytes.saturating_add(bytes);
    }
}

fn port(value: &ValueInfoProto) -> PortFacts {
    let tensor = value.r#type.as_ref().and_then(|kind| kind.tensor_type.as_ref());
    let dimension = |dimension: &crate::onnx::proto::DimensionProto| match (dimension.dim_value, &dimension.dim_param) {
        (Some(size), _) => Dimension::Size(size),
        (None, Some(name)) if !name.is_empty() => Dimension::Name(name.clone()),
        (None, _) => Dimension::Open(()),
    };
    PortFacts {
        name: value.name.clone(),
        dtype: tensor.map(|tensor| ElementType::name_of(tensor.elem_type)),
        shape: tensor.and_then(|tensor| tensor.shape.as_ref()).map(|shape| shape.dim.iter().map(dimension).collect()),
    }
}
