//! Puts nodes, constants and weights together into one ONNX model.

use prost::Message;

use super::linear::OPERATOR_DOMAIN;
use super::proto::{
    AttributeProto, AttributeType, DATA_LOCATION_EXTERNAL, DataType, DimensionProto, GraphProto, ModelProto, NodeProto,
    OperatorSetIdProto, StringStringEntryProto, TensorProto, TensorShapeProto, TensorTypeProto, TypeProto,
    ValueInfoProto,
};
use super::target::{Arithmetic, Dialect, Target};
use crate::int8::Epilogue;
use crate::weights::{StoredTensor, StoredType};

/// ONNX Runtime's own operators (fused attention, activations).
pub const MICROSOFT: &str = "com.microsoft";

/// Where a graph says that its weights are, for sessions that are told to look from [`WEIGHTS_FOLDER`]. ONNX Runtime never
/// reads the place, as every weight is handed over, but refuses one that does not exist: so it is one that always does,
/// and sessions can be made after the model's files are gone.
const WEIGHTS_LOCATION: &str = ".";
/// The folder from which a session looks for the place that a graph names for its weights: the root, which Windows takes
/// for that of the current drive.
pub const WEIGHTS_FOLDER: &str = "/";

/// A tensor inside the graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value(String);

impl Value {
    /// Stands for an optional input that is left out.
    pub fn none() -> Self {
        Self(String::new())
    }

    /// True for an input that is left out.
    pub fn is_none(&self) -> bool {
        self.0.is_empty()
    }
}

/// Where the numbers of an initializer come from when the session is made.
#[derive(Debug, Clone)]
pub enum InitializerData {
    /// As they are stored.
    Stored(StoredTensor),
    /// Converted to the type of the arithmetic.
    As(Arithmetic, StoredTensor),
    /// Computed by the author, given in the type of the arithmetic.
    Computed {
        /// The type.
        arithmetic: Arithmetic,
        /// Shape of the tensor.
        shape: Vec<usize>,
        /// Its numbers, row-major.
        values: Vec<f32>,
    },
}

/// An initializer that is handed to the session instead of being copied into the model's bytes.
#[derive(Debug, Clone)]
pub struct Initializer {
    /// Name in the graph.
    pub name: String,
    /// Its numbers.
    pub data: InitializerData,
}

/// A finished graph: the model's bytes, small, and the weights beside it.
#[derive(Debug, Clone)]
pub struct WrittenGraph {
    /// A serialized ONNX `ModelProto`.
    pub model: Vec<u8>,
    /// The weights it refers to by name.
    pub initializers: Vec<Initializer>,
    /// The quantized sites among its linear layers, by the names that its nodes have for them.
    pub sites: Vec<(String, Epilogue)>,
    /// Number of nodes.
    pub nodes: usize,
}

/// An attribute of a node.
#[derive(Debug, Clone)]
pub enum Attribute {
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f32),
    /// Whole numbers.
    Ints(Vec<i64>),
    /// A word.
    String(String),
    /// The body of a loop.
    Graph(GraphProto),
}

/// Collects a graph node by node.
#[derive(Debug)]
pub struct GraphBuilder {
    graph: GraphProto,
    initializers: Vec<Initializer>,
    sites: Vec<(String, Epilogue)>,
    arithmetic: Arithmetic,
    dialect: Dialect,
    /// Put before the names of a graph inside another, which sees the other's.
    prefix: String,
}

impl GraphBuilder {
    /// An empty graph for `target`.
    pub fn new(name: &str, target: &Target) -> Self {
        let graph = GraphProto { name: name.to_owned(), ..GraphProto::default() };
        Self {
            graph,
            initializers: Vec::new(),
            sites: Vec::new(),
            arithmetic: target.arithmetic,
            dialect: target.dialect,
            prefix: String::new(),
        }
    }

    /// An empty graph for the body of a loop in this one.
    pub fn nested(&self) -> Self {
        let prefix = format!("body_{}_", self.graph.node.len());
        let graph = GraphProto { name: format!("{prefix}graph"), ..GraphProto::default() };
        let (arithmetic, dialect) = (self.arithmetic, self.dialect);
        Self { graph, initializers: Vec::new(), sites: Vec::new(), arithmetic, dialect, prefix }
    }

    /// The graph of a body, which has no weights of its own.
    pub fn into_graph(self) -> GraphProto {
        self.graph
    }

    /// Goes on in another type.
    pub fn compute_in(&mut self, arithmetic: Arithmetic) {
        self.arithmetic = arithmetic;
    }

    /// The element type of the arithmetic.
    pub fn float_type(&self) -> DataType {
        match self.arithmetic {
            Arithmetic::Float32 => DataType::Float,
            Arithmetic::Float16 => DataType::Float16,
        }
    }

    /// Declares a graph input; a dimension that starts with a digit is fixed, any other is symbolic.
    pub fn input(&mut self, name: &str, data_type: DataType, dimensions: &[&str]) -> Value {
        let name = format!("{}{name}", self.prefix);
        self.graph.input.push(value_info(&name, data_type, dimensions));
        Value(name)
    }

    /// Declares `value` as the graph output `name`.
    pub fn output(&mut self, name: &str, value: &Value, data_type: DataType, dimensions: &[&str]) {
        let name = &format!("{}{name}", self.prefix);
        let node = NodeProto {
            input: vec![value.0.clone()],
            output: vec![name.to_owned()],
            name: format!("{name}_output"),
            op_type: "Identity".to_owned(),
            ..NodeProto::default()
        };
        self.graph.node.push(node);
        self.graph.output.push(value_info(name, data_type, dimensions));
    }

    /// Adds a node with one output.
    pub fn node(&mut self, op_type: &str, inputs: &[&Value], attributes: &[(&str, Attribute)]) -> Value {
        self.node_in("", op_type, inputs, attributes)
    }

    /// Adds a node of another operator domain.
    pub fn node_in(
        &mut self,
        domain: &str,
        op_type: &str,
        inputs: &[&Value],
        attributes: &[(&str, Attribute)],
    ) -> Value {
        let [output] = self.node_in_with_outputs(domain, op_type, inputs, attributes);
        output
    }

    /// Adds a node with several outputs.
    pub fn node_with_outputs<const N: usize>(
        &mut self,
        op_type: &str,
        inputs: &[&Value],
        attributes: &[(&str, Attribute)],
    ) -> [Value; N] {
        self.node_in_with_outputs("", op_type, inputs, attributes)
    }

    /// Adds a node of another operator domain with several outputs.
    pub fn node_in_with_outputs<const N: usize>(
        &mut self,
        domain: &str,
        op_type: &str,
        inputs: &[&Value],
        attributes: &[(&str, Attribute)],
    ) -> [Value; N] {
        let name = format!("{}{op_type}_{}", self.prefix, self.graph.node.len());
        let outputs: [Value; N] = std::array::from_fn(|index| {
            Value(if N == 1 { format!("{name}_out") } else { format!("{name}_out_{index}") })
        });
        self.graph.node.push(NodeProto {
            input: inputs.iter().map(|value| value.0.clone()).collect(),
            output: outputs.iter().map(|value| value.0.clone()).collect(),
            name,
            op_type: op_type.to_owned(),
            attribute: attributes.iter().map(|(name, value)| attribute(name, value)).collect(),
            domain: domain.to_owned(),
        });
        outputs
    }

    /// Notes a quantized site that a node stands for.
    pub fn site(&mut self, name: &str, epilogue: Epilogue) {
        self.sites.push((name.to_owned(), epilogue));
    }

    /// A small constant inside the model's bytes: shapes, axes, indices.
    pub fn integers(&mut self, values: &[i64]) -> Value {
        self.constant(DataType::Int64, &[values.len()], values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    /// A scalar whole number inside the model's bytes.
    pub fn integer(&mut self, value: i64) -> Value {
        self.constant(DataType::Int64, &[], value.to_le_bytes().to_vec())
    }

    /// A scalar number inside the model's bytes.
    pub fn number(&mut self, value: f32) -> Value {
        let bytes = match self.arithmetic {
            Arithmetic::Float32 => value.to_le_bytes().to_vec(),
            Arithmetic::Float16 => half::f16::from_f32(value).to_le_bytes().to_vec(),
        };
        self.constant(self.float_type(), &[], bytes)
    }

    fn constant(&mut self, data_type: DataType, shape: &[usize], raw_data: Vec<u8>) -> Value {
        let name = format!("{}constant_{}", self.prefix, self.graph.initializer.len());
        self.graph.initializer.push(TensorProto {
            dims: dimensions(shape),
            data_type: data_type as i32,
            name: name.clone(),
            raw_data: raw_data.into(),
            ..TensorProto::default()
        });
        Value(name)
    }

    /// A weight that takes part in arithmetic, in its type, however it is stored.
    pub fn weight(&mut self, tensor: &StoredTensor) -> Value {
        let data = InitializerData::As(self.arithmetic, tensor.clone());
        self.initializer(&tensor.name, &tensor.shape, self.float_type(), data)
    }

    /// A table that is only looked up, a few rows a run, and its element type: kept as stored, so that half precision
    /// stays half the memory.
    pub fn table(&mut self, tensor: &StoredTensor) -> (Value, DataType) {
        let data_type = match tensor.dtype {
            StoredType::Float32 => DataType::Float,
            StoredType::Float16 => DataType::Float16,
            StoredType::BFloat16 => DataType::BFloat16,
        };
        let value = self.initializer(&tensor.name, &tensor.shape, data_type, InitializerData::Stored(tensor.clone()));
        (value, data_type)
    }

    /// A weight computed by the author.
    pub fn computed(&mut self, name: &str, shape: &[usize], values: Vec<f32>) -> Value {
        let data = InitializerData::Computed { arithmetic: self.arithmetic, shape: shape.to_vec(), values };
        self.initializer(name, shape, self.float_type(), data)
    }

    fn initializer(&mut self, name: &str, shape: &[usize], data_type: DataType, data: InitializerData) -> Value {
        // Declared as external data, so that ONNX Runtime expects the numbers from outside the model's bytes; they
        // are handed to every session by name, one copy for all of them.
        self.graph.initializer.push(TensorProto {
            dims: dimensions(shape),
            data_type: data_type as i32,
            name: name.to_owned(),
            external_data: vec![StringStringEntryProto {
                key: "location".to_owned(),
                value: WEIGHTS_LOCATION.to_owned(),
            }],
            data_location: DATA_LOCATION_EXTERNAL,
            ..TensorProto::default()
        });
        self.initializers.push(Initializer { name: name.to_owned(), data });
        Value(name.to_owned())
    }

    /// The finished model.
    pub fn finish(self) -> WrittenGraph {
        let nodes = self.graph.node.len();
        let opset = |domain: &str, version| OperatorSetIdProto { domain: domain.to_owned(), version };
        let (ir_version, operators) = self.dialect.versions();
        let mut opset_import = vec![opset("", operators), opset(MICROSOFT, 1)];
        if !self.sites.is_empty() {
            opset_import.push(opset(OPERATOR_DOMAIN, 1));
        }
        let model = ModelProto {
            ir_version,
            producer_name: env!("CARGO_PKG_NAME").to_owned(),
            producer_version: env!("CARGO_PKG_VERSION").to_owned(),
            graph: Some(self.graph),
            opset_import,
            ..ModelProto::default()
        };
        WrittenGraph { model: model.encode_to_vec(), initializers: self.initializers, sites: self.sites, nodes }
    }
}

#[allow(clippy::cast_possible_wrap)] // Dimensions come from files that fit in memory.
fn dimensions(shape: &[usize]) -> Vec<i64> {
    shape.iter().map(|dimension| *dimension as i64).collect()
}

fn attribute(name: &str, value: &Attribute) -> AttributeProto {
    let mut proto = AttributeProto { name: name.to_owned(), ..AttributeProto::default() };
    proto.r#type = match value {
        Attribute::Int(value) => {
            proto.i = *value;
            AttributeType::Int as i32
        }
        Attribute::Float(value) => {
            proto.f = *value;
            AttributeType::Float as i32
        }
        Attribute::Ints(values) => {
            proto.ints.clone_from(values);
            AttributeType::Ints as i32
        }
        Attribute::Graph(graph) => {
            proto.g = Some(graph.clone());
            AttributeType::Graph as i32
        }
        Attribute::String(value) => {
            proto.s = value.as_bytes().to_vec().into();
            AttributeType::String as i32
        }
    };
    proto
}

fn value_info(name: &str, data_type: DataType, dimensions: &[&str]) -> ValueInfoProto {
    let dim = dimensions
        .iter()
        .map(|dimension| match dimension.parse::<i64>() {
            Ok(value) => DimensionProto { dim_value: Some(value), dim_param: None },
            Err(_) => DimensionProto { dim_value: None, dim_param: Some((*dimension).to_owned()) },
        })
        .collect();
    let tensor_type = TensorTypeProto { elem_type: data_type as i32, shape: Some(TensorShapeProto { dim }) };
    ValueInfoProto { name: name.to_owned(), r#type: Some(TypeProto { tensor_type: Some(tensor_type) }) }
}
