//! What each execution provider would take of a graph: tried where it can be, computed where ONNX Runtime's own checker
//! has rules, and otherwise said not to be known.

use std::collections::BTreeMap;
use std::path::Path;

use prost::Message;

use super::coreml_operators::{ML_PROGRAM, NEURAL_NETWORK};
use super::findings::{Code, Finding};
use super::graph::{STANDARD_DOMAIN, opsets};
use super::partitions::{Partitioning, Rules, partition};
use super::report::{Coverage, ProviderFacts};
use super::shapes::infer;
use super::skeleton::{ExternalData, Skeleton};
use crate::error::Result;
use crate::onnx::proto::{GraphProto, ModelProto, NodeProto, OperatorSetIdProto, ValueInfoProto};
use crate::onnx::proto::{TensorTypeProto, TypeProto};
use crate::runtime::library::Library;
use crate::runtime::providers::{PROVIDERS, Provider};

const CPU: &str = "CPUExecutionProvider";
const COREML: &str = "CoreMLExecutionProvider";
/// CoreML's tensors have at most five dimensions.
const COREML_MAX_RANK: usize = 5;

const RULES: &str = "computed by the rules of ONNX Runtime's own checker";

/// A graph to be asked about.
pub struct Subject<'a> {
    /// The file, or the name that stands for a written graph.
    pub file: &'a Path,
    /// The model's bytes.
    pub bytes: &'a [u8],
    /// What they say.
    pub model: &'a ModelProto,
    /// Where its external data is; why nothing can be tried, where it is not complete.
    pub external: Result<ExternalData<'a>, String>,
    /// The same model's graph as it is written for CoreML, where we write it, and its shape in words.
    pub coreml: Option<(&'a [u8], String)>,
}

/// The providers, by what `library` has of them, or why there is none.
pub fn facts(
    subject: &Subject<'_>,
    library: &Result<std::sync::Arc<Library>, String>,
    findings: &mut Vec<Finding>,
) -> Vec<ProviderFacts> {
    let library = match library {
        Ok(library) => library,
        Err(problem) => {
            let remedy = "mend that, and inspect again to learn what the execution providers take";
            findings.push(Finding::new(Code::RuntimeUnavailable, problem.clone(), remedy));
            return Vec::new();
        }
    };
    let installed = match library.available_providers() {
        Ok(installed) => installed,
        Err(error) => {
            findings.push(Finding::not_loadable(&error));
            Vec::new()
        }
    };
    let others = installed.iter().filter(|name| Provider::named(name).is_none());
    let others = others.map(|name| (short_name(name), name.clone()));
    let known = PROVIDERS.iter().map(|provider| (provider.name.to_owned(), provider.runtime_name.to_owned()));
    let skeleton = match &subject.external {
        Ok(external) => Skeleton::new(subject.file, subject.bytes, *external).map_err(|error| error.to_string()),
        Err(problem) => Err(problem.clone()),
    };
    let mut answers = answers(subject, skeleton, library, findings);
    known
        .chain(others)
        .map(|(provider, name)| {
            let is_installed = installed.contains(&name);
            let answer = answers.remove(name.as_str()).unwrap_or_else(|| Answer::unknown(is_installed));
            let Answer { placement, coverage, explanation } = answer;
            ProviderFacts { provider, name, installed: is_installed, placement, coverage, explanation }
        })
        .collect()
}

struct Answer {
    placement: Option<BTreeMap<String, usize>>,
    coverage: Vec<Coverage>,
    explanation: String,
}

impl Answer {
    fn none(explanation: impl Into<String>) -> Self {
        Self { placement: None, coverage: Vec::new(), explanation: explanation.into() }
    }

    fn unknown(is_installed: bool) -> Self {
        Self::none(if is_installed {
            "not computed: only a session on the device tells; ask for it with --provider"
        } else {
            "not computed: only a session on the device tells, and this ONNX Runtime does not have the provider"
        })
    }
}

fn answers(
    subject: &Subject<'_>,
    skeleton: Result<Skeleton, String>,
    library: &Library,
    findings: &mut Vec<Finding>,
) -> BTreeMap<&'static str, Answer> {
    let skeleton = match skeleton {
        Ok(skeleton) => skeleton,
        Err(problem) => {
            return [CPU, COREML].map(|name| (name, Answer::none(format!("not computed: {problem}")))).into();
        }
    };
    let placement = match skeleton.placement(library) {
        Ok(placement) => placement,
        Err(error) => {
            findings.extend(refusal(subject.model, &skeleton, library, error.to_string(), subject.file));
            let answer = || Answer::none("not computed: ONNX Runtime refuses the graph");
            return BTreeMap::from([(CPU, answer()), (COREML, answer())]);
        }
    };
    let cpu = Answer {
        placement: Some(placement),
        coverage: Vec::new(),
        explanation: "nodes as ONNX Runtime gave them out in a session that was made for this".to_owned(),
    };
    let (coverage, explanation) = match &subject.coreml {
        Some((bytes, shape)) => (
            Skeleton::new(subject.file, bytes, ExternalData::ByName).and_then(|skeleton| coreml(&skeleton, library)),
            format!("{RULES}, of the graph as it is written for CoreML, for {shape}"),
        ),
        None => (coreml(&skeleton, library), RULES.to_owned()),
    };
    let coreml = match coverage {
        Ok(coverage) => Answer { placement: None, coverage, explanation },
        Err(error) => Answer::none(format!("not computed: {error}")),
    };
    BTreeMap::from([(CPU, cpu), (COREML, coreml)])
}

/// What CoreML would take, in both formats, with the shapes as they are and as if they were fixed.
fn coreml(skeleton: &Skeleton, library: &Library) -> Result<Vec<Coverage>> {
    let (bytes, model) = skeleton.optimized(library)?;
    let graph = model.graph.unwrap_or_default();
    let shapes = infer(skeleton, library, &bytes, &graph)?;
    let mut coverage = Vec::new();
    for (format, operators) in [("ML Program", ML_PROGRAM), ("Neural Network", NEURAL_NETWORK)] {
        for (words, fixed_shapes_only) in [("as they are", true), ("if they were fixed", false)] {
            let rules = Rules { operators, max_rank: COREML_MAX_RANK, fixed_shapes_only };
            coverage.push(described(format, words, partition(&graph, &shapes, &rules)));
        }
    }
    Ok(coverage)
}

fn described(format: &'static str, shapes: &'static str, found: Partitioning) -> Coverage {
    Coverage {
        format,
        shapes,
        nodes: found.nodes,
        supported_nodes: found.supported(),
        partitions: found.partitions.len(),
        partition_sizes: found.partitions,
        nodes_unsupported_by_operator: found.by_operator,
        nodes_unsupported_by_shape: found.by_shape,
        nodes_unsupported_by_rank: found.by_rank,
        unsupported_operators: found.unsupported_operators.into_iter().collect(),
        operators_of_unsupported_rank: found.operators_of_unsupported_rank.into_iter().collect(),
        unchecked_conditions: found.unchecked,
    }
}

/// Why ONNX Runtime refuses a graph: in its own words, and by trying the versions on a graph that nobody can refuse.
fn refusal(model: &ModelProto, skeleton: &Skeleton, library: &Library, message: String, file: &Path) -> Vec<Finding> {
    let understands = |ir_version, opset| skeleton.session(library, &smallest(ir_version, opset)).is_ok();
    let opset = opsets(model).get(STANDARD_DOMAIN).copied();
    let newer = "install a newer onnxruntime, or export the graph for an older version";
    let mut findings =
        vec![Finding::new(Code::RuntimeRefuses, message, "export the graph again, or use the weights").in_file(file)];
    if !understands(model.ir_version, OLD_OPSET) && understands(OLD_IR_VERSION, OLD_OPSET) {
        let message =
            format!("ONNX Runtime {} does not read files of IR version {}", library.version, model.ir_version);
        findings.push(Finding::new(Code::IrVersionTooNew, message, newer).in_file(file));
    }
    if let Some(opset) = opset
        && !understands(OLD_IR_VERSION, opset)
        && understands(OLD_IR_VERSION, OLD_OPSET)
    {
        let message = format!("ONNX Runtime {} does not have the operators of opset {opset}", library.version);
        findings.push(Finding::new(Code::OpsetTooNew, message, newer).in_file(file));
    }
    findings
}

/// Every ONNX Runtime that we accept has these.
const OLD_IR_VERSION: i64 = 8;
const OLD_OPSET: i64 = 17;

/// A graph of one node.
fn smallest(ir_version: i64, opset: i64) -> Vec<u8> {
    let value = |name: &str| ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto { tensor_type: Some(TensorTypeProto { elem_type: 1, shape: None }) }),
    };
    let node = NodeProto {
        input: vec!["x".to_owned()],
        output: vec!["y".to_owned()],
        op_type: "Identity".to_owned(),
        ..NodeProto::default()
    };
    let graph = GraphProto {
        node: vec![node],
        name: "smallest".to_owned(),
        input: vec![value("x")],
        output: vec![value("y")],
        ..GraphProto::default()
    };
    let opset_import = vec![OperatorSetIdProto { domain: String::new(), version: opset }];
    ModelProto { ir_version, graph: Some(graph), opset_import, ..ModelProto::default() }.encode_to_vec()
}

fn short_name(name: &str) -> String {
    name.strip_suffix("ExecutionProvider").unwrap_or(name).to_lowercase()
}
