//! CoreML: Apple's neural engine, graphics processor and CPU.
//!
//! As an ML program, of fixed shapes, compiled once and kept: `backend.rs` says by which key. CoreML looks for the
//! key under `COREML_CACHE_KEY`, takes letters and digits only, 64 of them at most, and passes over others in silence.
//!
//! Embeddings are looked up by `Gather`. ONNX Runtime's checker has only `GatherND` in its table, but the code that decides
//! takes a `GatherND` only of constant indices, since CoreML's own miscomputes others, and a `Gather` of any.

use super::setting::FLAG;
use super::{Append, Circumstances, FLOAT16, FLOAT32, Kind, Options, Provider, Setting, Shapes};
use crate::graph::Target;

/// The row.
pub const PROVIDER: Provider = Provider {
    name: "coreml",
    runtime_name: "CoreMLExecutionProvider",
    description: "Apple's neural engine, graphics processor and CPU",
    dtypes: &[FLOAT32, FLOAT16],
    shapes: Shapes::Ladder { token_budget: 4096 },
    target: Target::PLAIN,
    settings: SETTINGS,
    options,
    append: Append::ByName,
    bundled: None,
    cache_key: Some("COREML_CACHE_KEY"),
    remedy: "pip install onnxruntime (on a Mac with Apple silicon)",
    systems: &["macos", "ios"],
    automatic: true,
};

const SETTINGS: &[Setting] = &[
    Setting {
        name: "compute_units",
        runtime_key: Some("MLComputeUnits"),
        kind: Kind::Choice(&[
            ("all", "ALL"),
            ("cpu_and_neural_engine", "CPUAndNeuralEngine"),
            ("cpu_and_gpu", "CPUAndGPU"),
            ("cpu_only", "CPUOnly"),
        ]),
        default: Some("all"),
        description: "the hardware that CoreML may use",
    },
    Setting {
        name: "model_format",
        runtime_key: Some("ModelFormat"),
        kind: Kind::Choice(&[("ml_program", "MLProgram"), ("neural_network", "NeuralNetwork")]),
        default: Some("ml_program"),
        description: "the format of the compiled model; neural_network is the old one, which takes fewer operators",
    },
    Setting {
        name: "specialization_strategy",
        runtime_key: Some("SpecializationStrategy"),
        kind: Kind::Choice(&[("default", "Default"), ("fast_prediction", "FastPrediction")]),
        default: Some("default"),
        description: "fast_prediction: faster runs for a longer compilation and more disk",
    },
    Setting {
        name: "low_precision_accumulation",
        runtime_key: Some("AllowLowPrecisionAccumulationOnGPU"),
        kind: FLAG,
        default: Some("false"),
        description: "sums in half precision on the graphics processor: faster, less exact",
    },
    Setting {
        name: "static_shapes_only",
        runtime_key: Some("RequireStaticInputShapes"),
        kind: FLAG,
        default: Some("true"),
        description: "leave nodes of varying shapes to the CPU",
    },
    Setting {
        name: "subgraphs",
        runtime_key: Some("EnableOnSubgraphs"),
        kind: FLAG,
        default: Some("false"),
        description: "take nodes in the bodies of loops and conditions too",
    },
    Setting {
        name: "profile_compute_plan",
        runtime_key: Some("ProfileComputePlan"),
        kind: FLAG,
        default: Some("false"),
        description: "log the hardware and the estimated cost of every operator",
    },
    Setting {
        name: "cache_folder",
        runtime_key: None,
        kind: Kind::Text,
        default: None,
        description: "the folder for compiled models; by default one in the user's cache",
    },
    Setting {
        name: "embedding_lookup",
        runtime_key: None,
        kind: Kind::Choice(&[("gather_nd", "gather_nd"), ("gather", "gather")]),
        default: Some("gather"),
        description: "the operator that looks up embeddings; CoreML computes gather_nd of ids wrongly, so ONNX Runtime leaves \
                      that to the CPU",
    },
];

fn options(circumstances: &Circumstances<'_>) -> Options {
    let mut options = circumstances.chosen.runtime_options();
    let own = circumstances.chosen.get("cache_folder").map(ToOwned::to_owned);
    let folder = own.or_else(|| circumstances.cache.as_ref().map(|folder| folder.to_string_lossy().into_owned()));
    options.extend(folder.map(|folder| ("ModelCacheDirectory".to_owned(), folder)));
    options
}
