//! TensorRT for RTX: NVIDIA's compiler for the graphics processors of personal computers, as a plug-in.

use super::setting::{DEVICE_ID, FLAG};
use super::{Append, Circumstances, FLOAT16, FLOAT32, Options, Provider, Setting, Shapes};
use crate::graph::Target;

/// The row.
pub const PROVIDER: Provider = Provider {
    name: "nv_tensorrt_rtx",
    runtime_name: "NvTensorRTRTXExecutionProvider",
    description: "NVIDIA's compiler for the graphics processors of personal computers",
    dtypes: &[FLOAT32, FLOAT16],
    shapes: Shapes::Ladder { token_budget: 4096 },
    target: Target::PLAIN,
    settings: SETTINGS,
    options,
    append: Append::ByName,
    bundled: None,
    cache_key: None,
    remedy: "pip install onnxruntime-ep-nv-tensorrt-rtx",
    systems: &["linux", "windows"],
    automatic: true,
};

const SETTINGS: &[Setting] = &[
    DEVICE_ID,
    Setting {
        name: "cuda_graph",
        runtime_key: Some("enable_cuda_graph"),
        kind: FLAG,
        default: None,
        description: "record the kernels of a shape and start them as one",
    },
];

fn options(circumstances: &Circumstances<'_>) -> Options {
    let mut options = circumstances.chosen.runtime_options();
    if let Some(folder) = &circumstances.cache {
        options.push(("nv_runtime_cache_path".to_owned(), folder.to_string_lossy().into_owned()));
    }
    options
}
