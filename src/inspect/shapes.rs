//! The shape of every value of a graph, as ONNX Runtime infers it.
//!
//! ONNX Runtime tells the shapes of a graph's outputs, so every value is made an output of a copy of the graph. The values
//! of a subgraph are inferred the same way: as a graph of its own, whose inputs are what it takes from outside.
//!
//! ONNX Runtime's checker has its shapes from the library `onnx`, which knows the same rules but none of the operators of
//! `com.microsoft`: behind one of these it takes every shape for one that varies, where ONNX Runtime itself knows it.

use std::collections::{BTreeSet, HashMap};

use prost::Message;

use super::graph::subgraphs;
use super::skeleton::{MODEL_GRAPH, Skeleton};
use crate::error::EmbeddingError;
use crate::onnx::proto::{DimensionProto, GraphProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto};
use crate::onnx::wire::{Content, Field, Fields, push_bytes};
use crate::runtime::library::Library;
use crate::runtime::outputs::{Inferred, inferred};

/// Field numbers of `GraphProto`, `NodeProto` and `AttributeProto`.
const GRAPH_NODE: u32 = 1;
const GRAPH_INITIALIZER: u32 = 5;
const GRAPH_INPUT: u32 = 11;
const GRAPH_OUTPUT: u32 = 12;
const NODE_ATTRIBUTE: u32 = 5;
const ATTRIBUTE_GRAPH: u32 = 6;

/// Subgraphs that are looked into: a session is made for each, and each sees the values around it.
const MAX_SUBGRAPHS: usize = 256;

/// What partitioning has to know of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValueShape {
    /// Number of dimensions.
    pub rank: usize,
    /// Whether every dimension has one size above zero.
    pub is_fixed: bool,
}

/// A graph and the shapes of its own values.
#[derive(Debug, Default)]
pub struct Shapes {
    /// By name; what is no tensor is left out.
    pub values: HashMap<String, ValueShape>,
    /// Those of the graphs in `g` attributes, in the order of nodes and attributes.
    pub subgraphs: Vec<Shapes>,
}

/// What a subgraph can take from the graphs around it.
#[derive(Clone, Default)]
struct Outside<'a> {
    values: HashMap<String, ValueInfoProto>,
    initializers: HashMap<String, &'a [u8]>,
}

/// Infers the shapes of the optimized model `model`, whose bytes are `bytes`.
///
/// # Errors
/// `InvalidModel` where ONNX Runtime refuses the model with all its values as outputs, or there are too many subgraphs.
pub fn infer(
    skeleton: &Skeleton,
    library: &Library,
    bytes: &[u8],
    graph: &GraphProto,
) -> Result<Shapes, EmbeddingError> {
    let subgraphs = count(graph);
    if subgraphs > MAX_SUBGRAPHS {
        let problem = format!("the graph has {subgraphs} subgraphs; at most {MAX_SUBGRAPHS} are looked into");
        return Err(EmbeddingError::invalid_model(&skeleton.file, problem));
    }
    let mut header = Vec::new();
    let mut main = &[][..];
    for field in well_formed(bytes) {
        match field.content {
            Content::Bytes(bytes) if field.number == MODEL_GRAPH => main = bytes,
            _ => header.extend_from_slice(field.whole),
        }
    }
    let inference = Inference { skeleton, library, header };
    let values = inference.values(graph, main, &Outside::default())?;
    Ok(inference.shapes(graph, main, values, &Outside::default()))
}

struct Inference<'a> {
    skeleton: &'a Skeleton,
    library: &'a Library,
    /// The model's fields but for its graph.
    header: Vec<u8>,
}

impl Inference<'_> {
    /// The type of every value that a node of `graph` gives.
    fn values(
        &self,
        graph: &GraphProto,
        bytes: &[u8],
        outside: &Outside<'_>,
    ) -> Result<Vec<(String, Inferred)>, EmbeddingError> {
        let mut copy = Vec::with_capacity(bytes.len());
        for field in well_formed(bytes).filter(|field| field.number != GRAPH_OUTPUT) {
            copy.extend_from_slice(field.whole);
        }
        let mut taken = BTreeSet::new();
        outer_names(graph, &mut taken);
        for name in taken {
            if let Some(initializer) = outside.initializers.get(&name) {
                copy.extend_from_slice(initializer);
            } else if let Some(value) = outside.values.get(&name) {
                push_bytes(&mut copy, GRAPH_INPUT, &value.encode_to_vec());
            }
        }
        // What the graph itself says of a value counts too.
        let said: HashMap<&str, &ValueInfoProto> =
            graph.value_info.iter().chain(&graph.output).map(|value| (value.name.as_str(), value)).collect();
        for name in graph.node.iter().flat_map(|node| &node.output).filter(|name| !name.is_empty()) {
            let value = said.get(name.as_str()).map_or_else(
                || ValueInfoProto { name: name.clone(), r#type: None }.encode_to_vec(),
                |value| value.encode_to_vec(),
            );
            push_bytes(&mut copy, GRAPH_OUTPUT, &value);
        }
        let mut model = self.header.clone();
        push_bytes(&mut model, MODEL_GRAPH, &copy);
        inferred(&self.skeleton.session(self.library, &model)?)
    }

    fn shapes<'b>(
        &self,
        graph: &'b GraphProto,
        bytes: &'b [u8],
        values: Vec<(String, Inferred)>,
        outside: &Outside<'b>,
    ) -> Shapes {
        let mut outside = outside.clone();
        let mut shapes = Shapes::default();
        for input in graph.input.iter().chain(&graph.output) {
            shapes.values.extend(declared(input).map(|shape| (input.name.clone(), shape)));
            outside.values.insert(input.name.clone(), input.clone());
        }
        for (name, inferred) in values {
            shapes.values.insert(name.clone(), shape(&inferred));
            outside.values.insert(name.clone(), value_info(name, &inferred));
        }
        let initializers = well_formed(bytes).filter(|field| field.number == GRAPH_INITIALIZER);
        for (tensor, field) in graph.initializer.iter().zip(initializers) {
            outside.initializers.insert(tensor.name.clone(), field.whole);
        }
        for (subgraph, bytes) in attribute_graphs(graph).zip(attribute_graph_bytes(bytes)) {
            // A body whose inputs have no types is no graph of its own: its shapes are not known, as where ONNX Runtime
            // knows none.
            let values = self.values(subgraph, bytes, &outside).unwrap_or_else(|error| {
                tracing::debug!(%error, "the shapes of a subgraph cannot be inferred");
                Vec::new()
            });
            shapes.subgraphs.push(self.shapes(subgraph, bytes, values, &outside));
        }
        shapes
    }
}

fn count(graph: &GraphProto) -> usize {
    attribute_graphs(graph).map(|subgraph| 1 + count(subgraph)).sum()
}

/// The fields of a message that was decoded before.
fn well_formed(bytes: &[u8]) -> impl Iterator<Item = Field<'_>> {
    Fields::of(bytes).map_while(Result::ok)
}

/// The graphs in `g` attributes: those that ONNX Runtime's checker looks into.
pub fn attribute_graphs(graph: &GraphProto) -> impl Iterator<Item = &GraphProto> {
    graph.node.iter().flat_map(|node| &node.attribute).filter_map(|attribute| attribute.g.as_ref())
}

/// The bytes of [`attribute_graphs`].
fn attribute_graph_bytes(graph: &[u8]) -> impl Iterator<Item = &[u8]> {
    let inside = |number: u32| {
        move |bytes| {
            well_formed(bytes).filter_map(move |field| match field.content {
                Content::Bytes(inner) if field.number == number => Some(inner),
                _ => None,
            })
        }
    };
    inside(GRAPH_NODE)(graph).flat_map(inside(NODE_ATTRIBUTE)).flat_map(inside(ATTRIBUTE_GRAPH))
}

/// Adds the names that a graph takes from outside.
fn outer_names(graph: &GraphProto, names: &mut BTreeSet<String>) {
    let mut used = BTreeSet::new();
    for node in &graph.node {
        used.extend(node.input.iter().filter(|name| !name.is_empty()).cloned());
        subgraphs(node).for_each(|subgraph| outer_names(subgraph, &mut used));
    }
    let own = graph.input.iter().map(|value| &value.name);
    let own = own.chain(graph.initializer.iter().map(|tensor| &tensor.name));
    for name in own.chain(graph.node.iter().flat_map(|node| &node.output)) {
        used.remove(name);
    }
    names.extend(used);
}

/// What a graph says of its input or output.
fn declared(value: &ValueInfoProto) -> Option<ValueShape> {
    let tensor = value.r#type.as_ref()?.tensor_type.as_ref()?;
    let size = |dimension: &DimensionProto| dimension.dim_value.unwrap_or(-1);
    let shape = tensor.shape.as_ref().map(|shape| shape.dim.iter().map(size).collect());
    Some(self::shape(&Inferred { element: tensor.elem_type, shape }))
}

/// A tensor of which not even the number of dimensions is known counts as fixed and of none: so the checker of ONNX
/// Runtime reads it, and its numbers are ours.
fn shape(inferred: &Inferred) -> ValueShape {
    let sizes = inferred.shape.as_deref().unwrap_or_default();
    ValueShape { rank: sizes.len(), is_fixed: sizes.iter().all(|size| *size > 0) }
}

fn value_info(name: String, inferred: &Inferred) -> ValueInfoProto {
    let dimension = |size: &i64| DimensionProto { dim_value: (*size >= 0).then_some(*size), dim_param: None };
    let shape = inferred.shape.as_ref().map(|shape| TensorShapeProto { dim: shape.iter().map(dimension).collect() });
    let tensor_type = TensorTypeProto { elem_type: inferred.element, shape };
    ValueInfoProto { name, r#type: Some(TypeProto { tensor_type: Some(tensor_type) }) }
}
