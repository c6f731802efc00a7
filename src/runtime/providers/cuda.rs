//! CUDA: NVIDIA's graphics processors.

use super::setting::{DEVICE_ID, FLAG};
use super::{Append, FLOAT16, FLOAT32, Kind, Provider, Setting, Shapes, options_of_settings};
use crate::graph::Target;

/// The row.
pub const PROVIDER: Provider = Provider {
    name: "cuda",
    runtime_name: "CUDAExecutionProvider",
    description: "NVIDIA's graphics processors",
    dtypes: &[FLOAT32, FLOAT16],
    shapes: Shapes::Any,
    target: Target::CPU,
    settings: SETTINGS,
    options: options_of_settings,
    append: Append::Cuda,
    bundled: Some("onnxruntime_providers_cuda"),
    cache_key: None,
    remedy: "pip uninstall onnxruntime && pip install \"onnxruntime-gpu[cuda,cudnn]\"",
    systems: &["linux", "windows"],
    automatic: true,
};

const SETTINGS: &[Setting] = &[
    DEVICE_ID,
    Setting {
        name: "arena_extend_strategy",
        runtime_key: Some("arena_extend_strategy"),
        // Powers of two, ONNX Runtime's default, take up to twice the memory where shapes vary.
        kind: Kind::Choice(&[("same_as_requested", "kSameAsRequested"), ("next_power_of_two", "kNextPowerOfTwo")]),
        default: Some("same_as_requested"),
        description: "how the pool of graphics memory grows",
    },
    Setting {
        name: "gpu_mem_limit",
        runtime_key: Some("gpu_mem_limit"),
        kind: Kind::Count { least: 1, most: u64::MAX },
        default: None,
        description: "the most bytes of graphics memory for the pool",
    },
    Setting {
        name: "use_tf32",
        runtime_key: Some("use_tf32"),
        // 10 bits of mantissa: no longer the model's own vectors.
        kind: FLAG,
        default: Some("false"),
        description: "matrix products in TensorFloat-32: faster, less exact",
    },
];
