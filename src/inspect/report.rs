//! What an inspection says, in plain values. Serialized, it is the JSON of the command line and what Python reads.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde::Serialize;

use super::findings::Finding;

/// Everything that can be said of a model folder or an ONNX file without embedding a text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Inspection {
    /// The path as given.
    pub path: String,
    /// What the path is.
    pub kind: Kind,
    /// The graph that would run; none where the folder does not load.
    pub runs: Option<Runs>,
    /// What a folder says of its model.
    pub model: Option<ModelFacts>,
    /// A folder's tokenizer.
    pub tokenizer: Option<TokenizerFacts>,
    /// A folder's safetensors weights.
    pub weights: Option<WeightFacts>,
    /// The graph itself: of the ONNX file, or written from the weights.
    pub graph: Option<GraphFacts>,
    /// What each execution provider would take of the graph.
    pub providers: Vec<ProviderFacts>,
    /// Files with a model in them that would not be read.
    pub unused_files: Vec<String>,
    /// What is suspicious, the worst first.
    pub findings: Vec<Finding>,
}

/// What was inspected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A model folder.
    Folder,
    /// An ONNX file.
    OnnxFile,
}

/// The graph that would run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Runs {
    /// `written graph` or `ONNX file`.
    pub graph: &'static str,
    /// The file with the weights or the graph, relative to the folder.
    pub file: String,
    /// Why this one.
    pub reason: String,
}

/// What a folder says of its model; each value is absent where its file is broken.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct ModelFacts {
    /// `model_type` of config.json.
    pub family: Option<String>,
    /// Numbers in the weights of what runs.
    pub parameters: Option<usize>,
    /// How most of them are stored.
    pub stored_dtype: Option<String>,
    /// Rows of the embedding table.
    pub vocabulary_size: Option<usize>,
    /// Width of a token's vector.
    pub hidden_size: Option<usize>,
    /// Numbers in a vector.
    pub dimension: Option<usize>,
    /// Layers of the transformer.
    pub layers: Option<usize>,
    /// The most positions there are.
    pub positions: Option<usize>,
    /// The most tokens of a text.
    pub max_seq_length: Option<usize>,
    /// The file and key that decide it.
    pub max_seq_length_from: Option<String>,
    /// Pooling modes.
    pub pooling: Vec<String>,
    /// The modules in order.
    pub modules: Vec<String>,
    /// Prompts by name.
    pub prompts: IndexMap<String, String>,
    /// The prompt where a call names none.
    pub default_prompt_name: Option<String>,
    /// How vectors are compared.
    pub similarity_fn_name: Option<String>,
    /// Width to which the model itself truncates its vectors.
    pub truncate_dim: Option<usize>,
}

/// A tokenizer as its files say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TokenizerFacts {
    /// `WordPiece`, `BPE`, `Unigram` or `WordLevel`.
    pub algorithm: &'static str,
    /// Tokens, added ones included.
    pub vocabulary_size: usize,
    /// The largest id it can give.
    pub largest_id: Option<u32>,
    /// Special tokens by name; those without an id are not in the vocabulary.
    pub special_tokens: IndexMap<String, Option<u32>>,
    /// The token that fills up a batch.
    pub pad_token: Option<String>,
    /// The side on which shorter texts are filled up.
    pub padding_side: &'static str,
    /// `model_max_length` of tokenizer_config.json.
    pub model_max_length: Option<usize>,
    /// Length to which tokenizer.json itself would cut; ignored.
    pub stored_truncation: Option<usize>,
    /// How tokenizer.json itself would pad, such as `to 128` or `to the longest`; ignored.
    pub stored_padding: Option<String>,
}

/// Safetensors weights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WeightFacts {
    /// The file.
    pub file: String,
    /// Tensors of floating-point numbers.
    pub tensors: usize,
    /// Numbers in them.
    pub parameters: usize,
    /// Numbers by stored type.
    pub by_dtype: BTreeMap<String, usize>,
    /// Tensors that the written graph does not use; none where no graph is written.
    pub unused: Vec<String>,
}

/// A graph.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GraphFacts {
    /// The ONNX file, or `written graph`.
    pub file: String,
    /// Size of the file or of the written graph, external data not counted.
    pub bytes: usize,
    /// Version of the file format.
    pub ir_version: i64,
    /// Operator set by domain.
    pub opsets: BTreeMap<String, i64>,
    /// The program that wrote it.
    pub producer: String,
    /// What the producer noted.
    pub metadata: IndexMap<String, String>,
    /// Inputs.
    pub inputs: Vec<PortFacts>,
    /// Outputs.
    pub outputs: Vec<PortFacts>,
    /// Nodes of the graph, those of subgraphs not counted.
    pub nodes: usize,
    /// Graphs inside nodes (`If`, `Loop`, `Scan`).
    pub subgraphs: usize,
    /// Nodes in them.
    pub nodes_in_subgraphs: usize,
    /// Functions that come with the model.
    pub functions: usize,
    /// Count of each operator by domain, subgraphs included.
    pub operators: BTreeMap<String, BTreeMap<String, usize>>,
    /// Initializers, subgraphs included.
    pub initializers: usize,
    /// Numbers in them.
    pub parameters: u64,
    /// Bytes they take.
    pub parameter_bytes: u64,
    /// By element type.
    pub parameters_by_dtype: BTreeMap<String, DtypeFacts>,
    /// Files beside the graph with the contents of initializers.
    pub external_data: Vec<ExternalFacts>,
}

/// Initializers of one type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct DtypeFacts {
    /// Initializers.
    pub tensors: usize,
    /// Numbers in them.
    pub parameters: u64,
    /// Bytes they take.
    pub bytes: u64,
}

/// An input or output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PortFacts {
    /// Name.
    pub name: String,
    /// Element type; none for what is not a tensor.
    pub dtype: Option<String>,
    /// Dimensions; none where the graph does not say how many.
    pub shape: Option<Vec<Dimension>>,
}

/// A dimension: a size, a name, or open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Dimension {
    /// A size.
    Size(i64),
    /// A name that stands for any size.
    Name(String),
    /// Any size.
    Open(()),
}

/// A file with external data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExternalFacts {
    /// As the graph names it, relative to its folder.
    pub location: String,
    /// Whether it is there.
    pub exists: bool,
    /// Its size.
    pub bytes: Option<u64>,
    /// Initializers that are in it.
    pub tensors: usize,
    /// Whether all of them lie inside it, with the size that their dimensions ask for.
    pub complete: bool,
}

/// What an execution provider would take of a graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProviderFacts {
    /// As `provider=` spells it.
    pub provider: String,
    /// As ONNX Runtime spells it.
    pub name: String,
    /// Whether the ONNX Runtime at hand has it.
    pub installed: bool,
    /// Nodes by provider, as ONNX Runtime gave them out in a session; none where there was no session.
    pub placement: Option<BTreeMap<String, usize>>,
    /// What is computed without the provider.
    pub coverage: Vec<Coverage>,
    /// What the above is, or why there is nothing.
    pub explanation: String,
}

/// The part of a graph that a provider would take, by the rules of ONNX Runtime's own checker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// The format that the provider converts to.
    pub format: &'static str,
    /// `as they are`, or `if they were fixed`.
    pub shapes: &'static str,
    /// Nodes after ONNX Runtime's basic optimizations, subgraphs included.
    pub nodes: usize,
    /// Nodes that it would take.
    pub supported_nodes: usize,
    /// Parts of the graph that they form; each costs a copy to and fro.
    pub partitions: usize,
    /// Nodes in each.
    pub partition_sizes: Vec<usize>,
    /// Nodes left for their operator.
    pub nodes_unsupported_by_operator: usize,
    /// Nodes left for an input whose shape varies.
    pub nodes_unsupported_by_shape: usize,
    /// Nodes left for an input with too many dimensions.
    pub nodes_unsupported_by_rank: usize,
    /// The operators that are not supported, `domain:operator`.
    pub unsupported_operators: Vec<String>,
    /// The operators with too many dimensions.
    pub operators_of_unsupported_rank: Vec<String>,
    /// Conditions on operators that are counted as supported, which the checker does not look at.
    pub unchecked_conditions: BTreeMap<String, String>,
}
