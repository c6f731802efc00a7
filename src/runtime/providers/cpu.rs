//! The CPU: ONNX Runtime's own kernels, in every build.

use super::{Append, FLOAT32, INT8, Provider, Shapes, options_of_settings};
use crate::graph::Target;

/// The row.
pub const PROVIDER: Provider = Provider {
    name: "cpu",
    runtime_name: "CPUExecutionProvider",
    description: "the processor, in every ONNX Runtime",
    dtypes: &[FLOAT32, INT8],
    shapes: Shapes::Any,
    target: Target::CPU,
    settings: &[],
    options: options_of_settings,
    append: Append::Always,
    bundled: None,
    cache_key: None,
    remedy: "pip install onnxruntime",
    systems: &[],
    automatic: true,
};
