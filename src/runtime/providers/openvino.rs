//! OpenVINO: Intel's processors, graphics processors and neural processors.
//!
//! Part of the wheel `onnxruntime-openvino`, and a plug-in of its own.

use super::{Append, Circumstances, Dtype, FLOAT32, Instructions, Kind, Options, Provider, Setting, Shapes};
use crate::graph::{Arithmetic, Linears, Target};

/// Half precision by OpenVINO itself, in a graph of single precision.
const OWN_FLOAT16: Dtype = Dtype {
    name: "float16",
    arithmetic: Arithmetic::Float32,
    linears: Linears::Full,
    on_the_cpu: Some(Instructions::Float16),
};
/// The same for brain floating point.
const OWN_BFLOAT16: Dtype = Dtype {
    name: "bfloat16",
    arithmetic: Arithmetic::Float32,
    linears: Linears::Full,
    on_the_cpu: Some(Instructions::Bfloat16),
};

/// The row.
pub const PROVIDER: Provider = Provider {
    name: "openvino",
    runtime_name: "OpenVINOExecutionProvider",
    description: "Intel's processors, graphics processors and neural processors",
    dtypes: &[FLOAT32, OWN_FLOAT16, OWN_BFLOAT16],
    shapes: Shapes::AnyOnTheCpu { token_budget: 4096 },
    target: Target::PLAIN,
    settings: SETTINGS,
    options,
    append: Append::ByName,
    bundled: None,
    cache_key: None,
    remedy: "pip install onnxruntime-ep-openvino",
    systems: &["linux", "windows"],
    automatic: true,
};

const SETTINGS: &[Setting] = &[
    Setting {
        name: "device",
        runtime_key: None,
        kind: Kind::Choice(&[("cpu", "CPU"), ("gpu", "GPU"), ("npu", "NPU")]),
        default: Some("cpu"),
        description: "the kind of device to use",
    },
    Setting {
        name: "num_streams",
        runtime_key: None,
        kind: Kind::Count { least: 1, most: 256 },
        default: None,
        description: "runs that OpenVINO does at the same time",
    },
];

fn options(circumstances: &Circumstances<'_>) -> Options {
    // Asked for nothing, OpenVINO computes in bfloat16 wherever the processor has instructions for it.
    let precision = match circumstances.dtype {
        "bfloat16" => "bf16",
        "float16" => "f16",
        _ => "f32",
    };
    let device = circumstances.chosen.get("device").unwrap_or("cpu").to_uppercase();
    let mut config = serde_json::Map::new();
    config.insert("INFERENCE_PRECISION_HINT".to_owned(), precision.into());
    if device == "CPU" {
        config.insert("INFERENCE_NUM_THREADS".to_owned(), circumstances.threads.to_string().into());
    }
    if let Some(streams) = circumstances.chosen.get("num_streams") {
        config.insert("NUM_STREAMS".to_owned(), streams.into());
    }
    let config = serde_json::json!({ device.clone(): config });
    let mut options = vec![("load_config".to_owned(), config.to_string())];
    if !circumstances.is_plug_in {
        options.push(("device_type".to_owned(), device.clone()));
    }
    // A CPU's compilation is faster than reading it back.
    if device != "CPU"
        && let Some(folder) = &circumstances.cache
    {
        options.push(("cache_dir".to_owned(), folder.to_string_lossy().into_owned()));
    }
    options
}
