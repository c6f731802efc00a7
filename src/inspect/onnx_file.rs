//! Inspecting an ONNX file: what it says, whether its external data is there, and what is suspicious.

use std::path::Path;

use ort::value::TensorElementType;

use super::external;
use super::findings::{Code, Finding, listed};
use super::graph::{self, inputs};
use super::providers::Subject;
use super::report::GraphFacts;
use super::skeleton::ExternalData;
use crate::onnx::OnnxFile;
use crate::onnx::proto::{GraphProto, NodeProto, ValueInfoProto};
use crate::runtime::ports::{Discovered, OutputKind, discover};
use crate::runtime::session::{OutputType, Port};

/// What is known of an ONNX file.
pub struct Inspected {
    /// The file, mapped.
    pub file: OnnxFile,
    /// What it says.
    pub facts: GraphFacts,
    /// Whether all initializers have contents.
    is_complete: bool,
    /// What would be fed and read, where that can be told.
    pub ports: Option<Discovered>,
}

impl Inspected {
    /// Looks into `file`, called `name`.
    pub fn new(file: OnnxFile, name: &str, findings: &mut Vec<Finding>) -> Self {
        let folder = file.path.parent().unwrap_or(Path::new(""));
        let empty = GraphProto::default();
        let main = file.model.graph.as_ref().unwrap_or(&empty);
        let (external, found) = external::check(main, folder);
        let is_complete = found.is_empty();
        findings.extend(found);
        let facts = graph::facts(name, file.bytes.len(), &file.model, external);
        findings.extend(fixed_shape(&file.path, main));
        let input_ports: Vec<Port> = inputs(main).map(port).collect();
        let output_ports: Vec<Port> = main.output.iter().map(port).collect();
        let ports = match discover(&file.path, &input_ports, &output_ports) {
            Ok(ports) => Some(ports),
            Err(error) => {
                findings.push(Finding::not_loadable(&error));
                None
            }
        };
        if let Some(ports) = ports.as_ref().filter(|found| found.ports.output_type == OutputType::Float16) {
            let message =
                format!("the output {:?} is in half precision: numbers have three digits", ports.ports.output);
            let remedy = "nothing, if three digits are enough; else export the graph in single precision";
            findings.push(Finding::new(Code::HalfPrecisionOutput, message, remedy).in_file(&file.path));
        }
        Self { file, facts, is_complete, ports }
    }

    /// For asking providers about it.
    pub fn subject(&self) -> Subject<'_> {
        let folder = self.file.path.parent().unwrap_or(Path::new(""));
        let external = if self.is_complete {
            Ok(ExternalData::In(folder))
        } else {
            Err("the contents of some initializers are missing or malformed".to_owned())
        };
        Subject { file: &self.file.path, bytes: &self.file.bytes, model: &self.file.model, external, coreml: None }
    }

    /// Whether the graph gives pooled vectors.
    pub fn pools(&self) -> bool {
        self.ports.as_ref().is_some_and(|found| found.kind == OutputKind::Sentence)
    }

    /// Whether the output that is read was scaled to unit length.
    pub fn normalizes(&self) -> bool {
        let (Some(graph), Some(found)) = (&self.file.model.graph, &self.ports) else { return false };
        normalizes(graph, &found.ports.output)
    }
}

/// Batches have the number and length of their texts: an input of one size takes only those of that size.
fn fixed_shape(file: &Path, graph: &GraphProto) -> Option<Finding> {
    let fixed: Vec<String> = inputs(graph)
        .filter_map(|input| {
            let shape = input.r#type.as_ref()?.tensor_type.as_ref()?.shape.as_ref()?;
            let sizes: Vec<Option<i64>> = shape.dim.iter().map(|dimension| dimension.dim_value).collect();
            let show = |size: &Option<i64>| size.map_or_else(|| "any".to_owned(), |size| size.to_string());
            let shown = sizes.iter().map(show).collect::<Vec<_>>().join(", ");
            sizes.iter().flatten().any(|size| *size > 0).then(|| format!("{} ({shown})", input.name))
        })
        .collect();
    if fixed.is_empty() {
        return None;
    }
    let message = format!("inputs have a fixed size, and other batches fail: {}", listed(&fixed));
    let remedy = "export the graph with a dynamic batch size and sequence length";
    Some(Finding::new(Code::FixedShape, message, remedy).in_file(file))
}

fn port(value: &ValueInfoProto) -> Port {
    let tensor = value.r#type.as_ref().and_then(|kind| kind.tensor_type.as_ref());
    let shape = tensor.and_then(|tensor| tensor.shape.as_ref());
    let size = |dimension: &crate::onnx::proto::DimensionProto| dimension.dim_value.unwrap_or(-1);
    Port {
        name: value.name.clone(),
        element_type: tensor.and_then(|tensor| element_type(tensor.elem_type)),
        shape: shape.map_or_else(Vec::new, |shape| shape.dim.iter().map(size).collect()),
    }
}

/// The types that inputs and outputs of text models have; `None`, which is none of them, for all others.
fn element_type(number: i32) -> Option<TensorElementType> {
    match number {
        1 => Some(TensorElementType::Float32),
        6 => Some(TensorElementType::Int32),
        7 => Some(TensorElementType::Int64),
        9 => Some(TensorElementType::Bool),
        10 => Some(TensorElementType::Float16),
        11 => Some(TensorElementType::Float64),
        16 => Some(TensorElementType::Bfloat16),
        _ => None,
    }
}

/// Whether `output` is a division by a length, as exporters write it: `x / max(sqrt(sum(x²)), ε)`.
fn normalizes(graph: &GraphProto, output: &str) -> bool {
    /// Nodes between the output and the division, and between the division and the sum.
    const STEPS: usize = 6;
    let producer = |name: &str| graph.node.iter().find(|node| node.output.iter().any(|output| output == name));
    let follow = |start: &str, is_wanted: &dyn Fn(&NodeProto) -> bool, passes: &[&str]| {
        let mut name = start;
        for _ in 0..STEPS {
            let node = producer(name)?;
            if is_wanted(node) {
                return Some(node);
            }
            name = node.input.first().filter(|_| passes.contains(&node.op_type.as_str()))?;
        }
        None
    };
    let is_division = |node: &NodeProto| matches!(node.op_type.as_str(), "Div" | "LpNormalization");
    let Some(division) = follow(output, &is_division, &["Identity", "Cast", "Squeeze", "Reshape"]) else {
        return false;
    };
    if division.op_type == "LpNormalization" {
        return true;
    }
    let passes = ["Clip", "Max", "Expand", "Sqrt", "Add", "Identity", "Cast", "Unsqueeze", "Reshape", "Pow"];
    let is_length = |node: &NodeProto| matches!(node.op_type.as_str(), "ReduceL2" | "ReduceSumSquare");
    let is_root = |node: &NodeProto| node.op_type == "Sqrt";
    let Some(divisor) = division.input.get(1) else { return false };
    follow(divisor, &is_length, &passes).is_some() || follow(divisor, &is_root, &passes).is_some()
}
