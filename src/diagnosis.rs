//! What this machine has: the library, its providers, plug-ins, devices, threads; and which providers really work.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::Tensor;
use prost::Message;
use serde::Serialize;

use crate::error::{EmbeddingError, Result};
use crate::int8::{Instructions, has_amx_int8};
use crate::onnx::proto::{
    DimensionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto,
    TensorTypeProto, TypeProto, ValueInfoProto,
};
use crate::runtime::devices::{Device, PlugIn};
use crate::runtime::execution::{Execution, Surroundings};
use crate::runtime::forking::UnderWay;
use crate::runtime::library::Library;
use crate::runtime::messages::first_line;
use crate::runtime::placement::nodes_by_provider;
use crate::runtime::providers::{PLUG_IN, PROVIDERS, Provider, ProviderRequest, Setting};

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Diagnosis {
    /// ONNX Runtime; `None` where there is none.
    pub library: Option<LibraryFacts>,
    /// Providers that are part of it, by ONNX Runtime's names.
    pub built_in: Vec<String>,
    /// Devices that providers tell of.
    pub devices: Vec<Device>,
    /// Libraries that bring providers.
    pub plug_ins: Vec<PlugInFacts>,
    /// Every provider there is, and whether it works.
    pub providers: Vec<ProviderState>,
    /// Threads that the process may use, affinity and cgroup quota counted.
    pub threads: usize,
}

/// The library.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LibraryFacts {
    /// Its file.
    pub path: PathBuf,
    /// Its version.
    pub version: String,
}

/// A plug-in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlugInFacts {
    /// Its library.
    pub path: PathBuf,
    /// What it brings, by ONNX Runtime's names.
    pub providers: Vec<String>,
    /// Whether it could be loaded.
    pub registered: bool,
    /// Why not.
    pub problem: Option<String>,
}

/// Whether a provider works.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProviderState {
    /// The name for `provider=`.
    pub name: String,
    /// ONNX Runtime's name.
    pub runtime_name: String,
    /// Whether a product of two matrices was computed by it, by ONNX Runtime's own record.
    pub works: bool,
    /// How it was found out, or why not.
    pub reason: String,
    /// A command that may make it work; `None` where it works, or nothing would help.
    pub remedy: Option<String>,
}

/// What the processor has for 8-bit integers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Int8Support {
    /// The instructions that `dtype("int8")` computes with here.
    pub instructions: &'static str,
    /// Whether they are made for it, so that int8 is faster than single precision.
    pub fast: bool,
    /// All that this processor could compute with, to the same bits, the fastest first.
    pub available: Vec<&'static str>,
    /// Whether it has AMX tiles as well, which are not used.
    pub amx: bool,
}

/// What the processor has for 8-bit integers; needs no ONNX Runtime.
///
/// ```
/// let support = oxembed::diagnosis::int8_support();
/// assert_eq!(support.available[0], support.instructions);
/// ```
pub fn int8_support() -> Int8Support {
    let instructions = Instructions::detect();
    Int8Support {
        instructions: instructions.name(),
        fast: instructions.is_fast(),
        available: Instructions::available().into_iter().map(Instructions::name).collect(),
        amx: has_amx_int8(),
    }
}

/// Looks at everything; providers are tried with a graph of one product.
///
/// ```
/// # fn main() -> oxembed::Result<()> {
/// let diagnosis = oxembed::diagnosis::diagnose(None, &[])?;
/// let cpu = diagnosis.providers.iter().find(|provider| provider.name == "cpu").unwrap();
/// assert!(cpu.works, "{}", cpu.reason);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// `ServiceUnavailable` where there is no ONNX Runtime.
pub fn diagnose(library: Option<&Path>, plug_ins: &[PlugIn]) -> Result<Diagnosis> {
    let library = crate::runtime::library::library(library)?;
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let surroundings = Surroundings {
        library: Arc::clone(&library),
        plug_ins: plug_ins.to_vec(),
        dtype: "float32".to_owned(),
        threads,
        cache: None,
        model: None,
    };
    let plug_ins: Vec<PlugInFacts> = plug_ins.iter().map(|plug_in| registered(&library, plug_in)).collect();
    let (built_in, devices) = (library.available_providers()?, library.devices()?);
    let known =
        PROVIDERS.iter().map(|provider| (*provider, provider.name.to_owned(), provider.runtime_name.to_owned()));
    let brought = plug_ins.iter().flat_map(|plug_in| &plug_in.providers);
    let others = brought.filter(|name| Provider::named(name).is_none());
    let others = others.map(|name| (PLUG_IN, name.clone(), name.clone()));
    let providers = known.chain(others).map(|(provider, name, runtime_name)| {
        let outcome = try_provider(&name, &surroundings);
        let works = outcome.is_ok();
        let bringers = plug_ins.iter().filter(|plug_in| plug_in.providers.contains(&runtime_name));
        let is_registered = bringers.clone().any(|plug_in| plug_in.registered);
        let is_offered = devices.iter().any(|device| device.provider == runtime_name);
        let is_here = built_in.contains(&runtime_name) || is_offered || bringers.count() > 0;
        let reason = match outcome {
            Ok(reason) => reason,
            // What there is instead, and what would help, stands elsewhere in the diagnosis.
            Err(_) if !is_here && provider.exists_here() => {
                "it is not part of this ONNX Runtime, and no plug-in brings it".to_owned()
            }
            Err(EmbeddingError::ProviderUnavailable { message, .. }) => message,
            Err(error) => error.to_string(),
        };
        // What is installed and finds no device, or fails on one, is not mended by installing it again.
        let may_help = !works && provider.exists_here() && !is_registered && !is_offered;
        let remedy = may_help.then(|| provider.remedy.to_owned());
        ProviderState { name, runtime_name, works, reason, remedy }
    });
    let providers = providers.collect();
    Ok(Diagnosis {
        library: Some(LibraryFacts { path: library.path.clone(), version: library.version.clone() }),
        built_in,
        devices,
        plug_ins,
        providers,
        threads,
    })
}

fn registered(library: &Library, plug_in: &PlugIn) -> PlugInFacts {
    let problem = match library.register_plug_in(plug_in) {
        Ok(()) => None,
        Err(EmbeddingError::ProviderUnavailable { message, .. }) => Some(message),
        Err(error) => Some(error.to_string()),
    };
    let (path, providers) = (plug_in.path.clone(), plug_in.providers.clone());
    PlugInFacts { path, providers, registered: problem.is_none(), problem }
}

/// A product of two matrices with a provider, and what the record says of it.
fn try_provider(name: &str, surroundings: &Surroundings) -> Result<String> {
    let execution = Execution::find(&ProviderRequest::named(name), surroundings)?;
    let refused =
        |error: &ort::Error| execution.unavailable(format!("it is installed, and fails: {}", first_line(error)));
    let mut session = session(&execution, &surroundings.library).map_err(|error| refused(&error))?;
    let placed = nodes_by_provider(&session)?;
    if !placed.contains_key(&execution.runtime_name) {
        let others = placed.keys().cloned().collect::<Vec<_>>().join(", ");
        let message = format!("it is installed, and takes no part of a product of two matrices: {others} computes it");
        return Err(execution.unavailable(message));
    }
    let product = product(&mut session).map_err(|error| refused(&error))?;
    if product.iter().any(|value| (value - SIZE_AS_NUMBER).abs() > 1e-3) {
        let message =
            format!("it is installed, and computes wrongly: {SIZE} ones times ones is {:?} to it", product.first());
        return Err(execution.unavailable(message));
    }
    let device = execution.device();
    Ok(match (execution.is_cpu(), device.is_empty()) {
        (true, _) => "a product of two matrices was right".to_owned(),
        (false, true) => "a product of two matrices was placed on it, and right".to_owned(),
        (false, false) => format!("a product of two matrices was placed on it ({device}), and right"),
    })
}

/// Rows and columns of the matrices. Some providers leave what is tiny to the CPU.
const SIZE: usize = 64;
const SIZE_AS_NUMBER: f32 = 64.0;

fn session(execution: &Execution, library: &Library) -> ort::Result<Session> {
    let _under_way = UnderWay::begin();
    let mut builder = Session::builder(&library.environment)?
        .with_optimization_level(GraphOptimizationLevel::Level1)?
        .with_intra_threads(1)?
        .with_memory_pattern(false)?
        .with_parallel_execution(false)?
        .with_config_entry("session.record_ep_graph_assignment_info", "1")?;
    execution.put_into(&mut builder, library)?;
    builder.commit_from_memory(&product_model())
}

fn product(session: &mut Session) -> ort::Result<Vec<f32>> {
    let ones = Tensor::from_array(([SIZE, SIZE], vec![1.0_f32; SIZE * SIZE]))?;
    let outputs = session.run(ort::inputs!["x" => ones])?;
    let (_, values) =
        outputs.get("y").ok_or_else(|| ort::Error::new("the output is missing"))?.try_extract_tensor::<f32>()?;
    Ok(values.to_vec())
}

/// `y = x w`, where `w` is a matrix of ones.
fn product_model() -> Vec<u8> {
    const FLOAT: i32 = 1;
    let size = i64::try_from(SIZE).unwrap_or(i64::MAX);
    let value = |name: &str| {
        let dim = vec![DimensionProto { dim_value: Some(size), dim_param: None }; 2];
        let tensor_type = TensorTypeProto { elem_type: FLOAT, shape: Some(TensorShapeProto { dim }) };
        ValueInfoProto { name: name.to_owned(), r#type: Some(TypeProto { tensor_type: Some(tensor_type) }) }
    };
    let ones: Vec<u8> = std::iter::repeat_n(1.0_f32.to_le_bytes(), SIZE * SIZE).flatten().collect();
    let graph = GraphProto {
        name: "product".to_owned(),
        node: vec![NodeProto {
            name: "product".to_owned(),
            op_type: "MatMul".to_owned(),
            input: vec!["x".to_owned(), "w".to_owned()],
            output: vec!["y".to_owned()],
            ..NodeProto::default()
        }],
        initializer: vec![TensorProto {
            name: "w".to_owned(),
            dims: vec![size; 2],
            data_type: FLOAT,
            raw_data: ones.into(),
            ..TensorProto::default()
        }],
        input: vec![value("x")],
        output: vec![value("y")],
        ..GraphProto::default()
    };
    let opset_import = vec![OperatorSetIdProto { domain: String::new(), version: 17 }];
    ModelProto { ir_version: 8, graph: Some(graph), opset_import, ..ModelProto::default() }.encode_to_vec()
}

/// A row of the table of providers, for documentation and for languages that have types of their own for settings.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProviderRow {
    name: &'static str,
    runtime_name: &'static str,
    description: &'static str,
    dtypes: Vec<&'static str>,
    shapes: &'static str,
    remedy: &'static str,
    systems: &'static [&'static str],
    automatic: bool,
    settings: Vec<serde_json::Value>,
}

/// The table of providers.
pub fn provider_table() -> Vec<ProviderRow> {
    let row = |provider: &Provider| ProviderRow {
        name: provider.name,
        runtime_name: provider.runtime_name,
        description: provider.description,
        dtypes: provider.dtypes.iter().map(|dtype| dtype.name).collect(),
        shapes: provider.shapes.name(),
        remedy: provider.remedy,
        systems: provider.systems,
        automatic: provider.automatic,
        settings: provider.all_settings().map(Setting::facts).collect(),
    };
    PROVIDERS.iter().copied().chain([PLUG_IN]).map(row).collect()
}
