//! TensorRT: NVIDIA's compiler for its graphics processors. Engines are built for a shape, and kept.

use super::setting::DEVICE_ID;
use super::{Append, Circumstances, FLOAT16, FLOAT32, Kind, Options, Provider, Setting, Shapes};
use crate::graph::Target;

/// The row.
pub const PROVIDER: Provider = Provider {
    name: "tensorrt",
    runtime_name: "TensorrtExecutionProvider",
    description: "NVIDIA's compiler for its graphics processors",
    dtypes: &[FLOAT32, FLOAT16],
    shapes: Shapes::Ladder { token_budget: 4096 },
    target: Target::PLAIN,
    settings: SETTINGS,
    options,
    append: Append::TensorRt,
    bundled: None,
    cache_key: None,
    remedy: "pip uninstall onnxruntime && pip install \"onnxruntime-gpu[cuda,cudnn]\" tensorrt",
    systems: &["linux", "windows"],
    // Building an engine takes minutes: nothing to do unasked.
    automatic: false,
};

const SETTINGS: &[Setting] = &[
    DEVICE_ID,
    Setting {
        name: "max_workspace_size",
        runtime_key: Some("trt_max_workspace_size"),
        kind: Kind::Count { least: 1, most: u64::MAX },
        default: None,
        description: "the most bytes of graphics memory while an engine is built",
    },
    Setting {
        name: "builder_optimization_level",
        runtime_key: Some("trt_builder_optimization_level"),
        kind: Kind::Count { least: 0, most: 5 },
        default: None,
        description: "how long to look for faster kernels, 0 to 5",
    },
];

fn options(circumstances: &Circumstances<'_>) -> Options {
    let mut options = circumstances.chosen.runtime_options();
    let mut set = |key: &str, value: &str| options.push((key.to_owned(), value.to_owned()));
    if circumstances.dtype == FLOAT16.name {
        set("trt_fp16_enable", "1");
    }
    if let Some(folder) = &circumstances.cache {
        set("trt_engine_cache_enable", "1");
        set("trt_engine_cache_path", &folder.to_string_lossy());
        set("trt_timing_cache_enable", "1");
        set("trt_timing_cache_path", &folder.to_string_lossy());
    }
    options
}
